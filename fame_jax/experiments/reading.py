"""The maps of a run for programs that read them: indexed like an array, and read no sooner."""

import functools
import pathlib
from collections.abc import Callable
from typing import Any, SupportsIndex

import numpy as np

from fame_jax.experiments.store import DONE, Run, RunError


def read(folder: str | pathlib.Path) -> "Maps":
    """The maps that `fame run` has made; what is not asked for is not read.

        maps = fame_jax.read("maps")           # or s3://BUCKET/maps, gs://BUCKET/maps
        maps["cat.jpg"], maps[0]               # a map, float32 [H, W], by the record's name or number
        maps.maps[10:20], maps.maps[[3, 5]]    # several, float32 [n, H, W]
        len(maps), maps.ids, maps.labels, maps.records, maps.manifest

    Args:
        folder: `--out` of `fame run`; of several methods, the folder of one.

    Returns:
        The run. Its maps are in [0, 1], 0 where nothing matters; those of a method of your own may be anything.

    Raises:
        RunError: if the folder holds no run, a damaged one, or one of another version.
    """
    return Maps(pathlib.Path(folder))


class Maps(Run):
    """A run whose maps are indexed by name or number; see `read`, and `Run` for what else is known of a record."""

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, which: str | SupportsIndex) -> np.ndarray:
        """The map of a record, `float32 [H, W]`; of a pair the first, of a detection as large as its photograph.

        Raises:
            KeyError, IndexError: for a record that is not there.
            RunError: for one that could not be explained, or not yet, with the reason; or naming a damaged file.
        """
        if isinstance(which, str) and which not in self._numbers:
            raise KeyError(f"{self.folder}: no record {which!r}; the first is {self.ids[0]!r}.")
        number = self._numbers[which] if isinstance(which, str) else range(len(self))[which]
        if self.column("state", range(number, number + 1))[0] != DONE:
            reason = self.failures().get(number, "it is not explained yet; fame run continues the run.")
            raise RunError(f"{self.folder}: {self.ids[number]} has no map: {reason}")
        return self.map(number)

    @functools.cached_property
    def ids(self) -> tuple[str, ...]:
        """The names of the records, in order; no two are the same."""
        return tuple(record.name for record in self.records)

    @functools.cached_property
    def _numbers(self) -> dict[str, int]:
        return {name: number for number, name in enumerate(self.ids)}

    @property
    def labels(self) -> np.ndarray:
        """The classes that are explained, `int32 [N]`; -1 for pairs, and where nothing is explained."""
        return self.column("label")

    @property
    def maps(self) -> "LazyMaps":
        """All maps as one array, `[N, H, W]`; of pairs the first of each, see `maps_of`."""
        return self.maps_of(self.roles[0])

    def maps_of(self, role: str) -> "LazyMaps":
        """All maps of one of the `roles` as one array.

        Raises:
            KeyError: for a role that the task does not have.
        """
        if role not in self.roles:
            raise KeyError(f"{self.folder}: no maps {role!r}; there are {', '.join(self.roles)}.")
        size = self.manifest["size"]
        return LazyMaps((len(self), size, size), functools.partial(self.column, role))


class LazyMaps:
    """Maps `[N, H, W]`, float32, in the order of the records; indexing reads the maps it names and no others.

    Indices mean what they mean to NumPy; a mask of records has one axis. A record without a map has zeros here. A
    detection's map is at the upper left of its canvas, and the rest is zero.

    Attributes:
        shape: `(N, H, W)`.
        dtype: float32.
    """

    dtype = np.dtype(np.float32)

    def __init__(self, shape: tuple[int, int, int], column: Callable[[np.ndarray], np.ndarray]):
        self.shape, self._column = shape, column

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> Any:
        index = _spelled_out(key if isinstance(key, tuple) else (key,))
        at, first = next((at, one) for at, one in enumerate(index) if _axes(one))
        if _axes(first) > 1:
            raise IndexError(f"a mask has {_axes(first)} axes, expected one, of all records; read all: maps[:][mask].")
        which = np.arange(len(self))[(first,)]
        # NumPy gets the whole index; the places of the maps that were read stand for those that were asked for.
        places = slice(None) if isinstance(first, slice) else np.arange(which.size).reshape(which.shape)
        return self._column(np.ravel(which))[(*index[:at], places, *index[at + 1 :])]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if copy is False:
            raise ValueError("maps that lie in files are copied to become an array.")
        return self[:].astype(dtype or self.dtype, copy=False)

    def __repr__(self) -> str:
        return f"LazyMaps(shape={self.shape}, dtype={self.dtype})"


def _spelled_out(key: tuple[Any, ...]) -> tuple[Any, ...]:
    """An index of maps in which a slice stands for every axis that an ellipsis, or nothing, stood for.

    An ellipsis that stood for none stays: to NumPy it still separates what is on either side.
    """
    at = [place for place, one in enumerate(key) if one is ...] or [len(key)]
    if len(at) > 1:
        raise IndexError("an index of maps has several ellipses ('...'); expected one at most.")
    (first,) = at
    slices = (slice(None),) * (3 - sum(map(_axes, key)))
    return (*key[:first], *(slices or key[first : first + 1]), *key[first + 1 :])


def _axes(one: Any) -> int:
    """How many axes a part of an index takes by itself: a mask as many as it has, a new axis none."""
    if one is None or one is ...:
        return 0
    values = np.asarray(one)
    return values.ndim if values.dtype == bool else 1
