"""A publisher's or trainer's file of weights, whatever its format, and its hash."""

import hashlib
import os
from collections.abc import Callable, Collection

import numpy as np

from fame_jax import files
from weight_conversion import onnx_file, safetensors_file, torch_file
from weight_conversion.errors import CheckpointError, reading


def read_checkpoint(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """The arrays of a checkpoint by the publisher's own keys; nothing in the file is run.

    Args:
        path: an ONNX graph by its suffix `.onnx`; sharded safetensors by their index (`.safetensors.index.json`) or
            folder; by its content a safetensors file or else a torch checkpoint, whose state dict is that under
            `state_dict` or `model`, or the file's own.

    Raises:
        CheckpointError: in one line, with the file's name, what was found and what was expected.
        ImportError: for an ONNX graph, if the `onnx` package is not installed.
    """
    (state,) = read_candidates(path, lambda keys: False).values()
    return state


def read_candidates(
    path: str | os.PathLike[str], fits: Callable[[Collection[str]], bool]
) -> dict[str, dict[str, np.ndarray]]:
    """Every dictionary of arrays in a checkpoint whose keys fit, by its name in the file; see `read_checkpoint`.

    If none fits, the one that `read_checkpoint` gives. Formats without dictionaries have one, of no name.
    """
    _refuse_devices(path)
    if os.fspath(path).endswith(".onnx"):
        return {"": onnx_file.read(path)}
    if os.path.isdir(path) or os.fspath(path).endswith(".json"):
        return {"": safetensors_file.read_shards(path)}
    with reading(path, "a file of weights"), open(path, "rb") as file:
        start = file.read(9)
    if safetensors_file.is_header(start):
        return {"": safetensors_file.read(path)}
    return torch_file.read(path, fits)


def sha256(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file in hexadecimal digits; of shards, that of the list of their hashes and names.

    Raises:
        CheckpointError: if the file cannot be read.
    """
    _refuse_devices(path)
    if os.path.isdir(path) or os.fspath(path).endswith(".json"):
        folder, names = safetensors_file.shards(path)
        lines = "".join(f"{sha256(folder / name)}  {name}\n" for name in names)
        return hashlib.sha256(lines.encode()).hexdigest()
    with reading(path, "a file of weights"):
        return files.sha256(path)


def _refuse_devices(path: str | os.PathLike[str]) -> None:
    """A pipe or a device would be waited for, or read without end."""
    if os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path):
        raise CheckpointError(f"{os.fspath(path)}: no regular file; expected a file of weights.")
