"""Values of options that cannot be meant, refused in one line before anything is computed."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

Fits = Callable[[np.ndarray], Any]


class OptionError(ValueError):
    """An option whose value cannot be meant; the message names it and says what is expected."""


def _whole(lowest: int, highest: int | None = None) -> tuple[Fits, str]:
    """Of an integer type: a range, a shape or a seed takes no 4.0."""

    def fits(value: np.ndarray) -> Any:
        return (value.dtype.kind in "iu") & (value >= lowest) & (highest is None or value <= highest)

    room = f", {lowest} or more" if highest is None else f" from {lowest} to {highest}"
    return fits, f"a whole number{room}, of an integer type"


def _positive(value: np.ndarray) -> Any:
    return value > 0


def _ascending(value: np.ndarray) -> Any:
    return value.shape[:1] == (2,) and value[0] < value[1]


_EXPECTED: dict[str, tuple[Fits, str]] = {
    **dict.fromkeys(("window", "kernel_size", "masks", "size", "samples", "steps", "starts"), _whole(1)),
    **dict.fromkeys(("cells", "chunk", "batch_size", "images_at_once", "pairs_at_once", "pixels_a_step"), _whole(1)),
    "patches": _whole(0),
    # More would be another number in 32 bits than in 64.
    "seed": _whole(0, 2**32 - 1),
    "iterations": _whole(0, 2**31 - 2),
    "step_size": (_positive, "a finite number above 0"),
    "sigma": (_positive, "a finite number of pixels above 0"),
    "scale": (_positive, "finite numbers above 0"),
    "clip": (_ascending, "the lowest and the highest pixel value"),
    "stop_loss": (lambda value: True, "a finite number"),
    "stop_change": (lambda value: (value >= 0) & (value <= 1), "a share of the map, 0 to 1"),
    "noise": (lambda value: value >= 0, "a finite number, 0 or more"),
    "kept": (lambda value: (value > 0) & (value <= 1), "a probability above 0, up to 1"),
}

_OF_CHANNELS = ("scale", "clip")
"""Options that may be several numbers."""

_NEEDED = ("iterations", "step_size", "scale", "window", "seed", "masks", "samples", "starts", "steps", "chunk")
"""Options for which None is no choice."""


def check_pixels(*images: Any) -> None:
    """Refuses images of whole numbers, whose gradient does not exist and whose pixels are no light in [0, 1].

    Raises:
        OptionError: for the first that is no array of floating-point numbers.
    """
    for image in images:
        dtype = getattr(image, "dtype", None)
        if dtype is None:
            raise OptionError(f"the image is a {type(image).__name__}; expected an array [H, W, C] in [0, 1].")
        if not jnp.issubdtype(dtype, jnp.floating):
            raise OptionError(f"the image is {dtype}; expected floating-point numbers in [0, 1]: divide by 255.")


def check_image(*images: Any) -> None:
    """`check_pixels` of single images.

    Raises:
        OptionError: for a batch, a map or a list, too.
    """
    check_pixels(*images)
    for image in images:
        if image.ndim != 3:
            raise OptionError(
                f"the image is {list(image.shape)}; expected one image [H, W, C]: image[..., None] if it is grey, "
                "jax.vmap for a batch."
            )
        if _is_planes(*image.shape):
            raise OptionError(
                f"the image is {list(image.shape)}: its channels seem to be first. Give it as [H, W, C], and turn it "
                "where your network wants it otherwise: lambda image: network(image.transpose(2, 0, 1))."
            )


def _is_planes(first: int, rows: int, columns: int) -> bool:
    """`[C, H, W]` of colours, or of a grey square; else one row of many channels is a signal."""
    return min(rows, columns) > 4 and (first in (3, 4) or (first == 1 and rows == columns))


def check_dtype(dtype: Any) -> None:
    """Refuses a dtype of images that has no gradient, or that JAX would take for a narrower one without a word.

    Raises:
        OptionError: naming it.
    """
    dtype = jnp.dtype(dtype)
    if not jnp.issubdtype(dtype, jnp.floating):
        raise OptionError(f"dtype={dtype}: expected one of floating-point numbers, such as float32.")
    if jax.dtypes.canonicalize_dtype(dtype) != dtype:
        raise OptionError(
            f"dtype={dtype} needs 64-bit JAX: call jax.config.update('jax_enable_x64', True) first, or set "
            "JAX_ENABLE_X64=1."
        )


def check_integers(*trees: Any) -> None:
    """Refuses whole numbers that JAX would wrap, without its 64 bits: class 2**32 + 1 would be class 1.

    Raises:
        OptionError: for the first one.
    """
    for leaf in jax.tree.leaves(trees):
        if not isinstance(leaf, int | np.integer | np.ndarray) or np.asarray(leaf).dtype.kind not in "iu":
            continue
        given = np.asarray(leaf)
        room = np.iinfo(jax.dtypes.canonicalize_dtype(given.dtype))
        if given.size and not room.min <= given.min() <= given.max() <= room.max:
            raise OptionError(
                f"{str(leaf)[:40]}: expected whole numbers of {room.bits} bits, {room.min} to {room.max}."
            )


def target_index(target: Any, shape: tuple[int, ...]) -> np.ndarray:
    """A class, or the row and column of a location, as `int32` of this shape.

    Raises:
        OptionError: for what would be cut off or wrapped, such as 2.9 or 2**32.
    """
    given = np.asarray(target)
    fits = given.dtype.kind in "iu" and given.shape == shape and np.all(abs(given.astype(object)) < 2**31)
    if not fits:
        expected = "row and column, two whole numbers" if shape else "the index of a class, a whole number"
        raise OptionError(f"target {str(target)[:40]}: expected {expected}.")
    return given.astype(np.int32)


def check_options(**options: Any) -> None:
    """Refuses values that cannot be meant, of the options that have a known range; all others pass.

    Under `jit` and its kin a value may be traced and is not known; then it passes as well.

    Raises:
        OptionError: for the first bad value, with its name and what is expected.
    """
    for name, value in options.items():
        if value is None and name in _NEEDED:
            raise OptionError(f"{name}=None: expected {_EXPECTED[name][1]}.")
        traced = any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(value))
        if name not in _EXPECTED or value is None or traced:
            continue
        fits, expected = _EXPECTED[name]
        array = np.asarray(value)
        if (
            array.ndim > (name in _OF_CHANNELS)
            or array.dtype.kind not in "iuf"
            or not np.all(np.isfinite(array) & fits(array))
        ):
            raise OptionError(f"{name}={value}: expected {expected}.")
