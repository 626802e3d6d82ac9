"""Deletion and insertion of a class: how its score falls as the pixels a map ranks first are removed, or rises as they
are shown.

All masks of an image come from one sort and run through the network in batches of `batch_size`. A network that is a
pytree (an NNX or Equinox module, `Split`, a `jax.tree_util.Partial`) is traced; a plain function is code, and compiles
anew when it is created anew.

References:
    Petsiuk, Das and Saenko, "RISE: Randomized Input Sampling for Explanation of Black-box Models", 2018, Sec. 4.3.
"""

import functools
import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int, Shaped

from fame_jax._types import Image, Output, PerChannel, Scalar
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
from fame_jax.network import traceable
from fame_jax.options import check_integers, check_options, check_pixels
from fame_jax.scores import Score, constant, score_of

Classifier = Callable[[Image], Output]
"""One image `[H, W, C]` in [0, 1] to logits `[o]`."""


class Curve(NamedTuple):
    """A score as ever more of an image is removed or shown; arrays of one more axis under `vmap`.

    Attributes:
        fractions: shares of the pixels, `[k]`, ascending.
        scores: one score a share, `[k]`.
        auc: area under the curve by the trapezoid rule, over what the shares span; NaN if the score is the same at all
            shares, up to rounding, so that there is nothing to measure, or if the map is not finite.
    """

    fractions: Float[Array, " k"]
    scores: Float[Array, " k"]
    auc: Scalar


class Curves(NamedTuple):
    """Deletion and insertion of many images.

    Attributes:
        deletion: `Curve` of arrays `[n, k]`, and AUCs `[n]`; lower is better.
        insertion: the same; higher is better.
        blank: number of all-zero maps among them.
        not_finite: number of maps with a pixel that is no finite number, whose figures are NaN.
        constant: number of images for which the score is the same at all shares of either curve, whose area is NaN.
    """

    deletion: Curve
    insertion: Curve
    blank: int
    not_finite: int
    constant: int


def deletion(
    network: Classifier,
    image: Image,
    attribution: AnyMap,
    label: ArrayLike,
    *,
    fractions: Sequence[float] | ArrayLike = TENTHS,
    canvas: PerChannel = 0.0,
    score: Score = "softmax",
    method: Method = "rank",
    order: Order = "most",
    batch_size: int = 32,
) -> Curve:
    """The score of a class as the pixels that a map ranks first are replaced by a canvas. Lower is better for `most`.

    Args:
        network: image to logits, see above.
        image: `[H, W, C]` in [0, 1].
        attribution: `[H, W]`.
        label: the class; traced. One outside the outputs, negative ones included, gives NaN.
        fractions: shares of the pixels removed, `[k]`, ascending, in [0, 1]; traced.
        canvas: what stands in for a removed pixel: a number (0 is black), one a channel, or an image.
        score: what is read for the class, see `fame_jax.scores.Score`.
        method: `rank` or `percentile`, see `masks.selected`. With `percentile` an all-zero map removes nothing, so that
            its score does not vary and has no area.
        order: `most` or `least` relevant first.
        batch_size: images in one pass through the network; bounds memory.

    Returns:
        The curve; its score at 0 is the clean one.

    Raises:
        ScoreError: for a score that does not exist, or the softmax of a single output.
        OptionError: for an image of whole numbers, a map of another size, or shares that cannot be meant.
    """
    check_options(batch_size=batch_size)
    check_integers(label)
    attribution, fractions = map_of(image, attribution), shares(fractions)
    scores = scores_at(
        traceable(network),
        image,
        canvas,
        ranks(attribution, method=method, order=order),
        count(fractions, attribution.size, method=method),
        label,
        score=score,
        inserting=False,
        batch_size=batch_size,
    )
    return curve_of(fractions, scores, attribution)


def insertion(
    network: Classifier,
    image: Image,
    attribution: AnyMap,
    label: ArrayLike,
    *,
    fractions: Sequence[float] | ArrayLike = TENTHS,
    canvas: PerChannel = 0.0,
    score: Score = "softmax",
    method: Method = "rank",
    order: Order = "most",
    batch_size: int = 32,
) -> Curve:
    """The score of a class as the pixels that a map ranks first appear on a canvas. Higher is better for `most`.

    Args:
        network: image to logits, see above.
        image: `[H, W, C]` in [0, 1].
        attribution: `[H, W]`.
        label: the class; traced. One outside the outputs, negative ones included, gives NaN.
        fractions: shares of the pixels shown, `[k]`, ascending, in [0, 1]; traced.
        canvas: what stands in for a pixel not yet shown: a number (0 is black), one a channel, or an image.
        score: what is read for the class, see `fame_jax.scores.Score`.
        method: `rank` or `percentile`, see `masks.selected`. With `percentile` an all-zero map shows nothing, so that
            its score does not vary and has no area, and no map ever shows its smallest values.
        order: `most` or `least` relevant first.
        batch_size: images in one pass through the network; bounds memory.

    Returns:
        The curve; with `rank` its score at 1 is the clean one.
    """
    check_options(batch_size=batch_size)
    check_integers(label)
    attribution, fractions = map_of(image, attribution), shares(fractions)
    scores = scores_at(
        traceable(network),
        image,
        canvas,
        ranks(attribution, method=method, order=order),
        count(fractions, attribution.size, method=method),
        label,
        score=score,
        inserting=True,
        batch_size=batch_size,
    )
    return curve_of(fractions, scores, attribution)


