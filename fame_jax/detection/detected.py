"""Detections as a network to explain: one output a detection, so that whatever explains a class explains a box."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import register_dataclass
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int

from fame_jax._types import Image, Scalar
from fame_jax.detection.candidates import Box, Candidates, Detection, chosen, overlap
from fame_jax.network import head_of, traceable
from fame_jax.options import check_image
from fame_jax.questions import Boxed

Detector = Callable[[Image], Candidates]
"""One image `[H, W, 3]` in [0, 1] to `Candidates`; class activation maps need its `features` and `head` too."""


@register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class Detected:
    """How much of given detections a detector still sees in an image: one output for each, in [0, 1].

    An output is D-RISE's similarity (Petsiuk et al., "Black-box Explanation of Object Detectors via Saliency Maps",
    CVPR 2021, Eq. 2, with one class): the largest, over all candidates before any suppression, of
    IoU(candidate, box) x score of the class x objectness. IoU is a constant to the gradient, so that a walk cannot
    lower the output by shifting the box.

    It is a network like any other: with a detection's number as the class, FAME walks until the box is lost, `rise`
    (with `score="logit"`) is D-RISE, and deletion, insertion and ROAD measure the similarity.

    Attributes:
        detector: see `Detector`.
        boxes: `left, top, right, bottom` in pixels of the image, `[k, 4]`.
        labels: the class of each, `[k]`; one outside the detector's gives NaN.
        shape: rows and columns of the photograph, `[2]`, where images are larger: it lies at their upper left, and the
            detector sees black elsewhere, whatever is there. None for images that are photographs.
    """

    detector: Any
    boxes: Float[Array, "k 4"]
    labels: Int[Array, " k"]
    shape: Int[Array, "2"] | None = None

    def __call__(self, image: Image) -> Float[Array, " k"]:
        """Similarities, `[k]`."""
        return self._similarities(self.detector(self._photograph(image)))

    @property
    def extent(self) -> tuple[int, int]:
        """Rows and columns that the feature map is of, where the detector fills images up."""
        return self.detector.extent

    def features(self, image: Image) -> Float[Array, "..."]:
        """The detector's feature map."""
        return self.detector.features(self._photograph(image))

    def head(self, features: Float[Array, "..."]) -> Float[Array, " k"]:
        """Similarities from the feature map."""
        return self._similarities(self.detector.head(features))

    def head_of(self, image: Image) -> Callable[[Float[Array, "..."]], Float[Array, " k"]]:
        """The same for one image, see `fame_jax.network.head_of`."""
        head = head_of(self.detector, self._photograph(image))
        return lambda features: self._similarities(head(features))

    def _photograph(self, image: Image) -> Image:
        if self.shape is None:
            return image
        rows, columns = (jnp.arange(side) < end for side, end in zip(image.shape[:2], self.shape, strict=True))
        return jnp.where((rows[:, None] & columns[None, :])[..., None], image, 0)

    def _similarities(self, candidates: Candidates) -> Float[Array, " k"]:
        boxes = jnp.asarray(candidates.boxes)

        def one(box: Float[Array, "4"], label: Int[Array, ""]) -> Float[Array, ""]:
            held = jax.lax.stop_gradient(overlap(boxes, box))
            scores = jnp.asarray(candidates.scores).at[:, label]
            scores = scores.get(mode="fill", fill_value=jnp.nan, wrap_negative_indices=False)
            return jnp.max(held * scores * candidates.objectness)

        return jax.vmap(one)(self.boxes.astype(boxes.dtype), self.labels)


def detections(
    detector: Detector, image: Image | np.ndarray, *, threshold: float = 0.5, overlapping: float = 0.3
) -> list[Detection]:
    """What a detector finds in an image, best first; empty if nothing.

    Args:
        detector: see `Detector`. Where it has an attribute `root` that is true, scores are square roots.
        image: `[H, W, 3]` in [0, 1].
        threshold: see `chosen`.
        overlapping: see `chosen`.
    """
    check_image(image)
    root = getattr(detector, "root", False)
    return chosen(
        _candidates(traceable(detector), jnp.asarray(image)), threshold=threshold, overlapping=overlapping, root=root
    )


@jax.jit
def _candidates(detector: Detector, image: Image) -> Candidates:
    return detector(image)


def detected(detector: Detector, detections: Sequence[Detection]) -> Detected:
    """The network of detections: output i is how much of `detections[i]` is still seen.

    Raises:
        ValueError: if there are none.
    """
    if not detections:
        raise ValueError("there is no detection to explain: lower the threshold, or take another image.")
    boxes = jnp.asarray(np.stack([one.box for one in detections]))
    return Detected(traceable(detector), boxes, jnp.asarray([one.label for one in detections], jnp.int32))


def asked(detector: Detector, question: Boxed) -> Detected:
    """The network of one box, its only output: what is explained of a record of a run."""
    box, label, shape = (jnp.asarray(part) for part in question)
    return Detected(traceable(detector), box[None], label[None], shape)


@functools.cache
def of_box(loss: Callable[..., Scalar]) -> Callable[..., Scalar]:
    """A loss of a class as one of a box, `(image, detector, question)`; always the same, so that it compiles once."""

    def of_question(image: Image, detector: Detector, question: Boxed) -> Scalar:
        return loss(image, asked(detector, question), 0)

    return of_question


def box_seen(image: Image, detector: Detector, box: Box, label: ArrayLike) -> Scalar:
    """How much of one box a detector still sees, in [0, 1]: the output of `Detected` as a loss, all of it traced.

    Args:
        image: `[H, W, 3]` in [0, 1].
        detector: see `Detector`.
        box: in pixels of the image.
        label: its class; one outside the detector's gives NaN.
    """
    return Detected(traceable(detector), jnp.asarray(box)[None], jnp.asarray(label)[None])(image)[0]
