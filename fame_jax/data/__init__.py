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
    from fame_jax.data.faces import FaceCrop, load_face, sunglasses
    from fame_jax.data.searching import Face, detect, detect_at_any_turn

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

_IN = {
    **dict.fromkeys(("FaceError", "align", "align_eyes"), "alignment"),
    **dict.fromkeys(("FaceCrop", "load_face", "sunglasses"), "faces"),
    **dict.fromkeys(("Face", "detect", "detect_at_any_turn"), "searching"),
}


def __getattr__(name: str) -> Any:
    """Forwards to the modules for faces, which import scikit-image."""
    if name in _IN:
        return getattr(importlib.import_module(f"fame_jax.data.{_IN[name]}"), name)
    raise AttributeError(f"module 'fame_jax.data' has no attribute {name!r}")
