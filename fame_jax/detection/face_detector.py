"""YuNet, the bundled face detector, differentiable and on the device: OpenCV's `FaceDetectorYN` in JAX."""

import functools

import numpy as np
from jaxtyping import Float, UInt8

from fame_jax.data.searching import SCORE
from fame_jax.detection.detected import detections
from fame_jax.detection.graph import GraphDetector, of_graph
from fame_jax.models import find


@functools.lru_cache(maxsize=1)
def _yunet() -> GraphDetector:
    card, network = find("yunet")
    return of_graph(network, card)


def yunet(height: int, width: int) -> GraphDetector:
    """YuNet for images of one size.

    Args:
        height: of the images, pixels.
        width: likewise.

    Raises:
        ImportError: if the package `onnx` is not installed.
    """
    return _yunet().of_size(height, width)


def rows(levels: UInt8[np.ndarray, "height width 3"]) -> Float[np.ndarray, "faces 15"]:
    """Faces as OpenCV's `FaceDetectorYN` gives them, `fame_jax.data.searching.Rows`: equal to 1e-4 pixels.

    Images are filled up to squares, so that photographs of all shapes share a program.
    """
    side = max(levels.shape)
    image = np.zeros((side, side, 3), np.float32)
    image[: levels.shape[0], : levels.shape[1]] = levels / np.float32(255)
    found = detections(yunet(side, side), image, threshold=SCORE)
    each = [[*one.box[:2], *(one.box[2:] - one.box[:2]), *one.landmarks.ravel(), one.score] for one in found]
    return np.array(each, np.float32).reshape(-1, 15)
