"""Metrics of finished maps: one row a record, written block by block and continued after any interruption.

Blocks are those of the run: one is measured as a whole, always in the same batches, so that the rows come out the same
however often the work is interrupted.
"""

import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import jax
import numpy as np

from fame_jax import models
from fame_jax.batching import map_many
from fame_jax.batching.devices import usual_batch
from fame_jax.detection import asked
from fame_jax.experiments.detections import detector_of
from fame_jax.experiments.identity import network_identity
from fame_jax.experiments.rows import Row, Rows, ScoreError, Scores
from fame_jax.experiments.settings import DECIDING, told_of
from fame_jax.experiments.store import Run
from fame_jax.experiments.subjects import Subjects
from fame_jax.explainers.explainer import WHAT, kind_of
from fame_jax.metrics.table import Metric, Subject, metric
from fame_jax.presets import PRESETS

# Where an option is used on the host, before the metric's own function.
_OF_BOXES = {"convention": "aspect_preserving"}

NOT_OF_BOXES = ("rise_deletion", "rise_insertion", "road_combined")
"""Metrics of classes that count what is beyond a photograph."""


def score(
    run: Run,
    name: str | Metric | Callable[..., Any],
    *,
    network: Any = None,
    preset: str = "paper",
    batch_size: int | None = None,
    progress: Callable[[int], object] | None = None,
    **options: Any,
) -> Scores:
    """Measures the maps of a run that are there and not measured yet, and returns all rows.

    A record whose picture or map cannot be read, or whose picture is not the one that was explained, is left out with
    the reason; where that has been mended, the next call measures its block again.

    Args:
        run: finished or partial; only complete blocks are measured.
        name: of a metric in `fame_jax.metrics.table.METRICS`, or one of your own: a function
            `(network, subject, **options)` to a number, see `fame_jax.metrics.table.of_your_own`.
        network: that of the run; None to load it by the name in the manifest, if the metric needs it.
        preset: `paper` or `official`, the source of options that are not given.
        batch_size: records at a time; None for 1 on a CPU, 64 for each accelerator, no more than in a block of the run.
        progress: called with the number of records measured since the last call.
        **options: of the metric, such as `fractions`, `thresholds`, `method`, `fill`, `choose` and `seed`; metrics of
            boxes also have `convention`, see `fame_jax.metrics.cropped_boxes`.

    Returns:
        Rows of all records in complete blocks, earlier ones included.

    Raises:
        ScoreError: for a metric of the other task, an option that does not exist, or rows computed with others.
        UnknownMetricError: for a name that is not in the table.
        WeightsNotFoundError: if the network is needed and not installed.
    """
    row, chosen, rows, pending = begun(run, name, preset, options)
    if pending and "network" in row.needs and network is None:
        network = network_of(run)
    if network is not None:
        network = same_network(run, network)
    for found in Measuring(run, row, chosen, network, batch_size).rows(pending):
        rows.append(found)
        if progress is not None:
            progress(len(found))
    return scores_of(run, row, preset, chosen, rows)


def begun(
    run: Run, name: str | Metric | Callable[..., Any], preset: str, options: Mapping[str, Any]
) -> tuple[Metric, dict[str, Any], Rows, list[int]]:
    """The metric, all its options, the rows that are there, and the complete blocks to be measured; see `score`."""
    row = metric(name, kind_of(run.task))
    chosen = settings(run, row, preset, options)
    rows = Rows(run, row, preset, chosen)
    subjects = Subjects(run, row, chosen)
    pending = [b for b in range(run.blocks) if _is_due(run, b, rows, subjects) and run.is_complete(b)]
    return row, chosen, rows, pending


def _is_due(run: Run, block: int, rows: Rows, subjects: Subjects) -> bool:
    """Whether a block has no rows, or a record whose picture or map could not be read then and can be now."""
    indices = run.indices(block)
    if indices.start not in rows.known:
        return True
    unread = [index for index in indices if rows.known[index].unread]
    # Tried before anything is measured: what is still missing does not cost a block its measurement once more.
    return bool(unread) and any(isinstance(found, Subject) for _, found in subjects.of(np.asarray(unread)))


def scores_of(run: Run, row: Metric, preset: str, chosen: Mapping[str, Any], rows: Rows) -> Scores:
    """All rows in the order of the records."""
    return Scores(run.folder, row, preset, chosen, tuple(rows.known[i] for i in sorted(rows.known)), len(run.records))


