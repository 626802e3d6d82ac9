"""What kind of picture a file is: by its first bytes, or where those are not at hand, by the ending of its name."""

import os
import re

START = 32
"""How many bytes of a file decide."""

ENDINGS = tuple(
    f".{ending}"
    for ending in "jpg jpeg jpe jfif mpo png apng ppm pgm pbm pnm pfm bmp dib tif tiff webp gif h5".split()  # noqa: SIM905
)
"""Endings of the files that are read, in small letters; `.h5` is a crop in HDF5."""

_READ = {
    "JPEG": rb"\xff\xd8\xff",
    "PNG": rb"\x89PNG\r\n\x1a\n",
    "TIFF": rb"II[*+]\0|MM\0[*+]",
    "WEBP": rb"RIFF.{4}WEBP",
    "GIF": rb"GIF8[79]a",
    "BMP": rb"BM.{12}[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0",
    "PPM": rb"P[1-6f][\s#]",
    "HDF5": rb"\x89HDF\r\n\x1a\n",
}
_UNREAD = {
    "HEIC": rb".{4}ftyp(?:hei|hev|mif1|msf1)",
    "AVIF": rb".{4}ftypavi[fs]",
    "JPEG XL": rb"\xff\x0a|\0{3}\x0cJXL ",
    "JPEG 2000": rb"\0{3}\x0cjP  |\xff\x4f\xff\x51",
}


def kind(start: bytes) -> str | None:
    """The kind of a picture that is read, as in `JPEG`; None for anything else."""
    return _first(_READ, start)


def why_unread(start: bytes) -> str:
    """Why a file whose kind is not read is refused, and what to do."""
    known = f"no picture of a kind that is read ({', '.join(_READ)})"
    found = _first(_UNREAD, start)
    if found is None:
        return f"it is {known}, or damaged"
    way = ", as `heif-convert photo.heic photo.jpg` does" if found == "HEIC" else ""
    return f"it is {found}, {known}: convert it to JPEG or PNG{way}"


def has_ending(name: str) -> bool:
    """Whether a name ends like that of a picture that is read."""
    return os.path.splitext(name)[1].lower() in ENDINGS


def _first(kinds: dict[str, bytes], start: bytes) -> str | None:
    return next((name for name, pattern in kinds.items() if re.match(pattern, start, re.DOTALL)), None)
