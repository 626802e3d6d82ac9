"""What may stand in a stream of examples: an image and the tuple of its own arguments, all of one shape."""

from collections.abc import Iterable, Iterator
from typing import Any

import jax
import numpy as np

from fame_jax.options import check_integers

Example = tuple[Any, tuple[Any, ...]]


def checked(examples: Iterable[Example]) -> Iterator[Example]:
    """The examples as arrays, each of the first one's structure, shapes and dtypes.

    Raises:
        ValueError: naming the first example that differs.
    """
    expected = None
    for index, example in enumerate(examples):
        if not (isinstance(example, tuple) and len(example) == 2 and isinstance(example[1], tuple | list)):
            raise ValueError(
                f"example {index}: expected an image and the tuple of its arguments, such as (image, (285,))."
            )
        image, args = example
        leaves, structure = jax.tree.flatten((image, tuple(args)))
        arrays = [_array(leaf) for leaf in leaves]
        found = ", ".join(f"{array.dtype.name}{list(array.shape)}" for array in arrays), structure
        expected = found if expected is None else expected
        if found != expected:
            # The arrays say what is wrong, unless only what holds them differs.
            said = 0 if found[0] != expected[0] else 1
            raise ValueError(
                f"example {index}: its image and arguments are {found[said]}; expected {expected[said]}, as in "
                "example 0. Bring all examples to one shape and dtype."
            )
        yield jax.tree.unflatten(structure, arrays)


def _array(leaf: Any) -> Any:
    """A NumPy array stays on the host; a Python number gets a dtype of its own, or each kind would compile anew.

    A copy: whoever reads frames into one buffer overwrites it before it is sent.
    """
    if not isinstance(leaf, jax.Array):
        check_integers(leaf)
        return np.array(leaf, jax.dtypes.canonicalize_dtype(np.asarray(leaf).dtype))
    return leaf.astype(leaf.dtype) if getattr(leaf, "weak_type", False) else leaf
