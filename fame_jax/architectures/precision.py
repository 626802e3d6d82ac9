"""Precision as one argument, from the command line to the last matrix product."""

from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import nnx

from fame_jax.architectures.standardized import Standardized

Precision = Literal["float64", "float32", "tf32", "bfloat16"]

# Name: dtype of image and walk, dtype of the network, precision of its products.
# `high` is TF32 on NVIDIA cards; on CPU it is float32 like `highest`.
_PRECISIONS: dict[str, tuple[Any, Any, jax.lax.Precision]] = {
    "float64": (jnp.float64, jnp.float64, jax.lax.Precision.HIGHEST),
    "float32": (jnp.float32, jnp.float32, jax.lax.Precision.HIGHEST),
    "tf32": (jnp.float32, jnp.float32, jax.lax.Precision.HIGH),
    "bfloat16": (jnp.float32, jnp.bfloat16, jax.lax.Precision.DEFAULT),
}


class PrecisionError(ValueError):
    """A precision that does not exist or is not switched on."""


def image_dtype(precision: Precision) -> Any:
    """Dtype of the image, and so of the walk: float64 for `float64`, else float32.

    Raises:
        PrecisionError: for an unknown name, or for float64 while JAX is limited to 32 bits.
    """
    if precision not in _PRECISIONS:
        raise PrecisionError(f"precision={precision!r}; expected one of {', '.join(_PRECISIONS)}.")
    if precision == "float64" and not jax.config.read("jax_enable_x64"):
        raise PrecisionError(
            "precision='float64' needs 64-bit JAX: call jax.config.update('jax_enable_x64', True) first, "
            "or set JAX_ENABLE_X64=1."
        )
    return _PRECISIONS[precision][0]


def precision_of(precision: Precision) -> tuple[Any, Any, jax.lax.Precision]:
    """Dtypes of image and network, and the precision of products; see `image_dtype` for errors."""
    image_dtype(precision)
    return _PRECISIONS[precision]


def with_precision(network: Any, precision: Precision) -> Any:
    """The same network computing in another precision; its input and output keep the image's dtype.

    Raises:
        PrecisionError: see `image_dtype`.
    """
    _, dtype, products = precision_of(precision)
    graph, state = nnx.split(network)
    state = jax.tree.map(lambda x: jnp.asarray(x, dtype) if jnp.issubdtype(x.dtype, jnp.floating) else x, state)
    network = nnx.merge(graph, state)
    for _, module in nnx.iter_modules(network):
        if hasattr(module, "precision"):
            setattr(module, "precision", products)  # noqa: B010 - not every module declares it.
    if isinstance(network, Standardized):
        network.dtype = dtype
    return network
