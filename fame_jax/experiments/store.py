"""A run on disk: what was asked for, the records, and a Zarr store of maps that is written block by block.

    RUN/manifest.json     what decides the numbers, and (`provenance`) what they were computed with
    RUN/records.jsonl     one line a record, in order; its line number is its index everywhere else
    RUN/arrays/NAME       Zarr arrays (version 3), one entry a record, a file a block of records
    RUN/failures/B.json   index and reason of every record of block B that could not be explained
    RUN/times.jsonl       where the time went, in seconds: a line a process and call, see `spent`
    RUN/rewrites/B.json   when block B was repaired after the maps had been scored, if it was

A block is the unit of work: it is computed as a whole, by one process, always from its first record on, so that it
comes out the same however often a job is interrupted. Its `state` is written last; a block without is computed again.
Maps are shards of one chunk a record, so one map is read without the rest of its block, and every chunk carries a
checksum, so a damaged one is never taken for a map.
"""

import contextlib
import json
import pathlib
import time
from collections.abc import Mapping, Sequence
from typing import Any, SupportsIndex

import numpy as np

from fame_jax.data.records import ClassRecord, PairRecord, Record, as_json, from_json
from fame_jax.experiments.arrays import ArrayError, BlockArray, DiskFullError, create_array
from fame_jax.experiments.kept import decoded
from fame_jax.experiments.manifest import VERSION, NoSpaceError, RunError, read_manifest
from fame_jax.experiments.spent import Spent, Times
from fame_jax.explainers.explainer import MAPS
from fame_jax.files import parse_json, read_json, read_text, readable, write, write_json
from fame_jax.remote import Remote, located
from fame_jax.walk import Status

PENDING, DONE, FAILED = 0, 1, 2
"""Values of the array `state`."""

_LOSS, _UNKNOWN = ("float64", float("nan")), ("int32", -1)

# Name, dtype and fill value of what is kept of each record, of each of its maps, and of its pictures.
_OF_RECORD = {
    "state": ("uint8", PENDING),
    "label": _UNKNOWN,
    "predicted": _UNKNOWN,
    "similarity": ("float64", float("nan")),
}
_OF_MAP = {"steps": _UNKNOWN, "first_loss": _LOSS, "last_loss": _LOSS, "status": ("int8", Status.NO_MAP)}
_OF_PICTURES = {"sha256": ("uint8", 0)}
_SHAPE = "shape"


