"""Does a map point at the right thing? The pointing game, a grid of photographs of which one quarter is right, and an
occluder drawn on a face.

The last two make their own ground truth and need no boxes.

References:
    Zhang et al., "Top-down Neural Attention by Excitation Backprop", ECCV 2016, Sec. 4.1 (the pointing game).
    Böhle, Fritz and Schiele, "Convolutional Dynamic Alignment Networks for Interpretable Classifications", CVPR 2021,
        Sec. 4.2 (the grid).
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int

from fame_jax._types import Image, Scalar
from fame_jax.metrics.iou import Mask, energy_inside
from fame_jax.metrics.masks import AnyMap, mask_of, measured


class Concentration(NamedTuple):
    """How much of a map lies on a part of an image.

    Attributes:
        share: of the map's mass that lies on the part, in [0, 1]; 0 for an all-zero map.
        area: of the whole that the part covers, in [0, 1].
        ratio: `share / area`: 1 where the map is spread evenly, below 1 where it avoids the part.
    """

    share: Scalar
    area: Scalar
    ratio: Scalar


def pointing_game(attribution: AnyMap, mask: Mask) -> Scalar:
    """Whether the largest value of a map lies inside a mask; the mean over images is the pointing game's accuracy.

    Args:
        attribution: `[H, W]`. Of several largest values the first counts, row by row.
        mask: `bool [H, W]`, for instance the union of `iou.box_masks`; without the 15 pixels of tolerance around it
            that the original allows.

    Returns:
        1 for a hit, else 0. An all-zero map points nowhere: 0. NaN for a map with a pixel that is no finite number.
    """
    hit = mask_of(mask, attribution).ravel()[jnp.argmax(attribution)] & jnp.any(attribution != 0)
    return measured(hit.astype(float), attribution)


def grid_members(labels: Int[np.ndarray, " n"], seed: int = 0) -> Int[np.ndarray, "grids 4"]:
    """Draws photographs for as many 2x2 grids of four different classes as there can be, each used at most once.

    Args:
        labels: class of each photograph, `[n]`.
        seed: of the draw.

    Returns:
        Indices of photographs, `[grids, 4]`: upper left, upper right, lower left, lower right.

    Raises:
        ValueError: for fewer than four classes.
    """
    generator = np.random.default_rng(seed)
    shuffled = generator.permutation(len(labels))
    of_class = [shuffled[labels[shuffled] == label].tolist() for label in generator.permutation(np.unique(labels))]
    if len(of_class) < 4:
        raise ValueError(f"grid_members: photographs of {len(of_class)} classes; a grid needs four.")
    grids = []
    # Always from the classes with most photographs left, which leaves over as few as possible.
    while len(of_class) >= 4:
        of_class.sort(key=len, reverse=True)
        grids.append(generator.permutation([members.pop() for members in of_class[:4]]))
        of_class = [members for members in of_class if members]
    return np.stack(grids)


def composed_grid(images: Float[Array, "4 height width channels"]) -> Image:
    """Four photographs at half their size each, side by side: an image of the network's own size.

    Args:
        images: upper left, upper right, lower left, lower right, `[4, H, W, C]` in [0, 1], of even H and W.

    Returns:
        `[H, W, C]`; every pixel is the mean of a 2x2 block.

    Raises:
        ValueError: for an odd side.
    """
    _, height, width, channels = images.shape
    if height % 2 or width % 2:
        raise ValueError(f"composed_grid: {height}x{width} images have no exact half; both sides must be even.")
    halves = images.reshape(2, 2, height // 2, 2, width // 2, 2, channels).mean(axis=(3, 5))
    return halves.transpose(0, 2, 1, 3, 4).reshape(height, width, channels)


def grid_pointing_game(attribution: AnyMap, quarter: ArrayLike) -> Scalar:
    """The share of a map's mass that lies in the quarter of a grid that shows the explained class.

    Args:
        attribution: of the `composed_grid` and the class of one of its photographs, `[H, W]`, nowhere negative.
        quarter: 0 upper left, 1 upper right, 2 lower left, 3 lower right; traced.

    Returns:
        In [0, 1]; 1/4 for an evenly spread map, 0 for an all-zero one. NaN for a quarter that there is not.

    Raises:
        ValueError: for a map with an odd side, which no grid has.
    """
    height, width = attribution.shape
    if height % 2 or width % 2:
        raise ValueError(f"grid_pointing_game: a map of {height}x{width} has no quarters; both sides must be even.")
    quarter = jnp.asarray(quarter)
    row, column = jnp.divmod(quarter, 2)
    rows, columns = jnp.arange(height) // (height // 2), jnp.arange(width) // (width // 2)
    share = energy_inside(attribution, (rows == row)[:, None] & (columns == column)[None, :])
    return jnp.where((quarter >= 0) & (quarter < 4), share, jnp.nan)


def occluded(image: Image, box: tuple[int, int, int, int], colour: ArrayLike = 0.0) -> Image:
    """An image with a rectangle drawn on it.

    Args:
        image: `[H, W, C]` in [0, 1].
        box: `x_min, y_min, x_max, y_max` in pixels, the maxima outside; `fame_jax.data.faces.SUNGLASSES`, say.
        colour: a number or one a channel, in [0, 1].

    Returns:
        `[H, W, C]`.
    """
    x_min, y_min, x_max, y_max = box
    image = jnp.asarray(image)
    return image.at[y_min:y_max, x_min:x_max].set(jnp.asarray(colour, image.dtype))


def concentration(attribution: AnyMap, mask: Mask, face: Mask | None = None) -> Concentration:
    """How much of a map lies on an occluder, against how much of the face the occluder covers.

    What supports a match cannot come from under an occluder of one image of a genuine pair, so that its e+ should
    stay away from it: a ratio below 1.

    Args:
        attribution: e+ of the `occluded` probe, `[H, W]`, nowhere negative.
        mask: of the occluder, `bool [H, W]`: `iou.box_masks(np.array([box]), H, W)[0]`.
        face: `bool [H, W]`, of which share and area are taken; None for the whole crop.

    Returns:
        Share, area and their ratio, which is NaN where the occluder misses the face. Share and ratio are NaN for a map
        with a pixel that is no finite number.
    """
    face = jnp.ones(attribution.shape, bool) if face is None else jnp.asarray(face)
    share = measured(energy_inside(jnp.where(face, attribution, 0), mask), attribution)
    area = energy_inside(face.astype(float), mask)
    return Concentration(share, area, share / area)
