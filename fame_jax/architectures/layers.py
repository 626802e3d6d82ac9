"""Layers that the networks share: convolutions whose input gradient is fast, pooling, per-channel PReLU, batch norm.

A walk needs the gradient with respect to the pixels, hundreds of times. XLA's CPU backend lowers that gradient of a
convolution, of a grouped convolution and of max pooling to code that is 4 to 80 times slower than it has to be, so
`convolution` states each of them as operations that have a fast path. Which form is used is decided here and nowhere
else, when a network is traced: the plain one everywhere but on CPU.
"""

import functools
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax
from jaxtyping import Array, Float

Map = Float[Array, "_rows _columns _channels"]
"""A map on its way through a network; a layer may change every axis."""

Maps = Float[Array, "_batch _rows _columns _channels"]
Kernel = Float[Array, "height width in out"]
Pad = tuple[tuple[int, int], tuple[int, int]]

_LAYOUT = ("NHWC", "HWIO", "NHWC")

_FEW_PIXELS, _FEW_CHANNELS, _LONG_ROW = 64, 64, 112
"""Where another shape of a convolution is faster, see `_in_the_best_shape`; measured with JAX 0.10.2 on two cores."""


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
        conv_general_dilated=convolution,
        rngs=rngs,
    )


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


def layer_norm(features: int, *, dtype: Any = jnp.float32, rngs: nnx.Rngs) -> nnx.LayerNorm:
    """`nnx.LayerNorm` over the channels with epsilon 1e-6, the variance as a mean of squared deviations."""
    return nnx.LayerNorm(features, epsilon=1e-6, use_fast_variance=False, param_dtype=dtype, rngs=rngs)


@jax.custom_jvp
def gelu(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """`x Phi(x)` with the normal distribution's exact Phi; its derivative is one factor, where autodiff keeps five."""
    return x * _normal_distribution(x)


@gelu.defjvp
def _gelu_derivative(values: tuple[jax.Array], slopes: tuple[jax.Array]) -> tuple[jax.Array, jax.Array]:
    (x,), (slope,) = values, slopes
    share = _normal_distribution(x)
    density = jnp.exp(-(x**2) / 2) / math.sqrt(2 * math.pi)
    return x * share, (share + x * density) * slope


def _normal_distribution(x: jax.Array) -> jax.Array:
    return (1 + lax.erf(x / math.sqrt(2))) / 2


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

    def first_largest(a: jax.Array, b: jax.Array) -> jax.Array:
        return jnp.where(b > a, b, a)

    return functools.reduce(first_largest, (shifted(i, j) for i in range(size) for j in range(size)))


def convolution(
    x: Maps,
    kernel: Kernel,
    strides: Sequence[int],
    padding: Sequence[tuple[int, int]],
    *,
    lhs_dilation: Sequence[int] = (1, 1),
    rhs_dilation: Sequence[int] = (1, 1),
    feature_group_count: int = 1,
    precision: Any = None,
    **unused: Any,
) -> Maps:
    """Stands in for `jax.lax.conv_general_dilated` inside `nnx.Conv`: the same values and gradients, sooner on CPU.

    Args:
        x: `[batch, rows, columns, channels]`.
        kernel: `[height, width, channels / groups, out]`.
        strides: one for rows and columns each.
        padding: before and after, for rows and columns each.
        lhs_dilation: must be ones.
        rhs_dilation: must be ones.
        feature_group_count: groups.
        precision: of the products, see `jax.lax.Precision`.
        **unused: what `nnx.Conv` passes beyond that and this layout fixes.
    """
    if any(d != 1 for d in (*lhs_dilation, *rhs_dilation)):
        raise ValueError(f"convolution: dilation is not supported, got {lhs_dilation=} and {rhs_dilation=}.")
    stride: tuple[int, int] = (strides[0], strides[1])
    pad: Pad = ((padding[0][0], padding[0][1]), (padding[1][0], padding[1][1]))
    if jax.default_backend() != "cpu":
        return _plain(x, kernel, stride, pad, feature_group_count, precision)
    if feature_group_count == 1:
        if kernel.shape[:2] == (1, 1) and pad == ((0, 0), (0, 0)):
            return _pointwise(x, kernel, stride, precision)
        return _dense(x, kernel, stride, pad, precision)
    if kernel.shape[2] == 1 and feature_group_count == kernel.shape[3]:
        return _depthwise(x, kernel, stride, pad)
    return _plain(x, kernel, stride, pad, feature_group_count, precision)


def _plain(x: Maps, kernel: Kernel, stride: tuple[int, int], pad: Pad, groups: int, precision: Any) -> Maps:
    return lax.conv_general_dilated(
        x, kernel, stride, pad, dimension_numbers=_LAYOUT, feature_group_count=groups, precision=precision
    )


def _pointwise(x: Maps, kernel: Kernel, stride: tuple[int, int], precision: Any) -> Maps:
    """A 1x1 convolution is a matrix product over the pixels."""
    return jnp.einsum("brci,io->brco", x[:, :: stride[0], :: stride[1]], kernel[0, 0], precision=precision)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4))
