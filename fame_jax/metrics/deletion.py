"""Deletion and insertion of a class: how its score falls as the pixels a map ranks first are removed, or rises as they
are shown.

All masks of an image come from one sort and run through the network in batches of `batch_size`. A network that is a
pytree (an NNX or Equinox module, `Split`, a `jax.tree_util.Partial`) is traced; a plain function is code, and compiles
anew when it is created anew.

References:
    Petsiuk, Das and Saenko, "RISE: Randomized Input Sampling for Explanation of Black-box Models", 2018, Sec. 4.3.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int

from fame_jax._types import Attribution, Image, Output, Scalar
from fame_jax.image import gaussian_blur
from fame_jax.metrics.masks import TENTHS, Method, Order, count, on_canvas, ranks, warn_of_blank_maps
from fame_jax.metrics.portions import in_portions
from fame_jax.network import traceable

Classifier = Callable[[Image], Output]
"""One image `[H, W, C]` in [0, 1] to logits `[o]`."""

Score = Literal["probability", "logit"]
"""What is read for a class: its softmax `probability` or its `logit`."""


class Curve(NamedTuple):
    """A score as ever more of an image is removed or shown; arrays of one more axis under `vmap`.

    Attributes:
        fractions: shares of the pixels, `[k]`, ascending.
        scores: one score a share, `[k]`.
        auc: area under the curve over [0, 1] by the trapezoid rule.
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
    """

    deletion: Curve
    insertion: Curve
    blank: int


def deletion(
    network: Classifier,
    image: Image,
    map: Attribution,
    label: ArrayLike,
    *,
    fractions: Sequence[float] | ArrayLike = TENTHS,
    canvas: ArrayLike = 0.0,
    score: Score = "probability",
    method: Method = "rank",
    order: Order = "most",
    batch_size: int = 32,
) -> Curve:
    """The score of a class as the pixels that a map ranks first are replaced by a canvas. Lower is better for `most`.

    Args:
        network: image to logits, see above.
        image: `[H, W, C]` in [0, 1].
        map: `[H, W]`.
        label: the class; traced. A number above the last class gives NaN.
        fractions: shares of the pixels removed, `[k]`, ascending, in [0, 1]; traced.
        canvas: what stands in for a removed pixel: a number (0 is black), one a channel, or an image.
        score: softmax `probability` or `logit`.
        method: `rank` or `percentile`, see `masks.selected`. With `percentile` an all-zero map removes nothing.
        order: `most` or `least` relevant first.
        batch_size: images in one pass through the network; bounds memory.

    Returns:
        The curve; its score at 0 is the clean one.
    """
    fractions = jnp.asarray(fractions, map.dtype)
    scores = _scores(
        traceable(network),
        image,
        canvas,
        ranks(map, method=method, order=order),
        count(fractions, map.size, method=method),
        label,
        score=score,
        inserting=False,
        batch_size=batch_size,
    )
    return Curve(fractions, scores, jnp.trapezoid(scores, fractions))


def insertion(
    network: Classifier,
    image: Image,
    map: Attribution,
    label: ArrayLike,
    *,
    fractions: Sequence[float] | ArrayLike = TENTHS,
    canvas: ArrayLike = 0.0,
    score: Score = "probability",
    method: Method = "rank",
    order: Order = "most",
    batch_size: int = 32,
) -> Curve:
    """The score of a class as the pixels that a map ranks first appear on a canvas. Higher is better for `most`.

    Args:
        network: image to logits, see above.
        image: `[H, W, C]` in [0, 1].
        map: `[H, W]`.
        label: the class; traced. A number above the last class gives NaN.
        fractions: shares of the pixels shown, `[k]`, ascending, in [0, 1]; traced.
        canvas: what stands in for a pixel not yet shown: a number (0 is black), one a channel, or an image.
        score: softmax `probability` or `logit`.
        method: `rank` or `percentile`, see `masks.selected`. With `percentile` an all-zero map shows nothing, and no
            map ever shows its smallest values.
        order: `most` or `least` relevant first.
        batch_size: images in one pass through the network; bounds memory.

    Returns:
        The curve; with `rank` its score at 1 is the clean one.
    """
    fractions = jnp.asarray(fractions, map.dtype)
    scores = _scores(
        traceable(network),
        image,
        canvas,
        ranks(map, method=method, order=order),
        count(fractions, map.size, method=method),
        label,
        score=score,
        inserting=True,
        batch_size=batch_size,
    )
    return Curve(fractions, scores, jnp.trapezoid(scores, fractions))


def rise_deletion(
    network: Classifier,
    image: Image,
    map: Attribution,
    *,
    mean: ArrayLike,
    pixels_a_step: int = 224,
    batch_size: int = 32,
) -> Curve:
    """RISE's causal metric by deletion: the probability of the class predicted for the clean image.

    Args:
        network: image to logits.
        image: `[H, W, C]` in [0, 1].
        map: `[H, W]`; equal pixels are removed row by row.
        mean: colour that the network's normalisation maps to 0, `[C]` in [0, 1]: what removed pixels become.
        pixels_a_step: pixels removed between two scores.
        batch_size: images in one pass through the network.

    Returns:
        The curve of `ceil(H W / pixels_a_step) + 1` scores at equal distances, which makes its area
        `(sum - first / 2 - last / 2) / steps` as published, even where the last step is a shorter one.
    """
    return _causal(network, image, map, mean, pixels_a_step, False, batch_size)


def rise_insertion(
    network: Classifier,
    image: Image,
    map: Attribution,
    *,
    kernel_size: int = 11,
    sigma: ArrayLike = 5.0,
    pixels_a_step: int = 224,
    batch_size: int = 32,
) -> Curve:
    """RISE's causal metric by insertion into the blurred image; see `rise_deletion`.

    Args:
        network: image to logits.
        image: `[H, W, C]` in [0, 1].
        map: `[H, W]`; equal pixels are shown row by row.
        kernel_size: taps of the blur of the canvas, whose border is mirrored.
        sigma: standard deviation of that blur in pixels.
        pixels_a_step: pixels shown between two scores.
        batch_size: images in one pass through the network.

    Returns:
        The curve; its last score is the clean one.
    """
    blurred = jax.vmap(gaussian_blur, (2, None, None), 2)(image, kernel_size, sigma)
    return _causal(network, image, map, blurred, pixels_a_step, True, batch_size)


def class_curves(
    network: Classifier,
    images: Float[Array | np.ndarray, "n height width channels"],
    maps: Float[Array | np.ndarray, "n height width"],
    labels: Int[Array | np.ndarray, " n"],
    *,
    fractions: Sequence[float] | ArrayLike = TENTHS,
    canvas: ArrayLike = 0.0,
    score: Score = "probability",
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
        Both curves of every image as NumPy arrays, and the number of all-zero maps.

    Warns:
        UserWarning: for all-zero maps, with their number: their curves say nothing about the method that made them.
    """
    blank = warn_of_blank_maps(maps, method)

    options = {"score": score, "method": method, "order": order, "batch_size": batch_size}

    def both(images: jax.Array, maps: jax.Array, labels: jax.Array) -> tuple[Curve, Curve]:
        return _both(traceable(network), images, maps, labels, jnp.asarray(fractions, float), canvas, **options)

    removed, shown = in_portions(both, images_at_once, images, maps, labels)
    return Curves(removed, shown, blank)


