"""How the values of maps are kept: in full, rounded to half the bytes, or as grey levels; never clipped.

float32 and float64 keep what the network computes in. float16 changes a value by at most 2^-11 of itself (below 2^-14
by at most 2^-25). uint8 keeps v in [0, 1] as round(255 v), which changes it by at most half a grey level, 1/510.
"""

from typing import Any, Literal

import numpy as np

MapDtype = Literal["float16", "float32", "float64", "uint8"]

LEVELS = 255
"""What 1 is kept as in uint8."""


class UnkeptError(ValueError):
    """A map with values that a dtype does not have; the message says which it has."""


def encoded(attribution: Any, dtype: str) -> np.ndarray:
    """A map `[H, W]` as it is written.

    Raises:
        UnkeptError: for a map that is negative, above 1 or not finite if it is to be grey levels, and for one that
            would become infinite.
    """
    values = np.asarray(attribution)
    if dtype == "uint8":
        levels = np.rint(values.astype(np.float64) * LEVELS)
        fits = bool(levels.min() >= 0 and levels.max() <= LEVELS)
        held = "uint8 has 0 to 1"
    else:
        with np.errstate(over="ignore"):
            levels = values.astype(dtype)
        fits = not (np.isinf(levels) & np.isfinite(values)).any()
        held = f"{dtype} has numbers up to {np.finfo(dtype).max:.3g}"
    if not fits:
        raise UnkeptError(f"the map runs from {float(values.min()):.3g} to {float(values.max()):.3g}, and {held}")
    return levels.astype(dtype)


def decoded(values: np.ndarray) -> np.ndarray:
    """What was written, as float32."""
    found = values.astype(np.float32)
    return found / np.float32(LEVELS) if values.dtype == np.uint8 else found
