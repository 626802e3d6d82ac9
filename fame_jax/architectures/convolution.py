"""Convolution with a fast gradient with respect to its input, in a form for the platform that it is lowered for.

A walk needs the gradient with respect to the pixels, hundreds of times. XLA's CPU backend lowers that gradient of a
convolution and of a grouped convolution to code that is 4 to 80 times slower than it has to be, so each of them is
stated here as operations that have a fast path. Which form a program has is decided when it is lowered, and here alone:
`lax.platform_dependent` holds both, the plain one for everything but CPU.

A convolution is linear, and its derivative along `t` is the convolution of `t`. That is stated here as the transpose of
the fast input gradient: transposed once more by reverse mode it *is* the fast input gradient, and forward mode, higher
derivatives and any nesting of `vmap` work as for JAX's own.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_derivatives import SymbolicZero
from jaxtyping import Array, Float

from fame_jax.architectures import winograd
from fame_jax.hoist import repeated

Maps = Float[Array, "_batch _rows _columns _channels"]
Kernel = Float[Array, "height width in out"]
Pair = tuple[int, int]
Pad = tuple[Pair, Pair]

_LAYOUT = ("NHWC", "HWIO", "NHWC")

# Where another form of a convolution is faster on CPU; measured with JAX 0.10.2 on two cores.
_FEW_PIXELS = 64  # of the output: one product of patches
_SOME_PIXELS, _MANY_PIXELS = 700, 4096  # fewer products: from here on for a single pass, up to there for any
_FEW_CHANNELS, _MANY_CHANNELS = 32, 256  # fewer products: at least so many; so many are worth the way through memory
_IN_CACHE = 2**19  # numbers of both maps, for fewer channels than that


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
    """Stands in for `jax.lax.conv_general_dilated` inside `nnx.Conv`: the same values and derivatives, sooner on CPU.

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
    stride: Pair = (strides[0], strides[1])
    pad: Pad = ((padding[0][0], padding[0][1]), (padding[1][0], padding[1][1]))
    if feature_group_count == 1:
        if kernel.shape[:2] == (1, 1) and pad == ((0, 0), (0, 0)):
            return _pointwise(x, kernel, stride, precision)
        return _dense(x, kernel, stride, pad, precision)
    if kernel.shape[2] == 1 and feature_group_count == kernel.shape[3]:
        return _depthwise(x, kernel, stride, pad, precision)
    return _plain(x, kernel, stride, pad, precision, feature_group_count)


def _plain(x: Maps, kernel: Kernel, stride: Pair, pad: Pad, precision: Any, groups: int = 1) -> Maps:
    return lax.conv_general_dilated(
        x, kernel, stride, pad, dimension_numbers=_LAYOUT, feature_group_count=groups, precision=precision
    )


def _pointwise(x: Maps, kernel: Kernel, stride: Pair, precision: Any) -> Maps:
    """A 1x1 convolution is a matrix product over the pixels, on every platform."""
    return jnp.einsum("brci,io->brco", x[:, :: stride[0], :: stride[1]], kernel[0, 0], precision=precision)


def _nothing(x: Maps, kernel: Kernel, stride: Pair, pad: Pad) -> tuple[()]:
    return ()


def _with_fast_gradient(
    form: Callable[..., Maps], along: Callable[..., Maps], made_of: Callable[..., Any] = _nothing
) -> Callable[..., Maps]:
    """A convolution whose derivative with the input is `along(change, kernel, out, ...)`.

    Args:
        form: `form(x, kernel, made, ...)`, linear in `x`, and in the kernel with all that is made of it.
        along: see above.
        made_of: what is made of a kernel, linear in it. It is no part of what is differentiated by a rule of its own,
            so that a walk finds it and does it once, before its loop.
    """

    def derivative(stride: Pair, pad: Pad, precision: Any, values: tuple[Any, ...], changes: tuple[Any, ...]):
        (x, kernel, made), (of_x, of_kernel, of_made) = values, changes
        out, slopes = whole(x, kernel, made, stride, pad, precision), []
        if not isinstance(of_x, SymbolicZero):
            slopes.append(along(of_x, kernel, out, stride, pad, precision))
        if not isinstance(of_kernel, SymbolicZero):
            slopes.append(whole(x, of_kernel, of_made, stride, pad, precision))
        return out, functools.reduce(jnp.add, slopes)

    def convolved(x: Maps, kernel: Kernel, stride: Pair, pad: Pad, precision: Any) -> Maps:
        return whole(x, kernel, made_of(x, kernel, stride, pad), stride, pad, precision)

    whole = jax.custom_jvp(form, nondiff_argnums=(3, 4, 5))
    whole.defjvp(derivative, symbolic_zeros=True)
    return convolved


