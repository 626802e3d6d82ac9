"""Maps from gradients with respect to the pixels: at the image, over noisy copies of it, and along paths to it.

All end in `pixel_map`: grey, blurred if that is asked for, and divided by the largest value.
"""

from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import PRNGKeyArray

from fame_jax._types import Attribution, Image, Output, Scalar
from fame_jax.explainers.chunks import sum_over
from fame_jax.explainers.compiled import compiled, known
from fame_jax.image import blurred, blurs_whole, grey, max_normalise
from fame_jax.losses import class_evidence, class_logit
from fame_jax.options import OptionError
from fame_jax.walk import Loss

Classifier = Callable[[Image], Output]

LossName = Literal["logit", "evidence"]
"""`fame_jax.class_logit` or `fame_jax.losses.class_evidence`."""

_OF_MAP = ("signed", "kernel_size")


def pixel_map(
    shares: Image, *, signed: bool = False, kernel_size: int | None = None, sigma: ArrayLike | None = None
) -> Attribution:
    """Numbers of all pixels and channels as a map.

    Args:
        shares: `[H, W, C]`, signed.
        signed: keep the signs until after the blur, and cut at zero then, so that shares of both signs that lie beside
            one another cancel; else their magnitudes are taken first.
        kernel_size: taps of the blur; None for no blur, or with a sigma for as many taps as the map allows.
        sigma: standard deviation of the blur in pixels; None for the kernel's own.

    Returns:
        `[H, W]` in [0, 1].
    """
    turned = blurred(grey(shares if signed else jnp.abs(shares)), kernel_size, sigma)
    return max_normalise(jnp.maximum(turned, 0))


@compiled(*_OF_MAP)
def gradient(network: Classifier, image: Image, label: ArrayLike, **of_map: Any) -> Attribution:
    """Absolute gradient of a logit.

    Args:
        network: image to logits.
        image: `[H, W, C]` in [0, 1].
        label: index of the class; one outside the classes gives NaN.
        **of_map: options of `pixel_map`.

    Returns:
        `[H, W]` in [0, 1].

    References:
        Simonyan, Vedaldi and Zisserman, "Deep Inside Convolutional Networks", 2014, who take the largest channel where
        this takes the luma weights.
    """
    logit, slope = jax.value_and_grad(class_logit)(image, network, label)
    return known(pixel_map(slope, **of_map), logit)