def class_curves(
    network: Classifier,
    images: Float[Array | np.ndarray, "n height width channels"],
    maps: Shaped[Array | np.ndarray, "n height width"],
    labels: Int[Array | np.ndarray, " n"],
    *,
    fractions: Sequence[float] | ArrayLike = TENTHS,
    canvas: PerChannel = 0.0,
    score: Score = "softmax",
    method: Method = "rank",
    order: Order = "most",
    images_at_once: int = 4,
    batch_size: int = 32,
) -> Curves:
    """`deletion` and `insertion` of many images, a few at a time: any number of them in the same device memory.

    Args:
        network: image to logits.
        images: `[n, H, W, C]` in [0, 1].
        maps: `[n, H, W]`.
        labels: `[n]`.
        fractions: see `deletion`.
        canvas: see `deletion`; the same for all images.
        score: see `deletion`.
        method: see `deletion`.
        order: see `deletion`.
        images_at_once: images that share a pass through the network.
        batch_size: masks of one image that share a pass.

    Returns:
        Both curves of every image as NumPy arrays, and the numbers of images that have no figures, or none that says
        anything about the method.

    Warns:
        UserWarning: for maps that are all zero or not finite and for scores that did not vary, with their number.
    """
    check_options(images_at_once=images_at_once, batch_size=batch_size)
    check_integers(labels)
    check_pixels(images)
    fractions = shares(fractions)
    blank, not_finite = warn_of_maps(maps, method)
    options = {"score": score, "method": method, "order": order, "batch_size": batch_size}

    def both(images: jax.Array, maps: jax.Array, labels: jax.Array) -> tuple[Curve, Curve]:
        return _both(traceable(network), images, maps, labels, fractions, canvas, **options)

    removed, shown = in_portions(both, images_at_once, images, maps, labels)
    flat = np.any([constant(jnp.asarray(curve.scores.T)) for curve in (removed, shown)], axis=0)
    if flat.any():
        warnings.warn(f"{flat.sum()} of {len(maps)} images: the score did not vary; their areas are NaN.", stacklevel=2)
    return Curves(removed, shown, blank, not_finite, int(flat.sum()))


@functools.partial(jax.jit, static_argnames=("score", "method", "order", "batch_size"))
def _both(
    network: Classifier,
    images: Float[Array, "n height width channels"],
    maps: Shaped[Array, "n height width"],
    labels: Int[Array, " n"],
    fractions: ArrayLike,
    canvas: PerChannel,
    **options: Any,
) -> tuple[Curve, Curve]:
    def one(image: Image, attribution: AnyMap, label: Scalar) -> tuple[Curve, Curve]:
        return (
            deletion(network, image, attribution, label, fractions=fractions, canvas=canvas, **options),
            insertion(network, image, attribution, label, fractions=fractions, canvas=canvas, **options),
        )

    return jax.vmap(one)(images, maps, labels)


@functools.partial(jax.jit, static_argnames=("score", "inserting", "batch_size"))
def scores_at(
    network: Classifier,
    image: Image,
    canvas: PerChannel,
    places: Int[Array, "height width"],
    reach: Int[Array, " k"],
    label: ArrayLike,
    *,
    score: Score,
    inserting: bool,
    batch_size: int,
) -> Float[Array, " k"]:
    """The score of a class with the first `reach` places removed, or with nothing else shown."""

    def one(reach: Scalar) -> Scalar:
        outputs = network(on_canvas((places < reach) == inserting, image, canvas))
        return score_of(outputs, label, score)

    scores = jax.lax.map(one, reach, batch_size=min(batch_size, reach.size))
    return jnp.where(jnp.all(jnp.isfinite(image)), scores, jnp.nan)


def curve_of(fractions: Float[Array, " k"], scores: Float[Array, " k"], attribution: AnyMap) -> Curve:
    """The curve of a map, without figures where there are none."""
    fractions = fractions.astype(scores.dtype)
    # The mean height, so that a part of the curve has an area from 0 to 1, too.
    area = jnp.trapezoid(scores, fractions) / (fractions[-1] - fractions[0])
    return Curve(fractions, measured(scores, attribution), area_of(area, scores, attribution))


def area_of(area: Scalar, scores: Float[Array, " k"], attribution: AnyMap) -> Scalar:
    """An area, or NaN where the score did not vary or the map has none."""
    return measured(jnp.where(constant(scores), jnp.nan, area), attribution)
