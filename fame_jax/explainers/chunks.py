"""Loops over many evaluations of a network, a bounded number of them at a time.

Both take a function of an index, so that what it works on (a mask, a cotangent, a noisy image) exists only while it is
needed. For a sum, a count that the chunk does not divide is split evenly, and repeats of the last index fill the final
chunk.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from fame_jax._types import Scalar
from fame_jax.varying import varying_as

OfIndex = Callable[[Scalar], Any]


def map_over(function: OfIndex, count: int, chunk: int) -> Any:
    """`function(0), ..., function(count - 1)` stacked along a leading axis, `chunk` at a time under `vmap`."""
    _check(count, chunk)
    return jax.lax.map(function, jnp.arange(count, dtype=jnp.int32), batch_size=chunk)


def sum_over(function: OfIndex, count: int, chunk: int) -> Any:
    """`function(0) + ... + function(count - 1)`; only `chunk` values and the sum are ever held."""

    def value(index: Scalar) -> Any:
        values = function(jnp.minimum(index, count - 1))
        return jax.tree.map(lambda v: jnp.where(index < count, v, jnp.zeros_like(v)), values)

    def add(total: Any, indices: Int[Array, " chunk"]) -> tuple[Any, None]:
        values = jax.vmap(value)(indices)
        return jax.tree.map(lambda t, v: t + jnp.sum(v, axis=0, dtype=t.dtype), total, values), None

    shapes = jax.eval_shape(function, jax.ShapeDtypeStruct((), jnp.int32))
    nothing = jax.tree.map(lambda s: jnp.zeros(s.shape, _wide(s.dtype)), shapes)
    nothing = varying_as(nothing, shapes)
    total = jax.lax.scan(add, nothing, _chunks(count, chunk))[0]
    return jax.tree.map(lambda t, s: t.astype(s.dtype), total, shapes)


def _wide(dtype: Any) -> Any:
    """Thousands of values in 16 bits are added up in 32: to a sum of 256 a bfloat16 of 1 adds nothing."""
    return jnp.float32 if jnp.issubdtype(dtype, jnp.floating) and jnp.dtype(dtype).itemsize < 4 else dtype


def _chunks(count: int, chunk: int) -> Int[Array, "steps chunk"]:
    """Indices in rows of equal length, at most `chunk`; the last row may run past `count`."""
    _check(count, chunk)
    steps = -(-count // chunk)
    return jnp.arange(steps * -(-count // steps), dtype=jnp.int32).reshape(steps, -1)


def _check(count: int, chunk: int) -> None:
    if count < 1 or chunk < 1:
        raise ValueError(f"chunks: count and chunk must be at least 1, got {count} and {chunk}.")
