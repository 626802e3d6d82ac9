"""An aligned face: a photograph turned, scaled and moved until its landmarks lie where networks expect them.

Landmarks are always five points (x, y) in pixels, the eye on the image's left first: that is the subject's right eye,
left eye, nose, right and left corner of the mouth.
"""

from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Complex, Float, Float32

from fame_jax.data.images import Pixels

Transform = Any
"""scikit-image's `SimilarityTransform`; its import takes as long as all else here, so it waits for a face."""

SIDE = 112
"""Height and width of an aligned face."""

AlignedFace = Float32[np.ndarray, "112 112 3"]
"""RGB in [0, 1]."""

Landmarks = Float[np.ndarray, "5 2"]
Point = Float[np.ndarray, "2"]

TEMPLATE = np.array(
    [(38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041)]
)
"""Where the landmarks of an aligned face lie (insightface's template, which AdaFace uses too)."""

EYES = {"template": TEMPLATE[:2], "bob": np.array([(40.0, 55.0), (72.0, 55.0)])}
"""Where the two eyes lie, by convention; `bob` is bob.bio.face's for IResNet."""


class FaceError(ValueError):
    """A face that cannot be had from a picture; the message is one line and says what to do."""


def align(image: Pixels, landmarks: Landmarks) -> AlignedFace:
    """Turns, scales and moves a face so that its landmarks come closest to `TEMPLATE`.

    The similarity without reflection that minimises the sum of squared distances (Umeyama 1991), then
    bilinear interpolation without antialiasing; black where the photograph ends.

    Args:
        image: `[H, W, 3]` in [0, 1].
        landmarks: five points (x, y) in pixels, the eye on the image's left first.

    Returns:
        `[112, 112, 3]` in [0, 1].

    Raises:
        FaceError: if the landmarks are not finite or all in one place.
    """
    return warped(image, similarity_transform(landmarks, TEMPLATE))


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
    return warped(image, similarity_transform(np.stack([right_eye, left_eye]), EYES[convention]))


def similarity_transform(source: Float[np.ndarray, "points 2"], target: Float[np.ndarray, "points 2"]) -> Transform:
    """The similarity without reflection that brings points (x, y) closest to others.

    With points as complex numbers it is z -> a z + b, and a and b are an ordinary linear least-squares problem.

    Raises:
        FaceError: if the source points are not finite or all in one place.
    """
    from skimage.transform import SimilarityTransform

    z, w = _complex(source), _complex(target)
    centred = z - z.mean()
    spread = np.vdot(centred, centred).real
    if not np.isfinite(spread) or spread <= 1e-12:
        raise FaceError("the landmarks of the face are not finite or all in one place")
    a = np.vdot(centred, w) / spread
    b = w.mean() - a * z.mean()
    return SimilarityTransform(np.array([[a.real, -a.imag, b.real], [a.imag, a.real, b.imag], [0, 0, 1]]))


def warped(image: Pixels, transform: Transform) -> AlignedFace:
    """The photograph, moved by a transform, bilinear; black where it ends."""
    from skimage.transform import warp

    face = warp(image, transform.inverse, output_shape=(SIDE, SIDE), order=1, mode="constant", cval=0)
    return np.clip(face, 0, 1).astype(np.float32)


def outside(image: Pixels, transform: Transform) -> Bool[np.ndarray, "112 112"]:
    """Where a pixel of the aligned face does not lie between pixels of the photograph."""
    rows, columns = np.mgrid[:SIDE, :SIDE]
    points = transform.inverse(np.stack([columns.ravel(), rows.ravel()], axis=1))
    height, width = image.shape[:2]
    return np.any((points < -1e-6) | (points > (width - 1 + 1e-6, height - 1 + 1e-6)), axis=1).reshape(SIDE, SIDE)


def _complex(points: Float[np.ndarray, "points 2"]) -> Complex[np.ndarray, " points"]:
    return points[:, 0].astype(np.float64) + 1j * points[:, 1].astype(np.float64)
