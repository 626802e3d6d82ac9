"""Layers that the networks share: convolutions whose input gradient is fast, pooling, per-channel PReLU, batch norm."""

import functools
import math
from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax
from jaxtyping import Array, Float

from fame_jax.architectures.convolution import convolution

Map = Float[Array, "_rows _columns _channels"]
"""A map on its way through a network; a layer may change every axis."""


class Keyless(nnx.Rngs):
    """For a network whose weights are shapes, or come from a file: random ones, 1 s to trace, are left out."""

    def params(self) -> None:
        """No key."""


_RANDOM = nnx.initializers.lecun_normal()


def initial(key: Any, shape: tuple[int, ...], dtype: Any, random: Callable[..., jax.Array] = _RANDOM) -> jax.Array:
    """Random weights of a fresh network; zeros where `Keyless` gives the keys."""
    return jnp.zeros(shape, dtype) if key is None else random(key, shape, dtype)


def conv(
    in_features: int,
    out_features: int,
    size: int,
    *,
    stride: int = 1,
    padding: int = 0,
    groups: int = 1,
    bias: bool = False,
    dtype: Any = jnp.float32,
    rngs: nnx.Rngs,
) -> nnx.Conv:
    """A square `nnx.Conv` with PyTorch's explicit, symmetric padding and the fast input gradient."""
    return nnx.Conv(
        in_features,
        out_features,
        (size, size),
        strides=(stride, stride),
        padding=((padding, padding), (padding, padding)),
        feature_group_count=groups,
        use_bias=bias,
        param_dtype=dtype,
        kernel_init=initial,
        conv_general_dilated=convolution,
        rngs=rngs,
    )


def linear(inputs: int, outputs: int, *, dtype: Any = jnp.float32, rngs: nnx.Rngs) -> nnx.Linear:
    """`nnx.Linear` with a bias."""
    return nnx.Linear(inputs, outputs, kernel_init=initial, param_dtype=dtype, rngs=rngs)


def batch_norm(
    features: int, *, epsilon: float = 1e-5, affine: bool = True, dtype: Any = jnp.float32, rngs: nnx.Rngs
) -> nnx.BatchNorm:
    """`nnx.BatchNorm` by its stored statistics: a network that is explained is never in training mode."""
    return nnx.BatchNorm(
        features,
        use_running_average=True,
        epsilon=epsilon,
        use_scale=affine,
        use_bias=affine,
        param_dtype=dtype,
        rngs=rngs,
    )


class LayerNorm(nnx.LayerNorm):
    """`nnx.LayerNorm` of a `stored` input, which value and gradient read five times."""

    def __call__(self, x: Float[Array, "*rest channels"], **options: Any) -> Float[Array, "*rest channels"]:
        """Each location has mean and variance of its own, over the channels."""
        return super().__call__(stored(x), **options)


def layer_norm(features: int, *, dtype: Any = jnp.float32, rngs: nnx.Rngs) -> LayerNorm:
    """A layer norm over the channels with epsilon 1e-6, the variance as a mean of squared deviations."""
    return LayerNorm(features, epsilon=1e-6, use_fast_variance=False, param_dtype=dtype, rngs=rngs)


@jax.custom_jvp
def stored(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """`x`, exactly, which XLA's CPU backend computes once however many read it, and apart from them.

    It computes anew, wherever it is read, what is cheap and of one argument: a bias added to a depthwise convolution,
    and that with it. A choice it takes to be of two. An optimization barrier is gone before this is decided.
    """
    return jnp.where(x == x, x, jnp.nan)


@stored.defjvp
def _stored_derivative(values: tuple[jax.Array], slopes: tuple[jax.Array]) -> tuple[jax.Array, jax.Array]:
    return stored(*values), _apart(*slopes)


def _apart(slope: jax.Array) -> jax.Array:
    """The same, linear in it, but for the library of matrix products on CPU, which takes in elementwise work around.

    It does that badly: it wants each constant as an array. Rounding to a type's own precision it does not know.
    """
    kind = jnp.finfo(slope.dtype)
    return lax.reduce_precision(slope, kind.nexp, kind.nmant)


@jax.custom_jvp
def gelu(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """`x Phi(x)` with the normal distribution's exact Phi; its derivative is one factor, where autodiff keeps five."""
    return x * (1 + lax.erf(x / math.sqrt(2))) / 2


@gelu.defjvp
def _gelu_derivative(values: tuple[jax.Array], slopes: tuple[jax.Array]) -> tuple[jax.Array, jax.Array]:
    (x,), (slope,) = values, slopes
    # Phi of the other sign, so that XLA does not recognise it: it is sooner computed anew than kept until then.
    share = (1 - lax.erf(x / -math.sqrt(2))) / 2
    density = jnp.exp(-(x**2) / 2) / math.sqrt(2 * math.pi)
    return gelu(x), (share + x * density) * _apart(slope)


@jax.custom_jvp
def relu_of_sum(x: Float[Array, "*shape"], y: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """`max(x + y, 0)`, exactly, in a form that XLA keeps.

    The plain form is cheap and of one argument to XLA's CPU backend, which computes it anew wherever it is read: in a
    chain of residual blocks each from the outputs of up to six blocks before it. A sum with two users it stores.
    """
    return jnp.maximum(x, -y) + y


@relu_of_sum.defjvp
def _relu_of_sum_derivative(values: tuple[jax.Array, jax.Array], slopes: tuple[jax.Array, jax.Array]):
    out = relu_of_sum(*values)
    return out, jnp.where(out > 0, slopes[0] + slopes[1], 0)


def chain(layers: Iterable[Callable[[Any], Any]], x: Any) -> Any:
    """`x` through one layer after the other."""
    for layer in layers:
        x = layer(x)
    return x


class PReLU(nnx.Module):
    """`max(x, 0) + slope * min(x, 0)` with one slope a channel; `nnx.PReLU` has a single one."""

    def __init__(self, features: int, *, dtype: Any = jnp.float32):
        """Slopes start at 0.25, as in PyTorch."""
        self.slope = nnx.Param(jnp.full(features, 0.25, dtype))

    def __call__(self, x: Float[Array, "*rest channels"]) -> Float[Array, "*rest channels"]:
        """Elementwise; at 0 the gradient is the slope, as in PyTorch."""
        return jnp.where(x > 0, x, x * jnp.broadcast_to(self.slope[...], x.shape))


def first_largest(a: jax.Array, b: jax.Array) -> jax.Array:
    """The larger of two; among equals the gradient goes to the first, as in torch, and no NaN is lost."""
    return jnp.where((b > a) | (b != b), b, a)


def max_pool(
    x: Float[Array, "rows columns channels"], size: int, stride: int, padding: int = 0
) -> Float[Array, "out_rows out_columns channels"]:
    """Largest value of each window, padded by minus infinity; among equals the gradient goes to the first.

    Written as a maximum over shifted slices: the gradient of XLA's window reduction is slow on CPU.
    """
    x = jnp.pad(x, ((padding, padding), (padding, padding), (0, 0)), constant_values=-jnp.inf)
    rows, columns = ((n - size) // stride + 1 for n in x.shape[:2])

    def shifted(i: int, j: int) -> jax.Array:
        return x[i : i + (rows - 1) * stride + 1 : stride, j : j + (columns - 1) * stride + 1 : stride]

    return functools.reduce(first_largest, (shifted(i, j) for i in range(size) for j in range(size)))
