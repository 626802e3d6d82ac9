"""From a file to pixels, decided by the network's card: alike for every command, a run, its scores and its report."""

import functools
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from jaxtyping import Bool, Float32

from fame_jax.data.alignment import SIDE, FaceError
from fame_jax.data.faces import FaceCrop, load_face
from fame_jax.data.images import ImageError, Pixels, load, read_image, shrunk
from fame_jax.data.records import Picture, Record, Task, pictures_of
from fame_jax.data.searching import Rows, opencv
from fame_jax.models import Card
from fame_jax.questions import Boxed, Question

FaceDetector = Literal["opencv", "jax"]
"""Both are YuNet: OpenCV's, which starts at once, or this library's, on the device and without OpenCV."""


class PictureError(ValueError):
    """A record whose pictures cannot become images; the message is one line and names the file and the reason."""


@dataclass(frozen=True)
class Geometry:
    """How pictures become images `[size, size, 3]`. It decides numbers, so a run's manifest holds it.

    Attributes:
        task: `class` for photographs, which are resized and cropped; `pair` for faces, which are aligned; `detect` for
            photographs of any shape, which are scaled down to `size` at most and never cut.
        size: height and width in pixels; for `detect` of the longer side, at most.
        resize: short side of a photograph before the central crop; not used for faces.
        aligned: the faces are aligned already: take them as they are, scaled if need be. Otherwise only pictures of
            112x112 are.
        eyes: where annotated eyes are moved to, see `fame_jax.data.alignment.EYES`. Faces without are looked for.
        detector: what looks for them.
    """

    task: Task
    size: int
    resize: int
    aligned: bool = False
    eyes: Literal["template", "bob"] = "template"
    detector: FaceDetector = "opencv"


def geometry(
    card: Card,
    *,
    resize: int | None = None,
    aligned: bool = False,
    eyes: Literal["template", "bob"] = "template",
    detector: FaceDetector = "opencv",
) -> Geometry:
    """The geometry of a network.

    Args:
        card: of the network.
        resize: short side before the central crop, in place of the card's own; 232 for all classifiers alike is the
            paper's protocol. Of a detector the longer side, at most. Not used for faces.
        aligned: see `Geometry`.
        eyes: see `Geometry`.
        detector: see `Geometry`.

    Raises:
        PictureError: for a short side below the network's input, or a face network of another size than 112 pixels.
    """
    if card.task == "face":
        if card.size != SIDE:
            raise PictureError(
                f"{card.name} takes faces of {card.size} pixels, and they are aligned to {SIDE} here: let the network "
                f"scale them, and say size={SIDE} in its card."
            )
        return Geometry("pair", card.size, card.size, aligned, eyes, detector)
    if card.task == "detect":
        longest = card.size if resize is None else resize
        if not 32 <= longest <= 2**13:
            raise PictureError(f"resize {longest}: expected 32 to {2**13}, the longer side of a photograph.")
        return Geometry("detect", longest, longest)
    short = card.resize if resize is None else resize
    if not card.size <= short < 2**15:
        raise PictureError(f"resize {short}: expected {card.size}, the input of {card.name}, or more, below {2**15}.")
    return Geometry("class", card.size, short)


def geometry_of(manifest: dict[str, Any]) -> Geometry:
    """The geometry a run was made with.

    Raises:
        PictureError: if the manifest has none, or a damaged one.
    """
    try:
        chosen = Geometry(**manifest["geometry"])
        fits = chosen.task in get_args(Task) and chosen.eyes in ("template", "bob")
        fits &= chosen.detector in get_args(FaceDetector)
        if not fits or not 0 < int(chosen.size) <= int(chosen.resize) < 2**15:
            raise ValueError(f"{chosen}")
    except (KeyError, TypeError, ValueError) as error:
        raise PictureError(f"the run's manifest has no usable geometry ({error})") from error
    return chosen


def geometry_as_json(chosen: Geometry) -> dict[str, Any]:
    """For the manifest; `geometry_of` reads it."""
    return asdict(chosen)


