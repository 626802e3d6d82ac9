"""The paper's three tables, with the measured numbers below the printed ones."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fame_jax import words
from fame_jax.experiments.rows import ScoreError, Scores, read_scores
from fame_jax.experiments.store import Run
from fame_jax.experiments.summary import Measured, remarks, summary
from fame_jax.explainers.explainer import WHAT
from fame_jax.explainers.table import EXPLAINERS
from fame_jax.files import number
from fame_jax.metrics.statistics import Estimate
from fame_jax.paper import numbers as paper

Number = Estimate | float | int | None
"""A cell: measured with its interval, or a bare number, or nothing."""


@dataclass(frozen=True)
class Line:
    """A row of a table.

    Attributes:
        network: what was explained; empty where the paper does not say.
        method: a name of `fame_jax.explainers.EXPLAINERS`.
        source: `paper`, or the name of a run or of a file of times.
        number: records behind the cells; None for the paper's.
        cells: by column, None where there is none.
    """

    network: str
    method: str
    source: str
    number: int | None
    cells: Mapping[str, Number]


@dataclass(frozen=True)
class Table:
    """A table of the paper beside what was measured.

    Attributes:
        title: what is in it.
        columns: names of the cells, in order.
        lines: the paper's rows, each followed by those measured.
        notes: what a reader has to know.
        digits: decimals of a cell.
    """

    title: str
    columns: tuple[str, ...]
    lines: tuple[Line, ...]
    notes: tuple[str, ...] = field(default=())
    digits: int = 2


def table_1(runs: Sequence[Run], *, preset: str = "paper") -> Table:
    """Tab. 1: IoU and ROAD-Delete of classification.

    Args:
        runs: scored by `iou`, `road_delete` or both.
        preset: of the scores.

    Raises:
        ScoreError: for a run that is scored by neither, saying which command does it.
    """
    at = {"iou": (0.3, 0.5, 0.7), "road_delete": (0.1, 0.3, 0.5)}
    columns = (*(f"IoU {t:g}, %" for t in at["iou"]), *(f"ROAD-Delete {p:.0%}" for p in at["road_delete"]))
    printed = [
        Line("", method, "paper", None, dict(zip(columns, (*row.iou, *row.road_delete), strict=True)))
        for method, row in paper.TABLE_1.items()
    ]
    measured, notes = [], list(paper.CAVEATS[1])
    for run in runs:
        found = _scores(run, tuple(at), preset, "class")
        cells = {name: {m.at: m.estimate for m in summary(scores)} for name, scores in found.items()}
        values = [
            *(_scaled(cells.get("iou", {}).get(t), 100.0) for t in at["iou"]),
            *(cells.get("road_delete", {}).get(p) for p in at["road_delete"]),
        ]
        measured.append(_line(run, found, dict(zip(columns, values, strict=True))))
        notes += _remarks(run, found.values())
    return Table(
        "Table 1: intersection over union (higher is better) and ROAD-Delete in logits (higher is better)",
        columns,
        _interleaved(printed, measured),
        tuple(notes),
    )


def table_2(runs: Sequence[Run], *, preset: str = "paper") -> Table:
    """Tab. 2: areas under deletion and insertion of face verification.

    Args:
        runs: of pairs, scored by `verification`, any number of protocols.
        preset: of the scores.

    Raises:
        ScoreError: for a run that is not scored, or that has no both kinds of pairs.
    """
    protocols = dict.fromkeys([*paper.PROTOCOLS, *(_protocol(run) for run in runs)])
    columns = tuple(f"{protocol} {kind}" for protocol in protocols for kind in ("del", "ins"))
    # The paper's rows of the networks that were measured; of all, where others stand in.
    shown = {run.manifest["network"] for run in runs} & set(paper.TABLE_2) or set(paper.TABLE_2)
    printed = [
        Line(network, method, "paper", None, _pairs_of_cells(cells))
        for network, methods in paper.TABLE_2.items()
        if network in shown
        for method, cells in methods.items()
    ]
    measured, notes = [], list(paper.CAVEATS[2])
    for run in runs:
        found = _scores(run, ("verification",), preset, "pair")
        deletion, insertion = _both_areas(run, found["verification"])
        cells = {f"{_protocol(run)} del": deletion.estimate, f"{_protocol(run)} ins": insertion.estimate}
        measured.append(_line(run, found, cells))
        notes += _remarks(run, found.values())
    return Table(
        "Table 2: areas under accuracy by deletion (lower is better) and insertion (higher is better), in percent",
        columns,
        _interleaved(printed, measured),
        tuple(notes),
    )


def table_3(times: Sequence[Mapping[str, Any]]) -> tuple[Table, Table]:
    """Tab. 3: seconds of FAME by number of steps, and of the methods of pairs.

    Args:
        times: what was measured, each of `network`, `device`, and `seconds_a_photograph` by number of steps or
            `seconds_a_pair` by method, or both, as `fame_jax.paper.seconds` measures them.

    Returns:
        Tab. 3a, for 1000 photographs, and Tab. 3b, for 700 pairs.
    """
    steps = tuple(str(step) for step in paper.TABLE_3_STEPS)
    photographs = [Line("resnet50", "fame", "paper", None, {str(k): v for k, v in paper.TABLE_3_STEPS.items()})]
    pairs = [Line("iresnet101", "", "paper", None, dict(paper.TABLE_3_PAIRS))]
    for one in times:
        for lines, key, count in (
            (photographs, "seconds_a_photograph", paper.TABLE_3_PHOTOGRAPHS),
            (pairs, "seconds_a_pair", paper.TABLE_3_PAIRS_NUMBER),
        ):
            if found := one.get(key):
                cells = {name: count * seconds for name, seconds in found.items()}
                method = "fame" if lines is photographs else ""
                lines.append(Line(one["network"], method, one["device"], one.get("number"), cells))
    extra = tuple(s for line in photographs for s in line.cells if s not in steps)
    notes = (*paper.CAVEATS[3], "Measured seconds are those of a few, times as many as the paper has.")
    first = f"Table 3a: seconds for {paper.TABLE_3_PHOTOGRAPHS} photographs by number of steps"
    second = f"Table 3b: seconds for {paper.TABLE_3_PAIRS_NUMBER} pairs by method"
    methods = tuple(dict.fromkeys(method for line in pairs for method in line.cells))
    return (
        Table(first, (*steps, *dict.fromkeys(extra)), tuple(photographs), (), 0),
        Table(second, methods, tuple(pairs), notes, 0),
    )


def markdown(table: Table) -> str:
    """The table for people."""
    head = ["method", "network", "source", "n", *table.columns]
    rows = [[*_words(line), *(_cell(line.cells.get(c), table.digits) for c in table.columns)] for line in table.lines]
    notes = [f"- {note}" for note in table.notes]
    return "\n".join([f"**{table.title}**", "", words.markdown([head, *rows]), "", *notes]).rstrip()


def as_json(table: Table) -> dict[str, Any]:
    """The table for programs."""
    lines = [
        {
            "method": line.method,
            "network": line.network,
            "source": line.source,
            "number": line.number,
            "cells": {column: _plain(line.cells.get(column)) for column in table.columns},
        }
        for line in table.lines
    ]
    return {"title": table.title, "columns": list(table.columns), "lines": lines, "notes": list(table.notes)}


def _scores(run: Run, names: tuple[str, ...], preset: str, task: str) -> dict[str, Scores]:
    if run.task != task:
        raise ScoreError(f"{run.folder} explains {WHAT[run.task]}; this table is of {WHAT[task]}.")
    found = {name: scores for name in names if (scores := read_scores(run, name, preset=preset)) is not None}
    if not any(row.reason is None for scores in found.values() for row in scores.rows):
        option = "" if preset == "paper" else f" --preset {preset}"
        raise ScoreError(f"{run.folder}: no scores yet; fame score {run.folder} --metric {','.join(names)}{option}")
    return found


def _both_areas(run: Run, scores: Scores) -> list[Measured]:
    try:
        return summary(scores)
    except ValueError as error:
        raise ScoreError(f"{run.folder}: {error}") from error


def _line(run: Run, found: Mapping[str, Scores], cells: Mapping[str, Number]) -> Line:
    count = max(sum(row.reason is None for row in scores.rows) for scores in found.values())
    return Line(run.manifest["network"], run.manifest["method"], run.folder.name, count, cells)


def _remarks(run: Run, scores: Iterable[Scores]) -> list[str]:
    return [f"{run.folder.name}, {of.metric.name}: {remark}" for of in scores for remark in remarks(of)]


def _protocol(run: Run) -> str:
    """The paper's name of a run's data set, or its own."""
    name = run.manifest["dataset"]
    return next((column for column, ours in paper.PROTOCOLS.items() if name.casefold() == ours.casefold()), name)


def _pairs_of_cells(cells: Mapping[str, paper.Verification]) -> dict[str, Number]:
    return {
        f"{protocol} {kind}": value
        for protocol, cell in cells.items()
        for kind, value in (("del", cell.deletion), ("ins", cell.insertion))
    }


def _interleaved(printed: Sequence[Line], measured: Sequence[Line]) -> tuple[Line, ...]:
    """The lines of one method together, the paper's first; methods and networks of the paper first."""
    methods = dict.fromkeys([*(m for m in paper.METHODS), *(line.method for line in measured)])
    order = {method: place for place, method in enumerate(methods)}
    return tuple(sorted([*printed, *measured], key=lambda line: order[line.method]))


def _scaled(estimate: Estimate | None, factor: float) -> Estimate | None:
    if estimate is None:
        return None
    mean, low, high, *counts = estimate
    return Estimate(factor * mean, factor * low, factor * high, *counts)


def _words(line: Line) -> list[str]:
    title = EXPLAINERS[line.method].title if line.method in EXPLAINERS else line.method
    return [title, line.network or "not said", line.source, "" if line.number is None else str(line.number)]


def _cell(value: Number, digits: int) -> str:
    if value is None or (isinstance(value, Estimate) and math.isnan(value.mean)):
        return ""
    if isinstance(value, Estimate):
        return f"{value.mean:.{digits}f} [{value.low:.{digits}f}, {value.high:.{digits}f}]"
    return f"{value:.{digits}f}"


def _plain(value: Number) -> Any:
    if isinstance(value, Estimate):
        return {name: number(found) for name, found in value._asdict().items()}
    return value
