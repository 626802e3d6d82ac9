"""Deletion and insertion as curves with their intervals."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

# Okabe and Ito, "Color Universal Design", 2008, without yellow, which is faint on white.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_LINES = ("-", "--", "-.", ":")
_MARKERS = "os^Dv<>"


class Band(NamedTuple):
    """A curve and its interval, one number a share of the pixels each.

    Attributes:
        mean: `[k]`.
        low: lower end of the interval, `[k]`.
        high: upper end, `[k]`.
        label: a word for the legend behind the curve's name, such as its AUC.
    """

    mean: ArrayLike
    low: ArrayLike
    high: ArrayLike
    label: str = ""


def deletion_insertion(
    fractions: ArrayLike,
    deletion: Mapping[str, Band],
    insertion: Mapping[str, Band],
    *,
    measure: str = "accuracy",
    clean: float | None = None,
    title: str = "",
) -> Figure:
    """Deletion on the left, insertion on the right, a curve with its band a method (Fig. 4).

    Args:
        fractions: shares of the pixels, `[k]` in [0, 1].
        deletion: by method; lower is better.
        insertion: by method; higher is better.
        measure: what the curves show.
        clean: its value on untouched images, as a thin line.
        title: a line above.
    """
    figure = Figure(figsize=(10.4, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    _draw(left, fractions, deletion, clean, "pixels removed, %", "deletion (lower is better)")
    _draw(right, fractions, insertion, clean, "pixels shown, %", "insertion (higher is better)")
    left.set_ylabel(measure)
    figure.suptitle(title)
    return figure


def _draw(
    axes: Axes, fractions: ArrayLike, curves: Mapping[str, Band], clean: float | None, below: str, title: str
) -> None:
    percent = 100 * np.asarray(fractions, np.float64)
    for i, (name, band) in enumerate(curves.items()):
        colour = _COLOURS[i % len(_COLOURS)]
        line, marker = _LINES[i % len(_LINES)], _MARKERS[i % len(_MARKERS)]
        label = f"{name} {band.label}".strip()
        axes.plot(percent, np.asarray(band.mean), line, color=colour, marker=marker, markersize=4, label=label)
        axes.fill_between(percent, np.asarray(band.low), np.asarray(band.high), color=colour, alpha=0.15, linewidth=0)
    if clean is not None:
        axes.axhline(clean, color="grey", linewidth=0.8, zorder=0)
    axes.set_xlabel(below)
    axes.set_title(title, fontsize=10)
    axes.grid(alpha=0.25)
    axes.legend(fontsize=8)
