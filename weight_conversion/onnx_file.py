"""The constants of an ONNX graph, read by the `onnx` package."""

import os

import numpy as np

from weight_conversion.errors import CheckpointError, reading


def read(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Every initializer of an ONNX graph by its name.

    Raises:
        CheckpointError: if the file cannot be read, is cut short, has no initializers, or keeps them in other files.
        ImportError: if the `onnx` package is not installed.
    """
    try:
        import onnx
        import onnx.numpy_helper
    except ImportError as error:
        raise ImportError(f"{os.fspath(path)}: ONNX files are read by onnx: pip install 'fame-jax[onnx]'") from error
    with reading(path, "an ONNX graph with its weights"):
        initializers = onnx.load(path, load_external_data=False).graph.initializer
        if not initializers:
            raise CheckpointError("no initializers")
        for tensor in initializers:
            if tensor.data_location == onnx.TensorProto.EXTERNAL:
                raise CheckpointError(f"{tensor.name!r} is kept in another file")
        return {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in initializers}
