"""Which pixels are P % of an image: the order in which a map removes them, and how far along it a fraction reaches.

Deletion drops the selected pixels and insertion shows them and nothing else, so that one mask serves both. A map is
sorted once; every fraction after that is a comparison of ranks, traced, so that a new fraction compiles nothing.

References:
    Petsiuk, Das and Saenko, "RISE: Randomized Input Sampling for Explanation of Black-box Models", 2018, Sec. 4.3.
"""

import warnings
from collections.abc import Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Int, Shaped

from fame_jax._types import Image, PerChannel, Scalar
from fame_jax.image import blurred
from fame_jax.options import OptionError, check_pixels

AnyMap = Shaped[Array | np.ndarray, "height width"]
"""A map of numbers of any kind: floats, integers of any width, booleans."""

Method = Literal["rank", "percentile"]
"""`rank`: exactly a share of the pixels. `percentile`: the pixels above a percentile of the map, ties all or none."""

Canvas = ArrayLike | Sequence[float] | Literal["mean", "blur"]
"""What stands in for a pixel that is not seen; see `canvas_of`."""

Order = Literal["most", "least"]
"""Which pixels come first: the `most` relevant (MoRF) or the `least` relevant (LeRF)."""

TENTHS = tuple(tenth / 10 for tenth in range(11))
"""0 %, 10 %, ..., 100 % of the pixels."""


def ranks(attribution: AnyMap, *, method: Method = "rank", order: Order = "most") -> Int[Array, "height width"]:
    """The place of every pixel in the order of removal; those below `count` are selected.

    Args:
        attribution: `[H, W]`, of any scale and dtype.
        method: `rank` puts equal pixels in row-major order (left to right, then top to bottom) whatever the order of
            removal, so that ranks are a permutation; `percentile` gives all of them the last of their places.
        order: `most` or `least` relevant first.

    Returns:
        `int32 [H, W]`, 0 for the first pixel. A map with a pixel that is no finite number has no ranks: all are H W, so
        that nothing is ever selected; see `measured`.

    Raises:
        OptionError: for an unknown method or order.
    """
    _check(method, order)
    attribution = jnp.asarray(attribution)
    # The complement turns the order of integers and booleans around; minus would wrap those without a sign.
    turned = -attribution if jnp.issubdtype(attribution.dtype, jnp.floating) else ~attribution
    keys = (turned if order == "most" else attribution).ravel()
    if method == "rank":
        pixels = jnp.arange(keys.size, dtype=jnp.int32)
        places = jnp.zeros_like(pixels).at[jnp.argsort(keys, stable=True)].set(pixels)
    else:
        places = jnp.searchsorted(jnp.sort(keys), keys, side="right").astype(jnp.int32) - 1
    places = jnp.where(finite(attribution), places, jnp.int32(keys.size))
    return places.reshape(attribution.shape)


def finite(attribution: AnyMap) -> Scalar:
    """Whether all pixels of a map are finite numbers."""
    return jnp.all(jnp.isfinite(attribution))


def measured(figures: ArrayLike, attribution: AnyMap) -> Array:
    """Figures of a map; NaN for one with a pixel that is no finite number, which has no ranks, no hit and no figure."""
    return jnp.where(finite(attribution), figures, jnp.nan)


def summable(attribution: AnyMap) -> Array:
    """A map whose sum is exact enough, and no overflow: in 16 bits it ends at 65504."""
    attribution = jnp.asarray(attribution)
    wide = jnp.issubdtype(attribution.dtype, jnp.floating) and attribution.dtype.itemsize >= 4
    return attribution if wide else attribution.astype(jnp.float32)


def mask_of(mask: ArrayLike, attribution: AnyMap) -> Bool[Array, "height width"]:
    """A mask of a map, whatever numbers stand for its pixels; 0 is outside.

    Raises:
        OptionError: for a mask of another size.
    """
    if jnp.shape(mask) != jnp.shape(attribution):
        raise OptionError(f"mask: {list(jnp.shape(mask))}; expected {list(jnp.shape(attribution))}, as the map.")
    return jnp.asarray(mask).astype(bool)


def map_of(image: Image, attribution: AnyMap) -> AnyMap:
    """The map of an image, if both are what they should be.

    Raises:
        OptionError: for an image of whole numbers, or a map of another size.
    """
    check_pixels(image)
    if jnp.shape(attribution) != jnp.shape(image)[:2]:
        raise OptionError(
            f"the map is {list(jnp.shape(attribution))}; expected {list(jnp.shape(image)[:2])}, as the image."
        )
    return attribution if hasattr(attribution, "dtype") else jnp.asarray(attribution)


def shares(fractions: Any, *, ascending: bool = True) -> Array:
    """Shares of the pixels `[k]`, if they can be meant; traced ones are not known and pass.

    Raises:
        OptionError: for percents, no share at all, or, of a curve, another order.
    """
    if not any(isinstance(share, Tracer) for share in jax.tree.leaves(fractions)):
        given = np.asarray(fractions, float)
        fits = given.ndim == 1 and given.size > 0 and np.all((given >= 0) & (given <= 1 + 1e-6))
        if not fits or (ascending and np.any(np.diff(given) <= 0)):
            order = ", ascending" if ascending else ""
            raise OptionError(f"fractions {given.tolist()}: expected shares of the pixels from 0 to 1{order}.")
    return jnp.asarray(fractions, float)


