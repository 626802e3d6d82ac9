"""What the fields of a card may hold: each is checked by its name and refused in one line."""

import math
from collections.abc import Callable, Mapping
from typing import Any, get_args

Kind = tuple[Callable[[Any], bool], str]
"""Whether a value is of a field's type, and what is expected."""


class CardError(ValueError):
    """A card with a field that is missing, unknown or out of its range; the message names it."""


def is_number(value: Any) -> bool:
    """A finite one."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def is_text(value: Any) -> bool:
    """Any, also an empty one."""
    return isinstance(value, str)


def every(is_kind: Callable[[Any], bool], *, least: int = 1) -> Callable[[Any], bool]:
    """Of a list of some length."""
    return lambda values: isinstance(values, list | tuple) and len(values) >= least and all(map(is_kind, values))


def choice(literal: Any) -> Kind:
    """One of a `Literal`'s words."""
    return lambda value: value in get_args(literal), f"one of {', '.join(get_args(literal))}"


def optional(kind: Kind) -> Kind:
    """The same or nothing."""
    return lambda value: value is None or kind[0](value), f"null or {kind[1]}"


def check(kinds: Mapping[str, Kind], values: Mapping[str, Any], inside: str = "") -> None:
    """Refuses a field that there is not, and a value of another type than its field's.

    Args:
        kinds: by field.
        values: likewise.
        inside: of the name of a field within another, `anchors.`.

    Raises:
        CardError: naming the field.
    """
    for name, value in values.items():
        if name not in kinds:
            raise CardError(f"a card has no field {inside + str(name)!r}; its fields are {', '.join(kinds)}.")
        is_kind, expected = kinds[name]
        if not is_kind(value):
            raise CardError(f"the card's {inside}{name} is {value!r:.300}; expected {expected}.")


def frozen(value: Any, of: Callable[[Any], Any] = lambda entry: entry) -> Any:
    """A value with tuples in place of lists, at any depth, and what `of` makes of their entries."""
    if not isinstance(value, list | tuple):
        return value
    return tuple(frozen(entry, of) if isinstance(entry, list | tuple) else of(entry) for entry in value)
