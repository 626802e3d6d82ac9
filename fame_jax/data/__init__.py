"""Pictures, class names and faces: what happens on the host before there is one image.

The functions for faces are imported when first used, and OpenCV only when a face has to be found.
"""

import importlib
from typing import TYPE_CHECKING, Any

from fame_jax.data.classes import ClassError, class_names, resolve_class
from fame_jax.data.images import (
    ImageError,
    decode_image,
    load,
    read_image,
    resize_and_crop,
    sample,
    sample_path,
)

if TYPE_CHECKING:
    from fame_jax.data.alignment import FaceError, align, align_eyes
    from fame_jax.data.faces import Face, FaceCrop, detect, detect_at_any_turn, load_face, sunglasses

__all__ = [
    "ClassError",
    "Face",
    "FaceCrop",
    "FaceError",
    "ImageError",
    "align",
    "align_eyes",
    "class_names",
    "decode_image",
    "detect",
    "detect_at_any_turn",
    "load",
    "load_face",
    "read_image",
    "resize_and_crop",
    "resolve_class",
    "sample",
    "sample_path",
    "sunglasses",
]

_ALIGNMENT = {"FaceError", "align", "align_eyes"}
_FACES = {"Face", "FaceCrop", "detect", "detect_at_any_turn", "load_face", "sunglasses"}


def __getattr__(name: str) -> Any:
    """Forwards to `alignment` and `faces`, which import scikit-image."""
    if name in _ALIGNMENT | _FACES:
        module = "alignment" if name in _ALIGNMENT else "faces"
        return getattr(importlib.import_module(f"fame_jax.data.{module}"), name)
    raise AttributeError(f"module 'fame_jax.data' has no attribute {name!r}")
