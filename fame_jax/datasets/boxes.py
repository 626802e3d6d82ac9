"""Boxes of objects as lists and annotations write them: Kaggle's strings and XML in the style of Pascal VOC."""

import pathlib
import xml.parsers.expat as expat
from typing import Any, NamedTuple
from xml.etree.ElementTree import Element, TreeBuilder

from fame_jax.data.lists import LineError, whole_number
from fame_jax.data.records import Box

MAX_BYTES = 1 << 20
"""Longer annotations are refused."""


class Boxed(NamedTuple):
    """An object's class, by its WordNet id, and its box."""

    wordnet_id: str
    box: Box


def box(x_min: str, y_min: str, x_max: str, y_max: str) -> Box:
    """A box with an area.

    Raises:
        LineError: if a corner is no whole number or negative, or the corners are reversed.
    """
    left, top = whole_number(x_min, "x_min"), whole_number(y_min, "y_min")
    right, bottom = whole_number(x_max, "x_max"), whole_number(y_max, "y_max")
    if right <= left or bottom <= top:
        raise LineError(f"the box {left} {top} {right} {bottom} has no area, expected x_min y_min x_max y_max")
    return left, top, right, bottom


def boxes(text: str) -> tuple[Box, ...]:
    """Groups of four numbers, `x_min y_min x_max y_max`, separated by spaces.

    Raises:
        LineError: if it is anything else.
    """
    words = text.split()
    if len(words) % 4:
        raise LineError(f"{len(words)} numbers, expected x_min y_min x_max y_max for each box")
    return tuple(box(*words[i : i + 4]) for i in range(0, len(words), 4))


def prediction_string(text: str) -> tuple[Boxed, ...]:
    """Groups of five, `n02124075 x_min y_min x_max y_max`, separated by spaces, as in `LOC_val_solution.csv`.

    Raises:
        LineError: if it is anything else.
    """
    words = text.split()
    if not words or len(words) % 5:
        raise LineError(f"{len(words)} words, expected groups of five: WordNet id, x_min, y_min, x_max, y_max")
    return tuple(Boxed(words[i], box(*words[i + 1 : i + 5])) for i in range(0, len(words), 5))


def annotation(path: pathlib.Path) -> tuple[Boxed, ...]:
    """The objects of an XML file in the style of Pascal VOC; entities and document types are refused, not expanded.

    Raises:
        LineError: if it cannot be read, is damaged or hostile, or holds no object.
    """
    try:
        if not path.is_file():
            raise LineError("it is no regular file")
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except LineError:
        raise
    except (OSError, ValueError) as error:
        raise LineError(f"it cannot be read ({getattr(error, 'strerror', None) or error})") from None
    objects = _tree(data).findall("object")
    if not objects:
        raise LineError("it holds no object")
    return tuple(_boxed(one) for one in objects)


def _boxed(one: Element) -> Boxed:
    name = (one.findtext("name") or "").strip()
    if not name:
        raise LineError("an object has no name")
    return Boxed(name, box(*((one.findtext(f"bndbox/{side}") or "").strip() for side in _SIDES)))


_SIDES = ("xmin", "ymin", "xmax", "ymax")


def _tree(data: bytes) -> Element:
    if len(data) > MAX_BYTES:
        raise LineError(f"above the limit of {MAX_BYTES} bytes for an annotation")
    builder, parser = TreeBuilder(), expat.ParserCreate()
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data
    parser.StartDoctypeDeclHandler = _refuse
    try:
        parser.Parse(data, True)
    except (expat.ExpatError, LookupError, ValueError) as error:
        if isinstance(error, LineError):
            raise
        raise LineError(f"it is no XML, or damaged ({error})") from None
    return builder.close()


def _refuse(*_: Any) -> None:
    raise LineError("it declares a document type, which is refused: entities could be anything")
