"""xSSAB: the dimensions that speak for a match and those that speak against it, each set traced back in one pass.

References:
    Huber, Luu, Terhörst and Damer, "Efficient Explainable Face Verification based on Similarity Score Argument
    Backpropagation", WACV 2024.
"""

from collections.abc import Callable

import jax.numpy as jnp
from jax.typing import ArrayLike

from fame_jax._types import Attribution, Embedding, Image
from fame_jax.explainers.compiled import compiled
from fame_jax.explainers.pairs import PairMaps, Pull, signed_maps, traced_back
from fame_jax.image import max_normalise


@compiled("combined")
def xssab(
    network: Callable[[Image], Embedding],
    probe: Image,
    gallery: Image,
    *,
    threshold: ArrayLike = 0.0,
    combined: bool = False,
) -> PairMaps:
    """e+ and e- of both faces: absolute gradients of the two partial similarities, averaged over channels.

    A dimension argues for a match if the product of both normalised embeddings reaches its share t / D of the
    threshold.

    Args:
        network: image to embedding of D dimensions.
        probe: `[H, W, C]` in [0, 1].
        gallery: `[H, W, C]` in [0, 1].
        threshold: t, where false matches and false non-matches of this network and protocol are equally frequent.
        combined: e+ and e- are the two parts of the difference of both maps, instead of the maps themselves.

    Returns:
        Maps `[H, W]` in [0, 1], not blurred.
    """

    def face_maps(embedding: Embedding, other: Embedding, pull: Pull) -> tuple[Attribution, Attribution]:
        matches = embedding * other >= threshold / embedding.shape[0]
        similar, dissimilar = (
            jnp.mean(jnp.abs(pull(jnp.where(chosen, other, 0))[0]), axis=-1) for chosen in (matches, ~matches)
        )
        if combined:
            return signed_maps(similar - dissimilar)
        return max_normalise(similar), max_normalise(dissimilar)

    return traced_back(face_maps, network, probe, gallery)