class Input(NamedTuple):
    """A picture as the network sees it.

    Attributes:
        image: `[size, size, 3]`, RGB in [0, 1]; of any shape for a detector.
        filled: `[size, size]`, where an aligned face was filled up because the photograph ends there; None if nowhere.
        scale: its columns and rows over those of the photograph, for a detector.
    """

    image: Pixels
    filled: Bool[np.ndarray, "size size"] | None = None
    scale: tuple[float, float] = (1.0, 1.0)


def images(record: Record, chosen: Geometry) -> tuple[Pixels, ...]:
    """The images `[size, size, 3]` of a record, RGB in [0, 1]: one, or probe and gallery; see `read` for errors."""
    return tuple(read(picture, chosen).image for picture in pictures_of(record))


def question(record: Record, chosen: Geometry, look: Callable[[Picture], Input] | None = None) -> Question:
    """What a run asks of a record.

    Args:
        record: a photograph, a pair of faces, or a box.
        chosen: see `Geometry`.
        look: in place of `read`, which may keep what it has read.

    Raises:
        PictureError: see `read`; also for a box outside of its photograph.
        ImportError: see `read`.
    """
    found = tuple(map(look or functools.partial(read, chosen=chosen), pictures_of(record)))
    label = getattr(record, "label", None)
    if chosen.task != "detect":
        return Question(tuple(one.image for one in found), label, tuple(one.filled for one in found))
    if label is None or len(boxes := getattr(record, "boxes", ())) != 1:
        raise PictureError(f"{record.name}: expected one box and its class.")
    canvas, filled = on_canvas(found[0].image, chosen.size)
    shape, (box,) = found[0].image.shape[:2], boxes
    left, top, right, bottom = scaled = np.asarray(box) * (found[0].scale * 2)
    if not (left < shape[1] and top < shape[0] and right > 0 and bottom > 0):
        raise PictureError(f"{record.name}: no pixel of its photograph lies in the box {list(box)}.")
    return Question((canvas,), Boxed(scaled, label, shape), (filled,))


def on_canvas(image: Pixels, size: int) -> tuple[Float32[np.ndarray, "size size 3"], Bool[np.ndarray, "size size"]]:
    """A photograph at the upper left of a black square, so that those of all shapes share a program; and where it ends.

    Args:
        image: no side above size.
        size: of the square, pixels.
    """
    height, width = image.shape[:2]
    canvas, filled = np.zeros((size, size, 3), np.float32), np.ones((size, size), bool)
    canvas[:height, :width], filled[:height, :width] = image, False
    return canvas, filled


def read(picture: Picture, chosen: Geometry) -> Input:
    """One picture as the network sees it.

    Raises:
        PictureError: for a picture that is missing or damaged, or without a face.
        ImportError: if a face has to be found and OpenCV is not installed.
    """
    if chosen.task == "pair":
        return crop_as_input(face(picture, chosen))
    try:
        if chosen.task == "detect":
            whole = read_image(picture.path)
            image = shrunk(whole, chosen.size)
            return Input(image, scale=(image.shape[1] / whole.shape[1], image.shape[0] / whole.shape[0]))
        return Input(load(picture.path, chosen.resize, chosen.size))
    except ImageError as error:
        raise PictureError(str(error)) from error


def crop_as_input(crop: FaceCrop) -> Input:
    """An aligned face; see `face`."""
    return Input(crop.image, crop.filled if crop.filled.any() else None)


def face(picture: Picture, chosen: Geometry, number: int | None = None) -> FaceCrop:
    """An aligned face with what is to be said of it.

    Args:
        picture: a photograph, or a face that is aligned already.
        chosen: see `Geometry`.
        number: which face of the photograph, 1 being the largest; None for the largest.

    Raises:
        PictureError: for a picture that is missing or damaged, or without such a face.
        ImportError: if a face has to be found and OpenCV is not installed.
    """
    aligned = True if chosen.aligned else "auto"
    try:
        return load_face(
            picture.path, number, aligned, eyes=picture.eyes, convention=chosen.eyes, find=_finder(chosen.detector)
        )
    except (ImageError, FaceError) as error:
        raise PictureError(str(error)) from error


def _finder(detector: FaceDetector) -> Rows:
    if detector == "opencv":
        return opencv
    from fame_jax.detection.face_detector import rows

    return rows
