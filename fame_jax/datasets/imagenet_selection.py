"""The photographs of Table 1: five of each class, out of those that all networks classify correctly.

`scripts/select_imagenet.py` does it all. By hand, with what any program predicts:

    from fame_jax.datasets.catalogue import read
    from fame_jax.datasets.imagenet_selection import read_predictions, selection, write_protocol

    predictions = {path.stem: read_predictions(path) for path in folder.glob("*.csv")}  # ImageId,prediction
    chosen = selection(read("imagenet", root).records, predictions)
    write_protocol(root / "five_of_each.csv", chosen.records)

References:
    Zhang and Günther, "Feature Activation Map Explanation on Image Classification and Face Recognition", Sec. 4.
"""

import csv
import io
import pathlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from fame_jax import files
from fame_jax.data.lists import each_row, whole_number
from fame_jax.data.records import ClassRecord, DatasetError, Problem
from fame_jax.datasets.imagenet import wordnet_ids
from fame_jax.datasets.impostors import shuffled


class Selection(NamedTuple):
    """What was chosen, and from what."""

    records: tuple[ClassRecord, ...]
    """Sorted by label, then by name."""
    correct: dict[str, int]
    """Number of records that each network classifies correctly."""
    agreed: int
    """Number of records that all networks classify correctly."""
    short: dict[int, int]
    """Number of records chosen, of every class that has fewer than wanted."""


def selection(
    records: Sequence[ClassRecord],
    predictions: Mapping[str, Mapping[str, int]],
    *,
    per_class: int = 5,
    seed: int = 0,
) -> Selection:
    """Draws photographs that all networks classify correctly, without replacement.

    A class with fewer of them keeps what it has. Which ones are drawn depends on names and seed only: not on the order
    of the records, nor on other classes.

    Args:
        records: with labels.
        predictions: by network and name of a record, the class that it predicts.
        per_class: how many to draw of each class.
        seed: of the draw.

    Raises:
        DatasetError: if there is no network, a record without label, or one that a network has no prediction for.
    """
    labels = {record.name: _label(record) for record in records}
    if not predictions:
        raise DatasetError("a selection needs the predictions of at least one network.")
    right = {network: _right(network, predicted, labels) for network, predicted in predictions.items()}
    agreed = set.intersection(*right.values())
    taken: Counter[int] = Counter()
    chosen = []
    for name in shuffled(agreed, seed, "selection"):
        taken[labels[name]] += 1
        if taken[labels[name]] <= per_class:
            chosen.append(name)
    of_name = {record.name: record for record in records}
    kept = sorted((of_name[name] for name in chosen), key=lambda record: (labels[record.name], record.name))
    short = {label: taken[label] for label in sorted(set(labels.values())) if taken[label] < per_class}
    return Selection(tuple(kept), {network: len(names) for network, names in right.items()}, len(agreed), short)


def write_predictions(path: pathlib.Path, records: Sequence[ClassRecord], labels: Sequence[int]) -> None:
    """Writes what a network predicts for each record, -1 for nothing: a CSV file with ImageId and prediction."""
    _write(path, ("ImageId", "prediction"), zip((record.name for record in records), labels, strict=True))


def read_predictions(path: pathlib.Path) -> dict[str, int]:
    """Predicted classes by the names of records, from a CSV file with the columns ImageId and prediction.

    Raises:
        DatasetError: if there is no such file, or a line of it is damaged.
    """

    def parse(row: dict[str, str]) -> tuple[str, int]:
        return row["ImageId"], whole_number(row["prediction"], "prediction", least=-1)

    problems: list[Problem] = []
    found = each_row(path, ("ImageId", "prediction"), parse, problems)
    if problems:
        raise DatasetError(f"{problems[0].where}: {problems[0].reason}; predict all photographs again.")
    return dict(found)


def write_protocol(path: pathlib.Path, records: Sequence[ClassRecord], root: pathlib.Path | None = None) -> None:
    """Writes a list that `read_imagenet` takes as protocol: ImageId, PredictionString and target.

    Args:
        path: of the list.
        records: with labels.
        root: where `wordnet_ids` looks for the names of the classes.
    """
    ids = wordnet_ids(root)

    def row(record: ClassRecord) -> tuple[str, str, int]:
        label = _label(record)
        boxes = (f"{ids[label]} {' '.join(map(str, box))}" for box in record.boxes)
        return record.name, " ".join(boxes), label

    _write(path, ("ImageId", "PredictionString", "target"), map(row, records))


def _label(record: ClassRecord) -> int:
    if record.label is None:
        raise DatasetError(f"{record.name} has no label; a selection is of labelled photographs.")
    return record.label


def _right(network: str, predicted: Mapping[str, int], labels: Mapping[str, int]) -> set[str]:
    """Names of the photographs that a network is right about."""
    if missing := labels.keys() - predicted.keys():
        raise DatasetError(f"the predictions of {network} lack {min(missing)}; predict all photographs again.")
    return {name for name, label in labels.items() if predicted[name] == label}


def _write(path: pathlib.Path, header: tuple[str, ...], rows: Iterable[tuple[object, ...]]) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([header, *rows])
    files.write(path, lambda file: file.write(text.getvalue().encode()))
