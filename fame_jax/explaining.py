"""One question through a method, as a function that is mapped over records: what of it is code and what is data."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fame_jax.core import Explanation
from fame_jax.detection.detected import asked
from fame_jax.explainers.explainer import Explainer, Task, kind_of
from fame_jax.held import is_array

Results = tuple[Explanation | None, ...]
"""In the order of `MAPS`, as NumPy arrays; None for a map that the method does not have."""


class Explaining:
    """One image, or pair, through a method. Equal ones are one to `jit`: an engine does not compile another's anew.

    Args:
        row: the method.
        task: what is explained.
        options: those that are code: all but `arrays_of` them.
    """

    def __init__(self, row: Explainer, task: Task, options: Mapping[str, Any]):
        self.row, self.task, self.options = row, task, options
        # For `held.as_code`, which looks at attributes: a method of one's own may have got hold of arrays.
        self.function = row.function(task)
        self._told = row.name, task, tuple((name, _told(options[name])) for name in sorted(options))

    def __call__(
        self, images: Any, network: Any, seed: Any, arrays: Mapping[str, Any], target: Any, digest: Any
    ) -> Results:
        """Images and network, the seed and the options that are arrays, the target and what stands for the pixels."""
        key = jax.random.fold_in(jax.random.key(seed), digest)
        if self.task == "detect":
            network, target = asked(network, target), 0
        return self.row.results(kind_of(self.task), network, images, target, key=key, **self.options, **arrays)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Explaining) and self._told == other._told and self.row == other.row

    def __hash__(self) -> int:
        return hash(self._told)


def arrays_of(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that are arrays, as they are now: other values compile nothing."""
    return {name: np.array(value) for name, value in options.items() if _is_traced(value)}


def hashable(options: dict[str, Any]) -> dict[str, Any]:
    """Options with the weights of channels, which are code, as a tuple."""
    weights = options.get("grey_weights")
    told = is_array(weights) or isinstance(weights, list)
    return {**options, "grey_weights": tuple(np.asarray(weights).tolist())} if told else options


def _is_traced(option: Any) -> bool:
    """Numbers of Python, and NumPy's whole ones, may be shapes."""
    return is_array(option) and (option.ndim > 0 or jnp.issubdtype(option.dtype, jnp.floating))


def _told(value: Any) -> tuple[type, Any]:
    """What an option is known by: its kind, too, since 1 equals True; what has no hash is only itself."""
    try:
        hash(value)
    except TypeError:
        return type(value), id(value)
    return type(value), value
