"""The map: what a walk has changed, grey, blurred and normalised (Eq. 4), and walk and map together.

References:
    Zhang and Günther, "Feature Activation Map Explanation on Image Classification and Face Recognition", Sec. 3.3.
"""

import functools
import inspect
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from fame_jax._types import Attribution, Image, Scalar
from fame_jax.image import LUMA, blurred, blurs_whole, grey, max_normalise, minmax_normalise
from fame_jax.options import OptionError, check_image, check_options
from fame_jax.paths import path_average
from fame_jax.walk import Loss, Perturbation, Status, perturb
from fame_jax.words import did_you_mean


class Explanation(NamedTuple):
    """The result of every method, for one image; arrays of one more axis under `vmap`.

    Attributes:
        attribution: the map `[H, W]` in [0, 1]; NaN where nothing could be measured.
        perturbed: the image that a walk has come to, `[H, W, C]`; None for a method that takes no steps.
        steps: number of steps taken; 0 for a method that takes none.
        first_loss: what is explained (a logit, an activation, a similarity), at the image.
        last_loss: the same at `perturbed`; without a walk that is `first_loss`.
        status: a `Status` as an integer; `Status(int(status)).message` is the reason in words.
    """

    attribution: Attribution
    perturbed: Image | None
    steps: Scalar
    first_loss: Scalar
    last_loss: Scalar
    status: Scalar


@blurs_whole
def attribution(
    image: Image,
    perturbed: Image,
    *,
    grey_of: Literal["change", "images"] = "change",
    grey_weights: Sequence[float] | Literal["mean", "max"] = LUMA,
    kernel_size: int | None = 49,
    sigma: ArrayLike | None = None,
    normalise: Literal["max", "minmax"] = "max",
) -> Attribution:
    """The map of one walk: absolute change, grey, blurred, normalised (Eq. 4).

    Args:
        image: `[H, W, C]`.
        perturbed: `[H, W, C]`.
        grey_of: `change` takes the absolute change of every channel first (the paper); `images` turns both images grey
            first, so that opposite changes of channels cancel (the authors' published code).
        grey_weights: weights of the channels, see `fame_jax.image.grey`, or `mean` or `max` over them. The published
            code's are reversed on faces, whose tensors are BGR.
        kernel_size: taps of the blur; None for no blur. With a sigma alone, as many as the map allows.
        sigma: standard deviation of the blur in pixels; None for the kernel's own, 7.7 for 49.
        normalise: `max` divides by the largest value; `minmax` also moves the smallest to 0.

    Returns:
        `[H, W]` in [0, 1]; all zeros where nothing has changed.

    Raises:
        OptionError: for a map smaller than half the kernel, images of whole numbers or of two sizes, or an option that
            does not exist or cannot be meant.
    """
    check_options(kernel_size=kernel_size, sigma=sigma)
    check_image(image, perturbed)
    if jnp.shape(image) != jnp.shape(perturbed):
        raise OptionError(f"attribution: images of {list(jnp.shape(image))} and {list(jnp.shape(perturbed))}.")
    grey_weights = grey_weights if isinstance(grey_weights, str) else tuple(np.asarray(grey_weights).tolist())
    return _attribution(image, perturbed, grey_of, grey_weights, kernel_size, sigma, normalise)


@functools.partial(jax.jit, static_argnums=(2, 3, 4, 6))
def _attribution(
    image: Image,
    perturbed: Image,
    grey_of: str,
    grey_weights: tuple[float, ...] | str,
    kernel_size: int | None,
    sigma: ArrayLike | None,
    normalise: str,
) -> Attribution:
    change = perturbed - image
    if grey_of == "images":
        change = jnp.abs(_grey(change, grey_weights))
    elif grey_of == "change":
        change = _grey(jnp.abs(change), grey_weights)
    else:
        raise OptionError(f"attribution: grey_of={grey_of!r}; expected 'change' or 'images'.")
    change = blurred(change, kernel_size, sigma)
    if normalise == "max":
        return max_normalise(change)
    if normalise == "minmax":
        # Divided by the maximum first, so that the epsilon of the second means the same for weak and strong changes.
        return minmax_normalise(max_normalise(change))
    raise OptionError(f"attribution: normalise={normalise!r}; expected 'max' or 'minmax'.")


