"""From a photograph to an aligned face: `float32 [112, 112, 3]`, found by OpenCV's YuNet at any turn."""

import os
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from fame_jax.data.alignment import (
    EYES,
    SIDE,
    TEMPLATE,
    AlignedFace,
    FaceError,
    Landmarks,
    Transform,
    align,
    outside,
    similarity_transform,
    warped,
)
from fame_jax.data.images import Held, Path, Pixels, read_image, resize_and_crop, sample
from fame_jax.data.searching import Face, Rows, area, detect_at_any_turn, detect_turned, opencv

PORTRAIT = np.array([(202.7, 104.6), (245.0, 104.6), (222.1, 126.9), (204.3, 144.6), (241.8, 144.4)])
"""Landmarks of the packaged portrait, as `detect` finds them: `sample_face` needs no OpenCV."""

SUNGLASSES = (22, 42, 90, 62)
"""`x_min, y_min, x_max, y_max` of a rectangle that covers both template eyes, the maxima outside."""

_SETTINGS, _LEVEL = 4, 4  # How often a face is set upright at most, and degrees up to which it is.
_SURE = 0.8
_SMALLEST, _SMALL = 14, 56  # Pixels of the photograph along a side of the aligned face.
_MISFIT = 6.0  # Pixels of the aligned face; a frontal face misses the template by some 3, a profile by 8 to 15.

_ROLLED = 45  # Degrees from which on a user should know that the face was turned.
_CUT = 0.01  # Share of filling from which on a user should know that the face is cut.


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


def load_face(
    path: Path,
    face: int | None = None,
    aligned: bool | Literal["auto"] = "auto",
    *,
    eyes: tuple[tuple[float, float], tuple[float, float]] | None = None,
    convention: Literal["template", "bob"] = "template",
    find: Rows = opencv,
) -> FaceCrop:
    """Reads a photograph and returns one aligned face of it.

    Args:
        path: the file, or its bytes and name.
        face: which face, 1 being the largest; None for the largest.
        aligned: whether the picture is an aligned face already. `"auto"` takes pictures of 112x112 pixels as aligned
            and passes them through untouched; True takes any square one and scales it to 112x112; False looks for a
            face even in a picture of 112x112.
        eyes: (x, y) of the annotated eyes, the one on the image's left first: no face is looked for, unless `aligned`
            is True, which goes first.
        convention: where annotated eyes are moved to, see `align_eyes`.
        find: what looks for faces, see `fame_jax.data.searching`.

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
            return _cropped(image, similarity_transform(np.array(eyes, np.float64), EYES[convention]), None, ())
        return chosen_face(image, _faces_of(path, image, find), face, find)
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


def chosen_face(image: Pixels, faces: list[Face], number: int | None = None, find: Rows = opencv) -> FaceCrop:
    """One of the faces that were found in a photograph, aligned; see `load_face`.

    Args:
        image: the photograph, `[H, W, 3]` in [0, 1].
        faces: of `detect_at_any_turn`.
        number: which one, 1 being the largest; None for the largest.
        find: what looks for the face again where it has to be set upright.

    Raises:
        FaceError: see `load_face`.
    """
    if not faces:
        raise FaceError(
            "no face was found: take another picture, or pass a face that is aligned already with --aligned"
        )
    if number is not None and not 1 <= number <= len(faces):
        raise FaceError(f"there is no face {number}: {len(faces)} found, and 1 is the largest")
    chosen = _set_upright(image, faces[(number or 1) - 1], find)
    transform = similarity_transform(chosen.landmarks, TEMPLATE)
    misfit = np.sqrt(np.mean(np.sum((transform(chosen.landmarks) - TEMPLATE) ** 2, axis=1)))
    notes = (
        (number is None and len(faces) > 1, f"the largest of {len(faces)} faces"),
        (chosen.score < _SURE, f"doubtful: the detector gives it {chosen.score:.2f}"),
        (misfit > _MISFIT, f"turned away: its landmarks miss the frontal template by {misfit:.0f} pixels"),
    )
    return _cropped(image, transform, chosen, tuple(note for true, note in notes if true))


def _cropped(image: Pixels, transform: Transform, face: Face | None, notes: tuple[str, ...]) -> FaceCrop:
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


_FACELESS: set[tuple[Rows, str, int, int]] = set()


def _faces_of(path: Path, image: Pixels, find: Rows) -> list[Face]:
    """The faces of a file; where one finds none, that is kept, since a file may be part of many pairs."""
    if isinstance(path, Held):
        return detect_at_any_turn(image, find)
    about = os.stat(path)
    file = (find, os.path.abspath(path), about.st_mtime_ns, about.st_size)
    if file in _FACELESS:
        return []
    found = detect_at_any_turn(image, find)
    if not found:
        _FACELESS.add(file)
    return found


def _set_upright(image: Pixels, face: Face, find: Rows) -> Face:
    """The same face, found again in the photograph turned by its roll.

    The landmarks of a rolled face are off by some pixels, towards those of an upright one; so its roll comes out too
    small, and one turn may not be enough.
    """
    turned = None
    for _ in range(_SETTINGS):
        roll = float(np.degrees(similarity_transform(face.landmarks, TEMPLATE).rotation))
        turned = 45 * round(roll / 45) if turned is None else turned
        if abs((roll - turned + 180) % 360 - 180) < _LEVEL:
            break
        centre, side, turned = face.landmarks.mean(axis=0), np.sqrt(area(face.box)), roll
        near = [(np.linalg.norm(one.landmarks.mean(axis=0) - centre), one) for one in detect_turned(image, roll, find)]
        distance, nearest = min(near, key=lambda pair: pair[0], default=(np.inf, face))
        if distance > side / 2:
            break
        face = nearest
    return face
