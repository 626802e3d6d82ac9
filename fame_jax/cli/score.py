"""`fame score`: finished runs measured by metrics, with intervals."""

import functools
import itertools
import json
import pathlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import tyro

from fame_jax.cli.console import InputError, at_least, say
from fame_jax.cli.flags import EngineFlags, Flat
from fame_jax.cli.output import output_folder
from fame_jax.cli.progress import progress_bar
from fame_jax.experiments.rows import Scores
from fame_jax.experiments.score import network_of, score, settings
from fame_jax.experiments.store import Run
from fame_jax.experiments.summary import comparison, remarks, summary, threshold
from fame_jax.explainers.explainer import kind_of
from fame_jax.files import number
from fame_jax.metrics.table import METRICS, Metric, metric
from fame_jax.remote import located

_OF_BOXES = (("of a class", "of a box"), ("probability", "similarity"), ("logits", "similarity"))


@dataclass(frozen=True)
class Score:
    """Measure finished or partial runs by metrics, each with its bootstrap interval and count.

    Rows, one a record, are kept in RUN/scores/METRIC.jsonl: what is there is not measured again, and an interrupted
    command continues where it was. Several runs are compared with the first of them, on the records they share.
    """

    runs: Annotated[tuple[pathlib.Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUN [RUN ...]")]
    """Folders of fame run."""
    metric: str = "default"
    """Metrics with commas between them; choose_a_metric.md of the documentation lists them and the default."""
    preset: Literal["paper", "official"] = "paper"
    """Masks, fill and boxes as the paper says, or as the authors' published code has them. Rows of both are kept."""
    fractions: str | None = None
    """Shares of the pixels, such as 0.1,0.3,0.5. Omitted: the metric's own."""
    seed: int = 0
    """Of ROAD's noise."""
    model: str | None = None
    """The runs' network, if it is one of your own that has moved: package.module:name or file.py:name."""
    weights: pathlib.Path | None = None
    """A converted folder or the publisher's own file, if the runs' weights are not installed."""
    batch_size: int | None = None
    """Records at a time. Omitted: 1 on CPU, 64 on each accelerator."""
    level: float = 0.95
    """Of the intervals."""
    json: bool = False
    """Print the figures as JSON."""
    parquet: pathlib.Path | None = None
    """File for all rows as one table, a row a record and figure (.parquet); needs pyarrow."""
    engine: Flat[EngineFlags] = field(default_factory=EngineFlags)
    progress: bool = True
    """Show a progress bar."""

    def __call__(self) -> int:
        """Measures, then prints one block a metric."""
        if not self.runs:
            raise InputError("nothing to measure; expected folders of fame run.")
        if self.batch_size is not None:
            at_least(1, batch_size=self.batch_size)
        at_least(0, seed=self.seed)
        self.engine.check()
        if not 0 < self.level < 1:
            raise InputError(f"--level {self.level}: expected a number between 0 and 1.")
        table = self._table()
        runs = [Run(folder) for folder in self.runs]
        rows = self._metrics(runs)
        if self.fractions is not None and not any("fractions" in row.options() for row in rows):
            raise InputError(f"--fractions means nothing to {' or '.join(row.name for row in rows)}; leave it out.")
        for run, row in itertools.product(runs, rows):
            settings(run, row, self.preset, self._options(row))
        networks: dict[tuple[str, ...], Any] = {}
        found: dict[str, list[Scores]] = {}
        with self.engine.cluster() as cluster:
            for row in rows:
                found[row.name] = [self._scored(run, row, networks, cluster) for run in runs]
                if not self.json:
                    for line in _lines(found[row.name], self.level, runs[0].task == "detect"):
                        say(line)
        if self.json:
            content = {name: [_as_json(s, scores[0], self.level) for s in scores] for name, scores in found.items()}
            say(json.dumps(content, indent=2, allow_nan=False))
        if table is not None:
            table([one for scores in found.values() for one in zip(runs, scores, strict=True)])
        return 0

    def _table(self) -> Callable[[list[tuple[Run, Scores]]], None] | None:
        """What writes the table; a package or folder that is missing is named before anything is measured."""
        if self.parquet is None:
            return None
        from fame_jax.experiments.tables import write_scores

        file = located(self.parquet)
        output_folder(file.parent)
        return functools.partial(write_scores, file)

    def _metrics(self, runs: list[Run]) -> list[Metric]:
        if self.metric != "default":
            return [metric(name.strip()) for name in self.metric.split(",")]
        kinds = {kind_of(run.task) for run in runs}
        left_out = {"rise_deletion", "rise_insertion", "road_combined"}
        boxes = any(getattr(record, "boxes", ()) for run in runs for record in run.records)
        return [
            row
            for row in METRICS.values()
            if row.measure and kinds == {row.task} and row.name not in left_out and ("boxes" not in row.needs or boxes)
        ]

    def _scored(self, run: Run, row: Metric, networks: dict[tuple[str, ...], Any], cluster: Any) -> Scores:
        how = {"preset": self.preset, "batch_size": self.batch_size, **self._options(row)}
        key = tuple(str(run.manifest.get(name)) for name in ("network", "weights_sha256", "card"))
        if "network" in row.needs and key not in networks and cluster is None:
            networks[key] = network_of(run, self.weights, self.model)
        with progress_bar(len(run.records), "record", hide=not self.progress) as bar:
            bar.set_description(f"{row.name} of {run.folder.name}", refresh=False)
            if cluster is not None:
                from fame_jax.experiments import on_cluster

                weights = None if self.weights is None else self.weights.absolute()
                load = functools.partial(network_of, weights=weights, model=self.model)
                return on_cluster.score(cluster, run, row.name, load, progress=bar.update, **how)
            return score(run, row.name, network=networks.get(key), progress=bar.update, **how)

    def _options(self, row: Metric) -> dict[str, Any]:
        """What was given on the command line, as far as it is an option of the metric."""
        given = {"seed": self.seed, "fractions": None if self.fractions is None else _numbers(self.fractions)}
        areas = any(figure.name.endswith("auc") for figure in row.figures)
        if "fractions" in row.options() and areas and given["fractions"] and len(given["fractions"]) < 2:
            raise InputError(f"--fractions {self.fractions}: an area, as of {row.name}, takes two or more.")
        return {name: value for name, value in given.items() if value is not None and name in row.options()}


def _numbers(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise InputError(f"--fractions {text}: expected numbers with commas between them, such as 0.1,0.3.") from None


def _lines(scores: list[Scores], level: float, of_boxes: bool) -> Iterator[str]:
    """A block of a metric: figures of every run, differences to the first, remarks."""
    row = scores[0].metric
    words = ", ".join(f"{figure.title} ({figure.better} is better, {figure.range})" for figure in row.figures)
    line = f"{row.title}: {words}; {100 * level:g}% intervals"
    for of_class, of_box in _OF_BOXES if of_boxes else ():
        line = line.replace(of_class, of_box)
    yield ""
    yield line
    for of_run in scores:
        yield f"{of_run.run.name}"
        for figure, at, e in summary(of_run, level=level):
            yield f"  {_name(figure.title, at)}  {_interval(e.mean, e.low, e.high)}  n={e.number}" + (
                f", {e.dropped} not finite" if e.dropped else ""
            )
        if of_run is not scores[0]:
            for figure, at, c in comparison(of_run, scores[0], level=level):
                words = f"{_interval(c.difference, c.low, c.high, sign='+')}  p={c.p_value:.2g}  n={c.number}"
                yield f"  {_name(figure.title, at)} minus {scores[0].run.name}'s  {words}"
        if "genuine" in row.needs and any(r.reason is None for r in of_run.rows):
            point = threshold(of_run)
            rates = f"clean accuracy {point.accuracy:.2%}, equal error rate {point.equal_error_rate:.2%}"
            yield f"  threshold {point.threshold:.4f}, {rates}"
        for remark in remarks(of_run):
            yield f"  {remark}"


def _name(title: str, at: float | None) -> str:
    return title if at is None else f"{title} at {at:g}"


def _interval(mean: float, low: float, high: float, sign: str = "") -> str:
    return f"{mean:{sign}.4f} [{low:{sign}.4f}, {high:{sign}.4f}]"


def _as_json(scores: Scores, first: Scores, level: float) -> dict[str, Any]:
    """Figures of a run, and its differences to the first."""
    content = {
        "run": str(scores.run),
        "preset": scores.preset,
        "options": scores.options,
        "figures": [_plain(figure.name, at, e) for figure, at, e in summary(scores, level=level)],
        "remarks": remarks(scores),
    }
    if scores is first:
        return content
    differences = [_plain(figure.name, at, c) for figure, at, c in comparison(scores, first, level=level)]
    return content | {"compared_with": str(first.run), "differences": differences}


def _plain(name: str, at: float | None, values: Any) -> dict[str, Any]:
    return {"figure": name, "at": at, **{field: number(value) for field, value in values._asdict().items()}}
