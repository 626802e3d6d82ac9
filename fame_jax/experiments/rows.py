"""Rows of a metric on disk: one line a record, in blocks that are either complete or computed again.

    RUN/scores/METRIC.json    what was asked for, and of which run
    RUN/scores/METRIC.jsonl   one line a record: index, name, values, or the reason why it was left out; rows of maps
                              that were repaired since are measured again, and those of blocks in which `unread`
                              ones, left out for want of a picture or map, can be read by now

With the preset `official` the names are `METRIC.official`.
"""

import contextlib
import hashlib
import json
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fame_jax.experiments.store import Run
from fame_jax.files import number, parse_json, read_json, read_text, write, write_json
from fame_jax.identity import identity
from fame_jax.metrics.table import METRICS, Metric, metric, own_figure

VERSION = 2
"""Of the rows. 2: the noise of ROAD depends on the pixels of a record, not on its place."""

_READ = (1, 2)
"""Rows that can be shown; only to those of `VERSION` more can be added."""


class ScoreError(ValueError):
    """A metric that does not fit a run, or scores that were computed otherwise; the message says what to do."""


@dataclass(frozen=True)
class Row:
    """What a metric says of one record.

    Attributes:
        index: of the record in the run.
        name: of the record.
        values: by figure, a number or one for each share or threshold; empty for a record that was left out. NaN where
            a value is not finite.
        blank: whether the map is all zero.
        genuine: of a pair, whether both faces are one person.
        reason: why the record was left out; None if it was not.
        unread: whether it was because its picture or map could not be read or was another, which may be mended.
    """

    index: int
    name: str
    values: Mapping[str, np.ndarray]
    blank: bool = False
    genuine: bool | None = None
    reason: str | None = None
    unread: bool = False


@dataclass(frozen=True)
class Scores:
    """All rows of a run by one metric, in the order of its records.

    Attributes:
        run: folder of the run.
        metric: which metric.
        preset: `paper` or `official`.
        options: all of the metric's options.
        rows: of all records in complete blocks.
        number: records in the run.
    """

    run: pathlib.Path
    metric: Metric
    preset: str
    options: Mapping[str, Any]
    rows: tuple[Row, ...]
    number: int


class Rows:
    """The file of one metric of one run, opened to go on."""

    def __init__(self, run: Run, row: Metric, preset: str, options: Mapping[str, Any]):
        """Writes down what is asked for, and drops what an interruption left of a block.

        Raises:
            ScoreError: if rows of other options are there.
        """
        self._block_size = run.block_size
        # Before anything is measured: of a map that is repaired meanwhile, the row counts as one of before.
        self._rewrites = run.rewrites()
        self._file = scores_file(run, row.name, preset)
        self._file.parent.mkdir(exist_ok=True)
        self._along = [f"{value:g}" for value in _shares(row, options)]
        _agree(self._file.with_suffix(".json"), run, row, preset, options)
        kept = _contents(self._file, run, row, self._along, self._rewrites)
        _trim(self._file, kept)
        self.known = {index: _from_json(content) for index, content in kept.items()}

    def append(self, rows: Iterable[Row]) -> None:
        """Writes the rows of a block at once."""
        # What was measured stays, though its picture is missing while others of its block are measured again.
        rows = [self.known.get(row.index, row) if row.unread else row for row in rows]
        contents = [_as_json(row, self._along) | self._rewritten(row.index) for row in rows]
        with self._file.open("a", encoding="utf-8") as file:
            file.write("".join(json.dumps(content, allow_nan=False) + "\n" for content in contents))
        # Read back as they would be next time, so that an interruption changes nothing.
        self.known |= {content["index"]: _from_json(content) for content in contents}

    def _rewritten(self, index: int) -> dict[str, int]:
        """Which maps a row is of, where they were repaired."""
        block = index // self._block_size
        return {"rewritten": self._rewrites[block]} if block in self._rewrites else {}


def scores_file(run: Run, name: str, preset: str) -> pathlib.Path:
    """Where the rows of a metric are."""
    return run.folder / "scores" / (f"{name}.jsonl" if preset == "paper" else f"{name}.{preset}.jsonl")


def all_scores(run: Run) -> list[Scores]:
    """The rows of all metrics by which a run was measured; see `read_scores`."""
    heads = sorted((run.folder / "scores").glob("*.json"))
    names = [head.stem.partition(".") for head in heads]
    found = [read_scores(run, name, preset=preset or "paper") for name, _, preset in names]
    return [scores for scores in found if scores is not None and scores.rows]


def read_scores(run: Run, name: str, *, preset: str = "paper") -> Scores | None:
    """The rows that `score` has written of a run; None if there are none yet.

    Raises:
        ScoreError: for files of another version, or that are damaged.
    """
    file = scores_file(run, name, preset)
    if not file.with_suffix(".json").is_file():
        return None
    head = _head(file.with_suffix(".json"))
    # One of somebody's own has no row in the table; its figure is the same for all.
    row = metric(name) if "code" not in head else Metric(name, name, run.task, own_figure(name), "")
    try:
        along = [f"{value:g}" for value in _shares(row, head["options"])]
    except (ValueError, TypeError) as error:
        raise ScoreError(f"{file.with_suffix('.json')}: damaged ({error}); delete it, and score again.") from error
    rows = map(_from_json, _contents(file, run, row, along, run.rewrites()).values())
    return Scores(run.folder, row, preset, head["options"], tuple(rows), len(run.records))


