"""YuNet, the bundled face detector, differentiable and on the device: OpenCV's `FaceDetectorYN` in JAX."""

import functools
import importlib.resources

import jax
import numpy as np
from jaxtyping import Float, UInt8

from fame_jax import onnx
from fame_jax._types import Image
from fame_jax.data.searching import SCORE
from fame_jax.detection.candidates import Candidates, chosen
from fame_jax.detection.graph import GraphDetector
from fame_jax.models.card import Card

CARD = Card(
    name="yunet",
    task="detect",
    size=640,
    resize=640,
    mean=(0.0, 0.0, 0.0),
    std=(1.0, 1.0, 1.0),
    reverse_channels=True,
    score="logit",
    labels=("face",),
    layer="the last map that every output depends on, at stride 8",
    source="OpenCV Zoo",
    licence="MIT",
    sha256="8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4",
    parameters=53_104,
)

MULTIPLE = 32
"""The sides of what the graph is given are multiples of it."""


@functools.lru_cache(maxsize=8)
def yunet(height: int, width: int) -> GraphDetector:
    """YuNet for images of one size; scores are square roots, see `chosen`.

    Args:
        height: of the images, pixels.
        width: likewise.

    Raises:
        ImportError: if the package `onnx` is not installed.
    """
    file = importlib.resources.files("fame_jax").joinpath("bundled", "face_detection_yunet_2023mar.onnx")
    size = (_up(height), _up(width))
    return GraphDetector(onnx.read(file.read_bytes(), photometry="opencv_yunet", size=size), size, "yunet")


def _up(side: int) -> int:
    return -(-side // MULTIPLE) * MULTIPLE


def rows(levels: UInt8[np.ndarray, "height width 3"]) -> Float[np.ndarray, "faces 15"]:
    """Faces as OpenCV's `FaceDetectorYN` gives them, `fame_jax.data.searching.Rows`: equal to 1e-4 pixels.

    Images are filled up to squares, so that photographs of all shapes share a program.
    """
    side = max(levels.shape)
    image = np.zeros((side, side, 3), np.float32)
    image[: levels.shape[0], : levels.shape[1]] = levels / np.float32(255)
    found = chosen(_candidates(yunet(side, side), image), threshold=SCORE, root=True)
    each = [[*one.box[:2], *(one.box[2:] - one.box[:2]), *one.landmarks.ravel(), one.score] for one in found]
    return np.array(each, np.float32).reshape(-1, 15)


@jax.jit
def _candidates(detector: GraphDetector, image: Image) -> Candidates:
    return detector(image)
