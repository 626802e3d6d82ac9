"""From the bytes of a picture file to its pixels: every format, mode and depth, the recorded turn, transparency."""

import contextlib
import io
import logging
import math
import struct
import sys
import threading
from collections.abc import Callable, Iterator

import numpy as np
from jaxtyping import Bool, Float32, Num, UInt8
from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from fame_jax.data.kinds import START, kind, why_unread
from fame_jax.data.tags import orientation, pixels_only

Pixels = Float32[np.ndarray, "height width 3"]
"""One image on the host: RGB in [0, 1]."""

MAX_PIXELS = 150_000_000
"""Larger pictures are refused before they are decoded."""

_BITS, _PHOTOMETRIC, _SAMPLE_FORMAT = 258, 262, 339  # TIFF tags.
_WHITE_IS_ZERO, _SIGNED = 0, 2

# Pillow keeps the high byte of 16-bit colour. Told that the bytes come in the other order, it keeps the low one.
_OTHER = {"L": "B", "B": "L", "N": "B" if sys.byteorder == "little" else "L"}
_LOW_BYTE = {f"{mode};16{order}": f"{mode};16{other}" for mode in ("RGB", "RGBA") for order, other in _OTHER.items()}

_RAW_PROFILE = "Raw profile type exif"


class _Jpeg(JpegImagePlugin.JpegImageFile):
    """Of several pictures the first, and no look at the EXIF block, of whose oddities Pillow warns."""

    def getexif(self) -> Image.Exif:
        """An empty one."""
        return Image.Exif()


_PLUGINS: dict[str, Callable[[io.BytesIO], ImageFile.ImageFile]] = {
    "BMP": BmpImagePlugin.BmpImageFile,
    "GIF": GifImagePlugin.GifImageFile,
    "JPEG": _Jpeg,
    "PNG": PngImagePlugin.PngImageFile,
    "PPM": PpmImagePlugin.PpmImageFile,
    "TIFF": TiffImagePlugin.TiffImageFile,
    "WEBP": WebPImagePlugin.WebPImageFile,
}


class ImageError(ValueError):
    """A picture that cannot be read; the message is one line and names the file and the reason."""


def decode(data: bytes, name: str) -> UInt8[np.ndarray, "height width 3"] | Pixels:
    """The pixels of a file, upright and laid over white: of 8 bits where the file has no more than that.

    Args:
        data: the file.
        name: stands for it in errors.

    Returns:
        `uint8 [H, W, 3]`, or `float32 [H, W, 3]` in [0, 1].

    Raises:
        ImageError: see `fame_jax.data.images.read_image`.
    """
    try:
        with np.errstate(all="ignore"):
            pixels = _pixels(data)
        if pixels.size == 0:
            raise ImageError("it is damaged: it has no pixels")
        return pixels
    except ImageError as error:
        reason = str(error)
    except Exception as error:  # On damaged files the decoders raise nearly anything.
        reason = f"it is damaged or cut short ({error})"
    raise ImageError(f"{name}: {' '.join(reason.split())}")


def check_size(width: int, height: int) -> None:
    """Refuses a picture of more than `MAX_PIXELS`, or of so many that Pillow has been told to refuse it."""
    if width * height > MAX_PIXELS:
        raise ImageError(f"{width}x{height} pixels are above the limit of {MAX_PIXELS // 10**6} million")
    if Image.MAX_IMAGE_PIXELS is not None and width * height > 2 * Image.MAX_IMAGE_PIXELS:
        raise ImageError(f"its size of {width}x{height} pixels exceeds limit 2 * PIL.Image.MAX_IMAGE_PIXELS")


def _pixels(data: bytes) -> UInt8[np.ndarray, "height width 3"] | Pixels:
    if not data:
        raise ImageError("the file is empty")
    found = kind(data[:START])
    if found is None:
        raise ImageError(why_unread(data[:START]))
    if found == "HDF5":
        return _hdf5(data)
    picture, turn = None, 1
    if found == "TIFF":
        data, turn = pixels_only(data), orientation(data)
    elif found == "PNG":
        data = _without_metadata(data)
    try:
        if not data.startswith(b"MM\0+"):  # Of BigTIFF, Pillow knows one order of bytes.
            picture = _opened(data, found)
    except (SyntaxError, IndexError, TypeError, struct.error):
        if found != "TIFF":
            raise
    if picture is None or _is_deep_and_planar(picture):
        return _turned(_tiff(data), turn)
    pixels = _decoded(picture, data, found)
    return _turned(pixels, turn if found == "TIFF" else orientation(_exif(picture)))


