"""Matrix products, reductions, and what normalises over axes."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fame_jax.architectures.layers import stored
from fame_jax.onnx.errors import GraphError
from fame_jax.onnx.operators.elementwise import broadcast, magnitude
from fame_jax.onnx.operators.table import Axes, Call, Values, operator


@operator("MatMul")
def _matmul(call: Call, a: Values, b: Values) -> Values:
    return jnp.matmul(a, b)


@operator("Gemm")
def _gemm(call: Call, a: Values, b: Values, c: Values | None = None) -> Values:
    product = jnp.matmul(a.T if call.get("transA", 0) else a, b.T if call.get("transB", 0) else b)
    product = _times(product, call.get("alpha", 1.0))
    if c is None:
        return product
    return jnp.add(product, broadcast(call, _times(c, call.get("beta", 1.0)), product)[0])


def _times(x: Values, factor: float) -> Values:
    return x if factor == 1 else x * factor


@operator("Einsum")
def _einsum(call: Call, *x: Values) -> Values:
    if len(x) > 4:
        raise GraphError(f"{len(x)} factors; expected at most 4")
    return jnp.einsum(call.get("equation"), *x)


@operator("Softmax", "LogSoftmax", axes=Axes.ANY)
def _softmax(call: Call, x: Values) -> Values:
    function = jax.nn.softmax if call.node.operator == "Softmax" else jax.nn.log_softmax
    if call.version >= 13:
        return function(x, axis=call.axis(call.get("axis", -1), x.ndim))
    # Before, everything from an axis on was one.
    first = call.get("axis", 1) % x.ndim
    return function(x, axis=tuple(call.axis(a, x.ndim) for a in range(first, x.ndim)))


def _sum_of_squares(np_: Any, x: Values, **how: Any) -> Values:
    return np_.sum(np_.square(x), **how)


def _root(np_: Any, squares: Values) -> Values:
    """The root of a sum of squares; at zero its gradient is zero, as torch's norm has it, where the root has none."""
    zero = squares == 0
    return np_.where(zero, 0, np_.sqrt(np_.where(zero, 1, squares)))


_REDUCTIONS = {
    "ReduceL1": lambda np_, x, **how: np_.sum(magnitude(np_, x), **how),
    "ReduceL2": lambda np_, x, **how: _root(np_, _sum_of_squares(np_, x, **how)),
    "ReduceLogSum": lambda np_, x, **how: np_.log(np_.sum(x, **how)),
    "ReduceLogSumExp": lambda np_, x, **how: jax.nn.logsumexp(x, **how),
    "ReduceMax": lambda np_, x, **how: np_.max(x, **how),
    "ReduceMean": lambda np_, x, **how: np_.mean(x, **how),
    "ReduceMin": lambda np_, x, **how: np_.min(x, **how),
    "ReduceProd": lambda np_, x, **how: np_.prod(x, **how),
    "ReduceSum": lambda np_, x, **how: np_.sum(x, **how),
    "ReduceSumSquare": _sum_of_squares,
}


@operator(*_REDUCTIONS, axes=Axes.ANY, folds=True)
def _reduce(call: Call, x: Values, given: Values | None = None) -> Values:
    axes = (call.get("axes") or ()) if given is None else call.numbers(given, "axes")
    if not axes and not call.get("noop_with_empty_axes", 0):
        axes = range(x.ndim)
    chosen = tuple(call.axis(a, x.ndim) for a in axes)
    how = {"axis": chosen, "keepdims": bool(call.get("keepdims", 1))}
    reduced = _REDUCTIONS[call.node.operator](call.np, x, **how)
    return np.asarray(reduced, x.dtype) if call.np is np else reduced.astype(x.dtype)


@operator("ArgMax", "ArgMin")
def _arg_max(call: Call, x: Values) -> Values:
    function = jnp.argmax if call.node.operator == "ArgMax" else jnp.argmin
    axis, last = call.axis(call.get("axis", 0), x.ndim), call.get("select_last_index", 0)
    found = function(jnp.flip(x, axis) if last else x, axis=axis, keepdims=bool(call.get("keepdims", 1)))
    return x.shape[axis] - 1 - found if last else found


@operator("LpNormalization", axes=Axes.ANY)
def _lp_normalization(call: Call, x: Values) -> Values:
    axis, p = call.axis(call.get("axis", -1), x.ndim), call.get("p", 2)
    how = {"axis": axis, "keepdims": True}
    size = _root(jnp, _sum_of_squares(jnp, x, **how)) if p == 2 else jnp.sum(magnitude(jnp, x), **how)
    return jnp.where(size > 0, x / jnp.where(size > 0, size, 1), 0)


@operator("LayerNormalization", "RMSNormalization")
def _layer_normalization(call: Call, x: Values, scale: Values, shift: Values | None = None) -> Values:
    first = call.get("axis", -1) % x.ndim
    axes, x = tuple(range(first, x.ndim)), stored(x)
    if call.node.operator == "LayerNormalization":
        x = x - jnp.mean(x, axis=axes, keepdims=True)
    x = x * jax.lax.rsqrt(jnp.mean(jnp.square(x), axis=axes, keepdims=True) + call.get("epsilon", 1e-5))
    x = x * broadcast(call, scale, x)[0]
    return x if shift is None else x + broadcast(call, shift, x)[0]


@operator("Attention")
def _attention(
    call: Call, query: Values, key: Values, value: Values, mask: Values | None = None, *more: Values
) -> Values:
    """Scaled dot products, of heads `[N, heads, L, c]` or of `[N, L, heads c]`."""
    if any(x is not None for x in more) or len(call.node.outputs) > 1:
        raise GraphError("keys of the past and further outputs are not supported")
    flat = query.ndim == 3
    if flat:
        heads = call.get("q_num_heads"), call.get("kv_num_heads"), call.get("kv_num_heads")
        query, key, value = (_heads(x, n) for x, n in zip((query, key, value), heads, strict=True))
    groups = query.shape[1] // key.shape[1]
    key, value = (jnp.repeat(x, groups, axis=1) if groups > 1 else x for x in (key, value))
    scale = call.get("scale") or 1 / math.sqrt(query.shape[-1])
    scores = jnp.einsum("nhqc,nhkc->nhqk", query, key) * scale
    seen = jnp.ones(scores.shape, bool)
    if mask is not None:
        mask = jnp.broadcast_to(mask.reshape((1,) * (4 - mask.ndim) + mask.shape), scores.shape)
        seen, scores = (mask, scores) if mask.dtype == bool else (seen, scores + mask)
    if call.get("is_causal", 0):
        seen = seen & np.tri(*scores.shape[-2:], dtype=bool)[None, None]
    shares = jnp.where(seen, jax.nn.softmax(jnp.where(seen, scores, -jnp.inf), axis=-1), 0)
    out = jnp.einsum("nhqk,nhkc->nhqc", shares, value)
    return out.swapaxes(1, 2).reshape(out.shape[0], out.shape[2], -1) if flat else out


def _heads(x: Values, count: int) -> Values:
    return x.reshape(*x.shape[:2], count, -1).swapaxes(1, 2)