class Run:
    """A run on disk, opened.

    Attributes:
        folder: where it is.
        manifest: the content of `manifest.json`.
        records: all records, in order.
        task: `class`, `pair` or `detect`.
        spent: where the time of this process goes.
        times: where it went, as it was added to `times.jsonl`.
    """

    def __init__(self, folder: pathlib.Path):
        """Opens a run.

        Raises:
            RunError: if the folder holds no run, a damaged one, or one of another version.
        """
        self.folder = folder = located(folder)
        self.manifest = read_manifest(folder)
        self.records = _records(folder / "records.jsonl")
        self.task = self.manifest["task"]
        kind = PairRecord if self.task == "pair" else ClassRecord
        if len(self.records) != self.manifest["records"] or not all(isinstance(r, kind) for r in self.records):
            raise RunError(
                f"{folder / 'records.jsonl'}: {len(self.records)} records, expected {self.manifest['records']} of task "
                f"{self.task}; the file is damaged. Run again into a new folder."
            )
        self.spent = Spent()
        self.times: list[Times] = []
        self._arrays: dict[str, BlockArray] = {}

    @property
    def roles(self) -> tuple[str, ...]:
        """What the maps of a record are called: `attribution`, or four names of a pair."""
        return MAPS[self.task]

    @property
    def _names(self) -> tuple[str, ...]:
        return (*self.roles, *_OF_RECORD, *_OF_MAP, *_OF_PICTURES, *([_SHAPE] if self.task == "detect" else []))

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

    def column(self, name: str, indices: range | np.ndarray | None = None) -> np.ndarray:
        """What is known of all records, or of some.

        Args:
            name: `state`, `label` (the class explained), `predicted` or `similarity`, `[N]`; `steps`, `first_loss`,
                `last_loss` or `status`, `[N, maps]`; `sha256` of the pictures, 32 bytes each, `[N, 32 * pictures]`; of
                detections `shape`, rows and columns of the map, `[N, 2]`; maps, see `roles`, `float32 [N, H, W]`.
            indices: a range of successive records, or any in an array; None for all.

        Raises:
            RunError: naming the damaged file.
        """
        if isinstance(indices, range):
            return self._read(name, slice(indices.start, indices.stop))
        return self._read(name, slice(0, len(self.records)) if indices is None else indices)

    def map(self, index: SupportsIndex, name: str | None = None) -> np.ndarray:
        """One map, `float32 [H, W]`; by default the first of the record: `attribution`, or `probe_similar` (e+).

        That of a detection has the shape of its photograph, as the detector saw it.

        Raises:
            IndexError: for a record that is not there.
            RunError: naming the damaged file.
        """
        number = range(len(self.records))[index]
        which = slice(number, number + 1)
        found = self._read(self.roles[0] if name is None else name, which)[0]
        if self.task == "detect":
            rows, columns = self._read(_SHAPE, which)[0]
            return found[:rows, :columns]
        return found

    def failures(self) -> dict[int, str]:
        """Reason by index of every record that could not be explained."""
        found: dict[int, str] = {}
        for file in sorted((self.folder / "failures").glob("*.json")):
            try:
                found |= {int(index): str(reason) for index, reason in read_json(file).items()}
            except (OSError, ValueError, AttributeError) as error:
                raise RunError(f"{file}: damaged ({error}). {_REPAIR}") from error
        return dict(sorted(found.items()))

    def is_complete(self, block: int) -> bool:
        """Whether a block was computed and written as a whole; only `state` is read.

        Raises:
            RunError: naming the damaged file.
        """
        indices = self.indices(block)
        # Each question to object storage takes a while, and nothing there is lost by itself: the last one tells of all.
        names = () if isinstance(self.folder, Remote) else self._names
        written = all(self._array(name).has(block) for name in names)
        return written and bool((self.column("state", indices) != PENDING).all())

    def is_sound(self, block: int) -> bool:
        """Whether a complete block holds no failed record, and all of it can be read."""
        indices = self.indices(block)
        try:
            for name in self._names:
                values = self.column(name, indices)
                if name == "state" and (values != DONE).any():
                    return False
        except RunError:
            return False
        return True

    def rewrites(self) -> dict[int, int]:
        """When blocks were repaired after the maps had been scored, in nanoseconds, by block; -1 where that is damaged.

        Figures with another time, or with none, are of maps of before.
        """
        files = (self.folder / "rewrites").glob("*.json")
        return {int(file.stem): _time(file) for file in files if file.stem.isdecimal()}

    def write_block(self, block: int, arrays: Mapping[str, np.ndarray], failures: Mapping[int, str]) -> None:
        """Writes all arrays of a block, `state` last; `failures` by index.

        Raises:
            RunError: if it cannot be written, on a full disk for one. What was written before stays.
        """
        start = self.indices(block).start
        file = self.folder / "failures" / f"{block:06}.json"
        try:
            if (self.folder / "scores").is_dir() and self._array("state").has(block):
                rewrite = self.folder / "rewrites" / f"{block:06}.json"
                rewrite.parent.mkdir(exist_ok=True)
                write_json(rewrite, time.time_ns())
            self._array("state").remove(block)
            for name, values in arrays.items():
                if name != "state":
                    self._array(name).write(block, start, values)
            file.unlink(missing_ok=True)
            if failures:
                file.parent.mkdir(exist_ok=True)
                write_json(file, {str(index): reason for index, reason in failures.items()})
            self._array("state").write(block, start, arrays["state"])
        except (ArrayError, OSError) as error:
            kind = NoSpaceError if isinstance(error, DiskFullError) else RunError
            raise kind(
                f"{error}. Earlier blocks are whole: mend that, then give the same command again, and it continues."
            ) from error

    def note_failure(self, block: int, reason: str) -> None:
        """Leaves word of why a block is still to come; computing it takes the word away.

        A complete block, which was to be repaired, keeps its maps, and with them its own reasons.
        """
        with contextlib.suppress(RunError):
            if self.is_complete(block):
                return
        with contextlib.suppress(OSError):
            (self.folder / "failures").mkdir(exist_ok=True)
            write_json(self.folder / "failures" / f"{block:06}.json", {str(i): reason for i in self.indices(block)})

    def files(self, block: int) -> list[pathlib.Path]:
        """What a block is kept in."""
        return [self._array(name).file(block) for name in self._names]

    def _read(self, name: str, which: slice | np.ndarray) -> np.ndarray:
        try:
            found = self._array(name).read(which)
        except ArrayError as error:
            raise RunError(f"{error}. {_REPAIR}") from error
        return decoded(found) if name in self.roles else found

    def _array(self, name: str) -> BlockArray:
        if name not in self._arrays:
            size, dtype = self.manifest["size"], self.manifest["dtype"]
            described = _layout(self.task, len(self.records), size, dtype)[name]
            try:
                self._arrays[name] = BlockArray(self.folder / "arrays" / name, *described, self.block_size)
            except ArrayError as error:
                raise RunError(f"{error}. Run again into a new folder.") from error
        return self._arrays[name]


