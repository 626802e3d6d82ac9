"""The boxes that a detector's outputs are relative to, as its card says them."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from fame_jax.models.fields import CardError, Kind, check, every, frozen, is_number, is_text

MOST = 2**22
"""Boxes: no card has more."""


@dataclass(frozen=True)
class Anchors:
    """Boxes by one of torchvision's rules, a list of them, or the tensor of the graph that holds them.

    By a rule, boxes stand row by row at the places of each level's map, all boxes of a place together, level after
    level. A map has as many rows and columns as the image has strides, rounded up.

    `sizes` is the rule of `AnchorGenerator` (RetinaNet, FCOS): for each ratio, for each size, a box of that area around
    the upper left corner of the place, half its sides rounded to whole pixels (halves to the even number). Places are
    image // map pixels apart, which is less than the stride if the image is no multiple of it. `scales` is the rule of
    `DefaultBoxGenerator` (SSD): around the middle of the place a square, a square of the geometric mean of this level's
    scale and the next's, and for each ratio a box that lies and one that stands; none is larger than the image.

    Attributes:
        strides: of each level, whole pixels.
        sizes: of each level, roots of areas in pixels.
        scales: of each level, sides as shares of the image, and one more for the last mean.
        ratios: of each level, or once for all: height over width; with `scales` those besides 1, which may be none.
        steps: with `scales`, pixels between the middles of each level; if there are none, the image over its map.
        weights: of the four numbers that shift and stretch a box, the inverses of SSD's variances; if there are none,
            torchvision's: 10, 10, 5, 5 for SSD and 1 for RetinaNet.
        boxes: `left, top, right, bottom` in pixels, a box for each row of the outputs.
        tensor: of the graph, `[n, 4]`, likewise.
    """

    strides: tuple[int, ...] = ()
    sizes: tuple[tuple[float, ...], ...] = ()
    scales: tuple[float, ...] = ()
    ratios: tuple[tuple[float, ...], ...] = ()
    steps: tuple[float, ...] = ()
    weights: tuple[float, ...] = ()
    boxes: tuple[tuple[float, ...], ...] = ()
    tensor: str = ""

    def __post_init__(self) -> None:
        """Takes lists as tuples, and refuses what is no rule.

        Raises:
            CardError: naming the field.
        """
        check(_KINDS, vars(self), "anchors.")
        for name, value in vars(self).items():
            object.__setattr__(self, name, _as_kept(name, value))
        given = {name for name, value in vars(self).items() if value}
        allowed = next((fields for fields in _RULES if fields[0] in given), ())
        if not allowed or given.difference(allowed, ["weights"]):
            found, rules = ", ".join(sorted(given)) or "nothing", "; or ".join(", ".join(fields) for fields in _RULES)
            raise CardError(f"the card's anchors have {found}; expected {rules}.")
        levels = len(self.strides)
        lengths = {"sizes": (levels,), "scales": (levels + 1,), "steps": (levels, 0), "ratios": (levels, 1)}
        for name in sorted(lengths.keys() & allowed):
            found, expected = len(getattr(self, name)), lengths[name]
            if found not in expected or not levels:
                words = " or ".join(map(str, expected))
                raise CardError(f"the card's anchors.{name} has {found} entries; {levels} strides expect {words}.")

    @classmethod
    def from_json(cls, content: Any) -> "Anchors":
        """From an object of the fields, or a list of boxes.

        Raises:
            CardError: naming the field.
        """
        content = {"boxes": content} if isinstance(content, list) else content
        if not isinstance(content, dict):
            raise CardError(f"the card's anchors are {content!r:.100}; expected an object or a list of boxes.")
        check(_KINDS, content, "anchors.")
        return cls(**{name: _as_kept(name, value) for name, value in content.items()})

    def count(self, size: int) -> int:
        """How many boxes there are on an image of one size; 0 if only the graph knows."""
        each = [2 + 2 * len(self._ratios(k)) for k in range(len(self.strides))]
        if self.sizes:
            each = [len(sizes) * len(self._ratios(k)) for k, sizes in enumerate(self.sizes)]
        return len(self.boxes) + sum(n * self._map(size, k) ** 2 for k, n in enumerate(each))

    def on(self, size: int) -> Float[np.ndarray, "n 4"]:
        """The boxes on a square image, float32; none if only the graph knows.

        Args:
            size: side of the image in pixels.
        """
        of_level = self._of_sizes if self.sizes else self._of_scales
        levels = [of_level(size, level) for level in range(len(self.strides))]
        return np.concatenate([np.asarray(self.boxes, np.float32).reshape(-1, 4), *levels])

    def _map(self, size: int, level: int) -> int:
        return -(-size // self.strides[level])

    def _ratios(self, level: int) -> tuple[float, ...]:
        return self.ratios[level % len(self.ratios)]

    def _of_sizes(self, size: int, level: int) -> Float[np.ndarray, "n 4"]:
        side, sizes = self._map(size, level), np.asarray(self.sizes[level], np.float32)
        root = np.sqrt(np.asarray(self._ratios(level), np.float32))[:, None]
        half = np.stack([(1 / root * sizes).ravel(), (root * sizes).ravel()], 1) / 2
        places = _places(size // side * np.arange(side, dtype=np.float32))
        return (places[:, None] + np.round(np.concatenate([-half, half], 1))).reshape(-1, 4)

    def _of_scales(self, size: int, level: int) -> Float[np.ndarray, "n 4"]:
        side, (this, following) = self._map(size, level), self.scales[level : level + 2]
        roots = [1.0, *(root**sign for root in np.sqrt(self._ratios(level)) for sign in (1, -1))]
        shapes = [[this * root, this / root] for root in roots]
        shapes.insert(1, [(this * following) ** 0.5] * 2)
        half = np.clip(np.asarray(shapes, np.float32), 0, 1) / 2
        middles = (np.arange(side, dtype=np.float32) + 0.5) / (size / self.steps[level] if self.steps else side)
        return ((_places(middles)[:, None] + np.concatenate([-half, half], 1)) * np.float32(size)).reshape(-1, 4)


def _as_kept(name: str, value: Any) -> Any:
    return frozen(value, int if name == "strides" else float)


def _places(along: Float[np.ndarray, " side"]) -> Float[np.ndarray, "places 4"]:
    """`x, y, x, y` of a map's places, row by row."""
    y, x = np.meshgrid(along, along, indexing="ij")
    return np.stack([x, y, x, y], -1, dtype=np.float32).reshape(-1, 4)


