"""Deletion and insertion of face verification: how accuracy at a fixed threshold falls as the pixels that a map ranks
first are removed from the probe, or rises as they are shown.

References:
    Lu, Xu and Ebrahimi, "Towards Visual Saliency Explanations of Face Verification", WACV 2024.
    Zhang and Günther, "Feature Activation Map Explanation on Image Classification and Face Recognition", Sec. 4.
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Shaped

from fame_jax._types import Embedding, Image, PerChannel, Scalar
from fame_jax.metrics.decisions import Criterion, Genuine, of_kinds, operating_point, verification_accuracy
from fame_jax.metrics.masks import (
    TENTHS,
    AnyMap,
    Method,
    Order,
    count,
    map_of,
    measured,
    on_canvas,
    ranks,
    shares,
    warn_of_maps,
)
from fame_jax.metrics.portions import in_portions
from fame_jax.network import traceable, vector
from fame_jax.options import OptionError, check_options, check_pixels

Embedder = Callable[[Image], Embedding]
"""One face `[H, W, C]` in [0, 1] to its embedding `[d]`, of any length."""


class PairScores(NamedTuple):
    """Similarities of a pair, clean and masked; arrays of one more axis under `vmap`.

    Attributes:
        clean: of the two faces as they are.
        deletion: with ever more of the map's first pixels removed, `[k]`.
        insertion: with ever more of them shown, `[k]`.
    """

    clean: Scalar
    deletion: Float[Array, " k"]
    insertion: Float[Array, " k"]


class VerificationCurves(NamedTuple):
    """Accuracy over all pairs as ever more of the probe is removed or shown.

    Attributes:
        fractions: shares of the pixels, `[k]`.
        deletion: accuracies, `[k]`; lower is better.
        insertion: accuracies, `[k]`; higher is better.
        deletion_auc: area under `deletion` in percent, by the trapezoid rule, over what the shares span.
        insertion_auc: the same of `insertion`.
        threshold: the threshold of all of them.
        scores: the similarities behind them, of arrays `[n]`, `[n, k]` and `[n, k]`, from which accuracies of other
            thresholds or of resampled pairs follow.
        blank: number of all-zero maps.
        not_finite: number of maps with a pixel that is no finite number, whose pairs are left out of the accuracies.
    """

    fractions: Float[np.ndarray, " k"]
    deletion: Float[np.ndarray, " k"]
    insertion: Float[np.ndarray, " k"]
    deletion_auc: float
    insertion_auc: float
    threshold: float
    scores: PairScores
    blank: int
    not_finite: int


def pair_scores(
    network: Embedder,
    probe: Image,
    gallery: Image,
    attribution: AnyMap,
    gallery_map: AnyMap | None = None,
    *,
    fractions: Sequence[float] | ArrayLike = TENTHS,
    canvas: PerChannel = 0.0,
    method: Method = "rank",
    order: Order = "most",
    batch_size: int = 32,
) -> PairScores:
    """Cosine similarities of one pair as its probe is taken apart and put together by a map; `vmap` it for many.

    Args:
        network: face to embedding; a pytree is traced, a plain function is code.
        probe: `[H, W, C]` in [0, 1].
        gallery: `[H, W, C]` in [0, 1].
        attribution: of the probe, `[H, W]`: e+ of this very pair.
        gallery_map: of the gallery image, `[H, W]`, to mask it by the same shares; None to leave it as it is.
        fractions: shares of the pixels, `[k]`, ascending, in [0, 1]; traced.
        canvas: what stands in for a pixel not visible: a number (0 is black), one a channel, or an image.
        method: `rank` or `percentile`, see `masks.selected`.
        order: `most` or `least` relevant first.
        batch_size: masks in one pass through the network.

    Returns:
        The clean score and both curves. Where a mask leaves the pair as it is, the score is the clean one to the last
        bit: a pair at the very threshold stays on its side of it. Both curves are NaN for a map with a pixel that is no
        finite number.
    """
    gallery_map = None if gallery_map is None else map_of(gallery, gallery_map)
    check_pixels(gallery)
    return _pair_scores(
        traceable(network),
        probe,
        gallery,
        map_of(probe, attribution),
        gallery_map,
        shares(fractions),
        canvas,
        method=method,
        order=order,
        batch_size=batch_size,
    )


def verification_curves(
    network: Embedder,
    probes: Float[Array | np.ndarray, "n height width channels"],
    galleries: Float[Array | np.ndarray, "n height width channels"],
    maps: Shaped[Array | np.ndarray, "n height width"],
    genuine: Genuine,
    *,
    gallery_maps: Shaped[Array | np.ndarray, "n height width"] | None = None,
    threshold: float | Criterion = "equal_error_rate",
    decimals: int | None = None,
    fractions: Sequence[float] | ArrayLike = TENTHS,
    canvas: PerChannel = 0.0,
    method: Method = "rank",
    order: Order = "most",
    pairs_at_once: int = 4,
    batch_size: int = 32,
) -> VerificationCurves:
    """Deletion and insertion of a verification protocol, a few pairs at a time: any number in the same device memory.

    Args:
        network: see `pair_scores`.
        probes: `[n, H, W, C]` in [0, 1].
        galleries: `[n, H, W, C]` in [0, 1].
        maps: of the probes, `[n, H, W]`: e+ of each pair, the impostors' as well.
        genuine: `[n]`.
        gallery_maps: `[n, H, W]` to mask both images of a pair; None for the probe alone, as in the paper.
        threshold: a number from elsewhere, or the criterion by which it is chosen among the clean scores.
        decimals: rounds the threshold, as a lost script of the authors did (4); None for no rounding.
        fractions: see `pair_scores`.
        canvas: see `pair_scores`.
        method: see `pair_scores`.
        order: see `pair_scores`.
        pairs_at_once: pairs that share a pass through the network.
        batch_size: masks of one pair that share a pass.

    Returns:
        Accuracies, areas in percent, the threshold, the scores behind them and the numbers of maps that are
        all zero or not finite.

    Raises:
        OptionError: for no pairs, arrays that differ in number, or what `operating_point` refuses.

    Warns:
        UserWarning: for maps that are all zero or not finite, with their number.
    """
    genuine = of_kinds(genuine)
    if len(genuine) != len(maps):
        raise OptionError(
            f"verification_curves: genuine tells of {len(genuine)} pairs, and there are {len(maps)} maps."
        )
    check_options(pairs_at_once=pairs_at_once, batch_size=batch_size)
    traced = shares(fractions)
    blank, not_finite = warn_of_maps(maps, method)
    options = {"method": method, "order": order, "batch_size": batch_size}

    def of_portion(*pairs: jax.Array) -> PairScores:
        return _pairs_scores(traceable(network), pairs, traced, canvas, **options)

    masked_by = (maps,) if gallery_maps is None else (maps, gallery_maps)
    scores = in_portions(of_portion, pairs_at_once, probes, galleries, *masked_by)
    if isinstance(threshold, str):
        threshold = operating_point(scores.clean, genuine, threshold).threshold
    if decimals is not None:
        threshold = round(threshold, decimals)
    of_image = np.asarray(fractions, np.float64)
    removed, shown = (verification_accuracy(s, genuine, threshold) for s in (scores.deletion, scores.insertion))
    return VerificationCurves(
        fractions=of_image,
        deletion=removed,
        insertion=shown,
        deletion_auc=100 * mean_height(removed, of_image),
        insertion_auc=100 * mean_height(shown, of_image),
        threshold=threshold,
        scores=scores,
        blank=blank,
        not_finite=not_finite,
    )


def mean_height(curve: np.ndarray, shares: np.ndarray) -> float:
    """Area under a curve `[k]` by the trapezoid rule, over what the shares span; NaN of a single one."""
    span = float(shares[-1] - shares[0])
    return float(np.trapezoid(curve, shares)) / span if span else math.nan


@functools.partial(jax.jit, static_argnames=("method", "order", "batch_size"))
def _pair_scores(
    network: Embedder,
    probe: Image,
    gallery: Image,
    attribution: AnyMap,
    gallery_map: AnyMap | None,
    fractions: Float[Array, " k"],
    canvas: PerChannel,
    *,
    method: Method,
    order: Order,
    batch_size: int,
) -> PairScores:
    places = ranks(attribution, method=method, order=order)
    gallery_places = None if gallery_map is None else ranks(gallery_map, method=method, order=order)
    reach = count(fractions, attribution.size, method=method)
    reference = _unit(network(gallery))
    clean = jnp.vdot(_unit(network(probe)), reference, precision="highest")

    def masked(reach_and_inserting: tuple[Scalar, Scalar]) -> Scalar:
        reach, inserting = reach_and_inserting
        visible = (places < reach) == inserting
        embedding, other, untouched = (
            _unit(network(on_canvas(visible, probe, canvas))),
            reference,
            jnp.all(visible),
        )
        if gallery_places is not None:
            visible = (gallery_places < reach) == inserting
            other, untouched = _unit(network(on_canvas(visible, gallery, canvas))), untouched & jnp.all(visible)
        return jnp.where(untouched, clean, jnp.vdot(embedding, other, precision="highest"))

    both = jnp.tile(reach, 2), jnp.arange(2 * reach.size) >= reach.size
    scores = jax.lax.map(masked, both, batch_size=min(batch_size, 2 * reach.size))
    for masked_by in (attribution,) if gallery_map is None else (attribution, gallery_map):
        scores = measured(scores, masked_by)
    return PairScores(clean, *jnp.split(scores, 2))


@functools.partial(jax.jit, static_argnames=("method", "order", "batch_size"))
def _pairs_scores(
    network: Embedder,
    pairs: tuple[Array, ...],
    fractions: Float[Array, " k"],
    canvas: PerChannel,
    **options: Any,
) -> PairScores:
    return jax.vmap(lambda *pair: pair_scores(network, *pair, fractions=fractions, canvas=canvas, **options))(*pairs)


def _unit(outputs: Any) -> Embedding:
    """The embedding over its norm; all zeros stay zeros, so that their similarity to anything is 0."""
    embedding = vector(outputs)
    square = jnp.sum(embedding**2)
    return embedding / jnp.sqrt(jnp.where(square > 0, square, 1))
