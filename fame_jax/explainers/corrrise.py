"""CorrRISE: where hiding a face goes along with a falling similarity.

Each of many masks hides a few random squares of a face; the map is the correlation, pixel by pixel, between a pixel
being kept and the cosine similarity to the other, unmasked face.

References:
    Lu, Xu and Ebrahimi, "Towards Visual Saliency Explanations of Face Verification", WACV 2024. The numbers are those
    of Zhang and Günther, "Feature Activation Map Explanation", Sec. 3.2.
"""

from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int, PRNGKeyArray

from fame_jax._types import Attribution, Embedding, Image
from fame_jax.explainers.chunks import map_over, sum_over
from fame_jax.explainers.compiled import compiled
from fame_jax.explainers.pairs import PairMaps, signed_maps
from fame_jax.losses import cosine
from fame_jax.network import vector
from fame_jax.options import OptionError
from fame_jax.scores import rounding


@compiled("masks", "patches", "size", "statistic", "chunk")
def corrrise(
    network: Callable[[Image], Embedding],
    probe: Image,
    gallery: Image,
    *,
    key: PRNGKeyArray,
    masks: int = 500,
    patches: int = 10,
    size: int = 30,
    statistic: Literal["pearson", "rank"] = "pearson",
    chunk: int = 50,
) -> PairMaps:
    """e+ and e- of both faces: the positive and negative part of the correlation.

    Args:
        network: image to embedding.
        probe: `[H, W, C]` in [0, 1].
        gallery: `[H, W, C]` in [0, 1], of the same size.
        key: of the masks, which both faces share. A key for every pair is the paper's reading; the same key for all
            pairs gives one set of masks, as in the authors' published code.
        masks: number of masks.
        patches: hidden squares in a mask; they may overlap. 3 in the authors' published code.
        size: side of a square in pixels; squares lie inside the image.
        statistic: correlation with the scores themselves or with their ranks (Spearman, as in the published code).
        chunk: masks in memory at once; each is two forward passes.

    Returns:
        Maps `[H, W]` in [0, 1]. A pixel that is always kept or always hidden is 0, and so is everything if the
        scores do not vary by more than rounding. NaN where the network's embedding of a face is.

    Raises:
        OptionError: if the faces differ in size, a square does not fit, or `statistic` does not exist.
    """
    if probe.shape != gallery.shape:
        raise OptionError(f"corrrise: the faces must have one size, got {probe.shape} and {gallery.shape}.")
    height, width = probe.shape[:2]
    corners = patch_corners(key, height, width, masks=masks, patches=patches, size=size)
    faces = jnp.stack([probe, gallery])

    def embedding_of(face: Image) -> Embedding:
        return vector(network(face))

    embeddings = jax.vmap(embedding_of)(faces)

    def kept(index: ArrayLike) -> Attribution:
        return kept_pixels(corners[index], height, width, size).astype(probe.dtype)

    def scores_of(index: ArrayLike) -> Float[Array, " faces"]:
        masked = jax.vmap(embedding_of)(faces * kept(index)[None, :, :, None])
        return jax.vmap(cosine)(masked, embeddings[::-1])

    scores = map_over(scores_of, masks, chunk)
    finite = jnp.all(jnp.isfinite(scores), axis=0)
    varies = jnp.ptp(scores, axis=0) > rounding(scores.dtype)
    if statistic == "rank":
        scores = jax.vmap(average_ranks, 1, 1)(scores)
    elif statistic != "pearson":
        raise OptionError(f"corrrise: statistic={statistic!r}; expected 'pearson' or 'rank'.")
    centred = scores - jnp.mean(scores, axis=0, keepdims=True)
    deviation = jnp.std(scores, axis=0)

    def moments(index: ArrayLike) -> tuple[Attribution, Float[Array, "faces height width"]]:
        mask = kept(index)
        return mask, mask[None] * centred[index][:, None, None]

    # The masks are made a second time rather than kept; centred scores need no difference of large sums.
    count, product = sum_over(moments, masks, chunk)
    share = count / masks
    spread = jnp.sqrt(share * (1 - share))[None] * deviation[:, None, None]
    # Numbers of masks, which are whole; a share of all may be off 1 by its rounding.
    defined = ((count > 0) & (count < masks))[None] & (spread > 0) & varies[:, None, None]
    correlation = jnp.where(defined, product / masks / jnp.where(defined, spread, 1), 0)
    correlation = jnp.where(finite[:, None, None], correlation, jnp.nan)
    return PairMaps(*signed_maps(correlation[0]), *signed_maps(correlation[1]))


def patch_corners(
    key: PRNGKeyArray, height: int, width: int, *, masks: int, patches: int, size: int
) -> Int[Array, "masks patches 2"]:
    """Upper left corners (row, column) of the hidden squares, uniform over all places inside the image."""
    if size > min(height, width):
        raise OptionError(f"corrrise: a square of {size} pixels does not fit into {height}x{width}.")
    places = jnp.array([height - size + 1, width - size + 1], jnp.int32)
    return jax.random.randint(key, (masks, patches, 2), 0, places[None, None], jnp.int32)


def kept_pixels(corners: Int[Array, "patches 2"], height: int, width: int, size: int) -> Attribution:
    """One mask `[H, W]`: 0 inside any of the squares, 1 elsewhere."""
    rows, columns = (
        (start <= pixel) & (pixel < start + size)
        for start, pixel in (
            (corners[:, :1], jnp.arange(height)[None]),
            (corners[:, 1:], jnp.arange(width)[None]),
        )
    )
    return jnp.where(jnp.any(rows[:, :, None] & columns[:, None, :], axis=0), 0.0, 1.0)


def average_ranks(values: Float[Array, " count"]) -> Float[Array, " count"]:
    """Ranks from 1; equal values share the mean of theirs."""
    ordered = jnp.sort(values)
    below, up_to = (jnp.searchsorted(ordered, values, side=side) for side in ("left", "right"))
    return (below + up_to + 1).astype(values.dtype) / 2
