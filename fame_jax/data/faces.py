"""From a photograph to an aligned face: `float32 [112, 112, 3]`, found by OpenCV's YuNet at any turn."""

import importlib.resources
import os
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, UInt8
from skimage.transform import SimilarityTransform

from fame_jax.data.alignment import (
    EYES,
    SIDE,
    TEMPLATE,
    AlignedFace,
    FaceError,
    Landmarks,
    Point,
    align,
    outside,
    similarity,
    warped,
)
from fame_jax.data.images import Pixels, read_image, resize_and_crop, sample

PORTRAIT = np.array([(202.7, 104.6), (245.0, 104.6), (222.1, 126.9), (204.3, 144.6), (241.8, 144.4)])
"""Landmarks of the packaged portrait, as `detect` finds them: `sample_face` needs no OpenCV."""

SUNGLASSES = (22, 42, 90, 62)
"""`x_min, y_min, x_max, y_max` of a rectangle that covers both template eyes, the maxima outside."""

# YuNet finds faces of some 15 to 300 pixels. A photograph is shown to it at these lengths of its longer side, the last
# only where the photograph is at least as long; averaging over them halves the jitter of the landmarks.
_LONG_SIDES = (320, 480, 640, 1280)
_SCORE, _SURE, _OVERLAP = 0.7, 0.8, 0.4
_SMALLEST, _SMALL = 14, 56  # Pixels of the photograph along a side of the aligned face.
_MISFIT = 6.0  # Pixels of the aligned face; a frontal face misses the template by some 3, a profile by 8 to 15.

# YuNet likes faces that stand upright within some 30 degrees. Where it is not certain of one, the photograph is turned,
# first as whole photographs are. Upright faces mostly got 0.92 to 0.95, the same ones on their side or head 0.90 at
# most, and what is no face 0.83 in one of many turns: another turn has to be better than that, and by more than chance.
_TURNS = (0.0, 180.0, 90.0, 270.0, 45.0, 315.0, 135.0, 225.0)
_CERTAIN, _TURNED, _BETTER = 0.92, 0.85, 0.02
_SETTINGS, _LEVEL = 4, 4  # How often a face is set upright at most, and degrees up to which it is.
_ROLLED = 45  # Degrees from which on a user should know that the face was turned.
_CUT = 0.01  # Share of filling from which on a user should know that the face is cut.

_ERRORS_ONLY = 2  # One of OpenCV's log levels.


class Face(NamedTuple):
    """A face found in a photograph."""

    box: Float[np.ndarray, "4"]
    """Left, top, right, bottom in pixels; it may reach beyond the photograph."""
    landmarks: Landmarks
    score: float
    """The detector's confidence in [0, 1]."""


class FaceCrop(NamedTuple):
    """An aligned face and where it came from; box, landmarks and score are None where no face was looked for."""

    image: AlignedFace
    box: Float[np.ndarray, "4"] | None
    landmarks: Landmarks | None
    score: float | None
    note: str
    """What a user should know about the face, in words; empty if nothing."""
    filled: Bool[np.ndarray, "112 112"]
    """True where the photograph ends and the crop is black: no face is there, whatever a map says."""


class Occlusion(NamedTuple):
    """A face with something drawn over it."""

    image: AlignedFace
    mask: Bool[np.ndarray, "112 112"]
    """True where it is covered."""


def detect(image: Pixels) -> list[Face]:
    """Finds faces with OpenCV's YuNet, the largest first.

    The photograph is searched at several sizes, and what overlaps is one face, its box and landmarks the average
    weighted by score. So the size of the photograph matters little, to the result and to the time.

    Args:
        image: `[H, W, 3]` in [0, 1].

    Returns:
        Faces in pixels of `image`, sorted by the area of their boxes; empty if there is none.

    Raises:
        ImportError: if OpenCV is not installed.
    """
    levels = np.rint(np.clip(image, 0, 1)[..., ::-1] * 255).astype(np.uint8)
    found = [row for rows in _searches(np.ascontiguousarray(levels)) for row in rows]
    faces = [_average(group) for group in _groups(sorted(found, key=lambda row: -row[14]))]
    return sorted(faces, key=lambda face: -_area(face.box))


def detect_at_any_turn(image: Pixels) -> list[Face]:
    """`detect`, also for photographs and faces that lie on their side or their head.

    The photograph is turned in steps of 90 and then of 45 degrees until the detector is certain of a face; otherwise
    the turn whose best face has the highest score counts. The faces are those of one turn, in pixels of `image` as it
    is; boxes at 45 degrees have the size that they have in the turned photograph.

    Args:
        image: `[H, W, 3]` in [0, 1].

    Returns:
        Faces, the largest first; empty if there is none.

    Raises:
        ImportError: if OpenCV is not installed.
    """
    best: list[Face] = []
    for degrees in _TURNS:
        if degrees == 0:
            best = detect(image)
        elif _surest(found := _detect_turned(image, degrees)) > max(_TURNED, _surest(best) + _BETTER):
            best = found
        if _surest(best) >= _CERTAIN:
            break
    return best


