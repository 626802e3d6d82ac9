"""RISE's causal metrics: deletion and insertion of the predicted class, in steps of so many pixels.

References:
    Petsiuk, Das and Saenko, "RISE: Randomized Input Sampling for Explanation of Black-box Models", 2018, Sec. 4.3.
"""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from fame_jax._types import Image, PerChannel, Scalar
from fame_jax.image import gaussian_blur
from fame_jax.metrics.deletion import Classifier, Curve, area_of, curve_of, scores_at
from fame_jax.metrics.masks import AnyMap, map_of, ranks
from fame_jax.network import traceable, vector
from fame_jax.options import check_options
from fame_jax.scores import Score


def rise_deletion(
    network: Classifier,
    image: Image,
    attribution: AnyMap,
    *,
    mean: PerChannel,
    pixels_a_step: int = 224,
    score: Score = "softmax",
    batch_size: int = 32,
) -> Curve:
    """RISE's causal metric by deletion: the probability of the class predicted for the clean image.

    Args:
        network: image to logits.
        image: `[H, W, C]` in [0, 1].
        attribution: `[H, W]`; equal pixels are removed row by row.
        mean: colour that the network's normalisation maps to 0, `[C]` in [0, 1]: what removed pixels become.
        pixels_a_step: pixels removed between two scores.
        score: see `deletion`; the published one is the `softmax` probability.
        batch_size: images in one pass through the network.

    Returns:
        The curve of `ceil(H W / pixels_a_step) + 1` scores at equal distances, which makes its area
        `(sum - first / 2 - last / 2) / steps` as published, even where the last step is a shorter one.

    Raises:
        OptionError: for an image of whole numbers, a map of another size, or a step of no pixels.
    """
    return _causal(network, image, attribution, mean, pixels_a_step, False, score, batch_size)


def rise_insertion(
    network: Classifier,
    image: Image,
    attribution: AnyMap,
    *,
    kernel_size: int = 11,
    sigma: ArrayLike = 5.0,
    pixels_a_step: int = 224,
    score: Score = "softmax",
    batch_size: int = 32,
) -> Curve:
    """RISE's causal metric by insertion into the blurred image; see `rise_deletion`.

    Args:
        network: image to logits.
        image: `[H, W, C]` in [0, 1].
        attribution: `[H, W]`; equal pixels are shown row by row.
        kernel_size: taps of the blur of the canvas, whose border is mirrored.
        sigma: standard deviation of that blur in pixels.
        pixels_a_step: pixels shown between two scores.
        score: see `rise_deletion`.
        batch_size: images in one pass through the network.

    Returns:
        The curve; its last score is the clean one.

    Raises:
        OptionError: see `rise_deletion`.
    """
    map_of(image, attribution)
    blurred = jax.vmap(gaussian_blur, (2, None, None), 2)(image, kernel_size, sigma)
    return _causal(network, image, attribution, blurred, pixels_a_step, True, score, batch_size)


def _causal(
    network: Classifier,
    image: Image,
    attribution: AnyMap,
    canvas: PerChannel,
    pixels_a_step: int,
    inserting: bool,
    score: Score,
    batch_size: int,
) -> Curve:
    check_options(pixels_a_step=pixels_a_step, batch_size=batch_size)
    attribution = map_of(image, attribution)
    network = traceable(network)
    steps = -(-attribution.size // pixels_a_step)
    reach = jnp.minimum(jnp.arange(steps + 1) * pixels_a_step, attribution.size)
    scores = scores_at(
        network,
        image,
        canvas,
        ranks(attribution),
        reach,
        _predicted(network, image),
        score=score,
        inserting=inserting,
        batch_size=batch_size,
    )
    # An area of equal steps, even where the last one is shorter.
    return curve_of(reach / attribution.size, scores, attribution)._replace(
        auc=area_of((jnp.sum(scores) - (scores[0] + scores[-1]) / 2) / steps, scores, attribution)
    )


@jax.jit
def _predicted(network: Classifier, image: Image) -> Scalar:
    return jnp.argmax(vector(network(image)))
