"""Detections: what was found where, and why. A detection is explained as a class is, see `Detected`.

Example:
    >>> detector = yunet(*image.shape[:2])
    >>> faces = detections(detector, image)
    >>> explain(class_logit, image, detected(detector, faces), 0, iterations=25)
"""

import importlib
from typing import TYPE_CHECKING, Any

from fame_jax.detection.candidates import Candidates, Detection, chosen, overlap
from fame_jax.detection.detected import Detected, asked, box_seen, detected, detections, of_box

if TYPE_CHECKING:
    from fame_jax.detection.face_detector import yunet
    from fame_jax.detection.graph import GraphDetector, of_graph, of_network

__all__ = [
    "Candidates",
    "Detected",
    "Detection",
    "GraphDetector",
    "asked",
    "box_seen",
    "chosen",
    "detected",
    "detections",
    "of_box",
    "of_graph",
    "of_network",
    "overlap",
    "yunet",
]

_NEED_ONNX = {"GraphDetector": "graph", "of_graph": "graph", "of_network": "graph", "yunet": "face_detector"}


def __getattr__(name: str) -> Any:
    """What reads graphs is imported on first use: the rest, and commands that mention it, do without onnx."""
    if name in _NEED_ONNX:
        return getattr(importlib.import_module(f"{__name__}.{_NEED_ONNX[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