@functools.partial(jax.jit, static_argnames=("score", "method", "order", "batch_size"))
def _both(
    network: Classifier,
    images: Float[Array, "n height width channels"],
    maps: Float[Array, "n height width"],
    labels: Int[Array, " n"],
    fractions: ArrayLike,
    canvas: ArrayLike,
    **options: Any,
) -> tuple[Curve, Curve]:
    def one(image: Image, map: Attribution, label: Scalar) -> tuple[Curve, Curve]:
        return (
            deletion(network, image, map, label, fractions=fractions, canvas=canvas, **options),
            insertion(network, image, map, label, fractions=fractions, canvas=canvas, **options),
        )

    return jax.vmap(one)(images, maps, labels)


@functools.partial(jax.jit, static_argnames=("score", "inserting", "batch_size"))
def _scores(
    network: Classifier,
    image: Image,
    canvas: ArrayLike,
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
        logits = network(on_canvas((places < reach) == inserting, image, canvas))
        values = jax.nn.softmax(logits) if score == "probability" else logits
        return values.at[label].get(mode="fill", fill_value=jnp.nan)

    return jax.lax.map(one, reach, batch_size=min(batch_size, reach.size))


def _causal(
    network: Classifier,
    image: Image,
    map: Attribution,
    canvas: ArrayLike,
    pixels_a_step: int,
    inserting: bool,
    batch_size: int,
) -> Curve:
    network = traceable(network)
    steps = -(-map.size // pixels_a_step)
    reach = jnp.minimum(jnp.arange(steps + 1) * pixels_a_step, map.size)
    scores = _scores(
        network,
        image,
        canvas,
        ranks(map),
        reach,
        _predicted(network, image),
        score="probability",
        inserting=inserting,
        batch_size=batch_size,
    )
    return Curve(reach / map.size, scores, (jnp.sum(scores) - (scores[0] + scores[-1]) / 2) / steps)


@jax.jit
def _predicted(network: Classifier, image: Image) -> Scalar:
    return jnp.argmax(network(image))
