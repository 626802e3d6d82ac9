"""What a report shows, as plain data: readers make it from folders, templates turn it into a page."""

import pathlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Kind = Literal["class", "pair"]


class ReportError(ValueError):
    """A folder that cannot be shown; the message names it and says what was expected."""


@dataclass(frozen=True)
class Layer:
    """One map over one picture.

    Attributes:
        role: `attribution`, or `probe_similar` and its three siblings.
        picture: the map as WebP; None where the method has no such map.
        status: how it ended, in words.
        place: where in the picture the map is strongest, in words.
        remark: of `fame_jax.metrics.evenness.remark`, in words; empty if there is nothing to say.
        remark_kind: the same in a word or two, to filter by.
        first_loss: of the image; None if not kept.
        last_loss: of the perturbed image; None for methods that do not walk.
        steps: of the walk; 0 for methods that do not walk.
    """

    role: str
    picture: bytes | None
    status: str
    place: str = ""
    remark: str = ""
    remark_kind: str = ""
    first_loss: float | None = None
    last_loss: float | None = None
    steps: int = 0


@dataclass(frozen=True)
class Column:
    """What one method of one source says of one record.

    Attributes:
        method: name of the explainer.
        title: as shown.
        target: the class that is explained; empty for pairs.
        layers: the maps by role.
        scores: of this record, by metric.
        sanity: rank correlation with the map of the randomised network; None if it was not asked for.
        pictures: those below its maps, where another network's geometry made them other than the item's.
        loss: what its walks descend, in a word.
        how: what else it was asked, in words; empty where the source says it once for all.
    """

    method: str
    title: str
    target: str
    layers: Mapping[str, Layer]
    scores: Mapping[str, float] = field(default_factory=dict)
    sanity: float | None = None
    pictures: Mapping[str, bytes] = field(default_factory=dict)
    loss: str = "logit"
    how: str = ""


@dataclass(frozen=True)
class Verdict:
    """What a network says of a photograph or pair.

    Attributes:
        similarity: of a pair; None of a photograph, or where none was kept.
        words: the class, or the decision; empty if there is nothing more.
    """

    similarity: float | None = None
    words: str = ""


@dataclass(frozen=True)
class Item:
    """A photograph or a pair of faces as one source has it.

    Attributes:
        kind: of what.
        name: as shown.
        key: what makes two sources' items the same.
        pictures: WebP by role: `photograph`, or `probe` and `gallery`.
        columns: one a method.
        facts: lines about the record itself.
        verdicts: of the networks, by what they are called.
    """

    kind: Kind
    name: str
    key: tuple[str, ...]
    pictures: Mapping[str, bytes]
    columns: tuple[Column, ...]
    facts: tuple[str, ...] = ()
    verdicts: tuple[tuple[str, Verdict], ...] = ()


@dataclass(frozen=True)
class Sheet:
    """All locations of a feature map.

    Attributes:
        name: of the photograph.
        picture: WebP.
        size: height and width of picture and maps in pixels.
        grid: rows and columns of the feature map.
        maps: by row and column.
        lines: the numbers, as words.
    """

    name: str
    picture: bytes
    size: tuple[int, int]
    grid: tuple[int, int]
    maps: Mapping[tuple[int, int], Layer]
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Failure:
    """A record that could not be explained, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class Score:
    """A metric of one source over its records: mean, interval, how many values entered and how many did not."""

    name: str
    mean: float
    low: float
    high: float
    number: int
    dropped: int


@dataclass(frozen=True)
class Source:
    """Everything read from one manifest.

    Attributes:
        folder: where it lies.
        file: name of the manifest.
        title: of method and network.
        manifest: its content.
        items: what was explained and is shown.
        sheets: of `fame locations`.
        failures: what could not be explained.
        scores: over all records, not only those shown.
        total: records there are.
        unfinished: records that are not computed yet.
        inputs: name and SHA-256 of the pictures shown, where the manifest does not list them.
    """

    folder: pathlib.Path
    file: str
    title: str
    manifest: Mapping[str, Any]
    items: tuple[Item, ...] = ()
    sheets: tuple[Sheet, ...] = ()
    failures: tuple[Failure, ...] = ()
    scores: tuple[Score, ...] = ()
    total: int = 0
    unfinished: int = 0
    inputs: tuple[tuple[str, str], ...] = ()
