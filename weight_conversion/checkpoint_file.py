"""A publisher's file of weights, whatever its format, and its hash."""

import os

import numpy as np

from fame_jax import files
from weight_conversion import onnx_file, safetensors_file, torch_file
from weight_conversion.errors import reading


def read_checkpoint(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """The arrays of a checkpoint by the publisher's own keys; nothing in the file is run.

    Args:
        path: an ONNX graph by its suffix `.onnx`; by its content a safetensors file or else a torch checkpoint.

    Raises:
        CheckpointError: in one line, with the file's name, what was found and what was expected.
        ImportError: for an ONNX graph, if the `onnx` package is not installed.
    """
    if os.fspath(path).endswith(".onnx"):
        return onnx_file.read(path)
    with reading(path, "a file of weights"), open(path, "rb") as file:
        start = file.read(9)
    return safetensors_file.read(path) if safetensors_file.is_header(start) else torch_file.read(path)


def sha256(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file in hexadecimal digits.

    Raises:
        CheckpointError: if the file cannot be read.
    """
    with reading(path, "a file of weights"):
        return files.sha256(path)
