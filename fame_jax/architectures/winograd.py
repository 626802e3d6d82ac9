"""A convolution of 3x3 taps and stride 1 by fewer products: four of nine, for a few sums before and after.

Two times two outputs need 36 products of a pixel with a tap, or 16 products of sums of pixels with sums of taps, which
for many channels are 16 matrix products. Its rounding errors are as large as those of the direct sum: the sums of taps
are halves, those of pixels and products have two or three summands.

References:
    Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016, Sec. 4.1, F(2x2, 3x3).
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

TAPS = 3


class Prepared(NamedTuple):
    """The 16 matrices `[4, 4, in, out]` that stand for a kernel `[3, 3, in, out]`."""

    matrices: jax.Array


@jax.jit
def prepared(kernel: jax.Array) -> Prepared:
    """What `convolution` takes in place of a kernel `[3, 3, in, out]`."""

    def mixed(a: jax.Array, b: jax.Array, c: jax.Array) -> jax.Array:
        return jnp.stack([a, (a + b + c) / 2, (a - b + c) / 2, c])

    return Prepared(mixed(*jnp.moveaxis(mixed(*kernel), 1, 0)))


@functools.partial(jax.jit, static_argnums=(2, 3))
def convolution(x: jax.Array, kernel: Prepared, pad: Any, precision: Any) -> jax.Array:
    """The convolution of `[batch, rows, columns, in]` with the kernel that was `prepared`.

    Args:
        x: the map.
        kernel: see `prepared`.
        pad: before and after, for rows and columns each.
        precision: of the products, see `jax.lax.Precision`.
    """
    size = [x.shape[axis] + sum(pad[axis - 1]) - TAPS + 1 for axis in (1, 2)]
    rows, columns = (-(-length // 2) for length in size)
    # An odd row or column has a neighbour computed that is cut off again.
    pads = [(low, high + length % 2, 0) for (low, high), length in zip(pad, size, strict=True)]
    x = lax.pad(x, jnp.zeros((), x.dtype), ((0, 0, 0), *pads, (0, 0, 0)))
    # Rows first and then the columns of all: a quarter of the operations, which are most of the time to compile it.
    seen = _of_pixels(_of_pixels(x, 1, rows), 3, columns)
    products = jnp.einsum("stbrci,stio->stbrco", seen, kernel.matrices, precision=precision)
    outputs = [_of_products(*column) for column in _of_products(*products)]  # [column][row] of each two times two
    together = jnp.stack([jnp.stack(row, axis=3) for row in zip(*outputs, strict=True)], axis=2)
    return together.reshape(len(x), 2 * rows, 2 * columns, -1)[:, : size[0], : size[1]]


def _of_pixels(x: jax.Array, axis: int, tiles: int) -> jax.Array:
    a, b, c, d = (lax.slice_in_dim(x, i, i + 2 * tiles - 1, 2, axis) for i in range(4))
    return jnp.stack([a - c, b + c, c - b, b - d])


def _of_products(a: jax.Array, b: jax.Array, c: jax.Array, d: jax.Array) -> tuple[jax.Array, jax.Array]:
    return a + b + c, b - c - d
