"""ONNX graphs as detectors: the family's decoding behind, images filled up in front."""

import dataclasses
from collections.abc import Callable
from typing import Any, get_args

import jax
import jax.numpy as jnp
from jax.tree_util import register_dataclass
from jaxtyping import Array, Float

from fame_jax._types import Image
from fame_jax.detection.candidates import Candidates
from fame_jax.detection.families import FAMILIES, Setting
from fame_jax.models.card import Card, Decoding
from fame_jax.network import head_of
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
        anchors: see `families.Setting`.
        weights: likewise.
    """

    network: Any
    size: tuple[int, int] = dataclasses.field(metadata={"static": True})
    decoding: Decoding = dataclasses.field(metadata={"static": True})
    anchors: Any = None
    weights: tuple[float, ...] = dataclasses.field(default=(), metadata={"static": True})

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
        return self.decoding in ("yunet", "fcos")

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

    def head_of(self, image: Image) -> Callable[[Float[Array, "..."]], Candidates]:
        """The same for one image, see `fame_jax.network.head_of`."""
        head = head_of(self.network, self._filled(image))
        return lambda features: self._decoded(head(features))

    def _filled(self, image: Image) -> Float[Array, "rows columns channels"]:
        down, right = (whole - side for whole, side in zip(self.size, image.shape, strict=False))
        if down < 0 or right < 0:
            raise GraphError(f"the image is {list(image.shape[:2])}, the detector takes {list(self.size)} at most.")
        return jnp.pad(image, ((0, down), (0, right), (0, 0)))

    def _decoded(self, outputs: Any) -> Candidates:
        if not isinstance(outputs, dict):
            outputs = {self.network.plan.outputs[0].name: outputs}
        return FAMILIES[self.decoding](outputs, Setting(*self.size, self.anchors, self.weights))


def of_graph(network: OnnxNetwork, card: Card) -> GraphDetector:
    """The detector that a card makes of a graph.

    Raises:
        GraphError: for outputs that are not the decoding's, or not as many classes as the card has labels.
    """
    if not card.decoding:
        words = ", ".join(get_args(Decoding))
        raise GraphError(f"{card.name}: the card of a detector's graph needs a decoding, {words}.")
    network, anchors = _with_anchors(network, card)
    weights = card.anchors.weights if card.anchors else ()
    found = GraphDetector(network, (card.size, card.size), card.decoding, anchors, weights)
    image = jax.ShapeDtypeStruct((card.size, card.size, 3), jnp.float32)
    try:
        classes = jax.eval_shape(found, image).scores.shape[1]
    except GraphError as error:
        raise GraphError(f"{card.name}: {error}") from error
    if card.labels is not None and len(card.labels) != classes:
        raise GraphError(f"{card.name} has {classes} classes by {card.decoding}, its card {len(card.labels)} labels.")
    return found


def _with_anchors(network: OnnxNetwork, card: Card) -> tuple[OnnxNetwork, Float[Array, "n 4"] | None]:
    """The graph and the card's anchors; where the graph returns them, they are taken once, and no more of it."""
    if card.anchors is None or not card.anchors.tensor:
        return network, card.anchors and jnp.asarray(card.anchors.on(card.size))
    tensor, plan = card.anchors.tensor, network.plan
    others = tuple(form for form in plan.outputs if form.name != tensor)
    if len(others) in (0, len(plan.outputs)):
        raise GraphError(f"{card.name}: the graph was not read up to its anchors: output=[..., {tensor!r}].")
    image = jnp.zeros((card.size, card.size, 3))
    found = jax.jit(lambda network, image: network(image)[tensor])(network, image)
    if found.shape[1:] != (4,):
        raise GraphError(f"{card.name}: the anchors {tensor!r} are {list(found.shape)}; expected [n, 4].")
    return dataclasses.replace(network, plan=dataclasses.replace(plan, outputs=others)), found


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
