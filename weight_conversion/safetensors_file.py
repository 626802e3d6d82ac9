"""The safetensors format: a length, a JSON header of that length, and the tensors' bytes.

References:
    https://github.com/huggingface/safetensors, section "Format".
"""

import json
import math
import os
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
