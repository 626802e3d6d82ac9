"""What the scripts that measure maps share: photographs of known classes, results kept on disk, figures, tables."""

import csv
import pathlib
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from fame_jax import metrics
from fame_jax.cli.console import InputError, progress_bar, say_error
from fame_jax.data.images import ImageError, load
from fame_jax.files import number, write

METRICS = {
    "road_10": "ROAD-Delete 10 % ↑",
    "road_30": "ROAD-Delete 30 % ↑",
    "road_50": "ROAD-Delete 50 % ↑",
    "deletion": "deletion AUC ↓",
    "insertion": "insertion AUC ↑",
}
"""Figures of one map of a class, by their names in files, as a table heads them."""


class Photograph(NamedTuple):
    """A photograph and the index of its class."""

    path: pathlib.Path
    label: int

    @property
    def name(self) -> str:
        """What its results are called."""
        return self.path.stem


def photographs(source: pathlib.Path) -> list[Photograph]:
    """The photographs of a folder whose file names begin with the class index, or of a CSV file `file,label`.

    They are shuffled, with a fixed seed, so that a run that is cut short has seen a fair part of the classes.

    Raises:
        InputError: if there are none, or one has no class index.
    """
    if source.is_dir():
        found = [Photograph(path, _leading_number(path)) for path in sorted(source.iterdir()) if path.is_file()]
    else:
        with source.open(newline="", encoding="utf-8-sig") as file:
            found = [_row(row, source) for row in csv.reader(file)]
    if not found:
        raise InputError(f"{source}: no photographs; expected files whose names begin with the class index.")
    return [found[i] for i in np.random.default_rng(0).permutation(len(found))]


def readable(found: Sequence[Photograph], resize: int, size: int) -> tuple[list[Photograph], np.ndarray]:
    """The photographs that can be read, and their pixels `[n, size, size, 3]`; the others are named and left out."""
    kept, pixels = [], []
    for photograph in found:
        try:
            pixels.append(load(photograph.path, resize, size))
            kept.append(photograph)
        except ImageError as error:
            say_error(error)
    if not kept:
        raise InputError(f"{found[0].path.parent}: none of {len(found)} files is a photograph that can be read.")
    return kept, np.stack(pixels)


class Store:
    """One `.npz` a record in a folder, so that a run that was cut short goes on where it stopped."""

    def __init__(self, folder: pathlib.Path):
        """Makes the folder if need be."""
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def __contains__(self, name: str) -> bool:
        return self._path(name).is_file()

    def write(self, name: str, arrays: Mapping[str, np.ndarray]) -> None:
        """Writes a record; what is there is always whole."""
        write(self._path(name), lambda file: np.savez(file, allow_pickle=False, **arrays))

    def read(self, name: str) -> dict[str, np.ndarray]:
        """The arrays of one record."""
        with np.load(self._path(name)) as file:
            return dict(file)

    def array(self, name: str, key: str) -> np.ndarray:
        """One array of one record."""
        with np.load(self._path(name)) as file:
            return file[key]

    def stacked(self, names: Sequence[str]) -> dict[str, np.ndarray]:
        """The arrays of several records, each with a leading axis of records."""
        records = [self.read(name) for name in names]
        return {key: np.stack([record[key] for record in records]) for key in records[0]}

    def fill(
        self, names: Sequence[str], compute: Callable[[list[int]], Mapping[str, Any]], batch_size: int, unit: str
    ) -> None:
        """Computes and writes the records that are missing.

        Args:
            names: of all records.
            compute: positions in `names`, always `batch_size` of them, to arrays with a leading axis of records.
            batch_size: records at a time.
            unit: what the progress bar counts.
        """
        missing = [i for i, name in enumerate(names) if name not in self]
        with progress_bar(len(missing), unit, hide=False) as bar:
            for some, full in portions(missing, batch_size):
                arrays = jax.tree.map(np.asarray, dict(compute(full)))
                for row, i in enumerate(some):
                    self.write(names[i], {key: array[row] for key, array in arrays.items()})
                    bar.update()

    def _path(self, name: str) -> pathlib.Path:
        return self.folder / f"{name}.npz"


def portions(items: Sequence[int], size: int) -> Iterator[tuple[Sequence[int], list[int]]]:
    """Runs of `size` items, and the same filled up with the last one, so that one program is compiled."""
    for start in range(0, len(items), size):
        some = items[start : start + size]
        yield some, [*some, *[some[-1]] * (size - len(some))]


def noise_keys(names: Sequence[str], seed: int) -> jax.Array:
    """A key for each name, the same whatever else is measured: `[n]`."""
    return jnp.stack([jax.random.fold_in(jax.random.key(seed), zlib.crc32(name.encode())) for name in names])


def faithfulness(network: Any, image: Any, map: Any, label: Any, key: Any, *, inserted: bool) -> dict[str, Any]:
    """The figures of `METRICS` of one map; `unsolved` counts imputations that did not converge."""
    road = metrics.road_delete(network, image, map, label, key)
    figures = {f"road_{percent}": road.drops[i] for i, percent in enumerate((10, 30, 50))}
    figures["unsolved"] = jnp.sum(road.status != 0)
    figures["deletion"] = metrics.deletion(network, image, map, label).auc
    if inserted:
        figures["insertion"] = metrics.insertion(network, image, map, label).auc
    return figures


def interval(figure: Any, digits: int = 3) -> str:
    """A mean, or a mean difference, with its interval."""
    return f"{figure[0]:.{digits}f} [{figure.low:.{digits}f}, {figure.high:.{digits}f}]"


def jsonable(value: Any) -> Any:
    """Named results as dictionaries, arrays as lists, and nothing that JSON has no word for."""
    if hasattr(value, "_asdict"):
        value = value._asdict()
    if isinstance(value, dict):
        return {key: jsonable(item) for key, item in value.items()}
    if isinstance(value, list | np.ndarray):
        return [jsonable(item) for item in value]
    return number(value) if isinstance(value, float | np.floating) else value


def _leading_number(path: pathlib.Path) -> int:
    digits = path.name[: len(path.name) - len(path.name.lstrip("0123456789"))]
    if not digits:
        raise InputError(f"{path}: the name does not begin with a class index; expected one such as 0285_cat.jpg.")
    return int(digits)


def _row(row: list[str], source: pathlib.Path) -> Photograph:
    if len(row) != 2 or not row[1].strip().isdecimal():
        raise InputError(f"{source}: {','.join(row)!r}; expected rows file,label without a heading, 0285.jpg,285 say.")
    return Photograph(source.parent / row[0], int(row[1]))
