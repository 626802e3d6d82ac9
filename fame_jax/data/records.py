"""What a data set's reader returns: records to explain, and the problems it met; no pixels yet."""

import pathlib
from dataclasses import dataclass, field
from typing import Any, Literal

Point = tuple[float, float]
"""(x, y) in pixels of the picture."""

Box = tuple[int, int, int, int]
"""`x_min, y_min, x_max, y_max` in pixels of the whole picture, the maxima outside."""

Task = Literal["class", "pair"]


@dataclass(frozen=True)
class Picture:
    """A picture on disk.

    Attributes:
        path: of the file.
        eyes: annotated eyes of a face, the one on the image's left first; None to find them, or for other pictures.
    """

    path: pathlib.Path
    eyes: tuple[Point, Point] | None = None


@dataclass(frozen=True)
class ClassRecord:
    """A photograph and the class to explain.

    Attributes:
        name: unique in its data set.
        picture: the photograph.
        label: index of the class; None for whatever the network predicts.
        boxes: of the objects of that class; empty where nobody drew any.
    """

    name: str
    picture: Picture
    label: int | None = None
    boxes: tuple[Box, ...] = ()


@dataclass(frozen=True)
class PairRecord:
    """Two faces to compare.

    Attributes:
        name: unique in its data set.
        probe: the face that is perturbed and masked.
        gallery: the face it is compared with.
        genuine: whether both are one person; None if nobody knows.
    """

    name: str
    probe: Picture
    gallery: Picture
    genuine: bool | None = None


Record = ClassRecord | PairRecord


@dataclass(frozen=True)
class Problem:
    """Something a reader could not use: where (a file, a line of a list) and why."""

    where: str
    reason: str


@dataclass(frozen=True)
class Dataset:
    """All records of one protocol of a data set, in a fixed order.

    Attributes:
        name: of data set and protocol, as in "cfp FP-01".
        task: `class` for `ClassRecord`s, `pair` for `PairRecord`s.
        records: what can be explained.
        problems: what was left out, or does not agree with the protocol's published counts.
    """

    name: str
    task: Task
    records: tuple[Record, ...]
    problems: tuple[Problem, ...] = field(default=())


def as_json(record: Record) -> dict[str, Any]:
    """A record as plain data, which `from_json` reads back."""
    if isinstance(record, ClassRecord):
        return {
            "name": record.name,
            "picture": _picture_as_json(record.picture),
            "label": record.label,
            "boxes": [list(box) for box in record.boxes],
        }
    return {
        "name": record.name,
        "probe": _picture_as_json(record.probe),
        "gallery": _picture_as_json(record.gallery),
        "genuine": record.genuine,
    }


def from_json(content: dict[str, Any]) -> Record:
    """The record that `as_json` turned into plain data.

    Raises:
        KeyError: for a missing field.
    """
    if "picture" in content:
        boxes = tuple((int(a), int(b), int(c), int(d)) for a, b, c, d in content["boxes"])
        return ClassRecord(content["name"], _picture_from_json(content["picture"]), content["label"], boxes)
    probe, gallery = (_picture_from_json(content[role]) for role in ("probe", "gallery"))
    return PairRecord(content["name"], probe, gallery, content["genuine"])


def _picture_as_json(picture: Picture) -> dict[str, Any]:
    return {"path": str(picture.path), "eyes": picture.eyes}


def _picture_from_json(content: dict[str, Any]) -> Picture:
    eyes = content["eyes"]
    return Picture(pathlib.Path(content["path"]), None if eyes is None else tuple(tuple(eye) for eye in eyes))  # type: ignore[arg-type]