def load_face(
    path: str | os.PathLike[str],
    face: int | None = None,
    aligned: bool | Literal["auto"] = "auto",
    *,
    eyes: tuple[tuple[float, float], tuple[float, float]] | None = None,
    convention: Literal["template", "bob"] = "template",
) -> FaceCrop:
    """Reads a photograph and returns one aligned face of it.

    Args:
        path: the file.
        face: which face, 1 being the largest; None for the largest.
        aligned: whether the picture is an aligned face already. `"auto"` takes pictures of 112x112 pixels as aligned
            and passes them through untouched; True takes any square one and scales it to 112x112; False looks for a
            face even in a picture of 112x112.
        eyes: (x, y) of the annotated eyes, the one on the image's left first: no face is looked for, unless `aligned`
            is True, which goes first.
        convention: where annotated eyes are moved to, see `align_eyes`.

    Returns:
        The face, with a note where it is small, doubtful, cut by the border, turned, or one of several.

    Raises:
        ImageError: if the picture cannot be read.
        FaceError: if there is no face, no such face, or one of too few pixels. A file without a face is searched once,
            however often it is asked for.
        ImportError: if a face has to be found and OpenCV is not installed.
    """
    image = read_image(path)
    try:
        if aligned is True or (aligned == "auto" and eyes is None and image.shape == (SIDE, SIDE, 3)):
            return _aligned_before(image, face)
        if eyes is not None:
            return _cropped(image, similarity(np.array(eyes, np.float64), EYES[convention]), None, ())
        return _chosen(image, _faces_of(path, image), face)
    except FaceError as error:
        raise FaceError(f"{path}: {error}") from None


def sample_face() -> FaceCrop:
    """The face of the packaged portrait (`images.sample("portrait")`), aligned."""
    return FaceCrop(align(sample("portrait"), PORTRAIT), None, PORTRAIT, None, "packaged portrait", _nowhere())


def sunglasses(image: AlignedFace) -> Occlusion:
    """Draws black glasses, a rectangle of 20 by 68 pixels, over the eyes of an aligned face."""
    mask = np.zeros((SIDE, SIDE), bool)
    left, top, right, bottom = SUNGLASSES
    mask[top:bottom, left:right] = True
    return Occlusion(np.where(mask[..., None], np.float32(0), image), mask)


def _aligned_before(image: Pixels, number: int | None) -> FaceCrop:
    height, width = image.shape[:2]
    if number not in (None, 1):
        raise FaceError(f"there is no face {number}: the picture is taken as one aligned face")
    if height != width:
        raise FaceError(
            f"an aligned face is square, {SIDE}x{SIDE} at best, and this is {width}x{height}: "
            "leave --aligned out to have the face found"
        )
    if height == SIDE:
        return FaceCrop(image, None, None, None, "taken as aligned", _nowhere())
    scaled = resize_and_crop(image, SIDE, SIDE)
    return FaceCrop(scaled, None, None, None, f"taken as aligned and scaled from {width}x{height}", _nowhere())


def _chosen(image: Pixels, faces: list[Face], number: int | None) -> FaceCrop:
    if not faces:
        raise FaceError(
            "no face was found: take another picture, or pass a face that is aligned already with --aligned"
        )
    if number is not None and not 1 <= number <= len(faces):
        raise FaceError(f"there is no face {number}: {len(faces)} found, and 1 is the largest")
    chosen = _set_upright(image, faces[(number or 1) - 1])
    transform = similarity(chosen.landmarks, TEMPLATE)
    misfit = np.sqrt(np.mean(np.sum((transform(chosen.landmarks) - TEMPLATE) ** 2, axis=1)))
    notes = (
        (number is None and len(faces) > 1, f"the largest of {len(faces)} faces"),
        (chosen.score < _SURE, f"doubtful: the detector gives it {chosen.score:.2f}"),
        (misfit > _MISFIT, f"turned away: its landmarks miss the frontal template by {misfit:.0f} pixels"),
    )
    return _cropped(image, transform, chosen, tuple(note for true, note in notes if true))


def _cropped(image: Pixels, transform: SimilarityTransform, face: Face | None, notes: tuple[str, ...]) -> FaceCrop:
    side = SIDE / transform.scale
    if side < _SMALLEST:
        raise FaceError(
            f"the face is too small: {side:.0f} pixels across, and {_SMALLEST} are needed. Take a larger picture of it"
        )
    filled = outside(image, transform)
    roll = abs(np.degrees(transform.rotation))
    more = (
        (side < _SMALL, f"small: {side:.0f} pixels across, enlarged to {SIDE}"),
        (filled.mean() >= _CUT, f"cut by the border: {filled.mean():.0%} of the crop is filling"),
        (roll > _ROLLED, f"turned: it lies at {roll:.0f} degrees in the photograph and was set upright"),
    )
    note = "; ".join([*notes, *(words for true, words in more if true)])
    box, landmarks, score = face if face is not None else (None, None, None)
    return FaceCrop(warped(image, transform), box, landmarks, score, note, filled)


