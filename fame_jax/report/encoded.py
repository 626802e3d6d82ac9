"""Images and maps as small files for a browser: WebP, in memory."""

import base64
import io
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from PIL import Image

LEVELS = 64
"""Grey levels of an encoded map, so that a pixel is off by 1/126 at most."""

QUALITY = 82
"""Of photographs, which are lossy WebP."""

_LIME = np.array([0.2, 1, 0.2], np.float32)


def encoded_image(image: Float[np.ndarray, "height width 3"]) -> bytes:
    """An image in [0, 1] as lossy WebP."""
    return _webp(np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8), quality=QUALITY)


def outlined(
    image: Float[np.ndarray, "height width 3"], box: Sequence[float] | None
) -> Float[np.ndarray, "height width 3"]:
    """An image with a box drawn on it, `left, top, right, bottom` in its pixels; as it is without one."""
    if box is None:
        return image
    rows, columns = np.mgrid[: image.shape[0], : image.shape[1]]
    width = max(2, round(max(image.shape) / 200))
    left, top, right, bottom = box

    def inside(by: int) -> np.ndarray:
        across = (columns >= left + by) & (columns < right - by)
        return across & (rows >= top + by) & (rows < bottom - by)

    return np.where((inside(-width) & ~inside(0))[..., None], _LIME, image)


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
