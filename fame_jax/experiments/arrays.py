"""Zarr arrays on disk, written a block of records at a time; a file a block, a checksum a chunk."""

import errno
import pathlib
import re
from typing import Any

import numpy as np
import tensorstore

from fame_jax.experiments.kept import LEVELS
from fame_jax.remote import Remote

_FULL = (errno.ENOSPC, errno.EDQUOT)


class ArrayError(ValueError):
    """An array that cannot be read or written; the message names the file and the reason."""


class DiskFullError(ArrayError):
    """There is no space left where an array lies, or none that this user may take."""


class BlockArray:
    """An array `[N, ...]` whose blocks of records are files of their own."""

    def __init__(self, folder: pathlib.Path, dtype: str, fill: float | int, shape: tuple[int, ...], block: int):
        """Opens the array that `create_array` has laid out with the same arguments.

        Raises:
            ArrayError: if there is none, or its metadata says anything else: TensorStore would believe a damaged size
                of a chunk, and end the process when the memory does not suffice.
        """
        self.folder = folder
        _refuse_pipes(folder / "zarr.json")
        try:
            self._block = block
            metadata = _metadata(dtype, fill, shape, block)
            self._store = tensorstore.open({**_spec(folder), "metadata": metadata}, open=True).result()
        except (ValueError, OSError) as error:
            raise ArrayError(f"{folder}: no array, or a damaged one ({_reason(error)})") from error

    def read(self, which: slice | np.ndarray) -> np.ndarray:
        """The entries of some records: from the start of a slice to its stop, or of these numbers, in this order.

        Raises:
            ArrayError: naming the damaged file.
        """
        size = self._block
        of_slice = isinstance(which, slice)
        for block in (
            range(which.start // size, -(-which.stop // size)) if of_slice else np.unique(which // size).tolist()
        ):
            _refuse_pipes(self.file(block))
        try:
            return np.asarray(self._store[which].read().result())
        except (ValueError, OSError) as error:
            raise ArrayError(f"{_file(error) or self.folder}: damaged ({_reason(error)})") from error

    def write(self, block: int, start: int, values: np.ndarray) -> None:
        """Writes a block as a whole and waits until it is on disk; what was there is not read, it may be damaged.

        Raises:
            DiskFullError: if there is no space left.
            ArrayError: if it cannot be written for another reason.
        """
        try:
            self.remove(block)
            self._store[start : start + len(values)].write(values).result()
        except (ValueError, OSError) as error:
            kind = DiskFullError if _is_full(error) else ArrayError
            raise kind(f"{self.folder}: cannot be written ({_reason(error)})") from error

    def has(self, block: int) -> bool:
        """Whether a block's file is there."""
        return self.file(block).is_file()

    def remove(self, block: int) -> None:
        """Removes a block's file, if there is one."""
        self.file(block).unlink(missing_ok=True)

    def file(self, block: int) -> pathlib.Path:
        """Where a block is, or will be."""
        return self.folder.joinpath("c", str(block), *["0"] * (self._store.rank - 1))


def create_array(folder: pathlib.Path, dtype: str, fill: float | int, shape: tuple[int, ...], block: int) -> None:
    """Lays out an empty array `shape`, in place of one that is there.

    Raises:
        ArrayError: if it cannot be written.
    """
    try:
        metadata = _metadata(dtype, fill, shape, block)
        tensorstore.open({**_spec(folder), "metadata": metadata}, create=True, delete_existing=True).result()
    except (ValueError, OSError) as error:
        raise ArrayError(f"{folder}: cannot be written ({_reason(error)})") from error


def _metadata(dtype: str, fill: float | int, shape: tuple[int, ...], block: int) -> dict[str, Any]:
    rest = shape[1:]
    raw: list[dict[str, Any]] = [{"name": "bytes", "configuration": {"endian": "little"}}]
    checked = [*raw, {"name": "zstd", "configuration": {"level": 1}}, {"name": "crc32c"}]
    shards = {"chunk_shape": (1, *rest), "codecs": checked, "index_codecs": [*raw, {"name": "crc32c"}]}
    # As climate data say it, so that xarray reads grey levels as maps, too.
    about = {"attributes": {"scale_factor": 1 / LEVELS}} if dtype == "uint8" and len(rest) == 2 else {}
    return {
        **about,
        "shape": shape,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": (block, *rest)}},
        "data_type": dtype,
        "fill_value": "NaN" if fill != fill else fill,
        "codecs": [{"name": "sharding_indexed", "configuration": shards}] if len(rest) == 2 else checked,
    }


def _spec(folder: pathlib.Path) -> dict[str, Any]:
    # A block that happens to hold nothing but the fill value must leave a file too: the file says that it was written.
    local = {"driver": "file", "path": f"{folder.absolute()}/"}
    return {
        "driver": "zarr3",
        "kvstore": folder.kvstore if isinstance(folder, Remote) else local,
        "store_data_equal_to_fill_value": True,
    }


def _refuse_pipes(file: pathlib.Path) -> None:
    """TensorStore would wait for somebody to write into one."""
    if not isinstance(file, Remote) and file.exists() and not file.is_file():
        raise ArrayError(f"{file}: no regular file")


def _is_full(error: Exception) -> bool:
    if isinstance(error, OSError):
        return error.errno in _FULL
    return any(f"os_error_code='{number}'" in str(error) for number in _FULL)


def _file(error: Exception) -> str | None:
    found = re.search(r'local file "([^"]+)"', str(error))
    return found and found[1]


def _reason(error: Exception) -> str:
    """The cause alone: TensorStore puts where it happened before it, and what it was doing behind it, in brackets."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    text = re.sub(r"\s*\[\w+='.*", "", " ".join(str(error).split()))
    return text.rpartition(": ")[2][:200]
