"""Any number of entries through a function of batches, in bounded device memory."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array


def in_portions(function: Callable[..., Any], size: int, *arrays: Array | np.ndarray) -> Any:
    """Applies a function of batches to any number of entries, `size` at a time, and joins the results on the host.

    The last portion is filled up with copies of the last entry, whose results are dropped, so that every call has the
    same shapes and only one program is compiled.

    Args:
        function: of arrays `[size, ...]`, to a pytree of arrays `[size, ...]`.
        size: entries at a time; no more than there are.
        *arrays: `[n, ...]` each, n at least one.

    Returns:
        The function's pytree with NumPy arrays `[n, ...]`.

    Raises:
        ValueError: for no entries, or arrays that differ in number.
    """
    number = len(arrays[0])
    if number == 0 or any(len(array) != number for array in arrays):
        raise ValueError(
            f"in_portions: arrays of {[len(array) for array in arrays]} entries; expected one number above 0."
        )
    size = min(size, number)
    portions = []
    for start in range(0, number, size):
        portion = (np.asarray(array[start : start + size]) for array in arrays)
        full = (np.pad(part, [(0, size - len(part))] + [(0, 0)] * (part.ndim - 1), mode="edge") for part in portion)
        portions.append(jax.tree.map(np.asarray, function(*(jnp.asarray(part) for part in full))))
    return jax.tree.map(lambda *parts: np.concatenate(parts)[:number], *portions)