_REPAIR = "The same fame run command with --repair computes what is damaged again."


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
        manifest: needs `task` and `block_size`; `version`, `records`, `size` and `dtype` are added.
        records: what is to be explained.
        size: height and width of the maps.
        dtype: of the maps, see `kept`.

    Raises:
        RunError: if it cannot be written.
    """
    kept = {"version": VERSION, "records": len(records), "size": size, "dtype": dtype, **manifest}
    lines = records_file(records)
    if readable(str(folder.absolute())) != str(folder.absolute()):
        raise RunError(f"{readable(str(folder))}: its name holds bytes that are no UTF-8; choose another folder.")
    try:
        (folder / "arrays").mkdir(parents=True, exist_ok=True)
        write(folder / "records.jsonl", lambda file: file.write(lines))
        for name, (kind, fill, shape) in _layout(kept["task"], len(records), size, dtype).items():
            create_array(folder / "arrays" / name, kind, fill, shape, kept["block_size"])
        write_json(folder / "manifest.json", kept)
    except (ArrayError, OSError) as error:
        raise RunError(f"{error}. Choose another folder, or mend that and run again.") from error
    return Run(folder)


def replace_manifest(run: Run, manifest: Mapping[str, Any]) -> None:
    """Writes another manifest of the same run."""
    try:
        write_json(run.folder / "manifest.json", manifest)
    except OSError as error:
        raise RunError(f"{run.folder / 'manifest.json'}: cannot be written ({error.strerror}).") from error
    run.manifest = dict(manifest)


def records_file(records: Sequence[Record]) -> bytes:
    """The content of `records.jsonl`."""
    return "".join(json.dumps(as_json(record)) + "\n" for record in records).encode()


def block_arrays(run: Run, block: int) -> dict[str, np.ndarray]:
    """The arrays of a block of which nothing is known yet, by name."""
    layout = _layout(run.task, len(run.indices(block)), run.manifest["size"], run.manifest["dtype"])
    return {name: np.full(shape, fill, kind) for name, (kind, fill, shape) in layout.items()}


def _layout(task: str, count: int, size: int, dtype: str) -> dict[str, tuple[str, float | int, tuple[int, ...]]]:
    """Dtype, fill value and shape of every array of `count` records."""
    maps = MAPS[task]
    pictures = 2 if task == "pair" else 1
    return {
        **{name: (dtype, 0, (count, size, size)) for name in maps},
        **{name: (*kind, (count,)) for name, kind in _OF_RECORD.items()},
        **{name: (*kind, (count, len(maps))) for name, kind in _OF_MAP.items()},
        **{name: (*kind, (count, 32 * pictures)) for name, kind in _OF_PICTURES.items()},
        **({_SHAPE: ("int32", 0, (count, 2))} if task == "detect" else {}),
    }


def _time(file: pathlib.Path) -> int:
    try:
        when = read_json(file)
    except (OSError, ValueError):
        when = None
    return when if type(when) is int else -1


def _records(file: pathlib.Path) -> tuple[Record, ...]:
    try:
        return tuple(from_json(parse_json(line)) for line in read_text(file).splitlines())
    except (OSError, ValueError, KeyError, TypeError, OverflowError) as error:
        raise RunError(f"{file}: not the records of a run ({error}). Run again into a new folder.") from error