def _dense(x: Maps, kernel: Kernel, stride: tuple[int, int], pad: Pad, precision: Any) -> Maps:
    return _in_the_best_shape(x, kernel, stride, pad, precision)


def _dense_forward(x: Maps, kernel: Kernel, stride: tuple[int, int], pad: Pad, precision: Any):
    return _dense(x, kernel, stride, pad, precision), (x, kernel)


def _dense_backward(stride: tuple[int, int], pad: Pad, precision: Any, saved: tuple[Maps, Kernel], slope: Maps):
    x, kernel = saved
    _, of_kernel = jax.vjp(lambda k: _plain(x, k, stride, pad, 1, precision), kernel)
    return _input_gradient(slope, kernel, (x.shape[1], x.shape[2]), stride, pad, precision), *of_kernel(slope)


_dense.defvjp(_dense_forward, _dense_backward)


def _input_gradient(
    slope: Maps, kernel: Kernel, size: tuple[int, int], stride: tuple[int, int], pad: Pad, precision: Any
) -> Maps:
    """The gradient of a convolution with respect to its input, as one forward convolution of stride 1.

    Input row `s*i + r` (phase r of s) meets the taps `t` with `t = r + p (mod s)` at output rows `i + (r+p-t)/s`: a
    convolution of the output's gradient for each phase. All phases are channels of one convolution, and depth-to-space
    puts them side by side.
    """
    (rows, row_pad), (columns, column_pad) = (
        _phases(kernel.shape[a], stride[a], pad[a][0], size[a], slope.shape[1 + a]) for a in (0, 1)
    )
    # taps[offset, phase] is the tap used there, or the index of an appended row of zeros.
    padded = jnp.pad(kernel, ((0, 1), (0, 1), (0, 0), (0, 0)))
    phases = padded[rows[:, None, :, None], columns[None, :, None, :]]  # [oh, ow, sh, sw, in, out]
    oh, ow, sh, sw, channels, out = phases.shape
    flipped = phases.transpose(0, 1, 5, 2, 3, 4).reshape(oh, ow, out, sh * sw * channels)
    pieces = _in_the_best_shape(slope, flipped, (1, 1), (row_pad, column_pad), precision)
    return _depth_to_space(pieces, sh, sw)[:, : size[0], : size[1]]