def settings(run: Run, row: Metric, preset: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """All options of a metric: those given, then the preset's, then what the network's card said, then the defaults.

    Raises:
        ScoreError: see `score`.
    """
    if row.task != kind_of(run.task) or (run.task == "detect" and row.name in NOT_OF_BOXES):
        raise ScoreError(f"{row.name} is a metric of {WHAT[row.task]}; {run.folder} explains {WHAT[run.task]}.")
    known = {**row.options(), **(_OF_BOXES if "boxes" in row.needs and run.task == "class" else {})}
    if unknown := [name for name in options if name not in known]:
        raise ScoreError(f"{row.name} has no option {unknown[0]!r}; it has {', '.join(known) or 'none'}.")
    if known.get("score") == "softmax":
        known["score"] = "logit" if run.task == "detect" else run.manifest.get("score", "softmax")
    if "mean" in known:
        known["mean"] = run.manifest.get("mean", known["mean"])
    if preset not in PRESETS:
        raise ScoreError(f"preset={preset!r}; expected {' or '.join(PRESETS)}.")
    chosen = {**known, **(PRESETS[preset][row.preset] if row.preset else {}), **options}
    for name in {"fractions", "thresholds"} & set(chosen):
        values = np.asarray(chosen[name], float).reshape(-1).tolist()
        if not values or values != sorted(set(values)) or not 0 <= values[0] <= values[-1] <= 1:
            raise ScoreError(f"{row.name}: {name} {values}; expected ascending numbers from 0 to 1.")
        chosen[name] = values
    return chosen


def network_of(run: Run, weights: pathlib.Path | None = None, model: str | None = None) -> models.Loaded:
    """The network of a run, with the same weights and code, in 32 bits; its card has the hash that was compared.

    Args:
        run: whose manifest says which it was.
        weights: a converted folder or the publisher's own file, if they are not installed.
        model: where the network is found, if the manifest does not say or it has moved.

    Raises:
        ScoreError: if it is another network by now, or nothing says where to find it.
    """
    name = model or run.manifest.get("source") or run.manifest["network"]
    precision = run.manifest.get("precision", "float32")
    try:
        told = run.manifest.get("card")
        found = models.find(name, weights, card=None if told is None else models.Card.from_json(told))
        if found.card.sha256 or precision == "float32":
            same_network(run, found)
        else:
            # A network of one's own is told by its parameters, as the run had them.
            with jax.enable_x64(precision == "float64"):
                same_network(run, models.find(name, precision=precision))
    except (models.UnknownNetworkError, models.WeightsNotFoundError, models.OwnNetworkError) as error:
        raise ScoreError(
            f"{run.folder}: its network {name} cannot be found ({error}); give it by --model, or as network=."
        ) from error
    return found._replace(card=replace(found.card, sha256=run.manifest.get("weights_sha256") or ""))


def same_network(run: Run, network: Any) -> Any:
    """The network itself, if it is the run's.

    Args:
        run: whose manifest has the hash.
        network: to be compared; or `models.find`'s network and card, of which a hash counts.

    Raises:
        ScoreError: if it is another one.
    """
    expected = run.manifest.get("weights_sha256")
    found = ""
    if isinstance(network, models.Loaded):
        _same_card(run, network.card)
        network, found = network.network, network.card.sha256
    found = found or network_identity(network, run.manifest["network"], run.manifest.get("precision", "float32"))
    if expected not in (None, found):
        raise ScoreError(
            f"{run.folder}: explained {run.manifest['network']} {expected[:8]}, and this is {found[:8]}; give the "
            "network of the run: --model, --weights or network=."
        )
    return network


def _same_card(run: Run, card: models.Card) -> None:
    there, here = run.manifest.get("card"), told_of(card)
    if not there or not here:
        return
    for name in DECIDING:
        if there[name] != here[name]:
            raise ScoreError(
                f"{run.folder}: explained {card.name} with {name} {there[name]}, and this has {here[name]}; "
                "give the network of the run: --model, --weights or network=."
            )


def _even(batch_size: int | None, run: Run) -> int:
    """Records at a time: as many for every device, and no more than a block needs."""
    devices = jax.local_device_count()
    return -(-min(batch_size or usual_batch(), run.block_size) // devices) * devices


class Measuring:
    """A metric at work on blocks of a run; it is compiled once."""

    def __init__(self, run: Run, row: Metric, chosen: Mapping[str, Any], network: Any, batch_size: int | None):
        options = {name: value for name, value in chosen.items() if name not in _OF_BOXES}
        self._run, self._network = run, network
        if network is not None and run.task == "detect":
            self._network = detector_of(run, network)
        self._size = _even(batch_size, run)
        self._subjects = Subjects(run, row, chosen)

        def measure(subject: Subject, network: Any) -> Any:
            if subject.box is not None and network is not None:
                network = asked(network, subject.box)
            return row.measure(network, subject, **options)  # type: ignore[misc]

        self._measure = measure

    def rows(self, blocks: Sequence[int]) -> Iterator[list[Row]]:
        """The rows of block after block; the next pictures are read while the metric is at work."""
        run, remaining = self._run, list(blocks)
        read = _Reading(run, self._subjects, blocks, self._size)
        for place, values in map_many(self._measure, read.examples(), self._network, batch_size=self._size):
            read.finish(place, values)
            while remaining and all(index in read.rows for index in run.indices(remaining[0])):
                yield [read.rows.pop(index) for index in run.indices(remaining.pop(0))]
        for block in remaining:
            yield [read.rows[index] for index in run.indices(block)]


class _Reading:
    """What is known of each record while others are still read."""

    def __init__(self, run: Run, subjects: Subjects, blocks: Sequence[int], size: int):
        self._run, self._subjects, self._blocks, self._size = run, subjects, blocks, size
        self._places: list[tuple[int, bool] | None] = []
        self.rows: dict[int, Row] = {}

    def examples(self) -> Iterator[tuple[Subject, tuple[()]]]:
        """All examples; a block is filled up with copies of its last one, so that batches never cross blocks."""
        for block in self._blocks:
            last, count = None, 0
            for index, found in self._subjects.of(self._run.indices(block)):
                if isinstance(found, Row):
                    self.rows[index] = found
                    continue
                self._places.append((index, not found.attribution.any()))
                last, count = found, count + 1
                yield found, ()
            for _ in range(-count % self._size):
                self._places.append(None)
                yield last, ()  # type: ignore[misc]

    def finish(self, place: int, values: Mapping[str, Any]) -> None:
        """Takes the figures of one subject."""
        if (whose := self._places[place]) is not None:
            (index, blank), record = whose, self._run.records[whose[0]]
            found = {name: np.asarray(value) for name, value in values.items()}
            self.rows[index] = Row(index, record.name, found, blank, getattr(record, "genuine", None))
