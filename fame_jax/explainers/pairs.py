"""What explainers of two faces share: the four maps of a pair, and how they are scaled."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from fame_jax._types import Attribution, Embedding, Image
from fame_jax.image import max_normalise
from fame_jax.network import vector

Pull = Callable[[Embedding], tuple[Image]]
"""A direction of the embedding to the gradient with respect to the image."""


class PairMaps(NamedTuple):
    """Maps `[H, W]` in [0, 1] of both faces of a pair.

    Attributes:
        probe_similar: e+ of the probe: what makes the faces similar.
        probe_dissimilar: e- of the probe: what makes them dissimilar; None where a method has no such map.
        gallery_similar: e+ of the gallery face.
        gallery_dissimilar: e- of the gallery face, or None.
    """

    probe_similar: Attribution
    probe_dissimilar: Attribution | None
    gallery_similar: Attribution
    gallery_dissimilar: Attribution | None


def unit(embedding: Embedding) -> Embedding:
    """`phi / (|phi| + 1e-8)`, differentiable at zero too."""
    square = jnp.sum(embedding**2)
    norm = jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1)), 0)
    return embedding / (norm + 1e-8)


def signed_maps(
    signed: Attribution, finish: Callable[[Attribution], Attribution] = max_normalise
) -> tuple[Attribution, Attribution]:
    """e+ and e- from one signed map: its positive and its negative part, each finished on its own.

    Args:
        signed: `[H, W]`, positive where the faces are similar.
        finish: applied to both parts; gives values in [0, 1].
    """
    return finish(jnp.maximum(signed, 0)), finish(jnp.maximum(-signed, 0))


def traced_back(
    face_maps: Callable[[Embedding, Embedding, Pull], tuple[Attribution, Attribution]],
    network: Callable[[Image], Embedding],
    probe: Image,
    gallery: Image,
) -> PairMaps:
    """The maps of a method that traces directions of the embedding back to the pixels: of one face, then of the other.

    Args:
        face_maps: normalised embedding of a face, that of the other face, and the gradient of the first with respect
            to the pixels in any direction; to e+ and e- of the face.
        network: image to embedding.
        probe: `[H, W, C]` in [0, 1].
        gallery: `[H, W, C]` in [0, 1].
    """
    (phi_p, pull_p), (phi_g, pull_g) = (jax.vjp(lambda x: unit(vector(network(x))), face) for face in (probe, gallery))
    return PairMaps(*face_maps(phi_p, phi_g, pull_p), *face_maps(phi_g, phi_p, pull_g))
