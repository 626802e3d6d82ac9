"""ImageNet's validation photographs with the boxes of their objects (ILSVRC 2012, CLS-LOC)."""

import importlib.resources
import pathlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from fame_jax.data.lists import (
    LineError,
    each_line,
    each_row,
    existing_folder,
    list_and_folder,
    path_inside,
    whole_number,
)
from fame_jax.data.records import Box, ClassRecord, Dataset, DatasetError, Picture, Problem, dataset_of
from fame_jax.datasets.boxes import Boxed, annotation, prediction_string

VALIDATION = "validation"
"""The protocol of all photographs."""

IMAGES = ("ILSVRC/Data/CLS-LOC/val", "Data/CLS-LOC/val", "val", ".")
"""Where the photographs are looked for, from the root."""

ANNOTATIONS = ("ILSVRC/Annotations/CLS-LOC/val", "Annotations/CLS-LOC/val", "bbox/val")
"""Where the XML files are looked for, from the root."""


class Objects(NamedTuple):
    """A photograph of a list: its id and its boxes, maybe its class."""

    image_id: str
    objects: tuple[Boxed, ...]
    target: int | None


def wordnet_ids(root: pathlib.Path | None = None) -> tuple[str, ...]:
    """WordNet ids of the classes, in the order of the labels.

    Args:
        root: folder with a `LOC_synset_mapping.txt`, whose line k starts with the id of class k; without one, or None,
            the 1000 ids of ILSVRC 2012, sorted.

    Raises:
        DatasetError: if the mapping is damaged.
    """
    mapping = None if root is None else root / "LOC_synset_mapping.txt"
    if mapping is None or not mapping.exists():
        text = importlib.resources.files("fame_jax").joinpath("bundled", "imagenet_wordnet_ids.txt").read_text("utf-8")
        return tuple(text.split())
    problems: list[Problem] = []
    found = each_line(mapping, lambda line: line.split()[0], problems)
    if problems:
        raise DatasetError(f"{problems[0].where}: {problems[0].reason}; all labels depend on this list.")
    if len(set(found)) < len(found):
        raise DatasetError(f"{mapping}: a WordNet id is there twice; all labels depend on this list.")
    return tuple(found)


def read_imagenet(
    root: pathlib.Path,
    protocol: str | None = None,
    *,
    images: pathlib.Path | None = None,
    annotations: pathlib.Path | None = None,
    allow_outside: bool = False,
) -> Dataset:
    """Photographs, labels and the boxes of the labelled class.

    Args:
        root: as Kaggle's archive is unpacked: `ILSVRC/Data/CLS-LOC/val/ILSVRC2012_val_00000001.JPEG`, with
            `LOC_val_solution.csv` and `LOC_synset_mapping.txt`, or with `ILSVRC/Annotations/CLS-LOC/val/*.xml`.
        protocol: `validation`, the default, for all; or a list with the columns ImageId, PredictionString and target
            (maybe empty), by its name in root or its path. Rows without PredictionString take boxes from the others.
        images: folder of the photographs, if it is elsewhere.
        annotations: folder of the XML files, if it is elsewhere.
        allow_outside: accept files outside the folder of the photographs.

    Returns:
        Records named by ImageId, in the order of the list; in alphabetical order for `validation`.

    Raises:
        DatasetError: if a folder or list lacks, or is no such thing.
    """
    existing_folder(root)
    classes = {name: label for label, name in enumerate(wordnet_ids(root))}
    folder = existing_folder(images) if images else _first_folder(root, IMAGES, "photographs")
    problems: list[Problem] = []
    records = []
    rows = _rows(root, protocol or VALIDATION, annotations, problems)
    for row in rows:
        try:
            path = path_inside(folder, f"{row.image_id}.JPEG", allow_outside=allow_outside)
            label, boxes = labelled_boxes(row.objects, classes, row.target)
            records.append(ClassRecord(row.image_id, Picture(path), label, boxes))
        except LineError as error:
            problems.append(Problem(row.image_id, str(error)))
    return dataset_of(f"imagenet {pathlib.Path(protocol or VALIDATION).stem}", "class", records, problems)


def objects_by_photograph(
    root: pathlib.Path, problems: list[Problem], annotations: pathlib.Path | None = None
) -> dict[str, tuple[Boxed, ...]]:
    """The objects of every photograph by its ImageId.

    Args:
        root: see `read_imagenet`.
        problems: gets one for each damaged line or annotation.
        annotations: folder of XML files; None for `LOC_val_solution.csv`, or the XML files of root if it has none.

    Raises:
        DatasetError: if there is neither.
    """
    solution = root / "LOC_val_solution.csv"
    if annotations is None and solution.exists():
        rows = each_row(solution, ("ImageId", "PredictionString"), _row, problems, defaults=("target",))
        return {row.image_id: row.objects for row in rows}
    found = {}
    folder = existing_folder(annotations) if annotations else _first_folder(root, ANNOTATIONS, solution.name)
    for path in sorted(folder.glob("*.xml")):
        try:
            found[path.stem] = annotation(path)
        except LineError as error:
            problems.append(Problem(str(path), str(error)))
    return found


def labelled_boxes(
    objects: Sequence[Boxed], classes: Mapping[str, int], target: int | None
) -> tuple[int, tuple[Box, ...]]:
    """The label of a photograph and the boxes of that class.

    Args:
        objects: all of the photograph.
        classes: labels by WordNet id.
        target: the label, if it is known; otherwise all objects have to be of one class.

    Raises:
        LineError: if there are no objects, or a class is unknown, several, or not the target.
    """
    if unknown := [one.wordnet_id for one in objects if one.wordnet_id not in classes]:
        raise LineError(f"there is no class {unknown[0][:40]!r} among the {len(classes)}")
    labels = [classes[one.wordnet_id] for one in objects]
    shown = ", ".join(map(str, sorted(set(labels)))) or "no class"
    if target is None and len(set(labels)) != 1:
        raise LineError(f"its boxes are of {shown}; give the class to explain as target")
    label = labels[0] if target is None else target
    if label not in labels:
        raise LineError(f"its target is {label}, and its boxes are of {shown}")
    return label, tuple(one.box for one, of in zip(objects, labels, strict=True) if of == label)


def _rows(
    root: pathlib.Path, protocol: str, annotations: pathlib.Path | None, problems: list[Problem]
) -> list[Objects]:
    if protocol == VALIDATION:
        found = objects_by_photograph(root, problems, annotations)
        return [Objects(name, found[name], None) for name in sorted(found)]
    path, _ = list_and_folder(root, protocol)
    rows = each_row(path, ("ImageId",), _row, problems, defaults=("PredictionString", "target"))
    if all(row.objects for row in rows):
        return rows
    found = objects_by_photograph(root, problems, annotations)
    return [row if row.objects else row._replace(objects=found.get(row.image_id, ())) for row in rows]


def _row(row: dict[str, str]) -> Objects:
    objects = prediction_string(row["PredictionString"]) if row["PredictionString"] else ()
    target = whole_number(row["target"], "target") if row["target"] else None
    return Objects(row["ImageId"], objects, target)


def _first_folder(root: pathlib.Path, names: Sequence[str], instead: str) -> pathlib.Path:
    for name in names:
        if (root / name).is_dir():
            return root / name
    raise DatasetError(f"{root}: it has neither {instead} nor a folder {' or '.join(names)}; move or link one there.")