def _nowhere() -> Bool[np.ndarray, "112 112"]:
    return np.zeros((SIDE, SIDE), bool)


_FACELESS: set[tuple[str, int, int]] = set()


def _faces_of(path: str | os.PathLike[str], image: Pixels) -> list[Face]:
    """The faces of a file; where there are none, that is kept, since a file may be part of many pairs."""
    about = os.stat(path)
    file = (os.path.abspath(path), about.st_mtime_ns, about.st_size)
    if file in _FACELESS:
        return []
    found = detect_at_any_turn(image)
    if not found:
        _FACELESS.add(file)
    return found


def _surest(found: list[Face]) -> float:
    return max((face.score for face in found), default=0.0)


def _set_upright(image: Pixels, face: Face) -> Face:
    """The same face, found again in the photograph turned by its roll.

    The landmarks of a rolled face are off by some pixels, towards those of an upright one; so its roll comes out too
    small, and one turn may not be enough.
    """
    turned = None
    for _ in range(_SETTINGS):
        roll = float(np.degrees(similarity(face.landmarks, TEMPLATE).rotation))
        turned = 45 * round(roll / 45) if turned is None else turned
        if abs((roll - turned + 180) % 360 - 180) < _LEVEL:
            break
        centre, side, turned = face.landmarks.mean(axis=0), np.sqrt(_area(face.box)), roll
        near = [(np.linalg.norm(one.landmarks.mean(axis=0) - centre), one) for one in _detect_turned(image, roll)]
        distance, nearest = min(near, key=lambda pair: pair[0], default=(np.inf, face))
        if distance > side / 2:
            break
        face = nearest
    return face


def _detect_turned(image: Pixels, degrees: float) -> list[Face]:
    """The faces of the photograph, turned clockwise about its centre, in pixels of the photograph as it is."""
    cv2 = _opencv()
    height, width = image.shape[:2]
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    turn = np.array([[cosine, -sine], [sine, cosine]])
    size = np.rint(np.abs(turn) @ (width, height)).astype(int)
    shift = (size - 1) / 2 - turn @ ((width - 1) / 2, (height - 1) / 2)
    turned = cv2.warpAffine(image, np.column_stack([turn, shift]), size.tolist(), borderValue=(0.5, 0.5, 0.5))
    found = detect(np.clip(turned, 0, 1))
    return [_turned_back(face, turn, shift, bool(abs(sine) > abs(cosine))) for face in found]


def _turned_back(face: Face, turn: Float[np.ndarray, "2 2"], shift: Point, sideways: bool) -> Face:
    centre = (face.box.reshape(2, 2).mean(axis=0) - shift) @ turn
    size = face.box[2:] - face.box[:2]
    half = (size[::-1] if sideways else size) / 2
    return Face(np.concatenate([centre - half, centre + half]), (face.landmarks - shift) @ turn, face.score)


def _searches(levels: UInt8[np.ndarray, "height width 3"]) -> Iterator[Float[np.ndarray, "faces 15"]]:
    """YuNet's rows (left, top, width, height, five points, score) in pixels of the photograph, size by size."""
    cv2 = _opencv()
    height, width = levels.shape[:2]
    for long_side in _LONG_SIDES:
        if long_side > max(height, width, 640):
            return
        scale = long_side / max(height, width)
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        scaled = cv2.resize(levels, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
        # OpenCV 4.10 finds faces of infinite size where a side has no more than 32 pixels.
        padded = np.pad(scaled, [(0, max(0, 64 - side)) for side in scaled.shape[:2]] + [(0, 0)])
        rows = _yunet(cv2, padded.shape[1::-1]).detect(padded)[1]
        if rows is not None:
            back = np.array([width / size[0], height / size[1]])
            yield np.hstack([rows[:, :14] * np.tile(back, 7), rows[:, 14:]])


def _opencv() -> Any:
    try:
        import cv2
    except ImportError as error:
        raise ImportError("finding a face needs OpenCV: pip install 'fame-jax[faces]'") from error
    return cv2


def _yunet(cv2: Any, size: tuple[int, ...]) -> Any:
    model = importlib.resources.files("fame_jax").joinpath("bundled", "face_detection_yunet_2023mar.onnx")
    log = getattr(cv2.utils, "logging", cv2)  # OpenCV 5, and 4.
    level = log.getLogLevel()
    log.setLogLevel(_ERRORS_ONLY)  # OpenCV 5 warns of a setting that it makes here itself.
    try:
        with importlib.resources.as_file(model) as path:
            return cv2.FaceDetectorYN.create(str(path), "", size, score_threshold=_SCORE)
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


def _area(box: Float[np.ndarray, "4"]) -> float:
    return float(np.prod(box[2:] - box[:2]))