def _opened(data: bytes, found: str) -> ImageFile.ImageFile:
    """The plugins themselves, since `Image.open` warns of large pictures, and filters of warnings are the process's."""
    with _unlogged("PIL.TiffImagePlugin"):
        picture = _PLUGINS[found](io.BytesIO(data))
    check_size(*picture.size)
    if found == "TIFF":
        if max((tile.extents[3] for tile in picture.tile if tile.extents), default=0) < picture.height:
            raise ImageError("it is cut short: strips of pixels are missing")
        # Otherwise it would look at the size once more, and warn.
        picture.im = Image.new(picture.mode, picture.size).im
    return picture


def _without_metadata(data: bytes) -> bytes:
    """A PNG file of what its pixels and their turn need: Pillow warns of, or refuses, what else is damaged."""
    kept, at = [data[:8]], 8
    while at < len(data):
        length, name = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        chunk = data[at : at + 12 + length]
        if name[:1].isupper() or name in (b"tRNS", b"eXIf") or chunk[8:].startswith(_RAW_PROFILE.encode()):
            kept.append(chunk)
        at += 12 + length
    return b"".join(kept)


def _exif(picture: Image.Image) -> bytes:
    """The EXIF block; empty if there is none. ImageMagick writes it into PNG files as text."""
    text = picture.info.get(_RAW_PROFILE)
    if not isinstance(text, str):
        return picture.info.get("exif", b"")
    with contextlib.suppress(ValueError):
        return bytes.fromhex("".join(text.split("\n")[3:]))
    return b""


def _decoded(picture: ImageFile.ImageFile, data: bytes, found: str) -> UInt8[np.ndarray, "height width 3"] | Pixels:
    rawmode = _rawmode(picture)  # Decoding empties it.
    if picture.mode.startswith("I") or picture.mode == "F":
        return _grey(picture)
    if rawmode == "LA;16B":
        # Two samples of two bytes are read as four samples of one.
        return _over_white(np.asarray(_reread(data, found, "RGBA")).view(">u2") / 65535)
    if rawmode in _LOW_BYTE:
        high, low = np.asarray(picture), np.asarray(_reread(data, found, _LOW_BYTE[rawmode]))
        samples = high.astype(np.uint16) << 8 | low
        return _over_white(samples / 65535, _is_key(samples, picture))
    if picture.has_transparency_data:
        white = Image.new("RGBA", picture.size, "white")
        return np.asarray(Image.alpha_composite(white, picture.convert("RGBA")).convert("RGB"))
    return np.asarray(picture.convert("RGB"))


def _grey(picture: Image.Image) -> Pixels:
    """One sample a pixel, of more than 8 bits; Pillow's own conversion would clip it at 255."""
    tags = getattr(picture, "tag_v2", {})
    if tags.get(_SAMPLE_FORMAT, (1,))[0] == _SIGNED:
        raise ImageError("its pixels are signed integers, which have no white")
    samples = np.asarray(picture)[..., None]
    if samples.dtype == np.int32:
        samples = samples.view(np.uint32)  # Pillow has no unsigned 32-bit mode.
    values = _scaled(samples, tags.get(_BITS, (16,))[0], tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO)
    return _over_white(values, _is_key(samples, picture))


def _tiff(data: bytes) -> Pixels:
    """The TIFF layouts that Pillow does not know: floating-point colour, half and double precision, deep planes."""
    import tifffile

    with _unlogged("tifffile"), tifffile.TiffFile(io.BytesIO(data)) as file:
        page = file.pages.first
        check_size(page.imagewidth, page.imagelength)
        photometric = tifffile.PHOTOMETRIC
        if page.photometric not in (photometric.MINISWHITE, photometric.MINISBLACK, photometric.RGB):
            raise ImageError(f"it is a TIFF of a kind that is not read (photometric {page.photometric})")
        if page.samplesperpixel > 4:
            raise ImageError(f"it has {page.samplesperpixel} samples a pixel")
        if math.prod(page.chunked) > len(page.dataoffsets):
            raise ImageError("it is cut short: strips of pixels are missing")
        samples = page.asarray(maxworkers=1)
        if samples.size and samples.dtype.kind not in "uf":
            raise ImageError(f"its pixels are {samples.dtype.name}: neither unsigned integers nor floating-point")
        if page.planarconfig == tifffile.PLANARCONFIG.SEPARATE and samples.ndim == 3:
            samples = np.moveaxis(samples, 0, -1)
        samples = samples.reshape(page.imagelength, page.imagewidth, -1)
        premultiplied = tifffile.EXTRASAMPLE.ASSOCALPHA in page.extrasamples
        values = _scaled(samples, page.bitspersample, page.photometric == photometric.MINISWHITE)
    return _over_white(values, premultiplied=premultiplied)


