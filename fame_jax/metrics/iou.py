"""A map against the boxes of its class: intersection over union, and the energy inside.

Boxes are NumPy arrays `[n, 4]` of `x_min, y_min, x_max, y_max` on the host, since every photograph has its own number
of them; from the mask on, everything is one array of the image's size.

References:
    Zhang and Günther, "Feature Activation Map Explanation on Image Classification and Face Recognition", Sec. 4.
    Wang et al., "Score-CAM: Score-Weighted Visual Explanations for Convolutional Neural Networks", 2020, Sec. 4.3.
"""

from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Real, Shaped

from fame_jax._types import Scalar
from fame_jax.metrics.masks import AnyMap, mask_of, measured, summable
from fame_jax.options import OptionError

Boxes = Real[np.ndarray, "boxes 4"]
"""`x_min, y_min, x_max, y_max` in pixels, the maxima outside: a box is `x_max - x_min` wide."""

Mask = Shaped[Array | np.ndarray, "height width"]
"""True inside, or any number but 0."""

Masks = Bool[Array, "boxes height width"]
"""One mask a box."""

Choice = Literal["union", "first", "best"]
"""Several boxes: their `union`, the `first` of them, or the one that fits `best`."""


def cropped_boxes(
    boxes: Boxes,
    width: int,
    height: int,
    *,
    short_side: int = 232,
    crop: int = 224,
    convention: Literal["aspect_preserving", "original_boxes"] = "aspect_preserving",
) -> Boxes:
    """Where boxes of a photograph lie after its short side is resized and its centre cropped.

    Args:
        boxes: `[n, 4]` in pixels of the photograph.
        width: of the photograph.
        height: of the photograph.
        short_side: length of the short side after resizing.
        crop: side of the square that is cut out.
        convention: `aspect_preserving` follows the photograph, whose axes are scaled alike. `original_boxes` scales
            each axis to `short_side` by itself, as the published results did: up to 23 pixels off at 500x375.

    Returns:
        `[n, 4]`, float64, clamped to [0, crop]; a box outside the crop has no area left.

    Raises:
        OptionError: for an unknown convention.
    """
    size = np.array([width, height], np.float64)
    if convention == "aspect_preserving":
        resized = size * short_side / size.min()
    elif convention == "original_boxes":
        resized = np.full(2, short_side, np.float64)
    else:
        raise OptionError(
            f"cropped_boxes: convention={convention!r}; expected 'aspect_preserving' or 'original_boxes'."
        )
    corners = boxes.reshape(-1, 2, 2) * resized / size - (resized - crop) / 2
    return np.clip(corners, 0, crop).reshape(-1, 4)


def box_masks(boxes: Boxes, height: int, width: int) -> Bool[np.ndarray, "boxes height width"]:
    """One mask a box: rows `y_min` to `y_max - 1` and columns `x_min` to `x_max - 1`, corners truncated to integers.

    Args:
        boxes: `[n, 4]` in pixels of the map; what lies outside the map is cut off.
        height: of the map.
        width: of the map.

    Returns:
        `bool [n, H, W]`.
    """
    x_min, y_min, x_max, y_max = np.trunc(boxes).T[:, :, None]
    rows, columns = np.arange(height), np.arange(width)
    inside_rows = (rows >= y_min) & (rows < y_max)
    inside_columns = (columns >= x_min) & (columns < x_max)
    return inside_rows[:, :, None] & inside_columns[:, None, :]


def iou(attribution: AnyMap, mask: Mask, threshold: ArrayLike) -> Scalar:
    """Intersection over union of `map >= threshold` and a mask.

    Args:
        attribution: `[H, W]` in [0, 1].
        mask: `bool [H, W]`, for instance the union of `box_masks`.
        threshold: traced; 0.3, 0.5 and 0.7 in the paper.

    Returns:
        In [0, 1]; 0 where both are empty, which the published code gets by adding 1e-8 to the union. NaN for a map with
        a pixel that is no finite number, here and below.
    """
    mask = mask_of(mask, attribution)
    above = attribution >= threshold
    intersection, union = jnp.sum(above & mask), jnp.sum(above | mask)
    return measured(intersection / jnp.maximum(union, 1), attribution)


def box_iou(attribution: AnyMap, boxes: Boxes, threshold: ArrayLike, *, choose: Choice = "union") -> Scalar:
    """`iou` of a map and the boxes of its class.

    Args:
        attribution: `[H, W]` in [0, 1].
        boxes: `[n, 4]` in pixels of the map, at least one. See `cropped_boxes`.
        threshold: see `iou`.
        choose: the `union` of all boxes; the `first`, as in the published code; or whichever gives the `best` value.

    Returns:
        In [0, 1].

    Raises:
        OptionError: for no boxes, or an unknown choice.
    """
    if len(boxes) == 0:
        raise OptionError("box_iou: no boxes; leave out photographs without one, and report how many there were.")
    return masks_iou(attribution, jnp.asarray(box_masks(boxes, *attribution.shape)), threshold, choose=choose)


def masks_iou(attribution: AnyMap, masks: Masks, threshold: ArrayLike, *, choose: Choice = "union") -> Scalar:
    """`box_iou` with the boxes drawn, for `vmap`: an empty mask changes nothing, so that all images can have as many.

    Args:
        attribution: `[H, W]` in [0, 1].
        masks: `bool [n, H, W]`, n at least one, empty ones last.
        threshold: see `iou`.
        choose: see `box_iou`.

    Returns:
        In [0, 1].

    Raises:
        OptionError: for an unknown choice.
    """
    if choose == "union":
        masks = jnp.any(masks, axis=0, keepdims=True)
    elif choose == "first":
        masks = masks[:1]
    elif choose != "best":
        raise OptionError(f"box_iou: choose={choose!r}; expected 'union', 'first' or 'best'.")
    return jnp.max(jax.vmap(lambda mask: iou(attribution, mask, threshold))(masks))


def energy_inside(attribution: AnyMap, mask: Mask) -> Scalar:
    """The share of a map's mass that lies inside a mask (the energy-based pointing game of Score-CAM).

    Args:
        attribution: `[H, W]`, nowhere negative.
        mask: `bool [H, W]`.

    Returns:
        In [0, 1]; 0 for an all-zero map.
    """
    attribution, mask = summable(attribution), mask_of(mask, attribution)
    total = jnp.sum(attribution)
    return measured(jnp.sum(jnp.where(mask, attribution, 0)) / jnp.where(total > 0, total, 1), attribution)
