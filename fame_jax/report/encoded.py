"""Images and maps as small files for a browser: WebP, in memory."""

import base64
import io

import numpy as np
from jaxtyping import Float
from PIL import Image

LEVELS = 64
"""Grey levels of an encoded map, so that a pixel is off by 1/126 at most."""

QUALITY = 82
"""Of photographs, which are lossy WebP."""


def encoded_image(image: Float[np.ndarray, "height width 3"]) -> bytes:
    """An image in [0, 1] as lossy WebP."""
    return _webp(np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8), quality=QUALITY)


def encoded_map(values: Float[np.ndarray, "height width"]) -> bytes:
    """A map in [0, 1] as lossless grey WebP of `LEVELS` levels; what is no number becomes 0."""
    levels = np.rint(np.clip(np.nan_to_num(values, posinf=0, neginf=0), 0, 1) * (LEVELS - 1))
    grey = np.rint(levels * (255 / (LEVELS - 1))).astype(np.uint8)
    return _webp(np.stack([grey] * 3, axis=-1), lossless=True)


def data_uri(webp: bytes) -> str:
    """For the `src` of an image that travels inside its page."""
    return "data:image/webp;base64," + base64.b64encode(webp).decode("ascii")


def _webp(pixels: np.ndarray, **options: int | bool) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="WEBP", **options)
    return file.getvalue()
