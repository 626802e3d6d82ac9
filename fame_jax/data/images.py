"""From a picture file to one image: `float32 [H, W, 3]`, RGB, in [0, 1].

Geometry happens here, on the host: the turn that a camera recorded, resizing and cropping. Colour profiles are left
alone, as torchvision leaves them.
"""

import importlib.resources
import os
import pathlib
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float32, Num, UInt8
from PIL import Image

from fame_jax.data.decoding import ImageError, Pixels, check_size, decode
from fame_jax.remote import located

MAX_BYTES = 1 << 30
"""Larger files are refused."""

Crop = Float32[np.ndarray, "side side 3"]
"""A square image."""


class Held(NamedTuple):
    """A picture in memory, in place of the path of a file: `str` of it is its name, which errors have."""

    data: bytes
    name: str

    def __str__(self) -> str:
        """The name."""
        return self.name


Path = str | os.PathLike[str] | Held
"""Where the bytes of a picture are."""

SAMPLES = {"cat": "chelsea.png", "portrait": "astronaut.png"}
"""Photographs inside scikit-image's wheel: Chelsea the cat (CC0) and Eileen Collins (NASA, public domain)."""


def read_image(path: Path) -> Pixels:
    """Reads a BMP, GIF, JPEG, PNG, PPM, TIFF or WebP file of any mode, size and depth.

    Also a crop in HDF5, if h5py is installed: its dataset `data` is `uint8 [H, W, 3]`, RGB.

    The turn in the EXIF data is carried out. What is transparent is laid over white. Of several frames the first
    counts. CMYK is converted without a profile. Integers of n bits are divided by 2**n - 1, 16-bit colour included, and
    floating-point pixels are taken as they are.

    Args:
        path: the file, or its bytes and name.

    Returns:
        `[H, W, 3]`, RGB in [0, 1].

    Raises:
        ImageError: if the file is missing, empty, damaged, cut short, of another format or above `MAX_PIXELS`, or has
            pixels that are negative, not finite, or floating-point and above 1.
    """
    return _unit(decode(contents(path), str(path)))


def decode_image(data: bytes, name: str = "image") -> Pixels:
    """`read_image` for the bytes of a file; `name` stands for it in errors."""
    return _unit(decode(data, name))


def contents(path: Path) -> bytes:
    """The bytes of a picture's file, whatever they are.

    Raises:
        ImageError: if it is missing, no regular file, or above `MAX_BYTES`.
    """
    if isinstance(path, Held):
        return path.data
    path = located(path)
    try:
        # A device or a pipe would be read without end.
        if path.is_file():
            with path.open("rb") as file:
                data = file.read(MAX_BYTES + 1)
            if len(data) <= MAX_BYTES:
                return data
            reason = f"it is above the limit of {MAX_BYTES >> 30} GiB for a picture"
        elif not path.exists():
            reason = "it is a link to nothing" if path.is_symlink() else "there is no such file"
        else:
            reason = "it is a folder, not a picture" if path.is_dir() else "it is no regular file"
    except (OSError, ValueError) as error:
        reason = f"it cannot be opened ({getattr(error, 'strerror', None) or error})"
    raise ImageError(f"{path}: {reason}")


def resize_and_crop(image: Pixels, resize: int, crop: int) -> Crop:
    """Scales the short side to `resize` and cuts the central `crop` by `crop` pixels out, as torchvision does.

    The rule is that of torchvision's `Resize` and `CenterCrop`: the long side becomes
    `int(resize * long / short)`, bilinear with antialiasing, and the corner of the crop is rounded half to even.
    Where all values are grey levels k/255, that is, for every 8-bit file, the result equals torchvision's on a PIL
    image bit for bit; other images are resized in floating point.

    Args:
        image: `[H, W, 3]` in [0, 1].
        resize: length of the short side in pixels.
        crop: side of the square in pixels, at most `resize`.

    Returns:
        `[crop, crop, 3]`.

    Raises:
        ImageError: if `crop` is above `resize` or below 1, or if the resized picture had more than `MAX_PIXELS`.
    """
    levels = np.rint(image * 255).astype(np.uint8)
    return _unit(_resize_and_crop(levels if np.array_equal(_unit(levels), image) else image, resize, crop))


def load(path: Path, resize: int, crop: int) -> Crop:
    """`resize_and_crop(read_image(path), resize, crop)`."""
    pixels = decode(contents(path), str(path))
    try:
        return _unit(_resize_and_crop(pixels, resize, crop))
    except ImageError as error:
        raise ImageError(f"{path}: {error}") from None


def load_whole(path: Path, longest: int) -> Pixels:
    """`shrunk(read_image(path), longest)`."""
    return shrunk(read_image(path), longest)


def shrunk(image: Pixels, longest: int) -> Float32[np.ndarray, "rows columns 3"]:
    """An image, scaled down until no side is above `longest` pixels; never cut, never enlarged."""
    scale = longest / max(image.shape[:2])
    if scale >= 1:
        return image
    height, width = (max(1, round(side * scale)) for side in image.shape[:2])
    return _resized(image, width, height)


def dimensions(path: str | os.PathLike[str]) -> tuple[int, int]:
    """Width and height of a picture as `read_image` returns it."""
    height, width, _ = decode(contents(path), str(path)).shape
    return width, height


def save_png(path: str | os.PathLike[str], image: Pixels) -> None:
    """Writes an image `[H, W, 3]` in [0, 1] as a PNG of 8 bits."""
    Image.fromarray(np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)).save(path, format="PNG")


def sample_path(name: str) -> pathlib.Path:
    """Where a packaged photograph lies; nothing is downloaded.

    Args:
        name: `"cat"` or `"portrait"`.

    Raises:
        ImageError: if there is no sample of that name.
    """
    if name not in SAMPLES:
        raise ImageError(f"no packaged photograph is called {name!r}: there are {' and '.join(SAMPLES)}")
    return pathlib.Path(str(importlib.resources.files("skimage.data") / SAMPLES[name]))


def sample(name: str) -> Pixels:
    """A packaged photograph at its full size: `"cat"` (300x451) or `"portrait"` (512x512)."""
    return read_image(sample_path(name))


def _unit(pixels: Num[np.ndarray, "height width 3"]) -> Pixels:
    return pixels.astype(np.float32) / 255 if pixels.dtype == np.uint8 else pixels


def _resize_and_crop(
    pixels: UInt8[np.ndarray, "height width 3"] | Pixels, resize: int, crop: int
) -> UInt8[np.ndarray, "side side 3"] | Crop:
    if not 1 <= crop <= resize:
        raise ImageError(f"a crop of {crop} pixels does not fit a short side of {resize}")
    height, width = pixels.shape[:2]
    longest = int(resize * max(height, width) / min(height, width))
    width, height = (resize, longest) if width <= height else (longest, resize)
    check_size(width, height)
    left, top = round((width - crop) / 2), round((height - crop) / 2)

    return _resized(pixels, width, height)[top : top + crop, left : left + crop]


def _resized(
    pixels: UInt8[np.ndarray, "height width 3"] | Pixels, width: int, height: int
) -> UInt8[np.ndarray, "rows columns 3"] | Float[np.ndarray, "rows columns 3"]:
    def scaled(plane: np.ndarray) -> np.ndarray:
        return np.asarray(Image.fromarray(plane).resize((width, height), Image.Resampling.BILINEAR))

    if pixels.dtype == np.uint8:
        return scaled(pixels)
    return np.clip(np.stack([scaled(plane) for plane in np.moveaxis(pixels, -1, 0).copy()], axis=-1), 0, 1)
