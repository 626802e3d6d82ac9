"""What `fame score` has counted of a run, by its own reader and its own summary."""

from collections.abc import Sequence

from fame_jax.experiments.rows import all_scores
from fame_jax.experiments.store import Run
from fame_jax.experiments.summary import by_record, summary
from fame_jax.report.content import Score, Source


def figures(run: Run) -> tuple[tuple[Score, ...], dict[int, dict[str, float]]]:
    """The summary of every metric, as `fame score` prints it, and the figures of each record, by index.

    Raises:
        ScoreError: for files of another version, or that are damaged.
    """
    found: list[Score] = []
    of_records: dict[int, dict[str, float]] = {}
    for scores in all_scores(run):
        prefix = scores.metric.name if scores.preset == "paper" else f"{scores.metric.name} ({scores.preset})"
        found += [Score(_named(prefix, m.figure.name, m.at), *m.estimate) for m in summary(scores)]
        index = {row.name: row.index for row in scores.rows}
        for (figure, at), values in by_record(scores).items():
            for name, value in values.items():
                of_records.setdefault(index[name], {})[_named(prefix, figure.name, at)] = value
    return tuple(found), of_records


def side_by_side(sources: Sequence[Source]) -> dict[str, list[Score | None]]:
    """By metric, the scores of every source that has any; None where that metric was not measured."""
    scored = [{score.name: score for score in source.scores} for source in sources if source.scores]
    names = dict.fromkeys(name for of in scored for name in of)
    return {name: [of.get(name) for of in scored] for name in names}


def _named(metric: str, figure: str, at: float | None) -> str:
    return f"{metric} {figure}" if at is None else f"{metric} {figure} {at:g}"
