"""Reads the rows that `fame score` has written beside a run: `RUN/scores/METRIC.jsonl`."""

import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from fame_jax.files import parse_json, read_text
from fame_jax.metrics.statistics import estimate
from fame_jax.report.content import ReportError, Score, Source

_NOT_FIGURES = {"status", "residual"}
"""Values of a row that tell how a metric was computed, not how good a map is."""


class Scores(NamedTuple):
    """Figures by name and by index of the record; NaN where a value is not finite."""

    figures: Mapping[str, Mapping[int, float]]

    def of_record(self, index: int) -> dict[str, float]:
        """All figures of one record."""
        return {name: values[index] for name, values in self.figures.items() if index in values}


def read_scores(folder: pathlib.Path) -> Scores:
    """All metrics of a run; a line that an interruption has cut short is left out, as `fame score` leaves it out.

    Raises:
        ReportError: for a file that holds no rows at all.
    """
    figures: dict[str, dict[int, float]] = {}
    for file in sorted((folder / "scores").glob("*.jsonl")):
        lines = read_text(file, errors="replace").splitlines()
        rows = [row for row in map(_row, lines) if row is not None]
        if lines and not rows:
            raise ReportError(f"{file}: not the rows of a metric; fame score writes them.")
        for index, values in rows:
            for name, value in _flat(file.stem, values):
                figures.setdefault(name, {})[index] = value
    return Scores(figures)


def summary(scores: Scores) -> tuple[Score, ...]:
    """Mean over the records with its 95 % bootstrap interval, metric by metric."""
    return tuple(
        Score(name, *estimate(np.asarray(list(values.values()), np.float64))) for name, values in scores.figures.items()
    )


def side_by_side(sources: Sequence[Source]) -> dict[str, list[Score | None]]:
    """By metric, the scores of every source that has any; None where that metric was not measured."""
    scored = [{score.name: score for score in source.scores} for source in sources if source.scores]
    names = dict.fromkeys(name for of in scored for name in of)
    return {name: [of.get(name) for of in scored] for name in names}


def _row(line: str) -> tuple[int, Mapping[str, Any]] | None:
    try:
        content = parse_json(line)
        return int(content["index"]), dict(content.get("values", {}))
    except (ValueError, KeyError, TypeError, OverflowError):
        return None


def _flat(metric: str, values: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """`road_delete drop 0.1` and so on; a value that is not finite is null in the file."""
    for figure, value in values.items():
        if figure in _NOT_FIGURES:
            continue
        for place, number in value.items() if isinstance(value, dict) else (("", value),):
            if number is None or isinstance(number, int | float):
                yield f"{metric} {figure} {place}".strip(), np.nan if number is None else float(number)
