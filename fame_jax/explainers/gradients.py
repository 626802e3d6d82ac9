"""Maps from the gradient with respect to the pixels, and a random map to compare with.

`path_integral` is signed and per channel; maps are absolute values turned grey and divided by
the largest.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import PRNGKeyArray

from fame_jax._types import Attribution, Image, Output, Scalar
from fame_jax.explainers.chunks import sum_over
from fame_jax.explainers.compiled import compiled, known
from fame_jax.image import grey, max_normalise
from fame_jax.losses import class_logit

Classifier = Callable[[Image], Output]


@compiled()
def gradient(network: Classifier, image: Image, label: ArrayLike) -> Attribution:
    """Absolute gradient of a logit.

    Args:
        network: image to logits.
        image: `[H, W, C]` in [0, 1].
        label: index of the class; one outside the classes gives NaN.

    Returns:
        `[H, W]` in [0, 1].

    References:
        Simonyan, Vedaldi and Zisserman, "Deep Inside Convolutional Networks", 2014, who take the largest channel where
        this takes the luma weights.
    """
    logit, slope = jax.value_and_grad(class_logit)(image, network, label)
    return known(_map(slope), logit)


@compiled("samples", "chunk")
def smooth_grad(
    network: Classifier,
    image: Image,
    label: ArrayLike,
    *,
    key: PRNGKeyArray,
    samples: int = 50,
    noise: ArrayLike = 0.15,
    chunk: int = 10,
) -> Attribution:
    """Absolute mean gradient over noisy copies of the image.

    Args:
        network: image to logits.
        image: `[H, W, C]` in [0, 1].
        label: index of the class; one outside the classes gives NaN.
        key: of the noise.
        samples: number of noisy copies.
        noise: standard deviation as a fraction of the image's own range.
        chunk: copies in memory at once.

    Returns:
        `[H, W]` in [0, 1].

    References:
        Smilkov et al., "SmoothGrad: removing noise by adding noise", 2017: 10 to 20 % noise, 50 samples.
    """
    deviation = noise * jnp.ptp(image)

    def of_copy(index: Scalar) -> tuple[Scalar, Image]:
        added = jax.random.normal(jax.random.fold_in(key, index), image.shape, image.dtype)
        return jax.value_and_grad(class_logit)(image + deviation * added, network, label)

    logits, slopes = sum_over(of_copy, samples, chunk)
    return known(_map(slopes / samples), logits)


@compiled("steps", "chunk")
def path_integral(
    network: Classifier,
    image: Image,
    label: ArrayLike,
    *,
    baseline: ArrayLike = 0.0,
    steps: int = 50,
    chunk: int = 10,
) -> Image:
    """Integrated gradients themselves, signed and per channel.

    Their sum is the logit of the image minus that of the baseline, up to the error of the quadrature (Gauss-Legendre).

    Args:
        network: image to logits.
        image: `[H, W, C]` in [0, 1].
        label: index of the class; one outside the classes gives NaN.
        baseline: where the path starts: one number or an image; 0 is black.
        steps: points on the path.
        chunk: points in memory at once.

    Returns:
        `[H, W, C]`, in units of the logit.

    References:
        Sundararajan, Taly and Yan, "Axiomatic Attribution for Deep Networks", ICML 2017.
    """
    nodes, weights = np.polynomial.legendre.leggauss(steps)
    places, shares = (jnp.asarray(x, image.dtype) for x in ((nodes + 1) / 2, weights / 2))
    start = jnp.broadcast_to(jnp.asarray(baseline, image.dtype), image.shape)

    def of_point(index: Scalar) -> tuple[Scalar, Image]:
        point = start + places[index] * (image - start)
        logit, slope = jax.value_and_grad(class_logit)(point, network, label)
        return logit, shares[index] * slope

    logits, slopes = sum_over(of_point, steps, chunk)
    return jnp.where(jnp.isfinite(logits), (image - start) * slopes, jnp.nan)


def integrated_gradients(
    network: Classifier,
    image: Image,
    label: ArrayLike,
    *,
    baseline: ArrayLike = 0.0,
    steps: int = 50,
    chunk: int = 10,
) -> Attribution:
    """Absolute integrated gradients as a map `[H, W]` in [0, 1]; see `path_integral`."""
    return _map(path_integral(network, image, label, baseline=baseline, steps=steps, chunk=chunk))


def random_map(image: Image, key: PRNGKeyArray) -> Attribution:
    """Uniform noise `[H, W]` in [0, 1]: what a map without any information scores."""
    return jax.random.uniform(key, image.shape[:2], image.dtype)


def _map(signed: Image) -> Attribution:
    return max_normalise(grey(jnp.abs(signed)))