@compiled("samples", "chunk", *_OF_MAP)
def smooth_grad(
    network: Classifier,
    image: Image,
    label: ArrayLike,
    *,
    key: PRNGKeyArray,
    samples: int = 50,
    noise: ArrayLike = 0.15,
    chunk: int = 10,
    **of_map: Any,
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
        **of_map: options of `pixel_map`.

    Returns:
        `[H, W]` in [0, 1].

    References:
        Smilkov et al., "SmoothGrad: removing noise by adding noise", 2017: 10 to 20 % noise, 50 samples.
    """
    logit, slope = _mean_over_copies(lambda slope: slope, network, image, label, key, samples, noise, chunk)
    return known(pixel_map(slope, **of_map), logit)


@compiled("samples", "chunk", *_OF_MAP)
def smooth_grad_squared(
    network: Classifier,
    image: Image,
    label: ArrayLike,
    *,
    key: PRNGKeyArray,
    samples: int = 50,
    noise: ArrayLike = 0.15,
    chunk: int = 10,
    **of_map: Any,
) -> Attribution:
    """Mean squared gradient over noisy copies of the image; arguments and result are those of `smooth_grad`.

    References:
        Hooker et al., "A Benchmark for Interpretability Methods in Deep Neural Networks", NeurIPS 2019.
    """
    logit, square = _mean_over_copies(jnp.square, network, image, label, key, samples, noise, chunk)
    return known(pixel_map(square, **of_map), logit)


@compiled("samples", "chunk", *_OF_MAP)
def var_grad(
    network: Classifier,
    image: Image,
    label: ArrayLike,
    *,
    key: PRNGKeyArray,
    samples: int = 50,
    noise: ArrayLike = 0.15,
    chunk: int = 10,
    **of_map: Any,
) -> Attribution:
    """Variance of the gradient over noisy copies of the image; arguments and result are those of `smooth_grad`.

    References:
        Adebayo et al., "Local Explanation Methods for Deep Neural Networks Lack Sensitivity to Parameter Values", 2018;
        Hooker et al., see `smooth_grad_squared`.
    """
    # About the gradient of the image itself, so that a gradient that does not vary gives zero but for its own rounding,
    # which many copies at once may do otherwise than one image.
    here = jax.grad(class_logit)(image, network, label)
    rounding = (16 * jnp.finfo(here.dtype).eps * jnp.max(jnp.abs(here))) ** 2

    def moments(slope: Image) -> tuple[Image, Image]:
        return slope - here, (slope - here) ** 2

    logit, (mean, square) = _mean_over_copies(moments, network, image, label, key, samples, noise, chunk)
    variance = square - mean**2
    return known(pixel_map(jnp.where(variance > rounding, variance, 0), **of_map), logit)


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
    path = lambda index: (start, places[index], shares[index])  # noqa: E731
    return _sum_along_paths(path, class_logit, network, image, label, steps, chunk)


def integrated_gradients(
    network: Classifier,
    image: Image,
    label: ArrayLike,
    *,
    baseline: ArrayLike = 0.0,
    steps: int = 50,
    chunk: int = 10,
    **of_map: Any,
) -> Attribution:
    """Absolute integrated gradients as a map `[H, W]` in [0, 1]; see `path_integral`, and `pixel_map` for options."""
    return pixel_map(path_integral(network, image, label, baseline=baseline, steps=steps, chunk=chunk), **of_map)


@compiled("samples", "loss", "chunk")
def expected_path_integral(
    network: Any,
    image: Image,
    label: ArrayLike,
    *,
    key: PRNGKeyArray,
    samples: int = 50,
    loss: LossName = "logit",
    chunk: int = 10,
) -> Image:
    """Expected gradients themselves, signed and per channel: the mean of `(x - b) grad f(b + a (x - b))`.

    Baselines b are uniform noise, places a uniform between 0 and 1, one of each a sample. The sum is in expectation the
    loss of the image minus the mean loss of the baselines.

    Args:
        network: image to logits; for `evidence` with `features` and `head`.
        image: `[H, W, C]` in [0, 1].
        label: index of the class; one outside the classes gives NaN.
        key: of baselines and places.
        samples: number of gradients.
        loss: f, see `LossName`.
        chunk: samples in memory at once.

    Returns:
        `[H, W, C]`, in units of the loss.

    References:
        Erion et al., "Improving Performance of Deep Learning Models with Axiomatic Attribution Priors and Expected
        Gradients", Nature Machine Intelligence 2021.
    """

    def path(index: Scalar) -> tuple[Image, Scalar, Scalar]:
        of_baseline, of_place = jax.random.split(jax.random.fold_in(key, index))
        baseline = jax.random.uniform(of_baseline, image.shape, jnp.float32).astype(image.dtype)
        place = jax.random.uniform(of_place, (), jnp.float32).astype(image.dtype)
        return baseline, place, jnp.asarray(1 / samples, image.dtype)

    return _sum_along_paths(path, class_loss(loss), network, image, label, samples, chunk)


@blurs_whole
def expected_gradients(
    network: Any,
    image: Image,
    label: ArrayLike,
    *,
    key: PRNGKeyArray,
    samples: int = 50,
    loss: LossName = "logit",
    chunk: int = 10,
    signed: bool = True,
    kernel_size: int | None = 49,
    sigma: ArrayLike | None = None,
) -> Attribution:
    """Expected gradients as a map `[H, W]` in [0, 1]: blurred with their signs and cut at zero then.

    Arguments are those of `expected_path_integral` and of `pixel_map`.
    """
    shares = expected_path_integral(network, image, label, key=key, samples=samples, loss=loss, chunk=chunk)
    return pixel_map(shares, signed=signed, kernel_size=kernel_size, sigma=sigma)


def class_loss(name: str) -> Loss:
    """The loss of a `LossName`.

    Raises:
        OptionError: for another one.
    """
    if name not in ("logit", "evidence"):
        raise OptionError(f"loss={name!r}; expected 'logit' or 'evidence'.")
    return class_logit if name == "logit" else class_evidence


def _mean_over_copies(
    of_slope: Callable[[Image], Any],
    network: Classifier,
    image: Image,
    label: ArrayLike,
    key: PRNGKeyArray,
    samples: int,
    noise: ArrayLike,
    chunk: int,
) -> Any:
    """Means of the logit, and of a function of its gradient, over noisy copies of the image."""
    deviation = noise * jnp.ptp(image)

    def of_copy(index: Scalar) -> tuple[Scalar, Any]:
        added = jax.random.normal(jax.random.fold_in(key, index), image.shape, jnp.float32).astype(image.dtype)
        logit, slope = jax.value_and_grad(class_logit)(image + deviation * added, network, label)
        return logit, of_slope(slope)

    return jax.tree.map(lambda total: total / samples, sum_over(of_copy, samples, chunk))


def _sum_along_paths(
    path: Callable[[Scalar], tuple[Image, Scalar, Scalar]],
    loss: Loss,
    network: Any,
    image: Image,
    label: ArrayLike,
    count: int,
    chunk: int,
) -> Image:
    """Sum of `share (x - b) grad f(b + place (x - b))`, `path` giving b, place and share of an index; NaN if f is."""

    def of_point(index: Scalar) -> tuple[Scalar, Image]:
        start, place, share = path(index)
        value, slope = jax.value_and_grad(loss)(start + place * (image - start), network, label)
        return value, share * (image - start) * slope

    values, total = sum_over(of_point, count, chunk)
    return jnp.where(jnp.isfinite(values), total, jnp.nan)
