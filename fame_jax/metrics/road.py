"""ROAD: how much a score falls when the pixels of a map are removed, and removed means replaced by a guess from their
neighbours that shows neither the pixel nor the shape of the mask.

The guess is noisy linear imputation, see `imputation`; all fractions of all images under `vmap` are one batch.

References:
    Rong, Leemann, Borisov, Kasneci and Kasneci, "A Consistent and Efficient Evaluation Strategy for Attribution
    Methods", ICML 2022, Sec. 4.
"""

import functools
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float

from fame_jax._types import Image, PerChannel, Scalar
from fame_jax.metrics.deletion import Classifier
from fame_jax.metrics.imputation import Imputation, ImputationStatus, RandomKey, impute
from fame_jax.metrics.masks import AnyMap, Method, Order, count, finite, map_of, mask_of, ranks, shares
from fame_jax.network import traceable, vector
from fame_jax.options import OptionError, check_integers, check_options
from fame_jax.scores import Score, ScoreError, constant, output_of, score_of

Fill = Literal["linear", "zero"]
"""What stands in for a removed pixel: noisy `linear` imputation, or `zero`, black before normalisation."""

RoadScore = Score | Literal["accuracy"]
"""What is read for a class: see `fame_jax.scores.Score`; or 1 if it is the predicted one (`accuracy`)."""

PERCENTS = (0.1, 0.3, 0.5)
"""The shares of the pixels that the FAME paper removes (Tab. 1)."""

DECILES = tuple(tenth / 10 for tenth in range(1, 10))
"""10 %, 20 %, ..., 90 % of the pixels, over which the combined score is averaged."""


class Road(NamedTuple):
    """The result of `road_delete` and `road_insert`, for one image; arrays of one more axis under `vmap`.

    Scores and drops are NaN for a map with a pixel that is no finite number, and for a class outside the outputs.

    Attributes:
        fractions: shares of the pixels removed or shown, `[k]`.
        scores: score of the class at every share, `[k]`.
        drops: score of the clean image minus `scores`, `[k]`; positive where removal hurts.
        status: `ImputationStatus` of every imputation, `[k]`; `not finite` for such a map.
        relative_residual: of every imputation, `[k]`.
    """

    fractions: Float[Array, " k"]
    scores: Float[Array, " k"]
    drops: Float[Array, " k"]
    status: Array
    relative_residual: Float[Array, " k"]


def road_delete(
    network: Classifier,
    image: Image,
    attribution: AnyMap,
    label: ArrayLike,
    key: RandomKey,
    *,
    fractions_removed: Sequence[float] | ArrayLike = PERCENTS,
    order: Order = "most",
    fill: Fill = "linear",
    score: RoadScore = "logit",
    method: Method = "rank",
    noise: ArrayLike = 0.01,
    scale: PerChannel = 1.0,
    unknown: ArrayLike | None = None,
    batch_size: int = 32,
) -> Road:
    """ROAD-Delete: the drop of a class's score as pixels are removed in the order of a map.

    Higher drops are better with the most relevant pixels first (MoRF), lower ones with the least (LeRF).

    Args:
        network: image to logits. A pytree is traced; a plain function is code and compiles anew when created anew.
        image: `[H, W, C]` in [0, 1].
        attribution: `[H, W]`.
        label: the class; traced. One outside the outputs, negative ones included, gives NaN.
        key: randomness of the noise, which is drawn anew for every share.
        fractions_removed: shares of the pixels removed, `[k]`, in [0, 1]; traced.
        order: `most` or `least` relevant first.
        fill: `linear` imputation, or `zero`, which needs no key but takes one.
        score: see `RoadScore`; the mean of `accuracy` over images is the accuracy.
        method: `rank` or `percentile`, see `masks.selected`. Rong et al. break ties at random, `rank` row by row.
        noise: see `impute`.
        scale: see `impute`.
        unknown: pixels that nothing is imputed from, at any share: those beyond the photograph.
        batch_size: imputed images in one pass through the network; bounds memory.

    Returns:
        Scores, drops against the clean image, and how every imputation ended.

    Example:
        >>> keys = jax.random.split(jax.random.key(0), len(images))
        >>> result = jax.vmap(lambda *one: road_delete(network, *one))(images, maps, labels, keys)
        >>> result.drops.mean(axis=0)
    """
    check_options(batch_size=batch_size, noise=noise, scale=scale)
    check_integers(label)
    attribution, fractions = map_of(image, attribution), shares(fractions_removed, ascending=False)
    removed = _first(attribution, fractions, method, order)
    if unknown is not None:
        removed |= mask_of(unknown, attribution)[None]
    return _road(
        traceable(network),
        image,
        removed,
        finite(attribution),
        fractions,
        label,
        key,
        noise,
        scale,
        fill,
        score,
        batch_size=batch_size,
    )


