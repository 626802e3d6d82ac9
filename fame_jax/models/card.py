"""The card of a network: all that a command needs to know of it, apart from its architecture and its weights."""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, get_args

from fame_jax.image import IMAGENET_MEAN, IMAGENET_STD

Task = Literal["class", "face", "detect"]
Score = Literal["softmax", "sigmoid", "logit"]
Decoding = Literal["yolo", "yolo_objectness", "detr", "yunet"]

LARGEST = 2**15
"""Pixels: no side of an input is longer."""


class CardError(ValueError):
    """A card with a field that is missing, unknown or out of its range; the message names it."""


@dataclass(frozen=True)
class Card:
    """What every command needs to know of a network and no more.

    The network itself takes RGB in [0, 1]: mean, standard deviation and channel order say what it does inside.

    Attributes:
        name: of the network, under which it is installed.
        task: `class` (one output a class), `face` (an embedding before L2 normalisation) or `detect`.
        size: side of the square input, pixels.
        resize: short side before the centre crop; equal to size for faces, which are aligned.
        mean: of the channels in [0, 1], subtracted by the network.
        std: of the channels; also the size of a step in the normalised space (`scale` of `perturb`).
        reverse_channels: the weights take BGR.
        score: what an output means: one of classes that exclude each other, one yes or no, or no probability at all.
        labels: names of the outputs in their order; None if they are not known.
        architecture: in `fame_jax.architectures`, or `onnx`.
        layer: what `features` returns, in the publisher's words; the tensor of an ONNX graph.
        output: the tensor that an ONNX graph returns; empty for the only one that its file declares.
        decoding: the family of a detector's ONNX graph, which says what its outputs mean; see `fame_jax.detection`.
        source: who publishes the weights, in words.
        licence: of the weights.
        sha256: of the publisher's file, in hexadecimal digits.
        parameters: number of trained values.
    """

    name: str
    task: Task
    size: int
    resize: int
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    reverse_channels: bool = False
    score: Score = "softmax"
    labels: tuple[str, ...] | None = field(default=None, repr=False)
    architecture: str = ""
    layer: str = ""
    output: str = ""
    decoding: Decoding | None = None
    source: str = ""
    licence: str = ""
    sha256: str = ""
    parameters: int = 0

    def __post_init__(self) -> None:
        """Takes lists as tuples, and refuses values of another type or out of their range.

        Raises:
            CardError: naming the field.
        """
        for name in _KINDS:
            value = getattr(self, name)
            _check_kind(name, value)
            if isinstance(value, list):
                object.__setattr__(self, name, tuple(value))
        for name, (fits, expected) in _RANGES.items():
            if not fits(self):
                raise CardError(f"card of {self.name!r}: {name} is {getattr(self, name)!r}; expected {expected}.")

    def to_json(self) -> dict[str, Any]:
        """Every field as JSON has it; `from_json` reads it."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @classmethod
    def from_json(cls, content: Any) -> "Card":
        """A card from JSON of unknown origin.

        Raises:
            CardError: for anything but an object with the required and no unknown fields, each of its type and range.
        """
        if not isinstance(content, dict):
            raise CardError(f"a card is a JSON object, found {type(content).__name__}.")
        if unknown := sorted(content.keys() - _KINDS.keys()):
            raise CardError(f"a card has no field {unknown[0]!r}; its fields are {', '.join(_KINDS)}.")
        if missing := [name for name in ("name", "task", "size", "resize") if name not in content]:
            raise CardError(f"the card has no {missing[0]!r}.")
        for name, value in content.items():
            _check_kind(name, value)
        values: dict[str, Any] = {n: tuple(v) if isinstance(v, list) else v for n, v in content.items()}
        return cls(**values)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _all(is_kind: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda values: isinstance(values, list | tuple) and bool(values) and all(map(is_kind, values))


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


_TEXT = (_is_text, "text")


def _choice(kind: Any) -> tuple[Callable[[Any], bool], str]:
    return lambda value: value in get_args(kind), f"one of {', '.join(get_args(kind))}"


_COUNT = (lambda value: type(value) is int, "a whole number")
_NUMBERS = (_all(_is_number), "a list of finite numbers, one for each channel")

# By field: whether a value is of its type, and what is expected.
_KINDS: dict[str, tuple[Callable[[Any], bool], str]] = {
    **{each.name: _TEXT for each in fields(Card)},
    "task": _choice(Task),
    "score": _choice(Score),
    "decoding": (lambda value: value in (None, *get_args(Decoding)), f"null or {_choice(Decoding)[1]}"),
    "size": _COUNT,
    "resize": _COUNT,
    "parameters": _COUNT,
    "mean": _NUMBERS,
    "std": _NUMBERS,
    "reverse_channels": (lambda value: isinstance(value, bool), "true or false"),
    "labels": (lambda value: value is None or _all(_is_text)(value), "a list of names, one for each output, or null"),
}


def _check_kind(name: str, value: Any) -> None:
    is_kind, expected = _KINDS[name]
    if not is_kind(value):
        raise CardError(f"the card's {name} is {value!r}; expected {expected}."[:500])


# By field: whether a card's value is in its range, and what is expected.
_RANGES: dict[str, tuple[Callable[[Card], bool], str]] = {
    "task": (lambda card: _choice(Task)[0](card.task), _choice(Task)[1]),
    "score": (lambda card: _choice(Score)[0](card.score), _choice(Score)[1]),
    "size": (lambda card: 0 < card.size <= LARGEST, f"1 to {LARGEST} pixels"),
    "resize": (
        lambda card: card.size <= card.resize <= LARGEST and (card.task != "face" or card.resize == card.size),
        f"the size or more, up to {LARGEST}; for faces the size itself",
    ),
    "mean": (lambda card: len(card.mean) == len(card.std), "as many numbers as std has"),
    "std": (lambda card: all(value > 0 for value in card.std), "numbers above 0"),
    "decoding": (lambda card: card.decoding is None or card.task == "detect", "null where the task is not detect"),
    "parameters": (lambda card: card.parameters >= 0, "0 or more"),
}
