"""Where faces are in a photograph, at any turn: YuNet at several sizes, by OpenCV or by whatever finds as it does."""

import importlib.resources
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from fame_jax.data.alignment import Landmarks, Point
from fame_jax.data.images import Pixels, shrunk

Rows = Callable[[UInt8[np.ndarray, "height width 3"]], Float[np.ndarray, "faces 15"]]
"""RGB levels to YuNet's rows in pixels: left, top, width, height, five points, score; of scores from `SCORE` on."""

# YuNet finds faces of some 15 to 300 pixels. A photograph is shown to it at these lengths of its longer side, the last
# only where the photograph is at least as long; averaging over them halves the jitter of the landmarks.
_LONG_SIDES = (320, 480, 640, 1280)
SCORE, _OVERLAP = 0.7, 0.4

_LONGEST = 6144
"""Longer side of what is turned, in pixels: a turn takes some 70 bytes a pixel, and YuNet sees no more than 1280."""

# YuNet likes faces that stand upright within some 30 degrees. Where it is not certain of one, the photograph is turned,
# first as whole photographs are. Upright faces mostly got 0.92 to 0.95, the same ones on their side or head 0.90 at
# most, and what is no face 0.83 in one of many turns: another turn has to be better than that, and by more than chance.
_TURNS = (0.0, 180.0, 90.0, 270.0, 45.0, 315.0, 135.0, 225.0)
_CERTAIN, _TURNED, _BETTER = 0.92, 0.85, 0.02

_AFFINE, _BILINEAR, _LANCZOS = Image.Transform.AFFINE, Image.Resampling.BILINEAR, Image.Resampling.LANCZOS
_ERRORS_ONLY = 2  # One of OpenCV's log levels.


class Face(NamedTuple):
    """A face found in a photograph."""

    box: Float[np.ndarray, "4"]
    """Left, top, right, bottom in pixels; it may reach beyond the photograph."""
    landmarks: Landmarks
    score: float
    """The detector's confidence in [0, 1]."""


def opencv(levels: UInt8[np.ndarray, "height width 3"]) -> Float[np.ndarray, "faces 15"]:
    """OpenCV's `FaceDetectorYN`: `Rows`.

    Raises:
        ImportError: if OpenCV is not installed.
    """
    try:
        import cv2
    except ImportError as error:
        raise ImportError(
            "finding a face needs OpenCV: pip install 'fame-jax[faces]', or --detector jax with pip install "
            "'fame-jax[onnx]'"
        ) from error
    rows = _yunet(cv2, levels.shape[1::-1]).detect(np.ascontiguousarray(levels[..., ::-1]))[1]
    return np.zeros((0, 15), np.float32) if rows is None else rows


def detect(image: Pixels, find: Rows = opencv) -> list[Face]:
    """Finds faces with YuNet, the largest first.

    The photograph is searched at several sizes, and what overlaps is one face, its box and landmarks the average
    weighted by score. So the size of the photograph matters little, to the result and to the time.

    Args:
        image: `[H, W, 3]` in [0, 1].
        find: in an image as it is.

    Returns:
        Faces in pixels of `image`, sorted by the area of their boxes; empty if there is none.

    Raises:
        ImportError: if OpenCV is not installed.
    """
    levels = np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)
    found = [row for rows in _searches(levels, find) for row in rows]
    faces = [_average(group) for group in _groups(sorted(found, key=lambda row: -row[14]))]
    return sorted(faces, key=lambda face: -area(face.box))


def detect_at_any_turn(image: Pixels, find: Rows = opencv) -> list[Face]:
    """`detect`, also for photographs and faces that lie on their side or their head.

    The photograph is turned in steps of 90 and then of 45 degrees until the detector is certain of a face; otherwise
    the turn whose best face has the highest score counts. The faces are those of one turn, in pixels of `image` as it
    is; boxes at 45 degrees have the size that they have in the turned photograph.

    Args:
        image: `[H, W, 3]` in [0, 1].
        find: see `detect`.

    Returns:
        Faces, the largest first; empty if there is none.

    Raises:
        ImportError: if OpenCV is not installed.
    """
    best: list[Face] = []
    shown = shrunk(image, _LONGEST)
    for degrees in _TURNS:
        if degrees == 0:
            best = detect(shown, find)
        elif _surest(found := detect_turned(shown, degrees, find)) > max(_TURNED, _surest(best) + _BETTER):
            best = found
        if _surest(best) >= _CERTAIN:
            break
    back = np.array(image.shape[1::-1]) / shown.shape[1::-1]
    return [Face(face.box * np.tile(back, 2), face.landmarks * back, face.score) for face in best]