def _in_the_best_shape(x: Maps, kernel: Kernel, stride: tuple[int, int], pad: Pad, precision: Any) -> Maps:
    """A convolution whose output has rows of few pixels or pixels of few channels, as one of another shape.

    XLA's CPU backend shares the work of a convolution among threads by pixels of a row and by channels, in pieces of
    about 100 and 64: the 56 pixels of 64 channels in the first stage of a ResNet are one piece, and one thread's.
    """
    rows, columns = ((x.shape[1 + a] + sum(pad[a]) - kernel.shape[a]) // stride[a] + 1 for a in (0, 1))
    if rows * columns <= _FEW_PIXELS:
        return _product_of_patches(x, kernel, stride, pad, precision)
    if stride == (1, 1) and kernel.shape[3] <= _FEW_CHANNELS and columns < _LONG_ROW and columns % 2 == 0:
        return _pairs_of_columns(x, kernel, pad, precision)
    return _plain(x, kernel, stride, pad, 1, precision)


def _product_of_patches(x: Maps, kernel: Kernel, stride: tuple[int, int], pad: Pad, precision: Any) -> Maps:
    """One matrix product of all patches with the kernel."""
    x = lax.pad(x, jnp.zeros((), x.dtype), ((0, 0, 0), (*pad[0], 0), (*pad[1], 0), (0, 0, 0)))
    height, width, channels, out = kernel.shape
    patches = [_strided(x, i, j, (height, width), stride) for i in range(height) for j in range(width)]
    matrix = kernel.reshape(height * width * channels, out)
    return jnp.einsum("brci,io->brco", jnp.concatenate(patches, axis=-1), matrix, precision=precision)


def _pairs_of_columns(x: Maps, kernel: Kernel, pad: Pad, precision: Any) -> Maps:
    """Every second column of twice the channels: those of one column, then those of the next."""
    both = (jnp.pad(kernel, ((0, 0), (i, 1 - i), (0, 0), (0, 0))) for i in (0, 1))
    pairs = _plain(x, jnp.concatenate(tuple(both), axis=-1), (1, 2), pad, 1, precision)
    batch, rows, columns, channels = pairs.shape
    return pairs.reshape(batch, rows, 2 * columns, channels // 2)


def _strided(x: Maps, i: int, j: int, taps: tuple[int, int], stride: tuple[int, int]) -> Maps:
    """What tap `(i, j)` of a kernel sees of a padded map."""
    rows, columns = ((x.shape[1 + a] - taps[a]) // stride[a] * stride[a] + 1 for a in (0, 1))
    return x[:, i : i + rows : stride[0], j : j + columns : stride[1]]


def _phases(taps: int, stride: int, pad: int, size: int, out: int) -> tuple[Any, tuple[int, int]]:
    """For one axis: which tap each phase uses at each offset, and the padding of the gradient that goes with it."""
    offset_of = {
        (r, t): (r + pad - t) // stride for r in range(stride) for t in range(taps) if not (r + pad - t) % stride
    }
    low, high = min(offset_of.values()), max(offset_of.values())
    table = [[taps] * stride for _ in range(high - low + 1)]
    for (r, t), offset in offset_of.items():
        table[offset - low][r] = t
    count = -(-size // stride)
    return jnp.asarray(table), (-low, count - 1 + high - (out - 1))


def _depth_to_space(x: Maps, sh: int, sw: int) -> Maps:
    if sh == sw == 1:
        return x
    batch, rows, columns, channels = x.shape
    x = x.reshape(batch, rows, columns, sh, sw, channels // (sh * sw))
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(batch, rows * sh, columns * sw, -1)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _depthwise(x: Maps, kernel: Kernel, stride: tuple[int, int], pad: Pad) -> Maps:
    """One kernel a channel: a sum over taps of a shifted slice times a row of weights."""
    # Kept apart from what makes it: XLA would compute that anew for every tap.
    x = lax.optimization_barrier(jnp.pad(x, ((0, 0), *pad, (0, 0))))
    height, width = kernel.shape[:2]

    def term(i: int, j: int) -> jax.Array:
        return _strided(x, i, j, (height, width), stride) * kernel[i, j, 0][None, None, None]

    return functools.reduce(jnp.add, (term(i, j) for i in range(height) for j in range(width)))


def _depthwise_forward(x: Maps, kernel: Kernel, stride: tuple[int, int], pad: Pad):
    return _depthwise(x, kernel, stride, pad), (x, kernel)


def _depthwise_backward(stride: tuple[int, int], pad: Pad, saved: tuple[Maps, Kernel], slope: Maps):
    x, kernel = saved
    # Through the sum of taps: the batching rules of a grouped convolution do not nest as deep as methods do.
    _, of_kernel = jax.vjp(lambda k: _depthwise.fun(x, k, stride, pad), kernel)  # type: ignore[attr-defined]
    return _depthwise_input_gradient(slope, kernel, (x.shape[1], x.shape[2]), stride, pad), *of_kernel(slope)


_depthwise.defvjp(_depthwise_forward, _depthwise_backward)


def _depthwise_input_gradient(
    slope: Maps, kernel: Kernel, size: tuple[int, int], stride: tuple[int, int], pad: Pad
) -> Maps:
    """As `_input_gradient`, with shifted slices for each phase; negative padding crops."""
    (rows, row_pad), (columns, column_pad) = (
        _phases(kernel.shape[a], stride[a], pad[a][0], size[a], slope.shape[1 + a]) for a in (0, 1)
    )
    slope = lax.pad(slope, jnp.zeros((), slope.dtype), ((0, 0, 0), (*row_pad, 0), (*column_pad, 0), (0, 0, 0)))
    padded = jnp.pad(kernel, ((0, 1), (0, 1), (0, 0), (0, 0)))
    pieces: list[Any] = [
        _depthwise(slope, padded[rows[:, r]][:, columns[:, c]], (1, 1), ((0, 0), (0, 0)))
        for r in range(stride[0])
        for c in range(stride[1])
    ]
    return _depth_to_space(jnp.concatenate(pieces, axis=-1), *stride)[:, : size[0], : size[1]]
