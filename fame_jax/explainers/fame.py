"""FAME itself: maps of a class, of the locations of a feature map, and of a pair of faces.

References:
    Zhang and Günther, "Feature Activation Map Explanation on Image Classification and Face Recognition", Sec. 3.3, 4.1.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from fame_jax._types import Embedding, Image, Location, Output, Scalar
from fame_jax.core import Explanation, explain
from fame_jax.losses import class_logit, cosine, feature_activation, similarity, similarity_free_norm
from fame_jax.network import Network, feature_map, traceable, vector
from fame_jax.options import OptionError, check_options


class PairExplanation(NamedTuple):
    """Why two faces match, or do not: e+ is what makes them similar, e- what makes them dissimilar.

    Attributes:
        similarity: cosine of the two embeddings, in [-1, 1].
        probe_similar: e+ on the probe (descends the similarity).
        probe_dissimilar: e- on the probe (descends the dissimilarity); None where a method has no such map.
        gallery_similar: e+ on the gallery image.
        gallery_dissimilar: e- on the gallery image, or None.
    """

    similarity: Scalar
    probe_similar: Explanation
    probe_dissimilar: Explanation | None
    gallery_similar: Explanation
    gallery_dissimilar: Explanation | None


def class_map(network: Callable[[Image], Output], image: Image, label: ArrayLike, **options: Any) -> Explanation:
    """Which pixels would have to change for the network to lose this class?

    Args:
        network: image to logits.
        image: `[H, W, 3]` in [0, 1].
        label: index of the class.
        **options: those of `fame_jax.explain`.
    """
    return explain(class_logit, image, network, label, **options)


def location_map(network: Network, image: Image, location: Location, **options: Any) -> Explanation:
    """Which pixels would have to change for one location of the feature map to fall silent (Eq. 5)?

    Args:
        network: has `features`.
        image: `[H, W, 3]` in [0, 1].
        location: row and column in the feature map.
        **options: those of `fame_jax.explain`.
    """
    return explain(feature_activation, image, network, location, **options)


def location_maps(
    network: Network,
    image: Image,
    *,
    rows: tuple[int, ...] | None = None,
    batch_size: int | None = None,
    **options: Any,
) -> Explanation:
    """`location_map` of every location of some rows, or of all, in one batched run (Sec. 4.1).

    Args:
        network: has `features`.
        image: `[H, W, 3]` in [0, 1].
        rows: rows of the feature map, from 0; None for all.
        batch_size: locations at a time, which bounds memory; None for all at once.
        **options: those of `fame_jax.explain`.

    Returns:
        An `Explanation` whose fields have two leading axes, rows and columns: maps are `[rows, columns, H, W]`.

    Raises:
        OptionError: for no rows, or one that the feature map does not have.
    """
    check_options(batch_size=batch_size)
    height, width, _ = jax.eval_shape(functools.partial(feature_map, network), image).shape
    chosen = tuple(range(height)) if rows is None else rows
    if outside := [row for row in chosen if not 0 <= row < height]:
        raise OptionError(
            f"location_maps: row {outside[0]} is outside the feature map, whose rows are 0 to {height - 1}."
        )
    if not chosen:
        raise OptionError(f"location_maps: rows=(): expected some of 0 to {height - 1}, or None for all.")
    grid = jnp.stack(jnp.meshgrid(jnp.asarray(chosen), jnp.arange(width), indexing="ij"), axis=-1).reshape(-1, 2)
    maps = jax.lax.map(
        lambda location: location_map(network, image, location, **options), grid, batch_size=batch_size or len(grid)
    )
    return jax.tree.map(lambda x: x.reshape(len(chosen), width, *x.shape[1:]), maps)


class PairRun(NamedTuple):
    """One of the four walks of a pair: the face that walks, the other's embedding, and which of e+ (+1) and e- (-1)."""

    image: Image
    reference: Embedding
    sign: Scalar


RUNS = ("probe_similar", "probe_dissimilar", "gallery_similar", "gallery_dissimilar")
"""The four walks of a pair, in the order of `pair_runs`."""


def pair_runs(network: Callable[[Image], Embedding], probe: Image, gallery: Image) -> list[PairRun]:
    """What the four walks of a pair start from; each embedding is computed once and held."""
    network = traceable(network)
    of_probe, of_gallery = jax.vmap(lambda face: vector(network(face)))(jnp.stack([probe, gallery]))
    signs = jnp.asarray([1, -1], probe.dtype)
    return [PairRun(image, other, s) for image, other in ((probe, of_gallery), (gallery, of_probe)) for s in signs]


def pair_maps(
    network: Callable[[Image], Embedding], probe: Image, gallery: Image, *, free_norm: bool = False, **options: Any
) -> PairExplanation:
    """e+ and e- of probe and gallery: four walks in one batch, the other embedding computed once and held (Eq. 6).

    Args:
        network: image to embedding.
        probe: aligned face `[H, W, 3]` in [0, 1].
        gallery: aligned face of the same size.
        free_norm: differentiate through the norm of the embedding, as the authors' code does; the paper holds it
            constant (footnote 4).
        **options: those of `fame_jax.explain`.
    """
    loss = similarity_free_norm if free_norm else similarity
    return of_pair(functools.partial(explain, loss), network, probe, gallery, **options)


def of_pair(
    explain_one: Callable[..., Explanation], network: Any, probe: Image, gallery: Image, **options: Any
) -> PairExplanation:
    """The four walks of a pair in one batch.

    Args:
        explain_one: image, network, reference embedding, sign and options to an `Explanation`.
        network: image to embedding.
        probe: aligned face `[H, W, 3]` in [0, 1].
        gallery: aligned face of the same size.
        **options: of `explain_one`.
    """
    runs = pair_runs(network, probe, gallery)
    together = jax.tree.map(lambda *x: jnp.stack(x), *runs)
    maps = jax.vmap(lambda run: explain_one(run.image, network, run.reference, run.sign, **options))(together)
    four = (jax.tree.map(lambda x, i=i: x[i], maps) for i in range(len(RUNS)))
    # The reference of the gallery's walks is the probe's embedding, and the other way round.
    return PairExplanation(cosine(runs[2].reference, runs[0].reference), *four)