def detect_turned(image: Pixels, degrees: float, find: Rows = opencv) -> list[Face]:
    """The faces of the photograph, turned clockwise about its centre, in pixels of the photograph as it is."""
    height, width = image.shape[:2]
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    turn = np.array([[cosine, -sine], [sine, cosine]])
    size = np.rint(np.abs(turn) @ (width, height)).astype(int)
    shift = (size - 1) / 2 - turn @ ((width - 1) / 2, (height - 1) / 2)
    # Pillow counts from the corner of a pixel, and asks where a pixel of the result comes from.
    back = np.column_stack([turn.T, 0.5 - turn.T @ (0.5 + shift)])

    def turned(plane: np.ndarray) -> np.ndarray:
        picture, whole = Image.fromarray(plane), tuple(size.tolist())
        return np.asarray(picture.transform(whole, _AFFINE, back.ravel().tolist(), _BILINEAR, fillcolor=0.5))

    # Each channel in floating point, since Pillow cuts off what is between two levels.
    found = detect(np.stack([turned(plane) for plane in np.moveaxis(image, -1, 0).copy()], axis=-1), find)
    return [_turned_back(face, turn, shift, bool(abs(sine) > abs(cosine))) for face in found]


def _surest(found: list[Face]) -> float:
    return max((face.score for face in found), default=0.0)


def _turned_back(face: Face, turn: Float[np.ndarray, "2 2"], shift: Point, sideways: bool) -> Face:
    centre = (face.box.reshape(2, 2).mean(axis=0) - shift) @ turn
    size = face.box[2:] - face.box[:2]
    half = (size[::-1] if sideways else size) / 2
    return Face(np.concatenate([centre - half, centre + half]), (face.landmarks - shift) @ turn, face.score)


def _searches(levels: UInt8[np.ndarray, "height width 3"], find: Rows) -> Iterator[Float[np.ndarray, "faces 15"]]:
    """Rows in pixels of the photograph, size by size."""
    height, width = levels.shape[:2]
    for long_side in _LONG_SIDES:
        if long_side > max(height, width, 640):
            return
        scale = long_side / max(height, width)
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        scaled = np.asarray(Image.fromarray(levels).resize(size, _LANCZOS if scale < 1 else _BILINEAR))
        # OpenCV 4.10 finds faces of infinite size where a side has no more than 32 pixels.
        rows = find(np.pad(scaled, [(0, max(0, 64 - side)) for side in scaled.shape[:2]] + [(0, 0)]))
        back = np.array([width / size[0], height / size[1]])
        yield np.hstack([rows[:, :14] * np.tile(back, 7), rows[:, 14:]])


def _yunet(cv2: Any, size: tuple[int, ...]) -> Any:
    model = importlib.resources.files("fame_jax").joinpath("bundled", "yunet", "weights-8f2383e4.onnx")
    log = getattr(cv2.utils, "logging", cv2)  # OpenCV 5, and 4.
    level = log.getLogLevel()
    log.setLogLevel(_ERRORS_ONLY)  # OpenCV 5 warns of a setting that it makes here itself.
    try:
        with importlib.resources.as_file(model) as path:
            return cv2.FaceDetectorYN.create(str(path), "", size, score_threshold=SCORE)
    finally:
        log.setLogLevel(level)


def _groups(rows: list[Float[np.ndarray, " 15"]]) -> Iterator[Float[np.ndarray, "found 15"]]:
    """Rows of the same face together; `rows` come best first, and a face is what overlaps with its best row."""
    while rows:
        same = [_overlap(rows[0][:4], row[:4]) > _OVERLAP for row in rows]
        yield np.stack([row for row, one in zip(rows, same, strict=True) if one])
        rows = [row for row, one in zip(rows, same, strict=True) if not one]


def _overlap(one: Float[np.ndarray, "4"], other: Float[np.ndarray, "4"]) -> float:
    """Intersection over union of two boxes (left, top, width, height)."""
    corner = np.minimum(one[:2] + one[2:], other[:2] + other[2:]) - np.maximum(one[:2], other[:2])
    shared = np.prod(np.maximum(corner, 0))
    return float(shared / (np.prod(one[2:]) + np.prod(other[2:]) - shared))


def _average(group: Float[np.ndarray, "found 15"]) -> Face:
    row = np.average(group[:, :14], axis=0, weights=group[:, 14])
    return Face(np.concatenate([row[:2], row[:2] + row[2:4]]), row[4:].reshape(5, 2), float(group[:, 14].max()))


def area(box: Float[np.ndarray, "4"]) -> float:
    """Square pixels of a box."""
    return float(np.prod(box[2:] - box[:2]))
