"""From a photograph to an aligned face: `float32 [112, 112, 3]`, eyes, nose and mouth where networks expect them.

Landmarks are always five points (x, y) in pixels, the eye on the image's left first: that is the subject's right eye,
left eye, nose, right and left corner of the mouth.
"""

import importlib.resources
import os
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Complex, Float, Float32, UInt8
from skimage.transform import SimilarityTransform, warp

from fame_jax.data.images import Pixels, read_image, resize_and_crop, sample

SIDE = 112
"""Height and width of an aligned face."""

AlignedFace = Float32[np.ndarray, "112 112 3"]
"""RGB in [0, 1]."""

Landmarks = Float[np.ndarray, "5 2"]
Point = Float[np.ndarray, "2"]

TEMPLATE = np.array(
    [(38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041)]
)
"""Where the landmarks of an aligned face lie (insightface's template, which AdaFace uses too; method.md 6)."""

EYES = {"template": TEMPLATE[:2], "bob": np.array([(40.0, 55.0), (72.0, 55.0)])}
"""Where the two eyes lie, by convention; `bob` is bob.bio.face's for IResNet."""

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

_ERRORS_ONLY = 2  # One of OpenCV's log levels.


class FaceError(ValueError):
    """A face that cannot be had from a picture; the message is one line and says what to do."""


class Face(NamedTuple):
    """A face found in a photograph."""

    box: Float[np.ndarray, "4"]
    """Left, top, right, bottom in pixels; it may reach beyond the photograph."""
    landmarks: Landmarks
    score: float
    """The detector's confidence in [0, 1]."""


class FaceCrop(NamedTuple):
    """An aligned face and where it came from; box, landmarks and score are None for a picture aligned before."""

    image: AlignedFace
    box: Float[np.ndarray, "4"] | None
    landmarks: Landmarks | None
    score: float | None
    note: str
    """What a user should know about the face, in words; empty if nothing."""


class Occlusion(NamedTuple):
    """A face with something drawn over it."""

    image: AlignedFace
    mask: Bool[np.ndarray, "112 112"]
    """True where it is covered."""


def align(image: Pixels, landmarks: Landmarks) -> AlignedFace:
    """Turns, scales and moves a face so that its landmarks come closest to `TEMPLATE`.

    The similarity without reflection that minimises the sum of squared distances (Umeyama 1991; method.md 6), then
    bilinear interpolation without antialiasing; black where the photograph ends.

    Args:
        image: `[H, W, 3]` in [0, 1].
        landmarks: five points (x, y) in pixels, the eye on the image's left first.

    Returns:
        `[112, 112, 3]` in [0, 1].

    Raises:
        FaceError: if the landmarks are not finite or all in one place.
    """
    return _warped(image, similarity(landmarks, TEMPLATE))


def align_eyes(
    image: Pixels, right_eye: Point, left_eye: Point, convention: Literal["template", "bob"] = "template"
) -> AlignedFace:
    """Turns, scales and moves a face so that its eyes come to lie exactly where a convention has them.

    Args:
        image: `[H, W, 3]` in [0, 1].
        right_eye: (x, y) in pixels of the subject's right eye, on the image's left. (Bob's annotations are (y, x).)
        left_eye: (x, y) of the other eye.
        convention: `"template"` for the eyes of `TEMPLATE`, 35.24 pixels apart, or `"bob"` for (40, 55) and (72, 55).

    Returns:
        `[112, 112, 3]` in [0, 1].

    Raises:
        FaceError: if the eyes are not finite or in one place.
    """
    return _warped(image, similarity(np.stack([right_eye, left_eye]), EYES[convention]))


def similarity(source: Float[np.ndarray, "points 2"], target: Float[np.ndarray, "points 2"]) -> SimilarityTransform:
    """The similarity without reflection that brings points (x, y) closest to others.

    With points as complex numbers it is z -> a z + b, and a and b are an ordinary linear least-squares problem.

    Raises:
        FaceError: if the source points are not finite or all in one place.
    """
    z, w = _complex(source), _complex(target)
    centred = z - z.mean()
    spread = np.vdot(centred, centred).real
    if not np.isfinite(spread) or spread <= 1e-12:
        raise FaceError("the landmarks of the face are not finite or all in one place")
    a = np.vdot(centred, w) / spread
    b = w.mean() - a * z.mean()
    return SimilarityTransform(np.array([[a.real, -a.imag, b.real], [a.imag, a.real, b.imag], [0, 0, 1]]))


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


