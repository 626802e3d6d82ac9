"""Metrics of finished maps: one row a record, written block by block and continued after any interruption.

Blocks are those of the run: one is measured as a whole, always in the same batches, so that the rows come out the same
however often the work is interrupted.
"""

import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from fame_jax import models
from fame_jax.data.images import ImageError, dimensions
from fame_jax.data.records import ClassRecord, PairRecord, Record
from fame_jax.experiments.inputs import PictureError, geometry_of, images
from fame_jax.experiments.rows import Row, Rows, ScoreError, Scores
from fame_jax.experiments.store import FAILED, Run
from fame_jax.metrics.deletion import in_portions
from fame_jax.metrics.iou import box_masks, cropped_boxes
from fame_jax.metrics.table import Example, Metric, metric
from fame_jax.network import traceable
from fame_jax.presets import PRESETS

# Where an option is used on the host, before the metric's own function.
_OF_BOXES = {"convention": "aspect_preserving"}


def score(
    run: Run,
    name: str,
    *,
    network: Any = None,
    preset: str = "paper",
    batch_size: int = 8,
    progress: Callable[[int], object] | None = None,
    **options: Any,
) -> Scores:
    """Measures the maps of a run that are there and not measured yet, and returns all rows.

    Args:
        run: finished or partial; only complete blocks are measured.
        name: of a metric in `fame_jax.metrics.table.METRICS`.
        network: that of the run; None to load it by the name in the manifest, if the metric needs it.
        preset: `paper` or `official`, the source of options that are not given.
        batch_size: records at a time.
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
    row = metric(name)
    chosen = settings(run, row, preset, options)
    rows = Rows(run, row, preset, chosen)
    pending = [b for b in range(run.blocks) if run.indices(b).start not in rows.known and run.is_complete(b)]
    if pending and "network" in row.needs and network is None:
        network = network_of(run)
    measure = _batched(row, {k: v for k, v in chosen.items() if k not in _OF_BOXES})
    size = min(batch_size, run.block_size)
    for block in pending:
        found = _rows(
            run, row, run.indices(block), chosen, lambda examples: measure(traceable(network), examples), size
        )
        rows.append(found)
        if progress is not None:
            progress(len(found))
    return Scores(run.folder, row, preset, chosen, tuple(rows.known[i] for i in sorted(rows.known)), len(run.records))


def settings(run: Run, row: Metric, preset: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """All options of a metric: those given, then the preset's, then the defaults.

    Raises:
        ScoreError: see `score`.
    """
    if row.task != run.task:
        kinds = {"class": "classes", "pair": "pairs of faces"}
        raise ScoreError(f"{row.name} is a metric of {kinds[row.task]}; {run.folder} explains {kinds[run.task]}.")
    known = {**row.options(), **(_OF_BOXES if "boxes" in row.needs else {})}
    if unknown := [name for name in options if name not in known]:
        raise ScoreError(f"{row.name} has no option {unknown[0]!r}; it has {', '.join(known) or 'none'}.")
    chosen = {**known, **(PRESETS[preset][row.preset] if row.preset else {}), **options}
    for name in {"fractions", "thresholds"} & set(chosen):
        values = [float(value) for value in chosen[name]]
        if not values or values != sorted(set(values)) or not 0 <= values[0] <= values[-1] <= 1:
            raise ScoreError(f"{row.name}: {name} {values}; expected ascending numbers from 0 to 1.")
        chosen[name] = values
    return chosen


def network_of(run: Run, weights: pathlib.Path | None = None) -> Any:
    """The network of a run, of the same weights.

    Raises:
        ScoreError: if other weights are installed by now.
    """
    name, expected = run.manifest["network"], run.manifest.get("weights_sha256")
    found = models.weights_hash(name, weights)
    if expected not in (None, found):
        raise ScoreError(
            f"{run.folder}: explained {name} with the weights {expected[:8]}, and {found[:8]} are installed; "
            "give those of the run by --weights."
        )
    return models.load(name, weights)


def _batched(row: Metric, options: Mapping[str, Any]) -> Callable[..., Any]:
    """The metric of a batch, from the network and an `Example` of arrays `[n, ...]`."""

    @jax.jit
    def measured(network: Any, examples: Example) -> Any:
        return jax.vmap(lambda example: row.measure(network, example, **options))(examples)  # type: ignore[misc]

    return measured


def _rows(
    run: Run,
    row: Metric,
    indices: Sequence[int],
    chosen: Mapping[str, Any],
    measure: Callable[[Example], Any],
    size: int,
) -> list[Row]:
    """One row for every record of a block."""
    failures, states, labels = run.failures(), run.column("state"), run.column("label")
    boxes = max((len(r.boxes) for r in run.records if isinstance(r, ClassRecord)), default=0)
    rows: dict[int, Row] = {}
    examples: dict[int, Example] = {}
    for index in indices:
        record = run.records[index]
        if states[index] == FAILED:
            rows[index] = Row(index, record.name, {}, reason=failures.get(index, "could not be explained"))
            continue
        try:
            examples[index] = _example(run, row, index, int(labels[index]), boxes, chosen)
        except (_LeftOut, PictureError, ImageError) as error:
            rows[index] = Row(index, record.name, {}, reason=" ".join(str(error).split()))
    for index, values in _measured(measure, examples, size):
        blank = not examples[index].map.any()
        genuine = getattr(run.records[index], "genuine", None)
        rows[index] = Row(index, run.records[index].name, values, blank=blank, genuine=genuine)
    return [rows[index] for index in indices]


def _measured(
    measure: Callable[[Example], Any], examples: Mapping[int, Example], size: int
) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
    if not examples:
        return
    fields = [field for field in Example._fields if getattr(next(iter(examples.values())), field) is not None]
    stacks = [np.stack([getattr(example, field) for example in examples.values()]) for field in fields]

    def of_portion(*arrays: jax.Array) -> Any:
        return measure(Example(**(dict.fromkeys(Example._fields) | dict(zip(fields, arrays, strict=True)))))

    found = in_portions(of_portion, size, *stacks)
    for place, index in enumerate(examples):
        yield index, {name: np.asarray(values[place]) for name, values in found.items()}


class _LeftOut(Exception):
    """Why a record cannot be measured."""


def _example(run: Run, row: Metric, index: int, label: int, boxes: int, chosen: Mapping[str, Any]) -> Example:
    """What the metric needs of one record, on the host.

    Raises:
        _LeftOut: with the reason.
        PictureError, ImageError: for a picture that is not what it was.
    """
    record, map = run.records[index], run.map(index)
    if not np.isfinite(map).all():
        raise _LeftOut("the map is not finite")
    if "label" in row.needs and label < 0:
        raise _LeftOut("the class is unknown")
    masks = _masks(run, record, map.shape[0], boxes, chosen) if "boxes" in row.needs else None
    if "genuine" in row.needs and isinstance(record, PairRecord) and record.genuine is None:
        raise _LeftOut("nobody said whether the pair is genuine")
    image = gallery = None
    if "network" in row.needs:
        image, *others = images(record, geometry_of(run.manifest))
        gallery = others[0] if others else None
    return Example(image, map, np.int32(label), np.int32(index), masks, gallery)


def _masks(run: Run, record: Record, size: int, number: int, chosen: Mapping[str, Any]) -> np.ndarray:
    """The boxes of a record as masks, filled up with empty ones to a number that all records have."""
    assert isinstance(record, ClassRecord)
    if not record.boxes:
        raise _LeftOut("no boxes")
    width, height = dimensions(record.picture.path)
    corners = cropped_boxes(
        np.asarray(record.boxes, np.float64),
        width,
        height,
        short_side=geometry_of(run.manifest).resize,
        crop=size,
        convention=chosen["convention"],
    )
    masks = np.zeros((number, size, size), bool)
    masks[: len(corners)] = box_masks(corners, size, size)
    return masks
