"""Detections: what was found where, and why. A detection is explained as a class is, see `Detected`.

Example:
    >>> detector = yunet(*image.shape[:2])
    >>> faces = detections(detector, image)
    >>> explain(class_logit, image, detected(detector, faces), 0, iterations=25)
"""

from fame_jax.detection.candidates import Candidates, Detection, chosen, overlap
from fame_jax.detection.detected import Detected, asked, box_seen, detected, detections, of_box
from fame_jax.detection.graph import GraphDetector, of_graph, of_network
from fame_jax.detection.yunet import yunet

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