def load_face(
    path: str | os.PathLike[str], face: int | None = None, aligned: bool | Literal["auto"] = "auto"
) -> FaceCrop:
    """Reads a photograph and returns one aligned face of it.

    Args:
        path: the file.
        face: which face, 1 being the largest; None for the largest.
        aligned: whether the picture is an aligned face already. `"auto"` takes pictures of 112x112 pixels as aligned
            and passes them through untouched; True takes any square one and scales it to 112x112; False looks for a
            face even in a picture of 112x112.

    Returns:
        The face, with a note where it is small, doubtful, turned far from the camera, or one of several.

    Raises:
        ImageError: if the picture cannot be read.
        FaceError: if there is no face, no such face, or one of too few pixels.
        ImportError: if a face has to be found and OpenCV is not installed.
    """
    image = read_image(path)
    try:
        if aligned is True or (aligned == "auto" and image.shape == (SIDE, SIDE, 3)):
            return _aligned_before(image, face)
        return _chosen(image, detect(image), face)
    except FaceError as error:
        raise FaceError(f"{path}: {error}") from None


def sample_face() -> FaceCrop:
    """The face of the packaged portrait (`images.sample("portrait")`), aligned."""
    return FaceCrop(align(sample("portrait"), PORTRAIT), None, PORTRAIT, None, "packaged portrait")


def sunglasses(image: AlignedFace) -> Occlusion:
    """Draws black glasses, a rectangle of 20 by 68 pixels, over the eyes of an aligned face."""
    mask = np.zeros((SIDE, SIDE), bool)
    left, top, right, bottom = SUNGLASSES
    mask[top:bottom, left:right] = True
    return Occlusion(np.where(mask[..., None], np.float32(0), image), mask)


def _complex(points: Float[np.ndarray, "points 2"]) -> Complex[np.ndarray, " points"]:
    return points[:, 0].astype(np.float64) + 1j * points[:, 1].astype(np.float64)


def _warped(image: Pixels, transform: SimilarityTransform) -> AlignedFace:
    face = warp(image, transform.inverse, output_shape=(SIDE, SIDE), order=1, mode="constant", cval=0)
    return np.clip(face, 0, 1).astype(np.float32)


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
        return FaceCrop(image, None, None, None, "taken as aligned")
    scaled = resize_and_crop(image, SIDE, SIDE)
    return FaceCrop(scaled, None, None, None, f"taken as aligned and scaled from {width}x{height}")


def _chosen(image: Pixels, faces: list[Face], number: int | None) -> FaceCrop:
    if not faces:
        raise FaceError(
            "no face was found: take another picture, or pass a face that is aligned already with --aligned"
        )
    if number is not None and not 1 <= number <= len(faces):
        raise FaceError(f"there is no face {number}: {len(faces)} found, and 1 is the largest")
    box, landmarks, score = faces[(number or 1) - 1]
    transform = similarity(landmarks, TEMPLATE)
    side = SIDE / transform.scale
    if side < _SMALLEST:
        raise FaceError(
            f"the face is too small: {side:.0f} pixels across, and {_SMALLEST} are needed. Take a larger picture of it"
        )
    misfit = np.sqrt(np.mean(np.sum((transform(landmarks) - TEMPLATE) ** 2, axis=1)))
    notes = (
        (number is None and len(faces) > 1, f"the largest of {len(faces)} faces"),
        (score < _SURE, f"doubtful: the detector gives it {score:.2f}"),
        (side < _SMALL, f"small: {side:.0f} pixels across, enlarged to {SIDE}"),
        (misfit > _MISFIT, f"turned away: its landmarks miss the frontal template by {misfit:.0f} pixels"),
    )
    return FaceCrop(align(image, landmarks), box, landmarks, score, "; ".join(note for true, note in notes if true))


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
