"""Sheets of many maps: pairs of faces by method, and one map as an option is swept."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from numpy.typing import ArrayLike

from fame_jax.plots.panels import COLOURS, overlay, show

_SIGNS = {"similar": "e+", "dissimilar": "e−"}


def pair_grid(
    pairs: Sequence[tuple[ArrayLike, ArrayLike]],
    maps: Mapping[str, Sequence[Mapping[str, ArrayLike]]],
    *,
    titles: Sequence[str] = (),
    colours: str = COLOURS,
) -> Figure:
    """Pairs of faces with the maps of all methods (Fig. 3, 10 to 12): two rows a pair, probe above gallery.

    A method has a column for e+, and one for e- if any of its pairs has such a map.

    Args:
        pairs: probe and gallery, `[H, W, 3]` in [0, 1].
        maps: by method, for every pair its maps `[H, W]` by name: `probe_similar`, `probe_dissimilar`,
            `gallery_similar`, `gallery_dissimilar`.
        titles: a line for every pair, beside its rows.
        colours: name of a Matplotlib colour map.
    """
    columns = [
        (method, kind)
        for method, of in maps.items()
        for kind in _SIGNS
        if any(f"{face}_{kind}" in one for one in of for face in ("probe", "gallery"))
    ]
    width = 1.35 * (1 + len(columns)) + 0.4
    # A margin for the lines beside the rows, which would otherwise push the rows apart.
    margin = 0.25 / width if titles else 0.0
    layout = ConstrainedLayoutEngine(rect=(margin, 0, 1 - margin, 1))
    figure = Figure(figsize=(width, 2.8 * len(pairs) + 0.4), layout=layout)
    grid = figure.subplots(2 * len(pairs), 1 + len(columns), squeeze=False)
    for i, faces in enumerate(pairs):
        for line, name, face in zip((2 * i, 2 * i + 1), ("probe", "gallery"), faces, strict=True):
            row = grid[line]
            show(row[0], face, name)
            for axes, (method, kind) in zip(row[1:], columns, strict=True):
                found = maps[method][i].get(f"{name}_{kind}")
                if found is None:
                    axes.set_axis_off()
                else:
                    title = f"{method}\n{_SIGNS[kind]}" if line == 0 else ""
                    show(axes, overlay(face, found, colours=colours), title)
        if titles:
            row = grid[2 * i][0]
            beside = {"rotation": 90, "va": "center", "ha": "right", "fontsize": 8, "transform": row.transAxes}
            row.text(-0.08, 0, titles[i], **beside).set_in_layout(False)
    return figure


def sweep(
    images: Sequence[ArrayLike],
    maps: Sequence[ArrayLike],
    values: Sequence[str],
    *,
    name: str = "",
    colours: str = COLOURS,
) -> Figure:
    """One map of every image as an option is swept: steps, step size or blur (Fig. 5 and 6).

    Args:
        images: `[H, W, 3]` in [0, 1] each.
        maps: for every image `[k, H, W]` in [0, 1].
        values: the k values of the option in words.
        name: of the option.
        colours: name of a Matplotlib colour map.
    """
    columns = 1 + len(values)
    figure = Figure(figsize=(1.5 * columns, 1.6 * len(images) + 0.3), layout="constrained")
    grid = figure.subplots(len(images), columns, squeeze=False)
    for line, (row, image, of_image) in enumerate(zip(grid, images, maps, strict=True)):
        show(row[0], image, "" if line else "photograph")
        for axes, attribution, value in zip(row[1:], np.asarray(of_image), values, strict=True):
            title = "" if line else f"{name} {value}".strip()
            show(axes, overlay(image, attribution, colours=colours), title)
    return figure
