"""From the outputs of a detector's graph to `Candidates`, by family."""

import math
from collections.abc import Mapping

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from fame_jax.detection.candidates import Candidates

STRIDES = (8, 16, 32)
"""Pixels between two places that YuNet looks from."""

MOST_GROWTH = 1000 / 16
"""Of a side over its anchor's: torchvision's and Detectron's limit."""

Outputs = Mapping[str, Float[Array, "..."]]


def yunet(outputs: Outputs, height: int, width: int) -> Candidates:
    """YuNet's: `cls`, `obj`, `bbox` and `kps` at three strides, one class.

    Args:
        outputs: `cls_8` `[n, 1]` and so on.
        height: of the image that the graph was given, a multiple of 32.
        width: likewise.
    """
    levels = []
    for stride in STRIDES:
        score, objectness, box, points = (outputs[f"{name}_{stride}"] for name in ("cls", "obj", "bbox", "kps"))
        rows, columns = jnp.mgrid[: height // stride, : width // stride].reshape(2, -1)
        place = jnp.stack([columns, rows], axis=1).astype(box.dtype)
        centre, half = (place + box[:, :2]) * stride, jnp.exp(box[:, 2:]) * stride / 2
        landmarks = (points.reshape(-1, 5, 2) + place[:, None]) * stride
        boxes = jnp.concatenate([centre - half, centre + half], axis=1)
        levels.append(Candidates(boxes, jnp.clip(score, 0, 1), jnp.clip(objectness[:, 0], 0, 1), landmarks))
    return Candidates(*(jnp.concatenate(parts) for parts in zip(*levels, strict=True)))


def yolo(rows: Float[Array, "n values"], *, objectness: bool) -> Candidates:
    """YOLO's rows `x, y, width, height, [objectness,] class scores`, the centre and the size in pixels.

    Args:
        rows: `[n, 4 + classes]`, or `[n, 5 + classes]` with objectness; YOLOv8 writes them `[4 + classes, n]`.
        objectness: whether the fifth number is the objectness (to YOLOv7) or the first class (from YOLOv8).
    """
    first = 5 if objectness else 4
    something = rows[:, 4] if objectness else jnp.ones(len(rows), rows.dtype)
    return Candidates(_from_centres(rows[:, :4]), rows[:, first:], something, _no_landmarks(rows))


def detr(
    logits: Float[Array, "queries classes"], boxes: Float[Array, "queries 4"], height: int, width: int
) -> Candidates:
    """DETR's set of queries: logits, the last one of "nothing", and `x, y, width, height` as shares of the image.

    Args:
        logits: `[queries, classes + 1]`.
        boxes: `[queries, 4]` in [0, 1].
        height: of the image, pixels.
        width: likewise.
    """
    pixels = _from_centres(boxes) * jnp.array([[width, height, width, height]], boxes.dtype)
    scores = jax.nn.softmax(logits)[:, :-1]
    return Candidates(pixels, scores, jnp.ones(len(boxes), boxes.dtype), _no_landmarks(boxes))


def anchored(
    deltas: Float[Array, "n 4"],
    scores: Float[Array, "n classes"],
    anchors: Float[Array, "n 4"],
    weights: tuple[float, ...] = (1.0, 1.0, 1.0, 1.0),
) -> Candidates:
    """Boxes relative to anchors, as SSD (weights 10, 10, 5, 5) and RetinaNet (1, 1, 1, 1) have them in torchvision.

    Args:
        deltas: shift of the centre in sides of the anchor and logarithm of the growth, times `weights`, `[n, 4]`; the
            growth is at most `MOST_GROWTH`.
        scores: of every class, without a background, `[n, classes]` in [0, 1].
        anchors: `left, top, right, bottom` in pixels, `[n, 4]`.
        weights: of the four deltas.
    """
    deltas = deltas / jnp.asarray([weights], deltas.dtype)
    sides = anchors[:, 2:] - anchors[:, :2]
    centre = (anchors[:, :2] + anchors[:, 2:]) / 2 + deltas[:, :2] * sides
    growth = jnp.exp(jnp.minimum(deltas[:, 2:], math.log(MOST_GROWTH)))
    boxes = _from_centres(jnp.concatenate([centre, growth * sides], axis=1))
    return Candidates(boxes, scores, jnp.ones(len(boxes), boxes.dtype), _no_landmarks(boxes))


def distances(
    sides: Float[Array, "n 4"],
    scores: Float[Array, "n classes"],
    centredness: Float[Array, " n"],
    places: Float[Array, "n 2"],
) -> Candidates:
    """FCOS's: distances from a place to the left, top, right and bottom sides, and how central the place is.

    Args:
        sides: in pixels, `[n, 4]`.
        scores: `[n, classes]` in [0, 1].
        centredness: `[n]` in [0, 1]; the objectness.
        places: `(x, y)` in pixels, `[n, 2]`.
    """
    boxes = jnp.concatenate([places - sides[:, :2], places + sides[:, 2:]], axis=1)
    return Candidates(boxes, scores, centredness, _no_landmarks(boxes))


def _from_centres(boxes: Float[Array, "n 4"]) -> Float[Array, "n 4"]:
    return jnp.concatenate([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2], axis=1)


def _no_landmarks(like: Float[Array, "n ..."]) -> Float[Array, "n 0 2"]:
    return jnp.zeros((len(like), 0, 2), like.dtype)
