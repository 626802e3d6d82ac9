"""Thresholds of face verification, and what is decided by them; on the host, in NumPy.

References:
    Zhang and Günther, "Feature Activation Map Explanation on Image Classification and Face Recognition", Sec. 4.
"""

from collections.abc import Sequence
from numbers import Real
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Shaped

from fame_jax.options import OptionError

Scores = Float[np.ndarray, " n"]
"""Similarities of pairs."""

Genuine = Shaped[np.ndarray, " n"] | Sequence[int]
"""True or 1 for two faces of one person, False or 0 for impostors."""

Criterion = Literal["equal_error_rate", "max_accuracy"] | float | int
"""What a threshold is chosen for; a number is a false match rate."""


class OperatingPoint(NamedTuple):
    """A threshold, and how pairs fare when a score at or above it is accepted.

    Attributes:
        threshold: the decision threshold.
        false_match_rate: share of impostors accepted.
        false_non_match_rate: share of genuine pairs rejected.
        accuracy: share of all pairs decided rightly.
    """

    threshold: float
    false_match_rate: float
    false_non_match_rate: float
    accuracy: float

    @property
    def equal_error_rate(self) -> float:
        """The mean of both error rates."""
        return (self.false_match_rate + self.false_non_match_rate) / 2


def operating_point(scores: Scores, genuine: Genuine, criterion: Criterion = "equal_error_rate") -> OperatingPoint:
    """The threshold, among the scores themselves, that a criterion prefers; the largest of equally good ones.

    Errors are counted rather than averaged, so that ties are exact.

    Args:
        scores: similarities of the clean pairs, `[n]`.
        genuine: `[n]`.
        criterion: `equal_error_rate` for the smallest difference of false match rate and false non-match rate, which
            is the lowest genuine score where pairs are separated perfectly; `max_accuracy` for the fewest errors; a
            number for the lowest threshold with no higher false match rate, which lies just above all scores where the
            highest of them is an impostor's and already too many.

    Returns:
        Threshold and rates.

    Raises:
        OptionError: without both kinds of pairs, for a pair that is neither, a score that is not finite, or an unknown
            criterion.
    """
    genuine = of_kinds(genuine)
    pairs, impostors = np.sort(scores[genuine]), np.sort(scores[~genuine])
    if not (len(pairs) and len(impostors)):
        raise OptionError(
            f"operating_point: {len(pairs)} genuine and {len(impostors)} impostor pairs; both are needed."
        )
    if not np.isfinite(scores).all():
        raise OptionError(f"operating_point: {np.sum(~np.isfinite(scores))} of {len(scores)} scores are not finite.")
    thresholds = np.unique(scores)[::-1]
    rejected = np.searchsorted(pairs, thresholds)
    accepted = len(impostors) - np.searchsorted(impostors, thresholds)
    if criterion == "equal_error_rate":
        best = np.argmin(np.abs(accepted * len(pairs) - rejected * len(impostors)))
    elif criterion == "max_accuracy":
        best = np.argmin(accepted + rejected)
    elif isinstance(criterion, Real) and not isinstance(criterion, bool) and 0 <= criterion < 1:
        thresholds = np.append(np.nextafter(thresholds[:1], np.inf, dtype=thresholds.dtype), thresholds)
        accepted, rejected = np.append(0, accepted), np.append(len(pairs), rejected)
        best = np.flatnonzero(accepted / len(impostors) <= criterion)[-1]
    else:
        raise OptionError(
            f"operating_point: criterion={criterion!r}; expected 'equal_error_rate', 'max_accuracy' or a false match "
            "rate from 0 to below 1, such as 0.001."
        )
    return OperatingPoint(
        threshold=float(thresholds[best]),
        false_match_rate=float(accepted[best] / len(impostors)),
        false_non_match_rate=float(rejected[best] / len(pairs)),
        accuracy=float((len(scores) - accepted[best] - rejected[best]) / len(scores)),
    )


def verification_accuracy(
    scores: Float[np.ndarray, "n ..."], genuine: Genuine, threshold: float
) -> Float[np.ndarray, "..."]:
    """The share of pairs that `score >= threshold` decides rightly, genuine and impostor alike.

    Args:
        scores: `[n]`, or `[n, k]` for k shares of the pixels; NaN for a pair without a figure.
        genuine: `[n]`.
        threshold: see `operating_point`.

    Returns:
        One accuracy, or `[k]`, of the pairs that have a score; NaN if none has.

    Raises:
        OptionError: for a pair that is neither genuine nor an impostor, or other numbers of scores and pairs.
    """
    genuine = of_kinds(genuine)
    if len(scores) != len(genuine):
        raise OptionError(f"verification_accuracy: {len(scores)} scores of {len(genuine)} pairs; expected as many.")
    # Compared in double precision, in which a threshold taken from the scores is still one of them.
    accepted = scores.astype(np.float64) >= threshold
    counted = ~np.isnan(scores).T
    number = counted.sum(axis=-1)
    right = np.sum((genuine == accepted.T) & counted, axis=-1)
    return np.where(number > 0, right / np.maximum(number, 1), np.nan)


def of_kinds(genuine: Genuine) -> Bool[np.ndarray, " n"]:
    """As truth values, by which arrays are told apart: ones and zeros would be places in them."""
    kinds = np.asarray(genuine)
    if not np.isin(kinds, (0, 1)).all():
        raise OptionError(
            f"genuine: {kinds[~np.isin(kinds, (0, 1))][0]}; expected 1 or True, 0 or False for each pair."
        )
    return kinds.astype(bool)