def _dense_form(x: Maps, kernel: Kernel, made: Any, stride: Pair, pad: Pad, precision: Any) -> Maps:
    on_cpu = _form_on_cpu(made, x, kernel, stride, pad)
    if on_cpu is _plain:
        return _plain(x, kernel, stride, pad, precision)
    return lax.platform_dependent(
        x,
        kernel,
        made,
        cpu=lambda x, _, made: on_cpu(x, made, stride, pad, precision),
        default=lambda x, kernel, _: _plain(x, kernel, stride, pad, precision),
    )


def _dense_along(change: Maps, kernel: Kernel, out: Maps, stride: Pair, pad: Pad, precision: Any) -> Maps:
    """The transpose of the input gradient as one forward convolution of stride 1.

    Input row `s*i + r` (phase r of s) meets the taps `t` with `t = r + p (mod s)` at output rows `i + (r+p-t)/s`: a
    convolution of the output's gradient for each phase. All phases are channels of one convolution, and depth-to-space
    puts them side by side.
    """
    (rows, row_pad), (columns, column_pad) = _phases_of_both(change, kernel, out, stride, pad)
    # taps[offset, phase] is the tap used there, or the index of an appended row of zeros.
    padded = jnp.pad(kernel, ((0, 1), (0, 1), (0, 0), (0, 0)))
    phases = padded[rows[:, None, :, None], columns[None, :, None, :]]  # [oh, ow, sh, sw, in, out]
    oh, ow, sh, sw, channels, features = phases.shape
    flipped = phases.transpose(0, 1, 5, 2, 3, 4).reshape(oh, ow, features, sh * sw * channels)
    made = _made_on_cpu(out, flipped, (1, 1), (row_pad, column_pad))
    on_cpu = _form_on_cpu(made, out, flipped, (1, 1), (row_pad, column_pad))

    def transposed(change: Maps, made: Any, _: jax.Array) -> jax.Array:
        def gradient(slope: Maps) -> Maps:
            pieces = on_cpu(slope, made, (1, 1), (row_pad, column_pad), precision)
            return _depth_to_space(pieces, sh, sw)[:, : change.shape[1], : change.shape[2]]

        return jax.linear_transpose(gradient, out)(change)[0]

    def plain(change: Maps, _: Any, kernel: jax.Array) -> jax.Array:
        return _plain(change, kernel, stride, pad, precision)

    if stride == (1, 1) and on_cpu is _plain:
        return transposed(change, made, kernel)
    return lax.platform_dependent(change, made, kernel, cpu=transposed, default=plain)


def _made_on_cpu(x: Maps, kernel: Kernel, stride: Pair, pad: Pad) -> Any:
    """What the fastest form on CPU makes of a kernel beforehand; the kernel itself where that is nothing.

    A 3x3 convolution is faster by fewer products, unless its sums go through the memory and are not worth that, for
    want of channels; and unless the pixels are too few to be worth the work on a kernel that is used but once.
    """
    pixels, (channels, out) = _pixels(x, kernel, stride, pad), kernel.shape[2:]
    few = _FEW_PIXELS if repeated.value else _SOME_PIXELS
    if stride != (1, 1) or kernel.shape[:2] != (winograd.TAPS,) * 2 or x.dtype.itemsize < 4:
        return kernel
    held = pixels * (channels + out) <= _IN_CACHE or min(channels, out) >= _MANY_CHANNELS
    worth = held and few < pixels <= _MANY_PIXELS and min(channels, out) >= _FEW_CHANNELS
    return winograd.prepared(kernel) if worth else kernel


def _form_on_cpu(made: Any, x: Maps, kernel: Kernel, stride: Pair, pad: Pad) -> Callable[..., Maps]:
    """The form for what was made of a kernel. Output of few pixels is one matrix product."""
    if isinstance(made, winograd.Prepared):
        return _of_fewer_products
    return _product_of_patches if _pixels(x, kernel, stride, pad) <= _FEW_PIXELS else _plain


