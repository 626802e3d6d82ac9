"""What the operators of ONNX compute, one function each, by family."""

from fame_jax.onnx.operators import elementwise, linear, resize, shape, spatial  # noqa: F401 - they fill the table.
from fame_jax.onnx.operators.table import OPERATORS, Axes, Call, ChannelsLast, bounded

__all__ = ["OPERATORS", "Axes", "Call", "ChannelsLast", "bounded"]
