"""Where the map of one feature-map location lies: inside its own cell of the image, or elsewhere (Sec. 4.1).

References:
    Zhang and Günther, "Feature Activation Map Explanation on Image Classification and Face Recognition", Sec. 4.1,
    which shows pictures; these are numbers for what they show.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float

from fame_jax._types import Location, Scalar
from fame_jax.metrics.masks import AnyMap, measured, summable


class Locality(NamedTuple):
    """How a map lies relative to the cell of its location; all NaN for a blank map or one that is not finite, and for a
    location outside the grid.

    Attributes:
        outside: share of the map's mass outside the cell, in [0, 1].
        shift: distance of the mass's centroid from the centre of the cell, in pixels.
        shift_rows: its part downwards, in pixels.
        shift_columns: its part to the right, in pixels.
        radius: of the circle around the centroid that holds half of the mass, in pixels.
    """

    outside: Scalar
    shift: Scalar
    shift_rows: Scalar
    shift_columns: Scalar
    radius: Scalar


def cell_edges(index: ArrayLike, cells: int, size: int) -> tuple[Array, Array]:
    """First pixel of a cell and first pixel after it, `round(index * size / cells)` and the same for the next."""
    index = jnp.asarray(index)
    return jnp.round(index * size / cells).astype(jnp.int32), jnp.round((index + 1) * size / cells).astype(jnp.int32)


def locality(attribution: AnyMap, location: Location, grid: tuple[int, int]) -> Locality:
    """Compares one map with the cell of its location.

    Args:
        attribution: `[H, W]`, 0 or above.
        location: row and column in the feature map.
        grid: rows and columns of the feature map.

    Returns:
        Shares in [0, 1] and distances in pixels.
    """
    height, width = attribution.shape
    row, column = jnp.asarray(location)
    (top, bottom), (left, right) = cell_edges(row, grid[0], height), cell_edges(column, grid[1], width)
    rows, columns = jnp.arange(height)[:, None], jnp.arange(width)[None, :]
    inside: Bool[Array, "height width"] = (rows >= top) & (rows < bottom) & (columns >= left) & (columns < right)
    attribution = summable(attribution)
    mass: Float[Array, "height width"] = attribution / jnp.sum(attribution)
    rows, columns = rows.astype(mass.dtype), columns.astype(mass.dtype)
    centre_row, centre_column = jnp.sum(mass * rows), jnp.sum(mass * columns)
    down, across = centre_row - (top + bottom - 1) / 2, centre_column - (left + right - 1) / 2
    distance = jnp.hypot(rows - centre_row, columns - centre_column).reshape(-1)
    order = jnp.argsort(distance)
    held = jnp.searchsorted(jnp.cumsum(mass.reshape(-1)[order]), 0.5)
    radius = jnp.where(jnp.isfinite(centre_row), distance[order][held], jnp.nan)
    within = (row >= 0) & (row < grid[0]) & (column >= 0) & (column < grid[1])
    found = Locality(1 - jnp.sum(mass, where=inside), jnp.hypot(down, across), down, across, radius)
    return Locality(*(measured(jnp.where(within, figure, jnp.nan), attribution) for figure in found))
