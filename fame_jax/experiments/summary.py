"""From rows to figures with intervals, and two runs compared on the records they share."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from fame_jax.experiments.rows import Row, Scores
from fame_jax.metrics.decisions import OperatingPoint, operating_point, verification_accuracy
from fame_jax.metrics.imputation import ImputationStatus
from fame_jax.metrics.statistics import Comparison, Estimate, compare, estimate
from fame_jax.metrics.table import Figure
from fame_jax.metrics.verification import mean_height


class Measured(NamedTuple):
    """A figure of a run.

    Attributes:
        figure: what it is.
        at: the share or threshold it is given for; None for a single number.
        estimate: mean over records, interval and count.
    """

    figure: Figure
    at: float | None
    estimate: Estimate


class Compared(NamedTuple):
    """A figure of a run minus that of another, on the records that both have.

    Attributes:
        figure: what it is.
        at: see `Measured`.
        comparison: mean difference, its interval, p-value and count.
    """

    figure: Figure
    at: float | None
    comparison: Comparison


def summary(scores: Scores, **options: Any) -> list[Measured]:
    """Every figure of a metric: mean over records, bootstrap interval, count.

    Verification is summed up at the threshold of equal error rates on the clean scores of the run's own pairs. Accuracy
    is a mean over pairs at every share, and so is the area under it, so that the interval is one over pairs.

    Args:
        scores: of `fame_jax.experiments.score`.
        **options: `level`, `resamples` and `seed` of `fame_jax.metrics.estimate`.

    Returns:
        One entry a figure, share and threshold; none without a measured record.

    Raises:
        ValueError: for verification without both genuine and impostor pairs.
    """
    columns = by_record(scores)
    return [
        Measured(figure, at, estimate(np.asarray(list(values.values())), **options))
        for (figure, at), values in columns.items()
    ]


def comparison(scores: Scores, other: Scores, **options: Any) -> list[Compared]:
    """`scores` minus `other`, figure by figure, on records of the same name.

    Args:
        scores: of one run.
        other: of another, by the same metric.
        **options: `level`, `resamples` and `seed` of `fame_jax.metrics.compare`.

    Returns:
        One entry a figure that both have; its count is 0 where they share no record.
    """
    first, second = by_record(scores), by_record(other)
    found = []
    for key in (key for key in first if key in second):
        shared = [name for name in first[key] if name in second[key]]
        values = (np.asarray([of[key][name] for name in shared], np.float64) for of in (first, second))
        found.append(Compared(*key, compare(*values, **options)))
    return found


def by_record(scores: Scores) -> dict[tuple[Figure, float | None], dict[str, float]]:
    """The figures of a summary by record: figure and share or threshold to values by name of the record."""
    columns: dict[tuple[Figure, float | None], dict[str, float]] = {}
    for row, figure, at, value in figures(scores):
        columns.setdefault((figure, at), {})[row.name] = value
    return columns


def figures(scores: Scores) -> Iterator[tuple[Row, Figure, float | None, float]]:
    """Every figure of every record that was measured: its row, which figure, the share or threshold, the value."""
    rows = [row for row in scores.rows if row.reason is None]
    if not rows:
        return
    values = _verification(rows, scores) if "genuine" in scores.metric.needs else [row.values for row in rows]
    along = scores.options.get(scores.metric.along or "", ())
    for figure in scores.metric.figures:
        for row, found in zip(rows, values, strict=True):
            numbers = np.asarray(found[figure.name])
            for at, value in zip(along if numbers.ndim else (None,), np.atleast_1d(numbers), strict=True):
                yield row, figure, at, float(value)


def threshold(scores: Scores) -> OperatingPoint:
    """Where verification decides: equal error rates on the clean scores of all measured pairs.

    Raises:
        ValueError: without both genuine and impostor pairs.
    """
    rows = [row for row in scores.rows if row.reason is None]
    clean = np.asarray([row.values["clean"] for row in rows], np.float64)
    return operating_point(clean, np.asarray([row.genuine for row in rows], bool))


def correct(scores: Scores, kind: str) -> np.ndarray:
    """Whether each pair is decided rightly at each share, 0 or 1, `[pairs, k]`; `kind` is `deletion` or `insertion`."""
    rows = [row for row in scores.rows if row.reason is None]
    at = threshold(scores).threshold
    return np.stack([_correct(row, kind, at) for row in rows])


def remarks(scores: Scores) -> list[str]:
    """What a reader has to know: blank maps, records left out or without a figure, imputations that did not end."""
    rows = [row for row in scores.rows if row.reason is None]
    said = []
    if blank := sum(row.blank for row in rows):
        said.append(f"{blank} of {len(rows)} maps are all zero: {_of_blank_maps(scores)}.")
    for (figure, at), values in by_record(scores).items():
        if missing := sum(np.isnan(value) for value in values.values()):
            where = "" if at is None else f" at {at:g}"
            said.append(
                f"{missing} of {len(rows)} records have no {figure.name}{where} and are not in its mean: the score did "
                "not vary, or is no finite number."
            )
    if left_out := Counter(row.reason for row in scores.rows if row.reason is not None):
        reasons = "; ".join(f"{count} {_short(reason)}" for reason, count in left_out.most_common(5))
        said.append(f"{left_out.total()} of {len(scores.rows)} records left out: {reasons}.")
    if waiting := scores.number - len(scores.rows):
        said.append(f"{waiting} of {scores.number} records are not explained yet; fame run continues the run.")
    ended = Counter(int(status) for row in rows for status in np.atleast_1d(row.values.get("status", ())))
    if troubled := {
        ImputationStatus(status): count for status, count in ended.items() if status != ImputationStatus.OK
    }:
        worst = max(float(np.max(row.values["residual"])) for row in rows)
        words = ", ".join(f"{count} {status.message}" for status, count in troubled.items())
        said.append(f"{words} of {ended.total()} imputations; the largest relative residual is {worst:.1e}.")
    return said


def _verification(rows: Sequence[Row], scores: Scores) -> Sequence[Mapping[str, Any]]:
    """Areas in percent of every pair, whose means are those of the accuracy curves."""
    at = threshold(scores).threshold
    shares = np.asarray(scores.options["fractions"])
    return [
        {f"{kind}_auc": 100 * mean_height(_correct(row, kind, at), shares) for kind in ("deletion", "insertion")}
        for row in rows
    ]


def _correct(row: Row, kind: str, at: float) -> np.ndarray:
    return verification_accuracy(row.values[kind][None], np.asarray([row.genuine], bool), at)


def _of_blank_maps(scores: Scores) -> str:
    """What such maps do to a metric."""
    if "network" not in scores.metric.needs:
        return "they point nowhere"
    if scores.options.get("method") == "percentile":
        return "they delete nothing and insert nothing"
    return "they say nothing, and their pixels are taken row by row from the top"


def _short(reason: str) -> str:
    return reason if len(reason) < 120 else reason[:117] + "..."
