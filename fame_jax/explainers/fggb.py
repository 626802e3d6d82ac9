"""FGGB: every dimension of the embedding is traced back to the pixels, then weighed by its part in the similarity.

References:
    Lu, Xu and Ebrahimi, "Explainable Face Verification via Feature-Guided Gradient Backpropagation", FG 2024
    (arXiv:2403.04549). Blur and normalisation as in Zhang and Günther, "Feature Activation Map Explanation".
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from fame_jax._types import Attribution, Embedding, Image, Scalar
from fame_jax.explainers.chunks import sum_over
from fame_jax.explainers.compiled import compiled
from fame_jax.explainers.pairs import PairMaps, Pull, signed_maps, traced_back
from fame_jax.image import blurred, blurs_whole, max_normalise
from fame_jax.varying import varying_as


@blurs_whole
@compiled("per_dimension", "kernel_size", "chunk")
def fggb(
    network: Callable[[Image], Embedding],
    probe: Image,
    gallery: Image,
    *,
    threshold: ArrayLike = 0.0,
    per_dimension: bool = False,
    kernel_size: int | None = 25,
    sigma: ArrayLike = 5.0,
    chunk: int = 32,
) -> PairMaps:
    """e+ and e- of both faces: positive and negative part of the weighted sum of all dimensions' gradients.

    With `v_i` the product of both normalised embeddings in dimension i, and `E_i` the absolute gradient of that
    dimension with respect to a face, averaged over channels and scaled to unit length, `S = sum_i (v_i - t / D) E_i`.

    Args:
        network: image to embedding of D dimensions.
        probe: `[H, W, C]` in [0, 1].
        gallery: `[H, W, C]` in [0, 1].
        threshold: t, the similarity from which on a pair counts as the same person: the equal-error threshold of this
            network and protocol.
        per_dimension: compares every dimension with t itself rather than with its share t / D. With the usual
            thresholds all weights are then negative and e+ is blank.
        kernel_size: taps of the final blur; with None, or a sigma alone, as many as the face allows.
        sigma: its standard deviation in pixels.
        chunk: dimensions in memory at once; each is a backward pass.

    Returns:
        Maps `[H, W]` in [0, 1].
    """

    def finish(part: Attribution) -> Attribution:
        return max_normalise(blurred(part, kernel_size, sigma))

    def face_maps(embedding: Embedding, other: Embedding, pull: Pull) -> tuple[Attribution, Attribution]:
        size = embedding.shape[0]
        weights = embedding * other - (threshold if per_dimension else threshold / size)

        def weighted(dimension: Scalar) -> Attribution:
            (gradient,) = pull(varying_as(jax.nn.one_hot(dimension, size, dtype=embedding.dtype), embedding))
            magnitude = jnp.mean(jnp.abs(gradient), axis=-1)
            return weights[dimension] * magnitude / (jnp.linalg.norm(magnitude) + 1e-8)

        return signed_maps(sum_over(weighted, size, chunk), finish)

    return traced_back(face_maps, network, probe, gallery)