@contextlib.contextmanager
def _unlogged(name: str) -> Iterator[None]:
    """Without the records that this thread makes with a library's logger; those of other threads are left alone."""
    logger, here = logging.getLogger(name), threading.get_ident()

    def elsewhere(record: logging.LogRecord) -> bool:
        return record.thread != here

    logger.addFilter(elsewhere)
    try:
        yield
    finally:
        logger.removeFilter(elsewhere)


def _hdf5(data: bytes) -> UInt8[np.ndarray, "height width 3"]:
    """The dataset `data` of a file that holds its own pixels; links to other files are not followed."""
    try:
        import h5py
    except ImportError:
        raise ImageError("it is HDF5, and reading that needs h5py: pip install h5py") from None
    with h5py.File(io.BytesIO(data), "r") as file:
        crop = file["data"] if isinstance(file.get("data", getlink=True), h5py.HardLink) else None
        if not isinstance(crop, h5py.Dataset):
            raise ImageError("it is HDF5 without a dataset of its own that is called data")
        if crop.is_virtual or crop.external:
            raise ImageError("it is HDF5 whose pixels are in another file")
        if crop.dtype != np.uint8 or crop.ndim != 3 or crop.shape[2] != 3:
            raise ImageError(f"its data is {crop.dtype} {list(crop.shape)}, expected uint8 [height, width, 3]")
        check_size(crop.shape[1], crop.shape[0])
        return np.asarray(crop)


def _scaled(samples: Num[np.ndarray, "..."], bits: int, white_is_zero: bool) -> Num[np.ndarray, "..."]:
    values = samples if samples.dtype.kind == "f" else samples / (2**bits - 1)
    return 1 - values if white_is_zero else values


def _over_white(
    samples: Num[np.ndarray, "height width samples"],
    clear: Bool[np.ndarray, "height width"] | None = None,
    premultiplied: bool = False,
) -> Pixels:
    """Grey or RGB, alone or with alpha last, laid over white."""
    count = samples.shape[-1]
    if count > 4:
        raise ImageError(f"it has {count} samples a pixel")
    if not np.isfinite(samples).all():
        raise ImageError("it has pixels that are not finite")
    low, high = samples.min(initial=0), samples.max(initial=0)
    if low < 0 or high > 1:
        raise ImageError(f"its pixels run from {low:g} to {high:g}: floating-point pixels have to lie in [0, 1]")
    colour = samples[..., : 1 if count < 3 else 3]
    alpha = samples[..., -1:] if count in (2, 4) else np.ones_like(samples[..., :1])
    if clear is not None:
        alpha = np.where(clear[..., None], 0, alpha)
    pixels = (colour if premultiplied else colour * alpha) + (1 - alpha)
    return np.clip(np.broadcast_to(pixels, (*pixels.shape[:2], 3)), 0, 1).astype(np.float32)


def _turned(pixels: Num[np.ndarray, "height width 3"], turn: int) -> Num[np.ndarray, "rows columns 3"]:
    """Upright, whatever of the eight turns of EXIF the camera recorded."""
    if turn in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if turn in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if turn in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def _is_key(samples: Num[np.ndarray, "height width samples"], picture: Image.Image) -> Bool[np.ndarray, "..."] | None:
    """Where the pixel has the one colour that the file declares transparent; None if it declares none."""
    key = picture.info.get("transparency")
    return None if key is None else np.all(samples == np.asarray(key, samples.dtype), axis=-1)


def _rawmode(picture: ImageFile.ImageFile) -> str | None:
    """How Pillow is about to unpack the samples; None where it does not say."""
    arguments = picture.tile[0].args if picture.tile else None
    first = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
    return first if isinstance(first, str) else None


def _reread(data: bytes, found: str, rawmode: str) -> ImageFile.ImageFile:
    """The picture, its samples about to be unpacked in another way."""
    picture = _opened(data, found)
    picture.tile = [
        tile._replace(args=(rawmode, *tile.args[1:]) if isinstance(tile.args, tuple) else rawmode)
        for tile in picture.tile
    ]
    return picture


def _is_deep_and_planar(picture: Image.Image) -> bool:
    """A TIFF with the colours one after the other in more than 8 bits, which Pillow takes for 8 bits."""
    tags = getattr(picture, "tag_v2", {})
    return picture.format == "TIFF" and tags.get(284) == 2 and max(tags.get(_BITS, (1,))) > 8