def explain(loss: Loss, image: Image, *args: Any, average: bool = False, **options: Any) -> Explanation:
    """`perturb` followed by `attribution`: which pixels of one image would have to change?

    Args:
        loss: see `perturb`.
        image: `[H, W, C]` in [0, 1].
        *args: traced arguments of the loss.
        average: make the map of the mean of all images on the path, which float32 reproduces better; see
            `fame_jax.paths.path_average`. The paper takes the last image.
        **options: the named arguments of `perturb` and of `attribution`.

    Returns:
        The map `[H, W]` in [0, 1] and the fields of `Perturbation`.

    Example:
        >>> maps = jax.vmap(lambda image, label: explain(class_logit, image, network, label))(images, labels)
    """
    check_image(image)
    of_walk, of_map = split_options(options)
    # What is refused is refused before the walk.
    jax.eval_shape(functools.partial(attribution, **of_map), image, image)
    walk = (path_average if average else perturb)(loss, image, *args, **of_walk)
    return after_walk(image, walk, **of_map)


def after_walk(image: Image, walk: Perturbation, **options: Any) -> Explanation:
    """The result of a method that walks.

    Args:
        image: where the walk began, `[H, W, C]`.
        walk: of `perturb`.
        **options: of `attribution`.

    Returns:
        The map is NaN where nothing could be measured: loss or gradient of the image itself are not finite, as with a
        class that the network does not have.
    """
    return Explanation(_measured(attribution(image, walk.perturbed, **options), walk), *walk)


@jax.jit
def _measured(found: Attribution, walk: Perturbation) -> Attribution:
    nothing = (walk.status == Status.NOT_FINITE) & (walk.steps == 0)
    return jnp.where(nothing, jnp.nan, found)


def without_walk(attribution: Attribution, loss: Scalar, blank: ArrayLike = Status.BLANK) -> Explanation:
    """The result of a method that takes no steps, with one rule for the status of its map.

    Args:
        attribution: `[H, W]` in [0, 1].
        loss: what is explained, at the image; NaN makes the map NaN.
        blank: the status of a map of all zeros.

    Returns:
        0 steps; the status `not finite` if loss or map are not, and the map is NaN then.
    """
    finite = jnp.isfinite(loss) & jnp.all(jnp.isfinite(attribution))
    code = jnp.where(jnp.any(attribution != 0), Status.OK, blank)
    code = jnp.where(finite, code, Status.NOT_FINITE).astype(jnp.int32)
    return Explanation(jnp.where(finite, attribution, jnp.nan), None, jnp.int32(0), loss, loss, code)


def split_options(options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Options of `explain` by whom they belong to: `perturb` first, `attribution` second.

    Raises:
        TypeError: for an option of neither, with the nearest.
    """
    known = sorted(_ATTRIBUTION_OPTIONS | _WALK_OPTIONS)
    if unknown := [name for name in options if name not in known]:
        raise TypeError(f"there is no option {unknown[0]!r}; {did_you_mean(unknown[0], known)}")
    of_map = {name: value for name, value in options.items() if name in _ATTRIBUTION_OPTIONS}
    return {name: value for name, value in options.items() if name not in of_map}, of_map


def _grey(image: Image, weights: tuple[float, ...] | str) -> Attribution:
    if weights == "mean":
        return jnp.mean(image, axis=-1)
    if weights == "max":
        return jnp.max(image, axis=-1)
    if isinstance(weights, str):
        raise OptionError(f"attribution: grey_weights={weights!r}; expected one number a channel, 'mean' or 'max'.")
    return grey(image, weights)


_ATTRIBUTION_OPTIONS, _WALK_OPTIONS = (
    {name for name, p in inspect.signature(function).parameters.items() if p.kind is p.KEYWORD_ONLY}
    for function in (attribution, perturb)
)
