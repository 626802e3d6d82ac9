"""Values of options that cannot be meant, refused in one line before anything is computed."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.core import Tracer

Fits = Callable[[np.ndarray], Any]


class OptionError(ValueError):
    """An option whose value cannot be meant; the message names it and says what is expected."""


def _whole(lowest: int) -> tuple[Fits, str]:
    return (lambda value: (value >= lowest) & (value == np.floor(value))), f"a whole number, {lowest} or more"


def _positive(value: np.ndarray) -> Any:
    return value > 0


def _ascending(value: np.ndarray) -> Any:
    return value.shape[:1] == (2,) and value[0] < value[1]


_EXPECTED: dict[str, tuple[Fits, str]] = {
    **dict.fromkeys(("window", "kernel_size", "masks", "size", "samples", "steps", "starts"), _whole(1)),
    **dict.fromkeys(("cells", "chunk", "batch_size", "pixels_a_step"), _whole(1)),
    "patches": _whole(0),
    "iterations": (lambda value: _whole(0)[0](value) & (value < 2**31 - 1), f"a whole number from 0 to {2**31 - 2}"),
    "step_size": (_positive, "a finite number above 0"),
    "sigma": (_positive, "a finite number of pixels above 0"),
    "scale": (_positive, "finite numbers above 0"),
    "clip": (_ascending, "the lowest and the highest pixel value"),
    "stop_loss": (lambda value: True, "a finite number"),
    "stop_change": (lambda value: (value >= 0) & (value <= 1), "a share of the map, 0 to 1"),
    "noise": (lambda value: value >= 0, "a finite number, 0 or more"),
    "kept": (lambda value: (value > 0) & (value <= 1), "a probability above 0, up to 1"),
}


def check_options(**options: Any) -> None:
    """Refuses values that cannot be meant, of the options that have a known range; all others pass.

    Under `jit` and its kin a value may be traced and is not known; then it passes as well.

    Raises:
        OptionError: for the first bad value, with its name and what is expected.
    """
    for name, value in options.items():
        traced = any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(value))
        if name not in _EXPECTED or value is None or traced:
            continue
        fits, expected = _EXPECTED[name]
        array = np.asarray(value)
        if array.dtype.kind not in "iuf" or not np.all(np.isfinite(array) & fits(array)):
            raise OptionError(f"{name}={value}: expected {expected}.")
