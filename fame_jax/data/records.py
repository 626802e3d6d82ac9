"""What a data set's reader returns: records to explain, and the problems it met; no pixels yet."""

import itertools
import math
import os
import pathlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from fame_jax.remote import Member, Remote, absolute, located

Point = tuple[float, float]
"""(x, y) in pixels of the picture."""

Side = int | float
Box = tuple[Side, Side, Side, Side]
"""`x_min, y_min, x_max, y_max` in pixels of the whole picture, the maxima outside."""

Task = Literal["class", "pair", "detect"]


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
    """A photograph and the class, or the box, to explain.

    Attributes:
        name: unique in its data set.
        picture: the photograph.
        label: index of the class; None for whatever the network predicts.
        boxes: of the objects of that class; empty where nobody drew any. Of a detection the one that is explained.
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


class DatasetError(ValueError):
    """A data set that cannot be read at all; the message is one line, names the file or option and says what to do."""

    def __init__(self, message: str):
        """One line, also where a file has several for a name."""
        super().__init__(" ".join(message.splitlines()))


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
        task: `class` for `ClassRecord`s, `pair` for `PairRecord`s, `detect` for `ClassRecord`s of one box each.
        records: what can be explained. Results are kept by name: of records with one name, all but the first get a
            number behind it, as in `cat (2)`, and a problem says so.
        problems: what was left out, or does not agree with the protocol's published counts.
        labels: names of the classes that the records' labels count; None if they count the network's.
    """

    name: str
    task: Task
    records: tuple[Record, ...]
    problems: tuple[Problem, ...] = field(default=())
    labels: tuple[str, ...] | None = None

    def __post_init__(self):
        """Makes the names unique."""
        taken = Counter(record.name for record in self.records)
        if len(taken) == len(self.records):
            return
        records, met = [], set()
        for record in self.records:
            name = record.name
            if name in met:
                name = next(new for n in itertools.count(2) if (new := f"{record.name} ({n})") not in taken)
                taken[name] = 1
            met.add(name)
            records.append(replace(record, name=name))
        shared = [
            Problem(name, f"{number} records have this name; a number is put behind the others")
            for name, number in taken.items()
            if number > 1
        ]
        object.__setattr__(self, "records", tuple(records))
        object.__setattr__(self, "problems", (*self.problems, *shared))


def dataset_of(
    name: str,
    task: Task,
    records: Iterable[Record],
    problems: Iterable[Problem],
    labels: tuple[str, ...] | None = None,
) -> Dataset:
    """A data set of the records whose pictures exist; pictures that do not become problems, by name."""
    found, kept = list(problems), list(records)
    pictures = Counter(path for record in kept for path in {picture.path for picture in pictures_of(record)})
    # What lies elsewhere a reader has just listed.
    missing = {path for path in pictures if not (isinstance(path, Remote | Member) or os.path.isfile(path))}
    for path in sorted(missing):
        reason = "it is no file" if os.path.exists(path) else "there is no such file"
        reason = "it is a link to nothing: there is no such file" if os.path.islink(path) else reason
        shared = f"; {pictures[path]} records are left out" if pictures[path] > 1 else ""
        found.append(Problem(str(path), reason + shared))
    whole = (record for record in kept if not any(picture.path in missing for picture in pictures_of(record)))
    return Dataset(name, task, tuple(whole), tuple(found), labels)


def pictures_of(record: Record) -> tuple[Picture, ...]:
    """The pictures of a record: one, or probe and gallery."""
    return (record.picture,) if isinstance(record, ClassRecord) else (record.probe, record.gallery)


def absolute_paths(record: Record) -> Record:
    """The record with paths that mean the same wherever it is read again."""

    def whole(picture: Picture) -> Picture:
        return replace(picture, path=absolute(picture.path))

    if isinstance(record, PairRecord):
        return replace(record, probe=whole(record.probe), gallery=whole(record.gallery))
    return replace(record, picture=whole(record.picture))


def counts(dataset: Dataset) -> dict[str, int]:
    """What there is to compare with published counts.

    Returns:
        `records` and `pictures` (distinct files); then `classes` and `boxed` (records with boxes), or `genuine` and
        `impostor`.
    """
    records = dataset.records
    found = {
        "records": len(records),
        "pictures": len({picture.path for record in records for picture in pictures_of(record)}),
    }
    if dataset.task != "pair":
        singles = [record for record in records if isinstance(record, ClassRecord)]
        labels = {record.label for record in singles} - {None}
        return found | {"classes": len(labels), "boxed": sum(bool(record.boxes) for record in singles)}
    known = Counter(record.genuine for record in records if isinstance(record, PairRecord))
    return found | {"genuine": known[True], "impostor": known[False]}


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
        TypeError, ValueError, OverflowError: for one that holds something else.
    """
    name = _of(content["name"], str)
    if "picture" in content:
        boxes = tuple((_finite(a), _finite(b), _finite(c), _finite(d)) for a, b, c, d in content["boxes"])
        label = _of(content["label"], int, type(None))
        return ClassRecord(name, _picture_from_json(content["picture"]), label, boxes)
    probe, gallery = (_picture_from_json(content[role]) for role in ("probe", "gallery"))
    return PairRecord(name, probe, gallery, _of(content["genuine"], bool, type(None)))


def _of(value: Any, *types: type) -> Any:
    """A value of exactly one of the types; `True` is no number."""
    if type(value) not in types:
        raise TypeError(f"{str(value)[:40]!r} is no {types[0].__name__}")
    return value


def _finite(value: Any) -> Side:
    if not math.isfinite(_of(value, int, float)):
        raise ValueError(f"{value} is no finite number")
    return value


def _picture_as_json(picture: Picture) -> dict[str, Any]:
    return {"path": str(picture.path), "eyes": picture.eyes}


def _picture_from_json(content: dict[str, Any]) -> Picture:
    eyes = content["eyes"]
    path = located(_of(content["path"], str))
    if "\0" in content["path"]:
        raise ValueError("a path holds the character NUL")
    if eyes is None:
        return Picture(path)
    (right_x, right_y), (left_x, left_y) = eyes
    return Picture(path, ((float(right_x), float(right_y)), (float(left_x), float(left_y))))
