"""Operators that make, move and rearrange values without computing any."""

import functools
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fame_jax.onnx.errors import GraphError
from fame_jax.onnx.operators.elementwise import broadcast
from fame_jax.onnx.operators.table import Axes, Call, ChannelsLast, Values, bounded, known, operator
from fame_jax.onnx.tensors import dtype

written = functools.partial(operator, folds=True)
any_order = functools.partial(operator, axes=Axes.ANY, folds=True)


@written("Shape")
def _shape(call: Call, x: Values) -> np.ndarray:
    return np.asarray(x.shape[call.get("start", 0) : call.get("end")], np.int64)


@written("Size")
def _size(call: Call, x: Values) -> np.ndarray:
    return np.asarray(x.size, np.int64)


@written("Reshape")
def _reshape(call: Call, x: Values, shape: Values) -> Values:
    wanted = [*call.numbers(shape, "shape")]
    if not call.get("allowzero", 0):
        wanted = [x.shape[i] if n == 0 else n for i, n in enumerate(wanted)]
    return x.reshape(wanted)


@written("Flatten")
def _flatten(call: Call, x: Values) -> Values:
    axis = call.get("axis", 1)
    return x.reshape(math.prod(x.shape[: axis if axis >= 0 else axis + x.ndim]), -1)


@written("Squeeze")
def _squeeze(call: Call, x: Values, axes: Values | None = None) -> Values:
    chosen = call.get("axes") if axes is None else call.numbers(axes, "axes")
    return call.np.squeeze(x, None if chosen is None else tuple(chosen))


@written("Unsqueeze")
def _unsqueeze(call: Call, x: Values, axes: Values | None = None) -> Values:
    return call.np.expand_dims(x, tuple(call.get("axes") if axes is None else call.numbers(axes, "axes")))


@any_order("Transpose")
def _transpose(call: Call, x: Values) -> Values:
    """Axes that end up as `[N, C, ...]` from `[N, ..., C]` are left where they are."""
    order = call.get("perm", tuple(reversed(range(x.ndim))))
    moved = tuple(call.axis(a, x.ndim) for a in order)
    if call.np is jnp and moved == (0, x.ndim - 1, *range(1, x.ndim - 1)) and x.ndim > 3:
        return ChannelsLast(x)
    return call.np.transpose(x, moved)


@any_order("Concat")
def _concat(call: Call, *x: Values) -> Values:
    return call.np.concatenate(x, axis=call.axis(call.get("axis"), x[0].ndim))