def road_insert(
    network: Classifier,
    image: Image,
    attribution: AnyMap,
    label: ArrayLike,
    key: RandomKey,
    *,
    fractions_inserted: Sequence[float] | ArrayLike = PERCENTS,
    order: Order = "most",
    fill: Fill = "linear",
    score: RoadScore = "logit",
    method: Method = "rank",
    noise: ArrayLike = 0.01,
    scale: PerChannel = 1.0,
    batch_size: int = 32,
) -> Road:
    """ROAD-Insert: the score of a class when only the pixels that a map ranks first are known. Higher is better.

    Args:
        network: see `road_delete`.
        image: `[H, W, C]` in [0, 1].
        attribution: `[H, W]`.
        label: the class; traced.
        key: randomness of the noise.
        fractions_inserted: shares of the pixels shown, `[k]`; all others are imputed from them. At 0 nothing is known
            and the image is one colour, see `impute`.
        order: `most` or `least` relevant first.
        fill: see `road_delete`.
        score: see `road_delete`.
        method: see `road_delete`.
        noise: see `impute`.
        scale: see `impute`.
        batch_size: see `road_delete`.

    Returns:
        Scores, drops against the clean image, and how every imputation ended.
    """
    check_options(batch_size=batch_size, noise=noise, scale=scale)
    check_integers(label)
    attribution, fractions = map_of(image, attribution), shares(fractions_inserted, ascending=False)
    removed = ~_first(attribution, fractions, method, order)
    return _road(
        traceable(network),
        image,
        removed,
        finite(attribution),
        fractions,
        label,
        key,
        noise,
        scale,
        fill,
        score,
        batch_size=batch_size,
    )


def road_combined(
    network: Classifier,
    image: Image,
    attribution: AnyMap,
    label: ArrayLike,
    key: RandomKey,
    *,
    fractions_removed: Sequence[float] | ArrayLike = DECILES,
    fill: Fill = "linear",
    score: RoadScore = "logit",
    method: Method = "rank",
    noise: ArrayLike = 0.01,
    scale: PerChannel = 1.0,
    batch_size: int = 32,
) -> Scalar:
    """`(LeRF - MoRF) / 2`: half the distance between both orders of removal, averaged over shares. Higher is better.

    Args:
        network: see `road_delete`.
        image: `[H, W, C]` in [0, 1].
        attribution: `[H, W]`.
        label: the class; traced.
        key: randomness of the noise, the same for both orders, which takes its share of the variance away.
        fractions_removed: shares of the pixels removed, `[k]`.
        fill: see `road_delete`.
        score: see `road_delete`.
        method: see `road_delete`.
        noise: see `impute`.
        scale: see `impute`.
        batch_size: see `road_delete`.

    Returns:
        One number, in units of the score; 0 for a map that orders pixels no better than chance. NaN where the score
        does not vary, or for a map that is not finite.
    """
    least, most = (
        road_delete(
            network,
            image,
            attribution,
            label,
            key,
            fractions_removed=fractions_removed,
            order=order,
            fill=fill,
            score=score,
            method=method,
            noise=noise,
            scale=scale,
            batch_size=batch_size,
        ).scores
        for order in ("least", "most")
    )
    flat = constant(jnp.concatenate([least, most])) & (score != "accuracy")
    return jnp.where(flat, jnp.nan, jnp.mean(least - most) / 2)


def _first(
    attribution: AnyMap, fractions: Float[Array, " k"], method: Method, order: Order
) -> Bool[Array, "k height width"]:
    """The pixels that come first, for every share."""
    places = ranks(attribution, method=method, order=order)
    return jax.vmap(lambda reach: places < reach)(count(fractions, attribution.size, method=method))


@functools.partial(jax.jit, static_argnames=("fill", "score", "batch_size"))
def _road(
    network: Classifier,
    image: Image,
    removed: Bool[Array, "k height width"],
    known: Scalar,
    fractions: Float[Array, " k"],
    label: ArrayLike,
    key: RandomKey,
    noise: ArrayLike,
    scale: PerChannel,
    fill: Fill,
    score: RoadScore,
    *,
    batch_size: int,
) -> Road:
    """Fills in every mask, and scores the results and the clean image."""
    if fill == "linear":

        def imputation(removed: Bool[Array, "height width"], key: RandomKey) -> Imputation:
            return impute(image, removed, key, noise=noise, scale=scale)

        filled = jax.vmap(imputation)(removed, jax.random.split(key, len(removed)))
    elif fill == "zero":
        done = jnp.full(len(removed), ImputationStatus.OK, jnp.int32)
        black = jax.vmap(lambda removed: jnp.where(removed[..., None], 0, image))(removed)
        filled = Imputation(black, done, done, done.astype(image.dtype))
    else:
        raise OptionError(f"road: fill={fill!r}; expected 'linear' or 'zero'.")

    def value(image: Image) -> Scalar:
        return _score(network(image), label, score)

    scores = jax.lax.map(value, filled.imputed, batch_size=min(batch_size, len(removed)))
    known &= jnp.all(jnp.isfinite(image))
    scores, clean = jnp.where(known, scores, jnp.nan), value(image)
    status = jnp.where(known, filled.status, ImputationStatus.NOT_FINITE)
    return Road(fractions.astype(scores.dtype), scores, clean - scores, status, filled.relative_residual)


def _score(outputs: Any, label: ArrayLike, score: RoadScore) -> Scalar:
    if score != "accuracy":
        return score_of(outputs, label, score)
    if vector(outputs).shape[0] == 1:
        raise ScoreError(
            "score='accuracy': a single output is always the predicted one; say score='sigmoid' or 'logit'."
        )
    known = jnp.isfinite(output_of(outputs, label)) & jnp.all(jnp.isfinite(outputs))
    return jnp.where(known, (jnp.argmax(outputs) == label).astype(outputs.dtype), jnp.nan)
