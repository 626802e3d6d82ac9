"""Detections: what was found where, and why. A detection is explained as a class is, see `Detected`.

Example:
    >>> detector = yunet(*image.shape[:2])
    >>> faces = detections(detector, image)
    >>> explain(class_logit, image, detected(detector, faces), 0, iterations=25)
"""

from fame_jax.detection.candidates import Candidates, Detection, chosen, overlap
from fame_jax.detection.detected import Detected, detected, detections
from fame_jax.detection.graph import GraphDetector, of_graph
from fame_jax.detection.yunet import yunet

__all__ = [
    "Candidates",
    "Detected",
    "Detection",
    "GraphDetector",
    "chosen",
    "detected",
    "detections",
    "of_graph",
    "overlap",
    "yunet",
]
