"""A mean with its interval, two methods compared on the same images, and the correlation of two maps.

NumPy on the host, in float64: these are the last steps before a table. A value that is not finite is a bad record (a
blank map has no rank correlation, say): it is left out of the figure and counted.

References:
    Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, Ch. 13 (percentile interval) and Ch. 15
    (permutation tests).
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Float, Int
from scipy.stats import bootstrap, permutation_test, rankdata

Values = Float[Array | np.ndarray, " n"] | Int[Array | np.ndarray, " n"]
"""One figure an image."""

OtherValues = Float[Array | np.ndarray, " m"] | Int[Array | np.ndarray, " m"]
"""The same of another method; that n = m is checked where it is used."""

PORTION = 4_000_000
"""Random numbers drawn at a time, which bounds memory."""


class Estimate(NamedTuple):
    """A mean over images.

    Attributes:
        mean: of the finite values; NaN without any.
        low: lower end of the interval.
        high: upper end of the interval.
        number: how many values entered.
        dropped: how many were not finite.
    """

    mean: float
    low: float
    high: float
    number: int
    dropped: int


class Comparison(NamedTuple):
    """Two methods on the same images.

    Attributes:
        difference: mean of first minus second; NaN without a pair.
        low: lower end of its interval.
        high: upper end of its interval.
        p_value: two-sided, of the hypothesis that the methods could be swapped image by image; 1 without a pair.
        number: how many pairs entered.
        dropped: how many pairs had a value that was not finite.
    """

    difference: float
    low: float
    high: float
    p_value: float
    number: int
    dropped: int


def estimate(values: Values, *, level: float = 0.95, resamples: int = 10_000, seed: int = 0) -> Estimate:
    """The mean of a figure over images and its bootstrap percentile interval.

    The images are resampled, not the pixels or the noise of a metric. The interval of fewer than about 20 images is
    too narrow, as percentile intervals of small samples are; that of one image is a point.

    Args:
        values: `[n]`, one an image, in any unit.
        level: probability that the interval covers the mean.
        resamples: bootstrap samples.
        seed: of the resampling; equal seeds give equal intervals.

    Returns:
        Mean, interval, number of values, and number dropped.

    Raises:
        ValueError: for a level outside (0, 1), or no resamples.
    """
    _check(level, resamples)
    values = np.asarray(values, np.float64)
    kept = values[np.isfinite(values)]
    if not kept.size:
        return Estimate(np.nan, np.nan, np.nan, 0, values.size)
    mean, dropped = float(kept.mean()), values.size - kept.size
    if kept.size == 1:
        return Estimate(mean, mean, mean, 1, dropped)
    resampled = bootstrap(
        (kept,),
        np.mean,
        n_resamples=resamples,
        batch=_portion(kept.size),
        confidence_level=level,
        method="percentile",
        rng=seed,
    )
    low, high = map(float, resampled.confidence_interval)
    return Estimate(mean, low, high, kept.size, dropped)


def compare(
    first: Values, second: OtherValues, *, level: float = 0.95, resamples: int = 10_000, seed: int = 0
) -> Comparison:
    """The mean difference of two methods on the same images, with its interval and a sign-flip permutation test.

    Args:
        first: `[n]`, a figure of one method, one an image.
        second: `[n]`, of the other, in the same order of images.
        level: probability that the interval covers the mean difference.
        resamples: bootstrap samples, and sign patterns of the test.
        seed: of both.

    Returns:
        Difference, interval, p-value, number of pairs, and number dropped. The p-value is exact where there are no
        more than `resamples` sign patterns; else it counts the observed pattern as one of the sampled ones, so that it
        is never below `2 / (resamples + 1)`.

    Raises:
        ValueError: for methods with different numbers of images, or see `estimate`.
    """
    first, second = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if first.shape != second.shape:
        raise ValueError(f"compare: {first.size} and {second.size} images; expected the same ones in the same order.")
    usable = np.isfinite(first) & np.isfinite(second)
    differences = np.where(usable, first, np.nan) - np.where(usable, second, 0)
    mean, low, high, number, dropped = estimate(differences, level=level, resamples=resamples, seed=seed)
    if number < 2:
        return Comparison(mean, low, high, 1.0, number, dropped)
    # Of one sample, SciPy flips signs.
    flipped = permutation_test(
        (differences[usable],),
        np.mean,
        permutation_type="samples",
        n_resamples=resamples,
        batch=_portion(number),
        rng=seed,
    )
    return Comparison(mean, low, high, float(flipped.pvalue), number, dropped)


def holm(p_values: Values) -> Float[np.ndarray, " n"]:
    """p-values of many comparisons, corrected for their number: which are below a level holds for all of them at once.

    References:
        Holm, "A Simple Sequentially Rejective Multiple Test Procedure", 1979.
    """
    given = np.asarray(p_values, np.float64)
    order = np.argsort(given)
    corrected = np.empty_like(given)
    corrected[order] = np.maximum.accumulate(np.minimum(1, given[order] * (given.size - np.arange(given.size))))
    return corrected


def pearson(first: Float[Array | np.ndarray, "*shape"], second: Float[Array | np.ndarray, "*shape"]) -> float:
    """Pearson's correlation of two arrays, entry by entry, in [-1, 1]; NaN where one of them is constant."""
    arrays = [np.asarray(array, np.float64).ravel() for array in (first, second)]
    if min(map(np.ptp, arrays)) == 0:
        return np.nan
    centred = [array - array.mean() for array in arrays]
    norms = [np.linalg.norm(array) for array in centred]
    return float(np.clip(np.dot(centred[0] / norms[0], centred[1] / norms[1]), -1, 1))


def spearman(first: Float[Array | np.ndarray, "*shape"], second: Float[Array | np.ndarray, "*shape"]) -> float:
    """Spearman's rank correlation of two arrays, ties with their average rank; NaN where one of them is constant."""
    return pearson(*(rankdata(np.asarray(array).ravel()) for array in (first, second)))


def _portion(size: int) -> int:
    """Samples drawn at a time."""
    return max(1, PORTION // size)


def _check(level: float, resamples: int) -> None:
    if not 0 < level < 1 or resamples < 1:
        raise ValueError(f"statistics: level={level}, resamples={resamples}; expected a level in (0, 1) and 1 or more.")
