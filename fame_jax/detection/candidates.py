"""What a detector says of one image, and what is left of it: candidates, suppression, detections."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

THRESHOLD = 0.6
"""Lowest score of what commands list and explain."""

Box = Float[Array | np.ndarray, "4"]
"""`left, top, right, bottom` in pixels of the image; it may reach beyond it."""


class Candidates(NamedTuple):
    """All that a detector gives for one image before any choice; nearly all of it is nothing.

    Attributes:
        boxes: `[n, 4]`, each a `Box`.
        scores: of every class, `[n, classes]` in [0, 1].
        objectness: that there is something at all, `[n]` in [0, 1]; ones if the detector does not say.
        landmarks: `(x, y)` in pixels, `[n, points, 2]`; `[n, 0, 2]` if the detector has none.
    """

    boxes: Float[Array | np.ndarray, "n 4"]
    scores: Float[Array | np.ndarray, "n classes"]
    objectness: Float[Array | np.ndarray, " n"]
    landmarks: Float[Array | np.ndarray, "n points 2"]


class Detection(NamedTuple):
    """One thing that was found.

    Attributes:
        box: see `Box`.
        label: its class.
        score: `scores[label] * objectness`, or the square root of it where the detector's publisher says so.
        landmarks: `[points, 2]` in pixels.
    """

    box: Float[np.ndarray, "4"]
    label: int
    score: float
    landmarks: Float[np.ndarray, "points 2"]


def overlap(boxes: Float[Array | np.ndarray, "n 4"], box: Box) -> Float[Array, " n"]:
    """Intersection over union of every box with one, in [0, 1]; 0 for boxes without an area."""
    sides = jnp.minimum(boxes[:, 2:], box[None, 2:]) - jnp.maximum(boxes[:, :2], box[None, :2])
    shared = jnp.prod(jnp.maximum(sides, 0), axis=1)
    together = _area(boxes) + _area(box) - shared
    return jnp.where(together > 0, shared / jnp.where(together > 0, together, 1), 0)


def chosen(
    candidates: Candidates, *, threshold: float = 0.5, overlapping: float = 0.3, root: bool = False
) -> list[Detection]:
    """Detections on the host: what is above a threshold, best first, and nothing that overlaps with a better one.

    Args:
        candidates: of one image, as NumPy arrays or JAX's.
        threshold: lowest score, in [0, 1].
        overlapping: largest intersection over union of two detections of one class.
        root: scores are the square root of class score times objectness, as YuNet's are.

    Returns:
        Best first; empty if there is none.
    """
    boxes, scores, objectness, landmarks = (np.asarray(part) for part in candidates)
    scores = scores * objectness[:, None]
    scores = np.sqrt(scores) if root else scores
    found: list[Detection] = []
    better: dict[int, list[int]] = {}
    rows, labels = np.nonzero(scores >= threshold)
    for row, label in sorted(zip(rows.tolist(), labels.tolist(), strict=True), key=lambda place: -scores[place]):
        same = better.setdefault(label, [])
        # Of all boxes at once, so that however many are found JAX compiles nothing anew.
        if not same or np.max(np.asarray(overlap(boxes, boxes[row]))[same]) <= overlapping:
            same.append(row)
            found.append(Detection(boxes[row], label, float(scores[row, label]), landmarks[row]))
    return found


def _area(boxes: Float[Array | np.ndarray, "*n 4"]) -> Float[Array, "*n"]:
    return jnp.prod(jnp.maximum(boxes[..., 2:] - boxes[..., :2], 0), axis=-1)