def _positive(value: Any) -> bool:
    return is_number(value) and value > 0


def _is_box(values: Any) -> bool:
    return every(is_number)(values) and len(values) == 4 and values[0] < values[2] and values[1] < values[3]


_numbers = every(_positive, least=0)
_KINDS: dict[str, Kind] = {
    "strides": (every(lambda value: type(value) is int and value > 0, least=0), "a list of whole pixels above 0"),
    "sizes": (every(every(_positive), least=0), "a list for each level of numbers above 0"),
    "scales": (_numbers, "a list of numbers above 0"),
    "ratios": (every(_numbers, least=0), "a list for each level of numbers above 0"),
    "steps": (_numbers, "a list of numbers above 0"),
    "weights": (lambda values: _numbers(values) and len(values) in (0, 4), "four numbers above 0"),
    "boxes": (every(_is_box, least=0), "a list of [left, top, right, bottom], left < right and top < bottom"),
    "tensor": (is_text, "the name of a tensor"),
}
_RULES = (("sizes", "strides", "ratios"), ("scales", "strides", "ratios", "steps"), ("boxes",), ("tensor",))
"""A field that says what the anchors are, and those that go with it."""

_SSD = [8, 16, 32, 64, 100, 300]
USUAL: dict[str, Anchors] = {
    "retinanet": Anchors.from_json(
        {
            "strides": [8, 16, 32, 64, 128],
            "sizes": [[n, int(n * 2 ** (1 / 3)), int(n * 2 ** (2 / 3))] for n in (32, 64, 128, 256, 512)],
            "ratios": [[0.5, 1, 2]],
        }
    ),
    "fcos": Anchors.from_json(
        {"strides": [8, 16, 32, 64, 128], "sizes": [[8], [16], [32], [64], [128]], "ratios": [[1]]}
    ),
    "ssd": Anchors.from_json(
        {
            "strides": _SSD,
            "scales": [0.07, 0.15, 0.33, 0.51, 0.69, 0.87, 1.05],
            "ratios": [[2], [2, 3], [2, 3], [2, 3], [2], [2]],
            "steps": _SSD,
        }
    ),
}
"""Those of torchvision's own networks, SSD's for 300 pixels; by decoding."""
