"""Files of every mode, made with known pixels."""

import io
import struct
import zlib

import numpy as np
import tifffile
from PIL import Image

LEVELS = np.random.default_rng(0).integers(0, 256, (24, 37, 4), dtype=np.uint8)
DEEP = np.random.default_rng(1).integers(0, 65536, (24, 37, 4), dtype=np.uint16)
RGB = LEVELS[..., :3]


def encoded(array, format, mode=None, **options):
    file = io.BytesIO()
    picture = Image.fromarray(array)
    (picture if mode is None else picture.convert(mode)).save(file, format, **options)
    return file.getvalue()


def tiff(array, **options):
    file = io.BytesIO()
    tifffile.imwrite(file, array, **options)
    return file.getvalue()


def png16(array, transparency=None):
    """A 16-bit PNG written by hand, since Pillow writes only the greyscale one."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width, samples = array.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in array)
    return b"".join(
        [
            b"\x89PNG\r\n\x1a\n",
            chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, {1: 0, 2: 4, 3: 2, 4: 6}[samples], 0, 0, 0)),
            b"" if transparency is None else chunk(b"tRNS", np.asarray(transparency, ">u2").tobytes()),
            chunk(b"IDAT", zlib.compress(rows)),
            chunk(b"IEND", b""),
        ]
    )


def unit(levels):
    return levels.astype(np.float32) / 255


def grey(plane):
    return np.repeat(plane[..., None], 3, axis=-1)


def over_white(colour, alpha):
    return colour * alpha[..., None] + 1 - alpha[..., None]
