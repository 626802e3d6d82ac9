"""What a network's outputs mean for a class: a probability by softmax or sigmoid, the logit itself, or a function."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from fame_jax._types import Output, Scalar
from fame_jax.network import vector
from fame_jax.options import OptionError, check_integers

Score = Literal["softmax", "sigmoid", "logit"] | Callable[[Output], Output]
"""`softmax` where exactly one class is true, `sigmoid` where each may be (also a single logit of yes or no), `logit`
for the output itself (regression), or a function of all outputs `[o]` to scores `[o]`. Static: it is code."""

FUNCTIONS: Mapping[str, Callable[[Output], Output]] = MappingProxyType(
    {"softmax": jax.nn.softmax, "sigmoid": jax.nn.sigmoid, "logit": lambda outputs: outputs}
)
"""The scores that have a name."""


class ScoreError(ValueError):
    """A score that does not exist, or that says nothing about this network."""


def output_of(outputs: Any, label: ArrayLike) -> Scalar:
    """One output of a network; a label outside them, negative ones included, gives NaN and never a neighbour's.

    Args:
        outputs: `[o]`.
        label: traced.

    Raises:
        NetworkError: for anything but one vector.
        OptionError: for a label that is no index.
    """
    known = isinstance(label, int | np.integer | np.ndarray | jax.Array)
    if not known or jnp.ndim(label) or not jnp.issubdtype(jnp.result_type(label), jnp.integer):
        given = label.aval if isinstance(label, Tracer) else type(label) if isinstance(label, list) else repr(label)
        raise OptionError(f"label {given}: expected the index of a class, a whole number.")
    check_integers(label)
    return vector(outputs).at[label].get(mode="fill", fill_value=jnp.nan, wrap_negative_indices=False)


def scores_of(outputs: Any, score: Score) -> Output:
    """All outputs of a network as scores.

    Args:
        outputs: `[o]`.
        score: see `Score`.

    Returns:
        `[o]`.

    Raises:
        ScoreError: for a name that does not exist, or the softmax of a single output, which is always 1.
    """
    outputs = vector(outputs)
    if callable(score):
        return vector(score(outputs))
    if score not in FUNCTIONS:
        raise ScoreError(f"score={score!r}; expected {', '.join(map(repr, FUNCTIONS))} or a function of the outputs.")
    if score == "softmax" and outputs.shape[0] == 1:
        raise ScoreError(
            "score='softmax': the softmax of a single output is always 1. Say score='sigmoid' for a logit of yes or "
            "no, score='logit' for a number such as that of a regression."
        )
    return FUNCTIONS[score](outputs)


def score_of(outputs: Any, label: ArrayLike, score: Score = "softmax") -> Scalar:
    """The score of one class; NaN for a label outside the outputs. See `scores_of`."""
    return output_of(scores_of(outputs, score), label)


def constant(scores: Float[Array, "n ..."]) -> Array:
    """Whether scores differ by no more than rounding along their first axis; False where one is no number."""
    largest = jnp.max(jnp.abs(scores), axis=0)
    return jnp.ptp(scores, axis=0) <= rounding(scores.dtype) * largest


def rounding(dtype: Any) -> float:
    """The share by which rounding moves a score: eight units in the last place, in 16 bits one, up to 1/128."""
    kind = jnp.finfo(dtype)
    return float(kind.eps) * (8 if kind.bits > 16 else 1)
