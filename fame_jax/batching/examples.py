"""What may stand in a stream of examples: an image and the tuple of its own arguments, all of one shape."""

from collections.abc import Iterable, Iterator
from typing import Any

import jax
import numpy as np

Example = tuple[Any, tuple[Any, ...]]


def checked(examples: Iterable[Example]) -> Iterator[Example]:
    """The examples as arrays, each of the first one's structure, shapes and dtypes.

    Raises:
        ValueError: naming the first example that differs.
    """
    expected = None
    for index, (image, args) in enumerate(examples):
        example = jax.tree.map(_array, (image, tuple(args)))
        found = jax.tree.map(lambda x: (x.shape, x.dtype.name), example)
        expected = found if expected is None else expected
        if found != expected:
            raise ValueError(
                f"example {index}: image and arguments are {found}; expected {expected} as in example 0. Bring all "
                "examples to one shape and dtype."
            )
        yield example


def _array(leaf: Any) -> Any:
    """A NumPy array stays on the host; a Python number gets a dtype of its own, or each kind would compile anew."""
    if not isinstance(leaf, jax.Array):
        array = np.asarray(leaf)
        return array.astype(jax.dtypes.canonicalize_dtype(array.dtype))
    return leaf.astype(leaf.dtype) if getattr(leaf, "weak_type", False) else leaf