@any_order("Split")
def _split(call: Call, x: Values, sizes: Values | None = None) -> tuple[Values, ...]:
    axis = call.axis(call.get("axis", 0), x.ndim)
    pieces = call.get("split") if sizes is None else call.numbers(sizes, "sizes")
    if pieces is None:
        count = len(call.node.outputs)
        if call.version < 18 and x.shape[axis] % count:
            raise GraphError(f"{x.shape[axis]} values into {count} equal pieces")
        each = -(-x.shape[axis] // count)
        pieces = [each] * (count - 1) + [x.shape[axis] - each * (count - 1)]
    if sum(pieces) != x.shape[axis] or len(pieces) != len(call.node.outputs):
        raise GraphError(f"pieces of {tuple(pieces)}; expected {len(call.node.outputs)} that make {x.shape[axis]}")
    return tuple(call.np.split(x, np.cumsum(pieces)[:-1].tolist(), axis))


@any_order("Slice")
def _slice(call: Call, x: Values, *inputs: Values) -> Values:
    parts = [None if part is None else call.numbers(part, "slice") for part in inputs]
    old = [call.get(key) for key in ("starts", "ends", "axes")]
    starts, ends, axes, steps = (*(parts or old), None, None)[:4]
    index = [slice(None)] * x.ndim
    for i, (start, end) in enumerate(zip(starts or (), ends or (), strict=True)):
        axis, step = i if axes is None else axes[i], 1 if steps is None else steps[i]
        axis = call.axis(axis, x.ndim)
        if step < 0:
            # Backwards a slice begins with the first value at least, and an end beyond that is left out.
            start, end = max(start, -x.shape[axis]), None if end < -x.shape[axis] else end
        index[axis] = slice(start, end, step)
    return x[tuple(index)]


@written("Gather")
def _gather(call: Call, x: Values, places: Values) -> Values:
    axis = call.axis(call.get("axis", 0), x.ndim)
    bounded((*x.shape[:axis], *places.shape, *x.shape[axis + 1 :]))
    if isinstance(places, np.ndarray):
        _within([places], [x.shape[axis]])
        if call.np is jnp and places.ndim == 0:
            return jax.lax.index_in_dim(x, int(places) % x.shape[axis], axis, keepdims=False)
        places = places % max(x.shape[axis], 1)
    return call.np.take(x, places, axis=axis)


def _within(index: Sequence[Values], sizes: Sequence[int]) -> None:
    """Refuses places that are known and do not exist: JAX would take the nearest one, or none."""
    for places, size in zip(index, sizes, strict=False):
        if isinstance(places, np.ndarray) and places.size and not -size <= places.min() <= places.max() < size:
            raise GraphError(f"index {places.max()} or {places.min()} into {size} values")


def _along_axes(places: Values) -> tuple[Values, ...]:
    """Places `[..., axes]` as an index."""
    return tuple((np if isinstance(places, np.ndarray) else jnp).moveaxis(places, -1, 0))


@written("GatherElements")
def _gather_elements(call: Call, x: Values, places: Values) -> Values:
    axis, size = call.axis(call.get("axis", 0), x.ndim), x.shape
    others = [d for d in range(x.ndim) if d != axis]
    if x.ndim != places.ndim or any(size[d] < places.shape[d] for d in others):
        raise GraphError(f"indices {list(places.shape)} into {list(size)} along axis {axis}")
    _within([places], [size[axis]])
    # Along the other axes there may be fewer indices than values.
    x = x[tuple(slice(None if d == axis else n) for d, n in enumerate(places.shape))]
    return call.np.take_along_axis(x, call.np.where(places < 0, places + size[axis], places), axis)


@written("GatherND")
def _gather_nd(call: Call, x: Values, places: Values) -> Values:
    batch = call.get("batch_dims", 0)
    bounded((*places.shape[:-1], *x.shape[batch + places.shape[-1] :]))
    grid = call.np.meshgrid(*(np.arange(n) for n in x.shape[:batch]), indexing="ij") if batch else ()
    missing = places.ndim - 1 - batch
    index = [g.reshape(g.shape + (1,) * missing) for g in grid]
    chosen = _along_axes(places)
    _within(chosen, x.shape[batch:])
    return x[(*index, *chosen)]


@written("ScatterND")
def _scatter_nd(call: Call, x: Values, places: Values, updates: Values) -> Values:
    return _scatter(call, x, _along_axes(places), updates)


@written("ScatterElements", "Scatter")
def _scatter_elements(call: Call, x: Values, places: Values, updates: Values) -> Values:
    axis = call.axis(call.get("axis", 0), x.ndim)
    index = list(np.indices(places.shape))
    index[axis] = places
    return _scatter(call, x, tuple(index), updates)


def _scatter(call: Call, x: Values, index: tuple[Values, ...], updates: Values) -> Values:
    reduction = call.get("reduction", "none")
    _within(index, x.shape)
    expected = (*index[0].shape, *x.shape[len(index) :])
    if updates.shape != expected:
        raise GraphError(f"updates {list(updates.shape)} of {list(expected)} values")
    if call.np is jnp:
        method = {"none": "set", "add": "add", "mul": "multiply", "max": "max", "min": "min"}[reduction]
        return getattr(jnp.asarray(x).at[index], method)(updates)
    if reduction != "none":
        raise GraphError(f"reduction {reduction!r} of constants")
    changed = x.copy()
    changed[index] = updates
    return changed


@written("Expand")
def _expand(call: Call, x: Values, shape: Values) -> Values:
    return broadcast(call, x, np.broadcast_to(np.zeros((), bool), bounded(call.numbers(shape, "shape"))))[0]


@written("Tile")
def _tile(call: Call, x: Values, repeats: Values) -> Values:
    counts = call.numbers(repeats, "repeats")
    bounded([n * count for n, count in zip(x.shape, counts, strict=True)])
    return call.np.tile(x, counts)


@any_order("Pad")
def _pad(call: Call, x: Values, *inputs: Values) -> Values:
    amounts, value, chosen = (*inputs, None, None, None)[:3]
    mode = call.get("mode", "constant")
    pads = call.get("pads") if amounts is None else call.numbers(amounts, "amounts")
    axes = range(x.ndim) if chosen is None else call.numbers(chosen, "axes")
    fill = call.get("value", 0.0) if value is None or not value.size else known(value, "value").item()
    if len(pads) != 2 * len(axes):
        raise GraphError(f"{len(pads)} pads for {len(axes)} axes; expected two each")
    widths = [(0, 0)] * x.ndim
    for i, axis in enumerate(axes):
        widths[call.axis(axis, x.ndim)] = (pads[i], pads[len(pads) // 2 + i])
    bounded([n + before + after for n, (before, after) in zip(x.shape, widths, strict=True)])
    crop = tuple(slice(max(0, -a), n - max(0, -b)) for n, (a, b) in zip(x.shape, widths, strict=True))
    x, widths = x[crop], [(max(a, 0), max(b, 0)) for a, b in widths]
    if mode == "constant":
        return call.np.pad(x, widths, constant_values=call.np.asarray(fill, x.dtype))
    if mode == "wrap":
        for axis, (before, after) in enumerate(widths):
            size = x.shape[axis]
            x = call.np.take(x, np.arange(-before, size + after) % size, axis) if before or after else x
        return x
    if mode == "reflect" and any(max(width) >= n for n, width in zip(x.shape, widths, strict=True)):
        raise GraphError(f"pads {widths} reflect more than there is of {list(x.shape)}")
    return call.np.pad(x, widths, mode=mode)


@written("ConstantOfShape")
def _constant_of_shape(call: Call, shape: Values) -> np.ndarray:
    value = call.get("value", np.zeros(1, np.float32))
    return np.full(bounded(call.numbers(shape, "shape")), value.reshape(()), value.dtype)


@written("Range")
def _range(call: Call, *limits: Values) -> np.ndarray:
    start, end, step = (known(limit, "range").reshape(()) for limit in limits)
    count = max(0, math.ceil((float(end) - float(start)) / float(step)))
    return (start + np.arange(bounded((count,))[0]) * step).astype(start.dtype)


@written("EyeLike")
def _eye_like(call: Call, x: Values) -> np.ndarray:
    kind = x.dtype if call.get("dtype") is None else dtype(call.get("dtype"))
    return np.eye(*bounded(x.shape), k=call.get("k", 0), dtype=kind)


@written("Trilu")
def _trilu(call: Call, x: Values, k: Values | None = None) -> Values:
    offset = 0 if k is None else int(known(k, "diagonal"))
    return (call.np.triu if call.get("upper", 1) else call.np.tril)(x, offset)


@written("OneHot")
def _one_hot(call: Call, places: Values, depth: Values, values: Values) -> Values:
    count = int(known(depth, "depth").reshape(()))
    axis = call.get("axis", -1) % (places.ndim + 1)
    bounded((*places.shape, count))
    places = call.np.trunc(places) if jnp.issubdtype(places.dtype, jnp.floating) else places
    at = call.np.expand_dims(call.np.where(places < 0, places + count, places), axis)
    classes = np.arange(count).reshape([count if i == axis else 1 for i in range(places.ndim + 1)])
    off, on = values[0], values[1]
    return call.np.where(call.np.equal(*broadcast(call, at, classes.astype(at.dtype))), on, off)


@written("CumSum")
def _cum_sum(call: Call, x: Values, axis: Values) -> Values:
    along = call.axis(int(known(axis, "axis").reshape(())), x.ndim)
    x = call.np.flip(x, along) if call.get("reverse", 0) else x
    total = call.np.cumsum(x, along, dtype=x.dtype)
    if call.get("exclusive", 0):
        total = total - x
    return call.np.flip(total, along) if call.get("reverse", 0) else total


@operator("TopK")
def _top_k(call: Call, x: Values, k: Values | None = None) -> tuple[Any, Any]:
    axis = call.axis(call.get("axis", -1), x.ndim)
    count = call.get("k") if k is None else int(known(k, "k").reshape(()))
    moved = jnp.moveaxis(x, axis, -1)
    largest = call.get("largest", 1)
    values, places = jax.lax.top_k(moved if largest else -moved, count)
    return jnp.moveaxis(values if largest else -values, -1, axis), jnp.moveaxis(places, -1, axis)


@written("NonZero")
def _non_zero(call: Call, x: Values) -> np.ndarray:
    return np.stack(np.nonzero(known(x, "input"))).astype(np.int64)
