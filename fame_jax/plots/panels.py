"""One photograph or pair with its maps, photographs by method, and the sheet of all locations."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike, NDArray

from fame_jax.words import did_you_mean, nearest

COLOURS = "inferno"

_TITLE = 25
"""Letters of a title that fit above a panel of `method_grid`."""


class ColourError(ValueError):
    """A name that is no Matplotlib colour map."""


def check_colours(name: str) -> None:
    """Refuses what is no colour map, before any long work.

    Raises:
        ColourError: with the nearest names.
    """
    if name not in colormaps:
        near = nearest(name, colormaps) or [COLOURS, "viridis", "jet"]
        raise ColourError(f"there is no colour map {name!r}; {did_you_mean(name, near)}")


def overlay(image: ArrayLike, attribution: ArrayLike, *, colours: str = COLOURS, opacity: float = 0.5) -> NDArray[Any]:
    """The coloured map blended over its image (the paper's figures: `jet`, 0.5).

    Args:
        image: `[H, W, 3]` in [0, 1].
        attribution: `[H, W]` in [0, 1].
        colours: name of a Matplotlib colour map.
        opacity: of the map, in [0, 1].

    Returns:
        `[H, W, 3]` in [0, 1].
    """
    coloured = colormaps[colours](np.asarray(attribution, np.float64))[..., :3]
    return np.clip((1 - opacity) * np.asarray(image) + opacity * coloured, 0, 1)


def explanation(
    image: ArrayLike,
    attribution: ArrayLike,
    *,
    title: str = "",
    colours: str = COLOURS,
    opacity: float = 0.5,
    box: Sequence[float] | None = None,
) -> Figure:
    """Photograph, map and overlay side by side, with the colour scale.

    Args:
        image: `[H, W, 3]` in [0, 1].
        attribution: `[H, W]` in [0, 1].
        title: a line above.
        colours: name of a Matplotlib colour map.
        opacity: of the map in the overlay, in [0, 1].
        box: of what is explained, `left, top, right, bottom` in pixels.
    """
    figure = Figure(figsize=(10.4, 3.8), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    show(left, image, "photograph")
    if box is not None:
        _outline(left, box)
    shown = middle.imshow(np.asarray(attribution), cmap=colours, vmin=0, vmax=1)
    bare(middle, "map")
    show(right, overlay(image, attribution, colours=colours, opacity=opacity), "overlay")
    figure.colorbar(shown, ax=right, label="relevance", shrink=0.9)
    figure.suptitle(title)
    return figure


def method_grid(
    images: Sequence[ArrayLike], maps: Mapping[str, Sequence[ArrayLike]], *, colours: str = COLOURS, columns: int = 6
) -> Figure:
    """Photographs with the overlays of all methods (Fig. 2 and 9): one row an image, folded after `columns`.

    Args:
        images: `[H, W, 3]` in [0, 1] each.
        maps: by method, a map `[H, W]` for every image.
        colours: name of a Matplotlib colour map.
        columns: panels in one line.
    """
    panels = [
        (picture, name)
        for i, image in enumerate(images)
        for picture, name in [(image, ""), *((overlay(image, of[i], colours=colours), n) for n, of in maps.items())]
    ]
    columns = min(columns, 1 + len(maps))
    lines = -(-len(panels) // columns)
    figure = Figure(figsize=(1.9 * columns, 2.1 * lines), layout="constrained")
    for axes, (picture, name) in zip(figure.subplots(lines, columns, squeeze=False).flat, panels, strict=False):
        show(axes, picture, textwrap.fill(name, _TITLE))
    for axes in figure.axes[len(panels) :]:
        axes.remove()
    return figure


def pair(
    probe: ArrayLike,
    gallery: ArrayLike,
    maps: Mapping[str, ArrayLike],
    *,
    title: str = "",
    colours: str = COLOURS,
    opacity: float = 0.5,
) -> Figure:
    """Two faces, with e+ and e- over each (Fig. 3).

    Args:
        probe: `[H, W, 3]` in [0, 1].
        gallery: `[H, W, 3]` in [0, 1].
        maps: any of `probe_similar`, `probe_dissimilar`, `gallery_similar`, `gallery_dissimilar`, `[H, W]` each.
        title: a line above.
        colours: name of a Matplotlib colour map.
        opacity: of the maps, in [0, 1].
    """
    figure = Figure(figsize=(7.6, 5.4), layout="constrained")
    grid = figure.subplots(2, 3)
    for row, (name, face) in zip(grid, {"probe": probe, "gallery": gallery}.items(), strict=True):
        show(row[0], face, name)
        for axes, kind, sign in zip(row[1:], ("similar", "dissimilar"), ("e+", "e−"), strict=True):
            if f"{name}_{kind}" in maps:
                show(axes, overlay(face, maps[f"{name}_{kind}"], colours=colours, opacity=opacity), f"{kind} ({sign})")
            else:
                axes.set_axis_off()
    figure.suptitle(title)
    return figure


def location_sheet(
    image: ArrayLike,
    maps: ArrayLike,
    *,
    rows: Sequence[int] | None = None,
    grid_rows: int | None = None,
    colours: str = COLOURS,
) -> Figure:
    """The maps of all feature-map locations, each with the white outline of its own cell (Fig. 1, 7 and 8).

    Args:
        image: `[H, W, 3]` in [0, 1].
        maps: `[rows, columns, H, W]` in [0, 1].
        rows: which rows of the feature map these are; None for all of them.
        grid_rows: number of rows of the whole feature map; None if `maps` has them all.
        colours: name of a Matplotlib colour map.
    """
    maps = np.asarray(maps)
    count, columns, height, width = maps.shape
    rows = range(count) if rows is None else rows
    total = count if grid_rows is None else grid_rows
    figure = Figure(figsize=(1.3 * columns, 1.35 * count), layout="constrained")
    grid = figure.subplots(count, columns, squeeze=False)
    for i, row in enumerate(rows):
        for column in range(columns):
            show(grid[i, column], overlay(image, maps[i, column], colours=colours), f"({row}, {column})")
            top, bottom = (round(n * height / total) for n in (row, row + 1))
            left, right = (round(n * width / columns) for n in (column, column + 1))
            cell = Rectangle(
                (left - 0.5, top - 0.5), right - left, bottom - top, fill=False, edgecolor="white", linewidth=1.2
            )
            grid[i, column].add_patch(cell)
    return figure


def boxes(image: ArrayLike, outlines: Sequence[Sequence[float]], names: Sequence[str], *, title: str = "") -> Figure:
    """A photograph with the boxes of detections.

    Args:
        image: `[H, W, 3]` in [0, 1].
        outlines: `left, top, right, bottom` in pixels, one a box.
        names: of the boxes.
        title: a line above.
    """
    height, width = np.shape(image)[:2]
    figure = Figure(figsize=(8, max(2.0, min(12.0, 8 * height / width + 0.4))), layout="constrained")
    axes = figure.subplots()
    show(axes, image, title)
    for box, name in zip(outlines, names, strict=True):
        _outline(axes, box)
        label = {"facecolor": "black", "alpha": 0.6, "pad": 1.5, "edgecolor": "none"}
        axes.text(box[0], box[1] - 3, name, color="lime", fontsize=9, bbox=label, va="bottom", clip_on=True)
    return figure


def _outline(axes: Axes, box: Sequence[float]) -> None:
    left, top, right, bottom = box
    style = {"fill": False, "edgecolor": "lime", "linewidth": 2}
    axes.add_patch(Rectangle((left - 0.5, top - 0.5), right - left, bottom - top, **style))


def show(axes: Axes, picture: ArrayLike, title: str) -> None:
    """A picture `[H, W, 3]`, clipped to [0, 1], without a frame."""
    axes.imshow(np.clip(np.asarray(picture, np.float64), 0, 1), vmin=0, vmax=1)
    bare(axes, title)


def bare(axes: Axes, title: str) -> None:
    """A panel without a frame, under a small title."""
    axes.set_title(title, fontsize=9)
    axes.set_axis_off()
