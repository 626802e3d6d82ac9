"""What leaves the page as a picture or as arrays, made in memory."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from fame_jax import plots
from fame_jax.app.asked import AskedError
from fame_jax.report.encoded import encoded_image

COLOURS = ("inferno", "viridis", "jet", "gray")
"""Colour maps of the page, the default first."""


def tables() -> dict[str, np.ndarray]:
    """The colour maps, `[256, 3]` in [0, 1]."""
    black, ramp = np.zeros((1, 256, 3)), np.linspace(0, 1, 256)[None]
    return {name: plots.overlay(black, ramp, colours=name, opacity=1.0)[0].astype(np.float32) for name in COLOURS}


def webp(image: np.ndarray, longest: int = 1024) -> bytes:
    """An image `[H, W, 3]` in [0, 1] to look at, with every so many pixels left out of one that is too long."""
    every = -(-max(image.shape[:2]) // longest)
    return encoded_image(np.asarray(image[::every, ::every], np.float32))


def png(
    images: Sequence[np.ndarray], maps: Mapping[str, np.ndarray], title: str, colours: str, opacity: float
) -> bytes:
    """Photograph, map and overlay as `fame explain` draws them, or of a pair both faces with their maps.

    Args:
        images: one `[H, W, 3]` in [0, 1], or probe and gallery.
        maps: `attribution`, or those of a pair, `[H, W]` each.
        title: a line above.
        colours: of `COLOURS`.
        opacity: of the map over the photograph, in [0, 1].
    """
    if colours not in COLOURS or not 0 <= opacity <= 1:
        raise AskedError(f"colours, opacity: expected one of {', '.join(COLOURS)} and a share from 0 to 1.")
    shown = {"title": title, "colours": colours, "opacity": opacity}
    if len(images) == 2:
        return _drawn(plots.pair(images[0], images[1], maps, **shown))
    return _drawn(plots.explanation(images[0], maps["attribution"], **shown))


def npz(**arrays: Any) -> bytes:
    """A compressed archive of arrays."""
    file = io.BytesIO()
    named: dict[str, Any] = {name: np.asarray(value) for name, value in arrays.items()}
    np.savez_compressed(file, **named)
    return file.getvalue()


def _drawn(figure: Figure) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=120)
    return file.getvalue()
