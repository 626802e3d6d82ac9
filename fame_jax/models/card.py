"""The card of a network: all that a command needs to know of it, apart from its architecture and its weights."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

from fame_jax.image import IMAGENET_MEAN, IMAGENET_STD
from fame_jax.models.anchors import MOST, USUAL, Anchors
from fame_jax.models.fields import CardError, Kind, check, choice, every, frozen, is_number, is_text, optional

Task = Literal["class", "face", "detect"]
Score = Literal["softmax", "sigmoid", "logit"]
Decoding = Literal["yolo", "yolo_objectness", "detr", "yunet", "ssd", "retinanet", "fcos"]

LARGEST = 2**15
"""Pixels: no side of an input is longer."""


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
        grid: rows and columns of the tokens of that tensor, where it is no map; the last of them, row by row.
        class_tokens: number of its tokens in front of those: a class token, registers.
        output: the tensor that an ONNX graph returns, of a detector several with commas between them; empty for those
            that its file declares.
        decoding: the family of a detector's ONNX graph, which says what its outputs mean; see `fame_jax.detection`.
        anchors: what the boxes of SSD, RetinaNet and FCOS are relative to; None becomes those of torchvision's own.
        source: who publishes the weights, in words.
        licence: of the weights.
        sha256: of the publisher's file, in hexadecimal digits.
        key: where in that file the weights are, if it was given.
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
    grid: tuple[int, ...] | None = None
    class_tokens: int = 0
    output: str = ""
    decoding: Decoding | None = None
    anchors: Anchors | None = None
    source: str = ""
    licence: str = ""
    sha256: str = ""
    key: str = ""
    parameters: int = 0

    def __post_init__(self) -> None:
        """Takes lists as tuples, and refuses values of another type or out of their range.

        Raises:
            CardError: naming the field.
        """
        check(_KINDS, vars(self))
        for name, value in vars(self).items():
            object.__setattr__(self, name, frozen(value))
        object.__setattr__(self, "anchors", self.anchors or USUAL.get(self.decoding or ""))
        for name, (fits, expected) in _RANGES.items():
            if not fits(self):
                raise CardError(f"card of {self.name!r}: {name} is {getattr(self, name)!r:.300}; expected {expected}.")

    def to_json(self) -> dict[str, Any]:
        """Every field as JSON has it, of anchors those that are told; `from_json` reads it."""
        content = json.loads(json.dumps(asdict(self)))
        told = self.anchors and {name: value for name, value in content["anchors"].items() if value}
        return content | {"anchors": told}

    @classmethod
    def from_json(cls, content: Any) -> "Card":
        """A card from JSON of unknown origin.

        Raises:
            CardError: for anything but an object with the required and no unknown fields, each of its type and range.
        """
        if not isinstance(content, dict):
            raise CardError(f"a card is a JSON object, found {type(content).__name__}.")
        if missing := [name for name in ("name", "task", "size", "resize") if name not in content]:
            raise CardError(f"the card has no {missing[0]!r}.")
        anchors = content.get("anchors")
        values = content if anchors is None else content | {"anchors": Anchors.from_json(anchors)}
        check(_KINDS, values)
        return cls(**{name: frozen(value) for name, value in values.items()})


_COUNT: Kind = (lambda value: type(value) is int, "a whole number")
_NUMBERS: Kind = (every(is_number), "a list of finite numbers, one for each channel")
_SIDES = every(lambda value: type(value) is int and value > 0)

_KINDS: dict[str, Kind] = {
    **{each.name: (is_text, "text") for each in fields(Card)},
    "task": choice(Task),
    "score": choice(Score),
    "decoding": optional(choice(Decoding)),
    "anchors": (lambda value: value is None or isinstance(value, Anchors), "null or an object"),
    "grid": optional((lambda value: _SIDES(value) and len(value) == 2, "two whole numbers above 0, rows and columns")),
    "class_tokens": _COUNT,
    "size": _COUNT,
    "resize": _COUNT,
    "parameters": _COUNT,
    "mean": _NUMBERS,
    "std": _NUMBERS,
    "reverse_channels": (lambda value: isinstance(value, bool), "true or false"),
    "labels": (lambda value: value is None or every(is_text)(value), "a list of names, one for each output, or null"),
}

# By field: whether a card's value is in its range, and what is expected.
_RANGES: dict[str, tuple[Callable[[Card], bool], str]] = {
    "size": (lambda card: 0 < card.size <= LARGEST, f"1 to {LARGEST} pixels"),
    "resize": (
        lambda card: card.size <= card.resize <= LARGEST and (card.task != "face" or card.resize == card.size),
        f"the size or more, up to {LARGEST}; for faces the size itself",
    ),
    "mean": (lambda card: len(card.mean) == len(card.std), "as many numbers as std has"),
    "std": (lambda card: all(value > 0 for value in card.std), "numbers above 0"),
    "decoding": (lambda card: card.decoding is None or card.task == "detect", "null where the task is not detect"),
    "anchors": (
        lambda card: card.anchors is None or (card.decoding in USUAL and card.anchors.count(card.size) <= MOST),
        f"null where the decoding is none of {', '.join(USUAL)}, and at most {MOST} boxes",
    ),
    "grid": (lambda card: card.grid is None or bool(card.layer), "null without a layer, whose tokens it is of"),
    "class_tokens": (
        lambda card: card.class_tokens == 0 or (card.class_tokens > 0 and card.grid is not None),
        "0, or more with a grid",
    ),
    "parameters": (lambda card: card.parameters >= 0, "0 or more"),
}
