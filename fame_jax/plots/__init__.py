"""Pictures of maps and curves of metrics; every function takes arrays and returns a Matplotlib figure.

The default colours (`inferno`) are perceptually uniform and readable by colour-blind people; `jet` gives the paper's
look. Curves differ in colour, line and marker.
"""

from fame_jax.plots.curves import Band, deletion_insertion
from fame_jax.plots.panels import (
    COLOURS,
    ColourError,
    boxes,
    check_colours,
    explanation,
    location_sheet,
    method_grid,
    overlay,
    pair,
)
from fame_jax.plots.sheets import pair_grid, sweep

__all__ = [
    "COLOURS",
    "Band",
    "ColourError",
    "boxes",
    "check_colours",
    "deletion_insertion",
    "explanation",
    "location_sheet",
    "method_grid",
    "overlay",
    "pair",
    "pair_grid",
    "sweep",
]
