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
    from fame_jax.data.faces import Face, FaceCrop, FaceError, align, align_eyes, detect, load_face, sunglasses

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
    "load",
    "load_face",
    "read_image",
    "resize_and_crop",
    "resolve_class",
    "sample",
    "sample_path",
    "sunglasses",
]

_FACES = {"Face", "FaceCrop", "FaceError", "align", "align_eyes", "detect", "load_face", "sunglasses"}


def __getattr__(name: str) -> Any:
    """Forwards to `faces`, which imports scikit-image."""
    if name in _FACES:
        return getattr(importlib.import_module("fame_jax.data.faces"), name)
    raise AttributeError(f"module 'fame_jax.data' has no attribute {name!r}")
