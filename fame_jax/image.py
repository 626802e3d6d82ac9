"""Pure functions of one image or one map: grey, Gaussian blur, resize, normalisation."""

import functools
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from fame_jax._types import Attribution, Image, PerChannel
from fame_jax.options import OptionError, check_options

Function = TypeVar("Function", bound=Callable[..., Any])

LUMA = (0.2989, 0.587, 0.114)
"""Weights of red, green and blue in torchvision's `rgb_to_grayscale` (OpenCV and the ITU have 0.299 for red)."""

IMAGENET_MEAN = (0.485, 0.456, 0.406)
"""Of torchvision's normalisation: the colour that it maps to 0."""

IMAGENET_STD = (0.229, 0.224, 0.225)
"""Of torchvision's normalisation; a step in the normalised space is this much smaller in pixels."""


def grey(image: Image, weights: PerChannel = LUMA) -> Attribution:
    """Weighted sum of the channels; the luma weights, which are those of colours, stand for the mean of other channels.

    Args:
        image: `[H, W, C]`; one channel passes through.
        weights: one weight a channel. The default is about red, green and blue: of any other number of channels (with
            infrared, say) it takes the mean.

    Returns:
        `[H, W]`, not normalised.

    Raises:
        OptionError: for another number of weights than of channels.
    """
    channels = image.shape[-1]
    if channels == 1:
        return image[..., 0]
    if channels != 3 and isinstance(weights, tuple) and weights == LUMA:
        return jnp.mean(image, axis=-1)
    each = jnp.asarray(weights, image.dtype)
    if each.ndim and each.shape != (channels,):
        raise OptionError(f"grey_weights={weights}: expected {channels} numbers, one a channel of the image.")
    # A product and a sum rather than a matrix product: three terms, and no reduced-precision matrix unit is involved.
    return jnp.sum(image * jnp.broadcast_to(each, (1, 1, channels)), axis=-1)


def kernel_sigma(kernel_size: int) -> float:
    """OpenCV's and torchvision's default standard deviation for a kernel size: 7.7 pixels for the paper's 49."""
    return 0.3 * ((kernel_size - 1) / 2 - 1) + 0.8


def gaussian_blur(attribution: Attribution, kernel_size: int = 49, sigma: ArrayLike | None = None) -> Attribution:
    """Separable Gaussian blur with the border mirrored about the edge pixel (numpy's `reflect`, OpenCV's default).

    Each pass is a product with a banded matrix into which the border is folded, which is exact and fast on every
    device; a 49-tap convolution of one channel is neither on CPU.

    Args:
        attribution: `[H, W]`.
        kernel_size: number of taps; an even number is raised by one.
        sigma: standard deviation in pixels; None for `kernel_sigma(kernel_size)`.

    Returns:
        `[H, W]`; the taps sum to one, so a constant map stays as it is.

    Raises:
        OptionError: for a kernel below one tap or a deviation that is not above 0, or if a side of
            the map is too short to be mirrored, that is, not above half the kernel size.
    """
    check_options(kernel_size=kernel_size, sigma=sigma)
    kernel_size += 1 - kernel_size % 2
    radius = kernel_size // 2
    height, width = attribution.shape
    if min(height, width) <= radius:
        raise OptionError(
            f"gaussian_blur: a {height}x{width} map is too small for kernel_size={kernel_size}: "
            f"both sides must be above {radius} pixels. Choose a smaller kernel_size."
        )
    offsets = jnp.arange(-radius, radius + 1, dtype=attribution.dtype)
    deviation = jnp.asarray(kernel_sigma(kernel_size) if sigma is None else sigma, attribution.dtype)
    taps = jnp.exp(-0.5 * (offsets / deviation) ** 2)
    taps = taps / jnp.sum(taps)
    rows, columns = (_blur_matrix(size, taps) for size in (height, width))
    return jnp.matmul(jnp.matmul(rows, attribution, precision="highest"), columns.T, precision="highest")


def blurred(attribution: Attribution, kernel_size: int | None, sigma: ArrayLike | None) -> Attribution:
    """`gaussian_blur` of a map; as it is where neither is given. A sigma alone takes as many taps as the map allows."""
    if kernel_size is None and sigma is None:
        return attribution
    widest = 2 * min(attribution.shape) - 1
    return gaussian_blur(attribution, widest if kernel_size is None else kernel_size, sigma)


def whole_blur(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options of a map with as many taps as it allows where a sigma is given alone: 49 would cut off one above 12."""
    alone = options.get("sigma") is not None and "kernel_size" not in options
    return {**options, "kernel_size": None} if alone else dict(options)


def blurs_whole(function: Function) -> Function:
    """Of a function with `kernel_size` and `sigma`: `whole_blur` of what it is called with."""

    @functools.wraps(function)
    def call(*args: Any, **options: Any) -> Any:
        return function(*args, **whole_blur(options))

    return cast(Function, call)


def _blur_matrix(size: int, taps: Float[Array, " taps"]) -> Float[Array, "size size"]:
    """`B[i, j]`: weight of pixel j in blurred pixel i, mirrored taps added to the pixel they fall on."""
    radius = taps.shape[0] // 2
    source = np.pad(np.arange(size), radius, mode="reflect")
    window = np.arange(size)[:, None] + np.arange(taps.shape[0])
    return jnp.zeros((size, size), taps.dtype).at[np.arange(size)[:, None], source[window]].add(taps)


def resize(attribution: Attribution, height: int, width: int) -> Float[Array, "new_height new_width"]:
    """Bilinear with half-pixel centres and clamped edges, no antialiasing.

    For enlarging it equals `cv2.resize(..., INTER_LINEAR)` and torch's `align_corners=False`.
    """
    return jax.image.resize(attribution, (height, width), "bilinear", antialias=False)


def max_normalise(array: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Divides by the largest magnitude over all axes; all zeros stay zeros, exactly and with a finite gradient.

    One NaN makes all of it NaN.
    """
    largest = jnp.max(jnp.abs(array))
    # XLA may multiply by the reciprocal, which can overshoot by one unit in the last place.
    return jnp.clip(array / jnp.where(largest == 0, 1, largest), -1, 1)


def minmax_normalise(array: Float[Array, "*shape"], epsilon: float = 1e-8) -> Float[Array, "*shape"]:
    """`(x - min) / (max - min + epsilon)`, which moves the smallest value to 0, unlike `max_normalise`."""
    lowest = jnp.min(array)
    return jnp.clip((array - lowest) / (jnp.max(array) - lowest + epsilon), 0, 1)