def _pixels(x: Maps, kernel: Kernel, stride: Pair, pad: Pad) -> int:
    """Of the output."""
    rows, columns = ((x.shape[1 + a] + sum(pad[a]) - kernel.shape[a]) // stride[a] + 1 for a in (0, 1))
    return rows * columns


def _of_fewer_products(x: Maps, made: Any, stride: Pair, pad: Pad, precision: Any) -> Maps:
    return winograd.convolution(x, made, pad, precision)


def _product_of_patches(x: Maps, kernel: Kernel, stride: Pair, pad: Pad, precision: Any) -> Maps:
    """One matrix product of all patches with the kernel."""
    x = lax.pad(x, jnp.zeros((), x.dtype), ((0, 0, 0), (*pad[0], 0), (*pad[1], 0), (0, 0, 0)))
    height, width, channels, out = kernel.shape
    patches = [_strided(x, i, j, (height, width), stride) for i in range(height) for j in range(width)]
    matrix = kernel.reshape(height * width * channels, out)
    return jnp.einsum("brci,io->brco", jnp.concatenate(patches, axis=-1), matrix, precision=precision)


_dense = _with_fast_gradient(_dense_form, _dense_along, _made_on_cpu)


def _strided(x: Maps, i: int, j: int, taps: Pair, stride: Pair) -> Maps:
    """What tap `(i, j)` of a kernel sees of a padded map."""
    rows, columns = ((x.shape[1 + a] - taps[a]) // stride[a] * stride[a] + 1 for a in (0, 1))
    return x[:, i : i + rows : stride[0], j : j + columns : stride[1]]


def _phases_of_both(x: Maps, kernel: Kernel, out: Maps, stride: Pair, pad: Pad) -> list[tuple[Any, Pair]]:
    """`_phases` for rows and for columns."""
    return [_phases(kernel.shape[a], stride[a], pad[a][0], x.shape[1 + a], out.shape[1 + a]) for a in (0, 1)]


def _phases(taps: int, stride: int, pad: int, size: int, out: int) -> tuple[Any, Pair]:
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


# What is jitted here is traced, transposed and lowered once for each shape: blocks of a network are mostly alike, and
# their tens of operations are most of a program. Dense convolutions are few, and XLA fuses them less well so.
@functools.partial(jax.jit, static_argnums=(3, 4, 5))
def _depthwise_form(x: Maps, kernel: Kernel, _: tuple[()], stride: Pair, pad: Pad, precision: Any) -> Maps:
    def plain(x: Maps, kernel: Kernel) -> Maps:
        return _plain(x, kernel, stride, pad, precision, kernel.shape[3])

    return lax.platform_dependent(x, kernel, cpu=lambda x, kernel: _shifted_sum(x, kernel, stride, pad), default=plain)


def _depthwise_along(change: Maps, kernel: Kernel, out: Maps, stride: Pair, pad: Pad, precision: Any) -> Maps:
    """As `_dense_along`, with shifted slices for each phase; negative padding crops."""
    (rows, row_pad), (columns, column_pad) = _phases_of_both(change, kernel, out, stride, pad)

    # Outside of what is chosen by platform, where a walk finds it and does it once, before its loop.
    padded = jnp.pad(kernel, ((0, 1), (0, 1), (0, 0), (0, 0)))
    phases = [padded[rows[:, r]][:, columns[:, c]] for r in range(stride[0]) for c in range(stride[1])]
    return _depthwise_change(change, kernel, phases, out, stride, pad, (row_pad, column_pad), precision)


@functools.partial(jax.jit, static_argnums=(4, 5, 6, 7))
def _depthwise_change(
    change: Maps, kernel: Kernel, phases: list[jax.Array], out: Maps, stride: Pair, pad: Pad, pads: Pad, precision: Any
) -> Maps:
    """What a depthwise convolution makes of a change; `phases` are its taps, `pads` the padding, of the gradient."""

    def cpu(change: Maps, kernel: Kernel, phases: list[jax.Array]) -> Maps:
        def gradient(slope: Maps) -> Maps:
            pieces = [_shifted_sum(slope, phase, (1, 1), pads) for phase in phases]
            return _depth_to_space(jnp.concatenate(pieces, axis=-1), *stride)[:, : change.shape[1], : change.shape[2]]

        return jax.linear_transpose(gradient, out)(change)[0]

    def plain(change: Maps, kernel: Kernel, phases: list[jax.Array]) -> Maps:
        return _plain(change, kernel, stride, pad, precision, kernel.shape[3])

    return lax.platform_dependent(change, kernel, phases, cpu=cpu, default=plain)


_depthwise = _with_fast_gradient(_depthwise_form, _depthwise_along)


def _shifted_sum(x: Maps, kernel: Kernel, stride: Pair, pad: Pad) -> Maps:
    """One kernel a channel: a sum over taps of a shifted slice times a row of weights."""
    # Kept apart from what makes it: XLA would compute that anew for every tap.
    x = lax.optimization_barrier(lax.pad(x, jnp.zeros((), x.dtype), ((0, 0, 0), (*pad[0], 0), (*pad[1], 0), (0, 0, 0))))
    height, width = kernel.shape[:2]

    def term(i: int, j: int) -> jax.Array:
        return _strided(x, i, j, (height, width), stride) * kernel[i, j, 0][None, None, None]

    return functools.reduce(jnp.add, (term(i, j) for i in range(height) for j in range(width)))
