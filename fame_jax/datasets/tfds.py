"""Photographs that TensorFlow Datasets has prepared as ArrayRecord files; TensorFlow is not needed to read them."""

import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fame_jax.array_records import features, is_of_tfds
from fame_jax.data.lists import LineError, folder_on_disk
from fame_jax.data.records import ClassRecord, Dataset, DatasetError, Picture, Problem
from fame_jax.datasets.boxes import Boxed
from fame_jax.datasets.imagenet import labelled_boxes, objects_by_photograph, wordnet_ids
from fame_jax.remote import located
from fame_jax.words import did_you_mean

_HOW = "tfds.builder(NAME, data_dir=ROOT, file_format='array_record').download_and_prepare() makes it"


def read_tfds(
    name: str,
    root: pathlib.Path,
    protocol: str | None = None,
    *,
    annotations: pathlib.Path | None = None,
    allow_outside: bool = False,
) -> Dataset:
    """The photographs of a split with their labels, in its order; for these, all files are read once.

    Args:
        name: as in TensorFlow Datasets: `imagenette`, `imagenet_v2/matched-frequency`, `imagenet_v2:3.0.0`.
        root: the data directory in which that was prepared.
        protocol: a split or a part of one, `test` or `train[:10%]`; None for the only one.
        annotations: for ImageNet, the folder with its boxes, see `imagenet.objects_by_photograph`.
        allow_outside: as all readers have it; nothing lies outside.

    Returns:
        Records named by `file_name`, or by file and number where the examples have none. Classes named by WordNet ids
        are counted as ImageNet's networks do, others are known by their names. Where there are no labels, which is a
        problem, whatever the network predicts is explained.

    Raises:
        DatasetError: if it was not prepared, or as other files, or has no such split or no photographs.
        ImportError: if TensorFlow Datasets or Grain is not installed.
    """
    builder = _builder(name, folder_on_disk(root))
    image, label = _feature(builder, "Image"), _feature(builder, "ClassLabel")
    if image is None:
        raise DatasetError(f"{builder.data_path}: its examples have no image, only {', '.join(builder.info.features)}.")
    problems: list[Problem] = []
    names = () if label is None else tuple(builder.info.features[label].names)
    if label is None:
        reason = "its examples have no label; whatever the network predicts is explained"
        problems.append(Problem(str(builder.data_path), reason))
    places = {one: place for place, one in enumerate(wordnet_ids())}
    of_imagenet = set(names) <= places.keys()
    classes = [places[one] for one in names] if of_imagenet else range(len(names))
    objects = objects_by_photograph(annotations, problems) if annotations else {}
    records = []
    for file, number in _examples(builder, protocol):
        try:
            found = features(file, number)
            target = None if label is None else _class(found[label].int64_list.value, classes)
            words = [word.decode("utf-8", "replace") for word in found["file_name"].bytes_list.value]
            called = words[0] if words else f"{file.name}/{number}"
            boxes = _boxes(objects.get(pathlib.PurePath(called).stem, ()), places, target)
        except (OSError, LineError) as error:
            problems.append(Problem(f"{file}, record {number}", getattr(error, "strerror", None) or str(error)))
        else:
            picture = Picture(located(file / str(number) / image))
            records.append(ClassRecord(called, picture, target, boxes))
    title = f"tfds {builder.info.full_name} {protocol or next(iter(builder.info.splits))}"
    return Dataset(title, "class", tuple(records), tuple(problems), None if of_imagenet else names)


def _class(found: Sequence[int], classes: Sequence[int]) -> int | None:
    """What an example's label counts in the network; -1 stands for none that is known."""
    if len(found) != 1 or not -1 <= found[0] < len(classes):
        raise LineError(f"its label is {str([*found])[:40]}, expected one from 0 to {len(classes) - 1}")
    return None if found[0] < 0 else classes[found[0]]


def _boxes(objects: Sequence[Boxed], places: Mapping[str, int], target: int | None) -> tuple[Any, ...]:
    return labelled_boxes(objects, places, target)[1] if objects else ()


def _builder(name: str, root: pathlib.Path) -> Any:
    """What was prepared under a name; nothing is prepared, or downloaded, here."""
    try:
        from tensorflow_datasets.core.read_only_builder import builder_from_files
    except ImportError as error:
        raise ImportError("tfds:NAME needs TensorFlow Datasets: pip install 'fame-jax[data]'") from error
    try:
        builder = builder_from_files(name, data_dir=os.fspath(root))
    except Exception:  # Of many kinds, with several lines of advice.
        there = sorted(path.name for path in root.iterdir() if path.is_dir())
        near = did_you_mean(name, there) if there else "nothing is."
        raise DatasetError(f"{root}: no {name} was prepared there; {near} {_HOW}.") from None
    kind = builder.info.file_format and builder.info.file_format.value
    if kind != "array_record":
        raise DatasetError(f"{builder.data_path}: it was prepared as {kind}, which is not read; {_HOW}.")
    return builder


def _feature(builder: Any, kind: str) -> str | None:
    """The name of the first feature of a kind."""
    import tensorflow_datasets as tfds

    kinds = getattr(tfds.features, kind)
    return next((name for name, one in builder.info.features.items() if isinstance(one, kinds)), None)


def _examples(builder: Any, split: str | None) -> Iterator[tuple[pathlib.Path, int]]:
    """File and number of every example of a split, in its order."""
    known = list(builder.info.splits)
    if split is None and len(known) > 1:
        raise DatasetError(f"{builder.data_path}: it has several splits ({', '.join(known)}); choose one as protocol.")
    try:
        chosen = builder.info.splits[split or known[0]].file_instructions
    except (KeyError, ValueError, AssertionError, IndexError):
        near = did_you_mean(str(split), known)
        raise DatasetError(f"{builder.data_path}: no split is called {split!r}; {near}") from None
    for one in chosen:
        if not (is_of_tfds(one.filename) and os.path.isfile(one.filename)):
            raise DatasetError(f"{one.filename}: there is no such file of ArrayRecords; prepare the data set again.")
    return ((pathlib.Path(one.filename), one.skip + number) for one in chosen for number in range(one.take))