def _head(file: pathlib.Path) -> dict[str, Any]:
    try:
        head = read_json(file)
        version = head["version"]
        if not isinstance(head["options"], dict) or not isinstance(head["run_sha256"], str):
            raise ValueError("no options of a metric")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ScoreError(f"{file}: damaged ({error}); delete it and its .jsonl, and score again.") from error
    if version not in _READ:
        raise ScoreError(f"{file}: version {version}, expected {VERSION}; delete it and its .jsonl, and score again.")
    return head


def _shares(row: Metric, options: Mapping[str, Any]) -> list[float]:
    """Where the figures of a metric are measured; empty if they are single numbers."""
    return [float(value) for value in options.get(row.along or "", ())]


def _agree(file: pathlib.Path, run: Run, row: Metric, preset: str, chosen: Mapping[str, Any]) -> None:
    """Writes down what is asked for, or refuses to mix it with rows of something else."""
    asked = {
        "version": VERSION,
        "metric": row.name,
        "preset": preset,
        "options": json.loads(json.dumps(chosen)),
        "run_sha256": _identity(run),
    }
    if METRICS.get(row.name) is not row:
        asked["code"] = identity(row.measure, "metric")
    if not file.exists():
        # Rows without a head are of an unknown origin.
        file.with_suffix(".jsonl").unlink(missing_ok=True)
        write_json(file, asked)
        return
    head = _head(file)
    before, now = (
        {**h["options"], "the layout": h["version"], "the code": h.get("code"), "the run": h["run_sha256"]}
        for h in (head, asked)
    )
    if differing := [name for name in now if before.get(name) != now[name]]:
        name = differing[0]
        raise ScoreError(
            f"{file}: computed with {name} {before.get(name)}, asked for {now[name]}; "
            f"delete {file.stem}.json and {file.stem}.jsonl there to measure anew."
        )


def _identity(run: Run) -> str:
    """Of what decides the numbers of a run."""
    content = {name: value for name, value in run.manifest.items() if name != "provenance"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _trim(file: pathlib.Path, kept: Mapping[int, dict[str, Any]]) -> None:
    """Takes what an interruption left of a block out of the file."""
    if not file.is_file():
        return
    text = "".join(json.dumps(content) + "\n" for content in kept.values()).encode()
    if text != file.read_bytes():
        write(file, lambda handle: handle.write(text))


def _contents(
    file: pathlib.Path, run: Run, row: Metric, along: Sequence[str], rewrites: Mapping[int, int]
) -> dict[int, dict[str, Any]]:
    """Lines of complete blocks by index, in the order of the run; a damaged line counts as not there."""
    lines: dict[int, dict[str, Any]] = {}
    for line in read_text(file, errors="replace").splitlines() if file.exists() else ():
        # The last line may be cut short.
        with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError, IndexError):
            content = parse_json(line)
            rewritten = rewrites.get(content["index"] // run.block_size)
            if _fits(content, run, row, along) and content.get("rewritten") == rewritten:
                lines[content["index"]] = content
    whole = [block for block in range(run.blocks) if all(index in lines for index in run.indices(block))]
    return {index: lines[index] for block in whole for index in run.indices(block)}


def _fits(content: Any, run: Run, row: Metric, along: Sequence[str]) -> bool:
    """Whether a line is one that `Rows` has written; errors of all kinds for one that is something else."""
    index = content["index"]
    if type(index) is not int or not 0 <= index < len(run.records) or content["name"] != run.records[index].name:
        return False
    if "reason" in content:
        return isinstance(content["reason"], str) and content.get("unread", True) is True
    pair = "genuine" in row.needs
    # A summary of pairs needs the accuracies that its figures, areas, are made of.
    needed = ("clean", "deletion", "insertion") if pair else [figure.name for figure in row.figures]
    values = content["values"]
    numbers = [v for value in values.values() for v in (value.values() if isinstance(value, dict) else (value,))]
    return (
        values.keys() >= set(needed)
        and all(value is None or (type(value) in (int, float) and abs(value) < 2**63) for value in numbers)
        and all(list(value) == list(along) for value in values.values() if isinstance(value, dict))
        and (not pair or isinstance(content["genuine"], bool))
        and isinstance(content["blank"], bool)
    )


def _as_json(found: Row, along: Sequence[str]) -> dict[str, Any]:
    content: dict[str, Any] = {"index": found.index, "name": found.name}
    if found.reason is not None:
        return content | {"reason": found.reason} | ({"unread": True} if found.unread else {})
    if found.genuine is not None:
        content["genuine"] = found.genuine
    values = {
        name: dict(zip(along, map(number, value), strict=True)) if np.ndim(value) else number(value)
        for name, value in found.values.items()
    }
    return content | {"blank": found.blank, "values": values}


def _from_json(content: Mapping[str, Any]) -> Row:
    values = {
        name: np.asarray(list(value.values()) if isinstance(value, dict) else value, np.float64)
        for name, value in content.get("values", {}).items()
    }
    return Row(
        content["index"],
        content["name"],
        values,
        content.get("blank", False),
        content.get("genuine"),
        content.get("reason"),
        content.get("unread", False),
    )
