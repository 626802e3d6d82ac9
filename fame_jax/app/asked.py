"""What a page asks, checked before anything is done with it."""

from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

Subject = Literal["class", "location", "pair", "detection"]

MOST_STEPS = 2000

Rectangle = tuple[int, int, int, int]
"""`left, top, right, bottom` in pixels of the image, the last two outside."""


class AskedError(ValueError):
    """A question that makes no sense; the message names what is wrong with it."""


@dataclass(frozen=True)
class Side:
    """A photograph, and of a face: which one, 1 being the largest, and the rectangles that cover it."""

    photograph: str
    face: int | None = None
    covered: tuple[Rectangle, ...] = ()


@dataclass(frozen=True)
class Asked:
    """A question to a method.

    Attributes:
        about: what is explained.
        sides: one photograph; of a pair, probe and gallery.
        target: a class; row and column of a location; number of a detection from 0; None for the top class or a pair.
        method: a name of `EXPLAINERS`.
        iterations: steps of a walk.
        sigma: of the blur in pixels; None for the method's own.
    """

    about: Subject
    sides: tuple[Side, ...]
    target: int | tuple[int, int] | None = None
    method: str = "fame"
    iterations: int = 25
    sigma: float | None = None

    @property
    def unblurred(self) -> "Asked":
        """The same but for the blur, on which the walk does not depend."""
        return replace(self, sigma=None)


def asked(content: Any) -> Asked:
    """A question from the JSON of a page.

    Raises:
        AskedError: naming the field that cannot be meant.
    """
    if not isinstance(content, dict):
        raise AskedError("expected a question.")
    about: Any = content.get("about")
    method = content.get("method", "fame")
    if about not in get_args(Subject):
        raise AskedError(f"about: expected one of {', '.join(get_args(Subject))}.")
    if not isinstance(method, str):
        raise AskedError("method: expected a name.")
    sides = tuple(side(one) for one in _list(content.get("sides"), "sides"))
    if len(sides) != (2 if about == "pair" else 1):
        raise AskedError("sides: expected one photograph, or two of a pair.")
    sigma = content.get("sigma")
    if sigma is not None and not (type(sigma) in (int, float) and 0 < sigma <= 200):
        raise AskedError("sigma: expected a number of pixels above 0, up to 200.")
    target = _target(about, content.get("target"))
    iterations = whole(content.get("iterations", 25), "iterations", 1, MOST_STEPS)
    return Asked(about, sides, target, method, iterations, sigma and float(sigma))


def side(content: Any) -> Side:
    """A photograph, see `Side`."""
    if not isinstance(content, dict) or not isinstance(content.get("photograph"), str):
        raise AskedError("photograph: expected its hash.")
    number = content.get("face")
    face = None if number is None else whole(number, "face", 1, 1000)
    rectangles = _list(content.get("covered", []), "covered")[:16]
    return Side(content["photograph"], face, tuple(_rectangle(one) for one in rectangles))


def whole(value: Any, name: str, least: int, most: int) -> int:
    """A whole number within limits."""
    if type(value) is not int or not least <= value <= most:
        raise AskedError(f"{name}: expected a whole number from {least} to {most}.")
    return value


def _target(about: Subject, target: Any) -> int | tuple[int, int] | None:
    if about == "pair" or (about == "class" and target is None):
        return None
    if about == "location":
        place = [whole(one, "target", 0, 4096) for one in _list(target, "target")]
        if len(place) != 2:
            raise AskedError("target: expected row and column.")
        return place[0], place[1]
    return whole(target, "target", 0, 10**7)


def _rectangle(content: Any) -> Rectangle:
    sides = [whole(one, "covered", 0, 4096) for one in _list(content, "covered")]
    if len(sides) != 4 or sides[0] >= sides[2] or sides[1] >= sides[3]:
        raise AskedError("covered: expected left, top, right and bottom of a rectangle.")
    left, top, right, bottom = sides
    return left, top, right, bottom


def _list(content: Any, name: str) -> list[Any]:
    if not isinstance(content, list):
        raise AskedError(f"{name}: expected a list.")
    return content