def count(fraction: ArrayLike, pixels: int, *, method: Method = "rank") -> Int[Array, "*fractions"]:
    """How many places of `ranks` a fraction of the image reaches.

    Args:
        fraction: share of the pixels, in [0, 1], one or many; traced.
        pixels: number of pixels of the map.
        method: `rank` rounds `fraction * pixels` to the nearest integer, halves to even, so that both ends are exact.
            `percentile` is the comparison `map > percentile(map, 100 (1 - fraction))` with linear interpolation: an
            interpolated value lies below its upper neighbour, so the comparison is one with the lower neighbour,
            and takes `ceil(fraction * (pixels - 1))` places: never the smallest values of the map, at any fraction.

    Returns:
        Numbers of places, `int32`, of the fraction's shape.
    """
    _check(method, "most")
    if method == "rank":
        return jnp.round(jnp.asarray(fraction, float) * pixels).astype(jnp.int32)
    # A fraction such as 0.2 is off by half a unit in the last place, which must not lift a whole number to the next.
    places = jnp.asarray(fraction, float) * (pixels - 1)
    return jnp.ceil(places * (1 - 4 * jnp.finfo(places.dtype).eps)).astype(jnp.int32)


def selected(
    attribution: AnyMap, fraction: ArrayLike, *, method: Method = "rank", order: Order = "most"
) -> Bool[Array, "height width"]:
    """The mask of a fraction of the pixels, in the order of a map.

    `vmap` over fractions sorts once.

    Args:
        attribution: `[H, W]`.
        fraction: share of the pixels, in [0, 1]; traced.
        method: `rank` selects `round(fraction * H * W)` pixels. `percentile` selects what is above the percentile
            (below it for `least`): nothing of an all-zero map, and never the smallest values.
        order: `most` or `least` relevant first.

    Returns:
        `bool [H, W]`; False everywhere for a map with a pixel that is no finite number.

    Raises:
        OptionError: for an unknown method or order.
    """
    return ranks(attribution, method=method, order=order) < count(fraction, attribution.size, method=method)


def deletion_mask(
    attribution: AnyMap, fraction_removed: ArrayLike, *, method: Method = "rank", order: Order = "most"
) -> Bool[Array, "height width"]:
    """What deletion keeps: all but the selected pixels. See `selected`."""
    return ~selected(attribution, fraction_removed, method=method, order=order)


def insertion_mask(
    attribution: AnyMap, fraction_inserted: ArrayLike, *, method: Method = "rank", order: Order = "most"
) -> Bool[Array, "height width"]:
    """What insertion shows: the selected pixels. See `selected`."""
    return selected(attribution, fraction_inserted, method=method, order=order)


def on_canvas(visible: Bool[Array, "height width"], image: Image, canvas: PerChannel) -> Image:
    """The visible pixels of an image, and elsewhere a canvas: a number, one a channel, or an image.

    Raises:
        OptionError: for a canvas that is none of these.
    """
    canvas = jnp.asarray(canvas, image.dtype)
    if canvas.shape not in ((), image.shape[-1:], image.shape):
        raise OptionError(
            f"canvas: {list(canvas.shape)} numbers; expected one, one for each of the {image.shape[-1]} channels, "
            f"or an image of {list(image.shape)}."
        )
    return jnp.where(visible[..., None], image, jnp.broadcast_to(canvas, image.shape))


def canvas_of(canvas: Canvas, image: Image, sigma: ArrayLike = 5.0) -> Array:
    """What a canvas is for an image: the numbers themselves, its mean colour, or the image blurred.

    Args:
        canvas: a number, one a channel, an image, `mean` or `blur`.
        image: `[H, W, C]`.
        sigma: standard deviation of that blur in pixels; RISE's is 5.

    Raises:
        OptionError: for another word.
    """
    if not isinstance(canvas, str):
        return jnp.asarray(canvas)
    if canvas == "mean":
        return jnp.mean(image, axis=(0, 1))
    if canvas == "blur":
        return jax.vmap(blurred, (2, None, None), 2)(jnp.asarray(image), None, sigma)
    raise OptionError(f"canvas={canvas!r}; expected numbers, 'mean' or 'blur'.")


def warn_of_maps(maps: Shaped[Array | np.ndarray, "n height width"], method: Method) -> tuple[int, int]:
    """The numbers of all-zero maps and of those that are not finite, with a warning if there are any.

    Args:
        maps: `[n, H, W]`.
        method: the kind of mask, on which it depends what such a map does.

    Returns:
        How many maps are zero everywhere, and how many have a pixel that is no finite number.

    Warns:
        UserWarning: names the numbers.
    """
    blank = int(np.sum(~np.any(np.asarray(maps), axis=(1, 2))))
    if blank:
        effect = (
            "they remove and show nothing, so that deletion stays at the clean score and insertion at the canvas'"
            if method == "percentile"
            else "their pixels are taken row by row from the top, which is no statement about the image"
        )
        warnings.warn(f"{blank} of {len(maps)} maps are all zero: {effect}.", stacklevel=3)
    not_finite = int(np.sum(~np.all(np.isfinite(np.asarray(maps)), axis=(1, 2))))
    if not_finite:
        warnings.warn(
            f"{not_finite} of {len(maps)} maps have pixels that are no finite numbers: their figures are NaN.",
            stacklevel=3,
        )
    return blank, not_finite


def _check(method: str, order: str) -> None:
    if method not in ("rank", "percentile"):
        raise OptionError(f"masks: method={method!r}; expected 'rank' or 'percentile'.")
    if order not in ("most", "least"):
        raise OptionError(f"masks: order={order!r}; expected 'most' or 'least'.")
