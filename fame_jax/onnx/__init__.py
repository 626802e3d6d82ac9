"""Any ONNX file as a differentiable network in JAX.

Example:
    >>> network = read("w600k_r50.onnx", photometry="insightface")
    >>> embedding = network(image)
"""

try:
    import onnx  # noqa: F401 - all of this room needs it.
except ImportError as error:
    raise ImportError("ONNX files are read by onnx: pip install 'fame-jax[onnx]'") from error

from fame_jax.onnx.errors import GraphError, MissingOperatorsError
from fame_jax.onnx.from_torch import from_torch
from fame_jax.onnx.graph import Tensor
from fame_jax.onnx.inspection import Candidate, Inspection, inspect
from fame_jax.onnx.network import OnnxNetwork
from fame_jax.onnx.photometry import PHOTOMETRY, Photometry
from fame_jax.onnx.reading import read

__all__ = [
    "PHOTOMETRY",
    "Candidate",
    "GraphError",
    "Inspection",
    "MissingOperatorsError",
    "OnnxNetwork",
    "Photometry",
    "Tensor",
    "from_torch",
    "inspect",
    "read",
]
