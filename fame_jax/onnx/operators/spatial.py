"""Operators on feature maps: convolutions, windows, batch norm, resizing. All take `[N, rows, columns, C]`."""

import functools
import math
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jax import lax

from fame_jax.architectures import layers
from fame_jax.onnx.errors import GraphError
from fame_jax.onnx.operators.table import Axes, Call, Values, bounded, operator

spatial = functools.partial(operator, axes=Axes.CHANNELS_LAST)

Pads = tuple[tuple[int, int], ...]

_WIDEST = 1024
"""Side of a window that slides: each place of it is an operation of its own."""


def window(call: Call, x: Values, taps: Sequence[int]) -> tuple[tuple[int, ...], tuple[int, ...], Pads]:
    """Strides, dilations and padding of a window along the axes between batch and channels."""
    rank = x.ndim - 2
    if rank < 1 or len(taps) != rank:
        raise GraphError(f"a window of {len(taps)} axes on an input of {x.ndim}")
    strides, dilations = (tuple(call.get(key, (1,) * rank)) for key in ("strides", "dilations"))
    pads = call.get("pads", (0,) * 2 * rank)
    if len(strides) != rank or len(dilations) != rank or len(pads) != 2 * rank or min(*strides, *dilations, *taps) < 1:
        raise GraphError(f"strides {strides}, dilations {dilations}, pads {pads}, window {tuple(taps)}")
    pairs = tuple(zip(pads[:rank], pads[rank:], strict=True))
    mode = call.get("auto_pad", "NOTSET")
    if mode == "VALID":
        pairs = ((0, 0),) * rank
    elif mode.startswith("SAME"):
        reach = [(t - 1) * d + 1 for t, d in zip(taps, dilations, strict=True)]
        missing = [max(0, (-(-n // s) - 1) * s + r - n) for n, s, r in zip(x.shape[1:-1], strides, reach, strict=True)]
        pairs = tuple((m // 2, m - m // 2) if mode == "SAME_UPPER" else (m - m // 2, m // 2) for m in missing)
    bounded([n + sum(pair) for n, pair in zip(x.shape[1:-1], pairs, strict=True)])
    return strides, dilations, pairs


@spatial("Conv")
def _conv(call: Call, x: Values, kernel: Values, bias: Values | None = None) -> Values:
    groups = call.get("group", 1)
    if x.ndim != kernel.ndim or x.shape[-1] != kernel.shape[1] * groups or kernel.shape[0] % groups:
        raise GraphError(f"a kernel {kernel.shape} in {groups} groups on {x.shape[-1]} channels and {x.ndim} axes")
    strides, dilations, pads = window(call, x, kernel.shape[2:])
    kernel = jnp.moveaxis(jnp.asarray(kernel, x.dtype), (0, 1), (-1, -2))
    if x.ndim == 4 and set(dilations) == {1}:
        y = layers.convolution(x, kernel, strides, pads, feature_group_count=groups)
    else:
        y = lax.conv_general_dilated(
            x,
            kernel,
            strides,
            pads,
            rhs_dilation=dilations,
            dimension_numbers=_layout(x.ndim),
            feature_group_count=groups,
        )
    return y if bias is None else y + _channels(bias, y)


@spatial("ConvTranspose")
def _conv_transpose(call: Call, x: Values, kernel: Values, bias: Values | None = None) -> Values:
    rank, groups, taps = x.ndim - 2, call.get("group", 1), kernel.shape[2:]
    strides, dilations, pads = window(call, x, taps)
    extra = call.get("output_padding", (0,) * rank)
    reach = [(t - 1) * d + 1 for t, d in zip(taps, dilations, strict=True)]
    full = [(n - 1) * s + r + e for n, s, r, e in zip(x.shape[1:-1], strides, reach, extra, strict=True)]
    mode, wanted = call.get("auto_pad", "NOTSET"), call.get("output_shape")
    if wanted is None and mode.startswith("SAME"):
        wanted = [n * s for n, s in zip(x.shape[1:-1], strides, strict=True)]
    if wanted is not None:
        over = [f - w for f, w in zip(full, wanted[-rank:], strict=True)]
        extra = [e + max(0, -o) for e, o in zip(extra, over, strict=True)]
        halves = [(max(0, o) // 2, max(0, o) - max(0, o) // 2) for o in over]
        pads = tuple(half if mode == "SAME_UPPER" else half[::-1] for half in halves)
    bounded([x.shape[0], *full])
    # Groups of the input channels are next to each other; those of a convolution's output have to be.
    shape = (groups, kernel.shape[0] // groups, *kernel.shape[1:])
    split = jnp.flip(jnp.asarray(kernel, x.dtype), tuple(range(2, kernel.ndim))).reshape(shape)
    turned = jnp.moveaxis(split, (1, 0, 2), (-3, -2, -1)).reshape(*taps, shape[1], -1)
    padding = [(r - 1 - a, r - 1 - b + e) for r, (a, b), e in zip(reach, pads, extra, strict=True)]
    y = lax.conv_general_dilated(
        x,
        turned,
        (1,) * rank,
        padding,
        lhs_dilation=strides,
        rhs_dilation=dilations,
        dimension_numbers=_layout(x.ndim),
        feature_group_count=groups,
    )
    return y if bias is None else y + _channels(bias, y)


def _layout(ndim: int) -> tuple[str, str, str]:
    axes = "DHW"[5 - ndim :]
    return f"N{axes}C", f"{axes}IO", f"N{axes}C"


def _channels(values: Values, x: Values) -> Values:
    """One value a channel, of the rank of a map and its type."""
    if values.shape != x.shape[-1:]:
        raise GraphError(f"parameters {list(values.shape)} for {x.shape[-1]} channels; expected one each")
    return jnp.asarray(values, x.dtype).reshape((1,) * (x.ndim - 1) + (-1,))


@spatial("MaxPool")
def _max_pool(call: Call, x: Values) -> Values:
    if len([name for name in call.node.outputs if name]) > 1:
        raise GraphError("the places of maxima are not supported")
    return _slide(call, x, layers.first_largest, -jnp.inf)[0]


@spatial("AveragePool")
def _average_pool(call: Call, x: Values) -> Values:
    total, pads, strides, dilations = _slide(call, x, jnp.add, 0.0)
    counts = np.ones(())
    for i, taps in enumerate(call.get("kernel_shape")):
        before, after = pads[i]
        inside = np.zeros(x.shape[1 + i] + before + after + taps * dilations[i] + strides[i])
        counted = slice(0, len(inside) - taps * dilations[i] - strides[i])
        if not call.get("count_include_pad", 0):
            counted = slice(before, before + x.shape[1 + i])
        inside[counted] = 1
        starts = np.arange(total.shape[1 + i]) * strides[i]
        along = inside[starts[:, None] + np.arange(taps)[None] * dilations[i]].sum(1)
        counts = counts[..., None] * along
    return total / jnp.asarray(counts, x.dtype)[None, ..., None]


def _slide(call: Call, x: Values, merge, padding_value: float):
    """A window's values merged along one axis after the other, as shifted slices: their gradient is fast on CPU."""
    taps = call.get("kernel_shape")
    strides, dilations, pads = window(call, x, taps)
    if max(taps) > _WIDEST:
        raise GraphError(f"a window of {tuple(taps)}; expected at most {_WIDEST} a side")
    y = x
    for axis in reversed(range(len(taps))):
        before, after = pads[axis]
        reach, stride, size = (taps[axis] - 1) * dilations[axis] + 1, strides[axis], x.shape[1 + axis]
        steps = (size + before + after - reach) / stride
        count = (math.ceil(steps) if call.get("ceil_mode", 0) else math.floor(steps)) + 1
        if call.get("ceil_mode", 0) and (count - 1) * stride >= size + before:
            count -= 1
        if count < 1:
            raise GraphError(f"a window of {tuple(taps)} on a map of {x.shape[1:-1]}")
        last = (count - 1) * stride + reach
        widths = [(0, 0, 0)] * x.ndim
        widths[1 + axis] = (before, last - size - before, 0)
        padded = lax.pad(y, jnp.asarray(padding_value, x.dtype), widths)
        span = (count - 1) * stride + 1
        y = functools.reduce(
            merge,
            (
                lax.slice_in_dim(padded, i * dilations[axis], i * dilations[axis] + span, stride, 1 + axis)
                for i in range(taps[axis])
            ),
        )
    return y, pads, strides, dilations


@spatial("GlobalAveragePool")
def _global_average_pool(call: Call, x: Values) -> Values:
    return jnp.mean(x, axis=tuple(range(1, x.ndim - 1)), keepdims=True)


@spatial("GlobalMaxPool")
def _global_max_pool(call: Call, x: Values) -> Values:
    return jnp.max(x, axis=tuple(range(1, x.ndim - 1)), keepdims=True)


@spatial("BatchNormalization")
def _batch_normalization(call: Call, x: Values, scale: Values, shift: Values, mean: Values, variance: Values) -> Values:
    if call.get("training_mode", 0):
        raise GraphError("it uses the statistics of the batch; export the network in evaluation mode")
    if not call.get("spatial", 1):
        raise GraphError("statistics of each place are not supported, only those of each channel")
    slope = scale * lax.rsqrt(jnp.asarray(variance, x.dtype) + call.get("epsilon", 1e-5))
    return x * _channels(slope, x) + _channels(shift - mean * slope, x)


@spatial("InstanceNormalization")
def _instance_normalization(call: Call, x: Values, scale: Values, shift: Values) -> Values:
    normalised = _normalised(x, tuple(range(1, x.ndim - 1)), call.get("epsilon", 1e-5))
    return normalised * _channels(scale, x) + _channels(shift, x)


@spatial("GroupNormalization")
def _group_normalization(call: Call, x: Values, scale: Values, shift: Values) -> Values:
    groups = call.get("num_groups")
    split = x.reshape(*x.shape[:-1], groups, -1)
    axes = (*range(1, x.ndim - 1), x.ndim)
    normalised = _normalised(split, axes, call.get("epsilon", 1e-5)).reshape(x.shape)
    if scale.size == groups != x.shape[-1]:  # Opset 18.
        scale, shift = (jnp.repeat(v, x.shape[-1] // groups) for v in (scale, shift))
    return normalised * _channels(scale, x) + _channels(shift, x)


def _normalised(x: Values, axes: tuple[int, ...], epsilon: float) -> Values:
    x = x - jnp.mean(x, axis=axes, keepdims=True)
    return x * lax.rsqrt(jnp.mean(jnp.square(x), axis=axes, keepdims=True) + epsilon)


@spatial("LRN")
def _lrn(call: Call, x: Values) -> Values:
    size, channels = call.get("size"), x.shape[-1]
    if size > _WIDEST:
        raise GraphError(f"a window of {size} channels; expected at most {_WIDEST}")
    widths = ((0, 0),) * (x.ndim - 1) + (((size - 1) // 2, size // 2),)
    squares = jnp.pad(jnp.square(x), widths)
    total = functools.reduce(jnp.add, (squares[..., i : i + channels] for i in range(size)))
    return x / (call.get("bias", 1.0) + call.get("alpha", 1e-4) / size * total) ** call.get("beta", 0.75)


@spatial("DepthToSpace")
def _depth_to_space(call: Call, x: Values) -> Values:
    n, rows, columns, _ = x.shape
    size = call.get("blocksize")
    if call.get("mode", "DCR") == "DCR":
        blocks = x.reshape(n, rows, columns, size, size, -1)
    else:
        blocks = jnp.moveaxis(x.reshape(n, rows, columns, -1, size, size), 3, 5)
    return blocks.transpose(0, 1, 3, 2, 4, 5).reshape(n, rows * size, columns * size, -1)


@spatial("SpaceToDepth")
def _space_to_depth(call: Call, x: Values) -> Values:
    n, rows, columns, channels = x.shape
    size = call.get("blocksize")
    blocks = x.reshape(n, rows // size, size, columns // size, size, channels).transpose(0, 1, 3, 2, 4, 5)
    return blocks.reshape(n, rows // size, columns // size, size * size * channels)
