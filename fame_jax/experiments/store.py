"""A run on disk: what was asked for, the records, and a Zarr store of maps that is written block by block.

    RUN/manifest.json     what decides the numbers, and what they were computed with
    RUN/records.jsonl     one line a record, in order; its line number is its index everywhere else
    RUN/arrays/NAME       Zarr arrays (version 3), one entry a record, a chunk a block of records
    RUN/failures/B.json   index and reason of every record of block B that could not be explained

A block is the unit of work: it is computed as a whole, by one process, always from its first record on, so that it
comes out the same however often a job is interrupted. Its `state` is written last; a block without is computed again.
"""

import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorstore

from fame_jax.data.records import Record, as_json, from_json
from fame_jax.files import write, write_json

VERSION = 1
"""Of this layout; a store of another one is refused."""

PENDING, DONE, FAILED = 0, 1, 2
"""Values of the array `state`."""

MAPS = {
    "class": ("attribution",),
    "pair": ("probe_similar", "probe_dissimilar", "gallery_similar", "gallery_dissimilar"),
}
"""Names of the map arrays, `[N, H, W]`, by task."""

# Name, dtype and fill value of what is kept of each record, and of each of its maps.
_OF_RECORD = {"state": ("uint8", PENDING), "label": ("int32", -1), "similarity": ("float64", float("nan"))}
_OF_MAP = {
    "steps": ("int32", -1),
    "first_loss": ("float64", float("nan")),
    "last_loss": ("float64", float("nan")),
    "status": ("int8", -1),
}


class RunError(ValueError):
    """A folder that holds no run, another run, or a run of another version; the message says what to do."""


class Run:
    """A run on disk, opened.

    Attributes:
        folder: where it is.
        manifest: the content of `manifest.json`.
        records: all records, in order.
        task: `class` or `pair`.
    """

    def __init__(self, folder: pathlib.Path):
        """Opens a run.

        Raises:
            RunError: if the folder holds no run, a damaged one, or one of another version.
        """
        self.folder = folder
        self.manifest = _manifest(folder)
        self.records = _records(folder / "records.jsonl")
        self.task = self.manifest["task"]
        self._arrays: dict[str, Any] = {}

    @property
    def maps(self) -> tuple[str, ...]:
        """Names of the map arrays of this run's task."""
        return MAPS[self.task]

    @property
    def block_size(self) -> int:
        """Records in a block."""
        return self.manifest["block_size"]

    @property
    def blocks(self) -> int:
        """Number of blocks."""
        return -(-len(self.records) // self.block_size)

    def indices(self, block: int) -> range:
        """Indices of the records of a block."""
        return range(block * self.block_size, min((block + 1) * self.block_size, len(self.records)))

    def column(self, name: str) -> np.ndarray:
        """What is known of all records: `state`, `label`, `similarity` `[N]`; `steps`, `first_loss`, `last_loss`,
        `status` `[N, maps]`.
        """
        return np.asarray(self._array(name).read().result())

    def map(self, index: int, name: str | None = None) -> np.ndarray:
        """One map, `float32 [H, W]`; by default the first of the record: `attribution`, or `probe_similar` (e+)."""
        array = self._array(self.maps[0] if name is None else name)
        return np.asarray(array[index].read().result(), np.float32)

    def failures(self) -> dict[int, str]:
        """Reason by index of every record that could not be explained."""
        found: dict[int, str] = {}
        for file in sorted((self.folder / "failures").glob("*.json")):
            found |= {int(index): reason for index, reason in json.loads(file.read_text()).items()}
        return dict(sorted(found.items()))

    def is_complete(self, block: int) -> bool:
        """Whether a block was computed and written as a whole."""
        indices = self.indices(block)
        states = np.asarray(self._array("state")[indices.start : indices.stop].read().result())
        return bool((states != PENDING).all())

    def write_block(self, block: int, arrays: Mapping[str, np.ndarray], failures: Mapping[int, str]) -> None:
        """Writes all arrays of a block, `state` last; `failures` by index."""
        indices = self.indices(block)
        if failures:
            (self.folder / "failures").mkdir(exist_ok=True)
            write_json(self.folder / "failures" / f"{block:06}.json", {str(i): r for i, r in failures.items()})
        writes = [
            self._array(name)[indices.start : indices.stop].write(values)
            for name, values in arrays.items()
            if name != "state"
        ]
        for pending in writes:
            pending.result()
        self._array("state")[indices.start : indices.stop].write(arrays["state"]).result()

    def _array(self, name: str) -> Any:
        if name not in self._arrays:
            try:
                self._arrays[name] = tensorstore.open(_spec(self.folder, name)).result()
            except (ValueError, OSError) as error:
                reason = " ".join(str(error).split())[:200]
                raise RunError(f"{self.folder / 'arrays' / name}: cannot be read ({reason}).") from error
        return self._arrays[name]


def create_run(
    folder: pathlib.Path,
    manifest: Mapping[str, Any],
    records: Sequence[Record],
    *,
    size: int,
    dtype: str = "float32",
) -> Run:
    """Lays out a new, empty run; `manifest.json` is written last, so that without it there is no run.

    Args:
        folder: new or empty.
        manifest: needs `task` and `block_size`; `version` is added.
        records: what is to be explained.
        size: height and width of the maps.
        dtype: of the maps, `float16` or `float32`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lines = "".join(json.dumps(as_json(record)) + "\n" for record in records)
    write(folder / "records.jsonl", lambda file: file.write(lines.encode()))
    names, block, count = MAPS[manifest["task"]], manifest["block_size"], len(records)
    for name in names:
        _create(folder, name, dtype, 0.0, (count, size, size), (block, size, size))
    for name, (kind, fill) in _OF_RECORD.items():
        _create(folder, name, kind, fill, (count,), (block,))
    for name, (kind, fill) in _OF_MAP.items():
        _create(folder, name, kind, fill, (count, len(names)), (block, len(names)))
    write_json(folder / "manifest.json", {"version": VERSION, **manifest})
    return Run(folder)


def _create(
    folder: pathlib.Path, name: str, dtype: str, fill: float | int, shape: tuple[int, ...], chunk: tuple[int, ...]
) -> None:
    fill_value = "NaN" if fill != fill else fill
    metadata = {
        "shape": shape,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": chunk}},
        "data_type": dtype,
        "fill_value": fill_value,
        "codecs": [{"name": "bytes"}, {"name": "zstd", "configuration": {"level": 1}}],
    }
    tensorstore.open({**_spec(folder, name), "metadata": metadata}, create=True, delete_existing=True).result()


def _spec(folder: pathlib.Path, name: str) -> dict[str, Any]:
    return {"driver": "zarr3", "kvstore": {"driver": "file", "path": f"{(folder / 'arrays' / name).resolve()}/"}}


def _manifest(folder: pathlib.Path) -> dict[str, Any]:
    file = folder / "manifest.json"
    try:
        manifest = json.loads(file.read_text(encoding="utf-8"))
        version, task = manifest["version"], manifest["task"]
    except FileNotFoundError as error:
        raise RunError(f"{folder}: no run is here (there is no manifest.json); fame run makes one.") from error
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(f"{file}: not the manifest of a run ({error}); fame run makes one.") from error
    if version != VERSION or task not in MAPS:
        raise RunError(f"{file}: version {version} of a run's layout, expected {VERSION}; run again into a new folder.")
    return manifest


def _records(file: pathlib.Path) -> tuple[Record, ...]:
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
        return tuple(from_json(json.loads(line)) for line in lines)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(f"{file}: not the records of a run ({error}).") from error
