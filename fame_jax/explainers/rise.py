"""RISE: random masks, each weighted by how sure the network is of the class when it sees only what is kept.

References:
    Petsiuk, Das and Saenko, "RISE: Randomized Input Sampling for Explanation of Black-box Models", BMVC 2018, Sec. 3.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, PRNGKeyArray

from fame_jax._types import Attribution, Image, Output, Scalar
from fame_jax.explainers.chunks import sum_over
from fame_jax.explainers.compiled import compiled
from fame_jax.image import max_normalise, minmax_normalise
from fame_jax.scores import Score, constant, score_of


@compiled("masks", "cells", "score", "chunk")
def rise(
    network: Callable[[Image], Output],
    image: Image,
    label: ArrayLike,
    *,
    key: PRNGKeyArray,
    masks: int = 4000,
    cells: int = 8,
    kept: ArrayLike = 0.5,
    score: Score = "softmax",
    chunk: int = 50,
) -> Attribution:
    """`sum_i p_i m_i / (N kept)` with p the score of the class under mask m, then scaled to [0, 1].

    Args:
        network: image to outputs.
        image: `[H, W, C]` in [0, 1]; hidden parts are black.
        label: index of the class; one outside the outputs gives NaN.
        key: of the masks.
        masks: N; the paper has 4000 for VGG-16 and 8000 for ResNet-50.
        cells: side of the binary grid that is enlarged to a mask.
        kept: probability of a cell to be kept.
        score: what the outputs mean; the paper's is the `softmax` probability.
        chunk: masks in memory at once.

    Returns:
        `[H, W]` in [0, 1]; blank if the score is the same under all masks, up to rounding.

    Raises:
        ScoreError: for a score that does not exist, or the softmax of a single output.
    """
    height, width = image.shape[:2]

    def weighted(index: Scalar) -> tuple[Attribution, Float[Array, " masks"]]:
        mask = smooth_mask(jax.random.fold_in(key, index), height, width, cells=cells, kept=kept).astype(image.dtype)
        value = score_of(network(image * mask[..., None]), label, score)
        return value * mask, jnp.zeros(masks, value.dtype).at[index].set(value)

    total, scores = sum_over(weighted, masks, chunk)
    # The constant 1 / (N kept) cancels. Divided by the maximum first, or the epsilon would swallow an unlikely class.
    return jnp.where(constant(scores), 0, minmax_normalise(max_normalise(total)))


def smooth_mask(key: PRNGKeyArray, height: int, width: int, *, cells: int, kept: ArrayLike) -> Attribution:
    """One mask `[H, W]` in [0, 1]: a binary grid, enlarged bilinearly by a cell too much and cropped at random."""
    grid_key, shift_key = jax.random.split(key)
    cell = jnp.array([-(-height // cells), -(-width // cells)], jnp.int32)
    enlarged = tuple((cells + 1) * -(-side // cells) for side in (height, width))
    grid = jax.random.bernoulli(grid_key, jnp.asarray(kept, jnp.float32), (cells, cells)).astype(jnp.float32)
    shift = jax.random.randint(shift_key, (2,), 0, cell, jnp.int32)
    return jax.lax.dynamic_slice(jax.image.resize(grid, enlarged, "bilinear"), shift, (height, width))
