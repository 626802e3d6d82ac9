"""Boxes to explain in COCO's JSON: images, annotations with `bbox`, categories."""

import math
import pathlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from fame_jax.data.lists import LineError, list_and_folder, path_inside
from fame_jax.data.records import Box, ClassRecord, Dataset, DatasetError, Picture, Problem, dataset_of
from fame_jax.files import parse_json

MAX_BYTES = 1 << 30
"""Longer files are refused before they are read."""

Read = TypeVar("Read")


def read_coco(root: pathlib.Path, protocol: str | None = None, *, allow_outside: bool = False) -> Dataset:
    """Boxes in COCO's JSON, in its order, each a record of its own.

    Args:
        root: the JSON file, whose `file_name`s are relative to its folder; or the folder of the photographs.
        protocol: where root is a folder: the JSON file, by its name in root or by its path.
        allow_outside: accept files outside the folder.

    Returns:
        Records named `FILE box N`, N counting the annotations of a photograph. A label counts the categories in the
        order of their ids, a detector whose classes have names takes them by name. Crowds (`iscrowd`) are passed over.

    Raises:
        DatasetError: if there is no such file, or it holds something else.
    """
    return boxes_of(*list_and_folder(root, protocol), allow_outside=allow_outside)


def boxes_of(path: pathlib.Path, folder: pathlib.Path, *, allow_outside: bool = False) -> Dataset:
    """The same of a list and the folder, or archive, that its names are relative to."""
    content, problems = _content(path), []
    categories = _each(content, "categories", path, _category, problems)
    labels = {number: label for label, number in enumerate(sorted(number for number, _ in categories))}

    def image(entry: Any) -> tuple[Any, tuple[str, pathlib.Path]]:
        name = _field(entry, "file_name", str)
        return _field(entry, "id", int, str), (name, path_inside(folder, name, allow_outside=allow_outside))

    pictures = dict(_each(content, "images", path, image, problems))
    numbers: Counter[str] = Counter()

    def record(entry: Any) -> ClassRecord | None:
        number = _field(entry, "image_id", int, str)
        if number not in pictures:
            raise LineError(f"its image_id {str(number)[:40]} is that of no image")
        name, picture = pictures[number]
        numbers[name] += 1
        if entry.get("iscrowd"):
            return None
        label = _field(entry, "category_id", int) if labels or "category_id" in entry else 0
        if labels and label not in labels:
            raise LineError(f"its category_id {label} is that of no category")
        box = _box(entry.get("bbox"))
        return ClassRecord(f"{name} box {numbers[name]}", Picture(picture), labels.get(label, label), (box,))

    records = [one for one in _each(content, "annotations", path, record, problems) if one is not None]
    names = tuple(name for _, name in sorted(categories)) or None
    return dataset_of(f"coco {path.stem}", "detect", records, problems, names)


def as_coco(dataset: Dataset, folder: pathlib.Path, info: Mapping[str, Any]) -> dict[str, Any]:
    """A data set of boxes as `read_coco` reads it.

    Args:
        dataset: boxes, one a record.
        folder: that paths inside of it are relative to.
        info: kept as it is.
    """
    records = [record for record in dataset.records if isinstance(record, ClassRecord)]
    images = {path: number for number, path in enumerate(dict.fromkeys(record.picture.path for record in records))}
    annotations = []
    for number, record in enumerate(records):
        left, top, right, bottom = record.boxes[0]
        box = [left, top, round(right - left, 3), round(bottom - top, 3)]
        image = images[record.picture.path]
        annotations.append({"id": number, "image_id": image, "category_id": record.label, "bbox": box})
    most = max((record.label or 0 for record in records), default=0)
    labels = dataset.labels or [f"class {label}" for label in range(1 + most)]
    return {
        "info": dict(info),
        "images": [{"id": number, "file_name": _relative(path, folder)} for path, number in images.items()],
        "categories": [{"id": label, "name": name} for label, name in enumerate(labels)],
        "annotations": annotations,
    }


def _relative(path: pathlib.Path, folder: pathlib.Path) -> str:
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else str(path.absolute())


def _content(path: pathlib.Path) -> Mapping[str, Any]:
    try:
        if not path.is_file():
            raise DatasetError(f"{path}: it is no regular file; expected a list.")
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise DatasetError(f"{path}: above the limit of {MAX_BYTES >> 30} GiB for a list of boxes.")
        content = parse_json(data.decode("utf-8-sig"))
    except DatasetError:
        raise
    except (OSError, ValueError) as error:
        raise DatasetError(f"{path}: it is no JSON, or damaged ({error}).") from error
    lists = ("images", "annotations")
    if not isinstance(content, dict) or not all(isinstance(content.get(name), list) for name in lists):
        raise DatasetError(f"{path}: it is not COCO's; expected an object with the lists images and annotations.")
    return content


def _each(
    content: Mapping[str, Any], name: str, path: pathlib.Path, parse: Callable[[Any], Read], problems: list[Problem]
) -> Sequence[Read]:
    """What every entry of a list means, without those that mean nothing."""
    found, entries = [], content.get(name, [])
    if not isinstance(entries, list):
        raise DatasetError(f"{path}: {name} is no list.")
    for number, entry in enumerate(entries, 1):
        try:
            if not isinstance(entry, dict):
                raise LineError("it is no object")
            found.append(parse(entry))
        except LineError as error:
            problems.append(Problem(f"{path}, {name} {number}", str(error)))
    return found


def _category(entry: Mapping[str, Any]) -> tuple[int, str]:
    return _field(entry, "id", int), _field(entry, "name", str)


def _field(entry: Mapping[str, Any], name: str, *types: type) -> Any:
    value = entry.get(name)
    if type(value) not in types:
        words = " or ".join({int: "a whole number", str: "text"}[kind] for kind in types)
        raise LineError(f"its {name} is {str(value)[:40]!r}, expected {words}")
    return value


def _box(value: Any) -> Box:
    """`x, y, width, height` as corners."""
    numbers = value if isinstance(value, list) and len(value) == 4 else ()
    if not numbers or not all(type(number) in (int, float) and math.isfinite(number) for number in numbers):
        raise LineError(f"its bbox is {str(value)[:60]}, expected four numbers: x, y, width, height")
    left, top, width, height = numbers
    if width <= 0 or height <= 0:
        raise LineError(f"its bbox {value} has no area")
    return left, top, left + width, top + height
