"""ONNX graphs as detectors: the family's decoding behind, images filled up in front."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax.tree_util import register_dataclass
from jaxtyping import Array, Float

from fame_jax._types import Image
from fame_jax.detection import decoding
from fame_jax.detection.candidates import Candidates
from fame_jax.models.card import Card, Decoding
from fame_jax.onnx import GraphError, OnnxNetwork

_MULTIPLE = 32
"""The sides of what YuNet's graph is given are multiples of it."""


@register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class GraphDetector:
    """A detector of one image `[H, W, 3]`, RGB in [0, 1], of any size up to its own.

    Images are filled up with black to the right and below, so that boxes are in pixels of the image.

    Attributes:
        network: the graph.
        size: rows and columns that the image is filled up to.
        decoding: the family that the outputs are of.
    """

    network: Any
    size: tuple[int, int] = dataclasses.field(metadata={"static": True})
    decoding: Decoding = dataclasses.field(metadata={"static": True})

    def of_size(self, height: int, width: int) -> "GraphDetector":
        """The detector for images of one size, where its family takes any; as it is elsewhere.

        Args:
            height: of the images, pixels.
            width: likewise.
        """
        if self.decoding != "yunet":
            return self
        rows, columns = (-(-side // _MULTIPLE) * _MULTIPLE for side in (height, width))
        plan = dataclasses.replace(self.network.plan, size=(rows, columns))
        return GraphDetector(dataclasses.replace(self.network, plan=plan), (rows, columns), self.decoding)

    @property
    def extent(self) -> tuple[int, int]:
        """Rows and columns that the feature map is of, see `fame_jax.network.extent`."""
        return self.size

    @property
    def root(self) -> bool:
        """Whether scores are square roots, see `chosen`."""
        return self.decoding == "yunet"

    def __call__(self, image: Image) -> Candidates:
        """All candidates.

        Raises:
            GraphError: for an image that is too large, or outputs that are not the family's.
        """
        return self._decoded(self.network(self._filled(image)))

    def features(self, image: Image) -> Float[Array, "..."]:
        """The graph's feature map; YuNet's last one that every output depends on is at stride 8."""
        return self.network.features(self._filled(image))

    def head(self, features: Float[Array, "..."]) -> Candidates:
        """Candidates from that map."""
        return self._decoded(self.network.head(features))

    def _filled(self, image: Image) -> Float[Array, "rows columns channels"]:
        down, right = (whole - side for whole, side in zip(self.size, image.shape, strict=False))
        if down < 0 or right < 0:
            raise GraphError(f"the image is {list(image.shape[:2])}, the detector takes {list(self.size)} at most.")
        return jnp.pad(image, ((0, down), (0, right), (0, 0)))

    def _decoded(self, outputs: Any) -> Candidates:
        if not isinstance(outputs, dict):
            outputs = {self.network.plan.outputs[0].name: outputs}
        return _DECODINGS[self.decoding](outputs, *self.size)


def of_graph(network: OnnxNetwork, card: Card) -> GraphDetector:
    """The detector that a card makes of a graph.

    Raises:
        GraphError: for outputs that are not the decoding's, or not as many classes as the card has labels.
    """
    if not card.decoding:
        raise GraphError(f"{card.name}: the card of a detector's graph needs a decoding, {', '.join(_DECODINGS)}.")
    found = GraphDetector(network, (card.size, card.size), card.decoding)
    image = jax.ShapeDtypeStruct((card.size, card.size, 3), jnp.float32)
    try:
        classes = jax.eval_shape(found, image).scores.shape[1]
    except GraphError as error:
        raise GraphError(f"{card.name}: {error}") from error
    if card.labels is not None and len(card.labels) != classes:
        raise GraphError(f"{card.name} has {classes} classes by {card.decoding}, its card {len(card.labels)} labels.")
    return found


def of_network(network: Any, card: Card | None, height: int, width: int) -> Any:
    """The detector for images of one size that a network is, of whatever kind.

    Args:
        network: an ONNX graph, of which a card makes a detector, or a detector.
        card: of the graph; not looked at for others.
        height: of the images, pixels.
        width: likewise.

    Raises:
        GraphError: see `of_graph`.
    """
    if isinstance(network, OnnxNetwork):
        network = of_graph(network, card)  # type: ignore[arg-type]
    return network.of_size(height, width) if isinstance(network, GraphDetector) else network


def _yolo(outputs: decoding.Outputs, *, objectness: bool) -> Candidates:
    first = 5 if objectness else 4
    expected = f"one output [n, {first} + classes] or [{first} + classes, n], the longer axis n; name it by --output"
    if len(outputs) != 1:
        raise GraphError(f"the outputs are {_shown(outputs)}; YOLO's decoding expects {expected}.")
    (rows,) = outputs.values()
    if rows.ndim == 2 and rows.shape[0] < rows.shape[1]:
        rows = rows.T
    if rows.ndim != 2 or rows.shape[1] <= first:
        raise GraphError(f"the output is {_shown(outputs)}; YOLO's decoding expects {expected}.")
    return decoding.yolo(rows, objectness=objectness)


def _detr(outputs: decoding.Outputs, height: int, width: int) -> Candidates:
    logits, boxes = ([x for name, x in outputs.items() if word in name.lower()] for word in ("logit", "box"))
    fit = len(logits) == len(boxes) == 1 and logits[0].ndim == boxes[0].ndim == 2 and logits[0].shape[1] > 1
    if not fit or boxes[0].shape != (len(logits[0]), 4):
        raise GraphError(
            f"the outputs are {_shown(outputs)}; DETR's decoding expects one with 'logit' in its name "
            "[queries, classes + 1] and one with 'box' [queries, 4]."
        )
    return decoding.detr(logits[0], boxes[0], height, width)


def _yunet(outputs: decoding.Outputs, height: int, width: int) -> Candidates:
    ends = {"cls": 1, "obj": 1, "bbox": 4, "kps": 10}
    expected = {
        f"{name}_{stride}": (height // stride * (width // stride), values)
        for stride in decoding.STRIDES
        for name, values in ends.items()
    }
    for name, shape in expected.items():
        if name not in outputs or outputs[name].shape != shape:
            raise GraphError(f"the outputs are {_shown(outputs)}; YuNet's decoding expects {name} {list(shape)}.")
    return decoding.yunet(outputs, height, width)


_DECODINGS: Mapping[Decoding, Callable[[decoding.Outputs, int, int], Candidates]] = {
    "yolo": lambda outputs, height, width: _yolo(outputs, objectness=False),
    "yolo_objectness": lambda outputs, height, width: _yolo(outputs, objectness=True),
    "detr": _detr,
    "yunet": _yunet,
}


def _shown(outputs: decoding.Outputs) -> str:
    return ", ".join(f"{name} {list(value.shape)}" for name, value in outputs.items())[:300]
