"""Tensors of an ONNX file as NumPy arrays, from inside the file or from a file beside it."""

import os
import pathlib
from typing import Any

import numpy as np
import onnx
import onnx.numpy_helper

from fame_jax.onnx.errors import GraphError

LARGEST = 2**28
"""Values in one tensor of a graph: 1 GiB of float32. More is refused before it is made."""

_TYPES = {
    getattr(onnx.TensorProto, name): name
    for name in (
        *("FLOAT", "FLOAT16", "BFLOAT16", "DOUBLE", "BOOL"),
        *(f"{sign}INT{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64)),
    )
}


def dtype(number: int) -> np.dtype[Any]:
    """The NumPy type of an ONNX type.

    Raises:
        GraphError: for one that holds no plain numbers.
    """
    if number not in _TYPES:
        names = {value: name for name, value in onnx.TensorProto.DataType.items()}
        raise GraphError(f"type {names.get(number, number)}; expected one of {', '.join(_TYPES.values()).lower()}")
    return np.dtype(onnx.helper.tensor_dtype_to_np_dtype(number))


def array(tensor: onnx.TensorProto, folder: pathlib.Path | None) -> np.ndarray:
    """The values of a tensor.

    Args:
        tensor: from the file.
        folder: that of the file, in or below which external data has to lie; None if there is none.

    Raises:
        GraphError: for a type that is not of numbers, sizes that disagree, or external data elsewhere.
    """
    try:
        kind, shape = dtype(tensor.data_type), tuple(tensor.dims)
        if any(n < 0 for n in shape) or _size(shape) > LARGEST:
            raise GraphError(f"shape {shape}; expected at most {LARGEST} values")
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            return _external(tensor, folder, kind, shape)
        return np.array(onnx.numpy_helper.to_array(tensor))
    except Exception as error:
        raise GraphError(f"tensor {tensor.name!r}: {' '.join(str(error).split())[:300]}.") from error


def _external(tensor: onnx.TensorProto, folder: pathlib.Path | None, kind: np.dtype[Any], shape: tuple[int, ...]):
    entries = {entry.key: entry.value for entry in tensor.external_data}
    location = entries.get("location", "")
    if folder is None:
        raise GraphError(f"its values are in {location!r}; give the path of the file, not its bytes")
    # Links are followed, so that one that leads out is seen.
    root, path = folder.resolve(), (folder / location).resolve()
    if os.path.isabs(location) or not path.is_relative_to(root) or not path.is_file():
        raise GraphError(f"external data {location!r}; expected a regular file in or below the model's folder")
    count, offset = _size(shape), int(entries.get("offset", 0))
    length = int(entries.get("length", count * kind.itemsize))
    if length != count * kind.itemsize or not 0 <= offset <= path.stat().st_size - length:
        raise GraphError(
            f"{length} bytes at {offset} of {location!r} ({path.stat().st_size} bytes); "
            f"expected {count * kind.itemsize} bytes for {kind} {shape}"
        )
    little_endian = np.fromfile(path, kind.newbyteorder("<"), count, offset=offset)
    return little_endian.astype(kind, copy=False).reshape(shape)


def _size(shape: tuple[int, ...]) -> int:
    size = 1
    for n in shape:
        size *= n
    return size
