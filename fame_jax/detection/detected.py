"""Detections as a network to explain: one output a detection, so that whatever explains a class explains a box."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import register_dataclass
from jaxtyping import Array, Float, Int

from fame_jax._types import Image
from fame_jax.detection.candidates import Candidates, Detection, chosen, overlap
from fame_jax.network import traceable

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
    """

    detector: Any
    boxes: Float[Array, "k 4"]
    labels: Int[Array, " k"]

    def __call__(self, image: Image) -> Float[Array, " k"]:
        """Similarities, `[k]`."""
        return self._similarities(self.detector(image))

    def features(self, image: Image) -> Float[Array, "..."]:
        """The detector's feature map."""
        return self.detector.features(image)

    def head(self, features: Float[Array, "..."]) -> Float[Array, " k"]:
        """Similarities from the feature map."""
        return self._similarities(self.detector.head(features))

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
