"""The safetensors format: a length, a JSON header of that length, and the tensors' bytes.

References:
    https://github.com/huggingface/safetensors, section "Format".
"""

import json
import math
import os
import pathlib
from typing import Any

import ml_dtypes
import numpy as np

from weight_conversion.errors import CheckpointError, reading

HEADER_LIMIT = 100_000_000
"""Bytes; the format's own limit."""

_DTYPES = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "I64": np.dtype("<i8"),
    "I32": np.dtype("<i4"),
    "I16": np.dtype("<i2"),
    "I8": np.dtype("i1"),
    "U8": np.dtype("u1"),
    "BOOL": np.dtype("?"),
}


def is_header(start: bytes) -> bool:
    """Whether a file that begins with these nine bytes or more can be a safetensors file."""
    return start[8:9] == b"{" and int.from_bytes(start[:8], "little") <= HEADER_LIMIT


def shards(path: str | os.PathLike[str]) -> tuple[pathlib.Path, dict[str, list[str]]]:
    """The folder of sharded safetensors, and the keys in each of its files; of a single file none are listed.

    Args:
        path: the index, or the folder with one index or one file in it.

    Raises:
        CheckpointError: if the folder has not one of these, or the index cannot be read or leads out of the folder.
    """
    with reading(path, "a folder with one safetensors file or one index of several"):
        index = pathlib.Path(path)
        if index.is_dir():
            found = sorted(index.glob("*.safetensors.index.json")) or sorted(index.glob("*.safetensors"))
            if len(found) != 1:
                raise CheckpointError(f"{len(found)} of them")
            index = found[0]
        if index.suffix != ".json":
            return index.parent, {index.name: []}
        if not index.is_file():
            raise CheckpointError("no regular file")
        keys: dict[str, list[str]] = {}
        for key, name in json.loads(index.read_text(encoding="utf-8"))["weight_map"].items():
            if pathlib.PurePath(name).name != name:
                raise CheckpointError(f"{key!r} is said to be in {name!r}, outside the folder")
            keys.setdefault(name, []).append(key)
        if not keys:
            raise CheckpointError("no tensors")
        return index.parent, dict(sorted(keys.items()))


def read_shards(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Every tensor of the safetensors files of an index or a folder; see `shards`.

    Raises:
        CheckpointError: also if a file has other tensors than the index says.
    """
    folder, files = shards(path)
    arrays: dict[str, np.ndarray] = {}
    for name, keys in files.items():
        part = read(folder / name)
        with reading(folder / name, "what the index says"):
            if keys and (differing := sorted(part.keys() ^ set(keys))):
                raise CheckpointError(f"{differing[0]!r} is {'not ' if differing[0] in keys else ''}in the file")
        arrays |= part
    return arrays


def read(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Every tensor of a safetensors file by its name.

    Raises:
        CheckpointError: if the file cannot be read, is cut short, or its header does not describe its bytes exactly.
    """
    with reading(path, "a safetensors file"), open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        length = int.from_bytes(file.read(8), "little")
        data_size = size - 8 - length
        if length > HEADER_LIMIT or data_size < 0:
            raise CheckpointError(f"a header of {length} bytes in a file of {size}")
        header = json.loads(file.read(length))
        header.pop("__metadata__", None)
        if not header:
            raise CheckpointError("no tensors")
        arrays: dict[str, np.ndarray] = {}
        end = 0
        for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
            start = end
            dtype, shape, end = _entry(name, entry, start, data_size)
            arrays[name] = np.frombuffer(file.read(end - start), dtype).reshape(shape)
        if end != data_size:
            raise CheckpointError(f"{data_size - end} bytes behind the last tensor")
        return {name: arrays[name] for name in header}


def _entry(name: str, entry: Any, start: int, size: int) -> tuple[np.dtype, tuple[int, ...], int]:
    """Type, shape and end of a tensor, which has to begin where the one before it ended."""
    if entry["dtype"] not in _DTYPES:
        raise CheckpointError(f"{name!r} has the unknown type {entry['dtype']!r}")
    dtype, shape = _DTYPES[entry["dtype"]], tuple(entry["shape"])
    if any(not isinstance(side, int) or side < 0 for side in shape):
        raise CheckpointError(f"{name!r} has the shape {shape}")
    end = start + math.prod(shape) * dtype.itemsize
    if entry["data_offsets"] != [start, end] or end > size:
        raise CheckpointError(f"{name!r} of shape {shape} is at {entry['data_offsets']}, not {[start, end]} of {size}")
    return dtype, shape, end
