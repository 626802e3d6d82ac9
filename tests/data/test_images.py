"""Files of every mode are made here with known pixels; the oracle for geometry is torchvision on PIL images."""

import importlib.metadata
import io
import re
import struct
import subprocess
import sys
import threading
import warnings
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageOps

from fame_jax.data import ImageError, decode_image, images, load, read_image, resize_and_crop, sample, sample_path

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


# Every mode of 8 bits.


@pytest.mark.parametrize("format", ["PNG", "BMP", "TIFF", "WEBP"])
def test_lossless_rgb_is_exact(format):
    image = decode_image(encoded(RGB, format, **({"lossless": True} if format == "WEBP" else {})))
    assert image.dtype == np.float32
    np.testing.assert_array_equal(image, unit(RGB))


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_deflate", "packbits"])
def test_compressed_tiff_is_exact(compression):
    np.testing.assert_array_equal(decode_image(encoded(RGB, "TIFF", compression=compression)), unit(RGB))


def test_planar_tiff_is_exact():
    data = tiff(np.moveaxis(RGB, -1, 0), photometric="rgb", planarconfig="separate")
    np.testing.assert_array_equal(decode_image(data), unit(RGB))


def test_jpeg_is_near_its_source():
    smooth = np.stack(np.meshgrid(np.arange(0, 240, 10), np.arange(0, 240, 10)), -1).astype(np.uint8)
    colours = np.concatenate([smooth, smooth[..., :1]], -1)
    assert abs(decode_image(encoded(colours, "JPEG", quality=98, subsampling=0)) - unit(colours)).max() < 4 / 255


def test_jpeg_equals_pillows_decoding():
    data = encoded(RGB, "JPEG")
    np.testing.assert_array_equal(decode_image(data), unit(np.asarray(Image.open(io.BytesIO(data)))))


@pytest.mark.parametrize("format", ["PNG", "BMP", "TIFF", "GIF"])
def test_greyscale_has_three_equal_channels(format):
    np.testing.assert_array_equal(decode_image(encoded(RGB[..., 0], format)), unit(grey(RGB[..., 0])))


@pytest.mark.parametrize("format", ["PNG", "BMP", "TIFF", "GIF"])
def test_one_bit_is_black_and_white(format):
    bits = RGB[..., 0] > 127
    np.testing.assert_array_equal(decode_image(encoded(bits, format)), grey(bits.astype(np.float32)))


@pytest.mark.parametrize("format", ["PNG", "BMP", "TIFF", "GIF"])
def test_palette_gives_its_colours(format):
    picture = Image.new("P", (37, 24))
    picture.putdata((RGB[..., 0] % 3).ravel().tolist())
    colours = np.array([[250, 10, 20], [3, 200, 40], [5, 6, 230]], np.uint8)
    picture.putpalette(colours.tobytes())
    file = io.BytesIO()
    picture.save(file, format)
    np.testing.assert_array_equal(decode_image(file.getvalue()), unit(colours[RGB[..., 0] % 3]))


@pytest.mark.parametrize("format", ["PNG", "GIF"])
def test_transparent_palette_entry_is_white(format):
    picture = Image.new("P", (37, 24))
    picture.putdata((RGB[..., 0] % 3).ravel().tolist())
    colours = np.array([[250, 10, 20], [0, 0, 0], [5, 6, 230]], np.uint8)
    picture.putpalette(colours.tobytes())
    file = io.BytesIO()
    picture.save(file, format, transparency=1)
    colours[1] = 255
    np.testing.assert_array_equal(decode_image(file.getvalue()), unit(colours[RGB[..., 0] % 3]))


def test_half_transparent_palette_entries_are_blended_with_white():
    picture = Image.new("P", (2, 1))
    picture.putdata([0, 1])
    picture.putpalette([0, 0, 0, 255, 0, 0])
    file = io.BytesIO()
    picture.save(file, "PNG", transparency=bytes([0, 128]))
    image = decode_image(file.getvalue())
    np.testing.assert_array_equal(image[0, 0], [1, 1, 1])
    np.testing.assert_allclose(image[0, 1], [1, 127 / 255, 127 / 255], atol=1 / 255)


@pytest.mark.parametrize("format", ["PNG", "TIFF", "WEBP"])
def test_alpha_is_laid_over_white(format):
    options = {"lossless": True, "exact": True} if format == "WEBP" else {}
    expected = over_white(unit(RGB), unit(LEVELS[..., 3]))
    np.testing.assert_allclose(decode_image(encoded(LEVELS, format, **options)), expected, atol=1 / 255)


def test_colour_under_full_transparency_does_not_show():
    hidden = LEVELS.copy()
    hidden[..., 3] = 0
    np.testing.assert_array_equal(decode_image(encoded(hidden, "PNG")), 1)


def test_colour_under_no_transparency_is_exact():
    opaque = LEVELS.copy()
    opaque[..., 3] = 255
    np.testing.assert_array_equal(decode_image(encoded(opaque, "PNG")), unit(RGB))


def test_grey_with_alpha_is_laid_over_white():
    data = encoded(LEVELS[..., [0, 3]], "PNG")
    expected = over_white(unit(grey(LEVELS[..., 0])), unit(LEVELS[..., 3]))
    np.testing.assert_allclose(decode_image(data), expected, atol=1 / 255)


def test_declared_transparent_colour_is_white():
    image = decode_image(encoded(RGB, "PNG", transparency=tuple(int(level) for level in RGB[3, 5])))
    expected = unit(RGB)
    expected[3, 5] = 1
    np.testing.assert_array_equal(image, expected)


def test_first_frame_counts():
    frames = [Image.new("RGB", (9, 7), colour) for colour in ("red", "blue")]
    for format in ("GIF", "PNG", "WEBP", "TIFF"):
        file = io.BytesIO()
        frames[0].save(file, format, save_all=True, append_images=frames[1:])
        np.testing.assert_allclose(decode_image(file.getvalue())[3, 4], [1, 0, 0], atol=4 / 255)


# CMYK. A constant picture survives JPEG within rounding.


def naive_rgb(cyan, magenta, yellow, black):
    return np.array([(1 - ink) * (1 - black) for ink in (cyan, magenta, yellow)])


@pytest.mark.parametrize("format", ["JPEG", "TIFF"])
def test_cmyk_is_ink_on_white(format):
    inks = (200, 30, 90, 40)
    file = io.BytesIO()
    Image.new("CMYK", (16, 16), inks).save(file, format)
    expected = naive_rgb(*(ink / 255 for ink in inks))
    np.testing.assert_allclose(decode_image(file.getvalue()), np.broadcast_to(expected, (16, 16, 3)), atol=2 / 255)


def test_ycck_is_undone():
    # Adobe's files hold 255 - ink. Where the last byte of the marker is 2, the first three are turned about once more,
    # which gives the inks back, and stored as luma and chroma.
    inks = np.array([200, 30, 90, 40])
    red, green, blue = inks[:3]
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    stored = [luma, 128 + 0.564 * (blue - luma), 128 + 0.713 * (red - luma), 255 - inks[3]]
    file = io.BytesIO()
    # Pillow inverts on saving, so that what is stored is what is meant.
    Image.new("CMYK", (16, 16), tuple(255 - round(value) for value in stored)).save(file, "JPEG", quality=100)
    data = bytearray(file.getvalue())
    data[data.index(b"Adobe") + 11] = 2
    expected = naive_rgb(*inks / 255)
    np.testing.assert_allclose(decode_image(bytes(data)), np.broadcast_to(expected, (16, 16, 3)), atol=4 / 255)


# More than 8 bits.


@pytest.mark.parametrize("samples", [1, 2, 3, 4])
def test_sixteen_bit_png_is_scaled_by_65535(samples):
    deep = DEEP[..., [0, 3]] if samples == 2 else DEEP[..., :samples]
    unit_deep = deep / 65535
    colour = unit_deep[..., :3] if samples > 2 else grey(unit_deep[..., 0])
    expected = over_white(colour, unit_deep[..., -1]) if samples in (2, 4) else colour
    np.testing.assert_allclose(decode_image(png16(deep)), expected, atol=1e-6)


@pytest.mark.parametrize("samples", [1, 3])
def test_declared_transparent_colour_of_sixteen_bits_is_white(samples):
    deep = DEEP[..., :samples].copy()
    deep[2, 3] = deep[0, 0] ^ 1  # Differs in the last bit only, so it is another colour.
    image = decode_image(png16(deep, transparency=deep[0, 0]))
    assert (image[0, 0] == 1).all()
    np.testing.assert_allclose(image[2, 3], np.broadcast_to(deep[2, 3] / 65535, 3), atol=1e-6)


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("samples", [1, 3, 4])
def test_sixteen_bit_tiff_is_scaled_by_65535(samples, compression, byteorder):
    if samples == 1:
        data = tiff(DEEP[..., 0], compression=compression, byteorder=byteorder)
        expected = grey(DEEP[..., 0] / 65535)
    else:
        extra = {"extrasamples": ["unassalpha"]} if samples == 4 else {}
        data = tiff(
            DEEP[..., :samples],
            photometric="rgb",
            compression=compression,
            byteorder=byteorder,
            rowsperstrip=7,
            **extra,
        )
        expected = DEEP[..., :3] / 65535
        expected = over_white(expected, DEEP[..., 3] / 65535) if samples == 4 else expected
    np.testing.assert_allclose(decode_image(data), expected, atol=1e-6)


def test_sixteen_bit_tiff_with_lzw_is_scaled_by_65535():
    data = encoded(DEEP[..., 0], "TIFF", compression="tiff_lzw")
    np.testing.assert_allclose(decode_image(data), grey(DEEP[..., 0] / 65535), atol=1e-6)


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_deep_planar_tiff_is_read(dtype):
    planes = np.moveaxis(DEEP[..., :3], -1, 0)
    planes = planes if dtype == np.uint16 else (planes / 65535).astype(dtype)
    data = tiff(planes, photometric="rgb", planarconfig="separate")
    np.testing.assert_allclose(decode_image(data), DEEP[..., :3] / 65535, atol=1e-6)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_tiff_whose_white_is_zero_is_inverted(dtype):
    array = {np.uint8: RGB[..., 0], np.uint16: DEEP[..., 0], np.float32: unit(RGB[..., 0])}[dtype]
    scale = 1 if dtype is np.float32 else np.iinfo(dtype).max
    image = decode_image(tiff(array, photometric="miniswhite"))
    np.testing.assert_allclose(image, grey(1 - array / scale), atol=1e-6)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("samples", [1, 3])
def test_floating_point_tiff_is_taken_as_it_is(samples, dtype):
    array = (DEEP[..., 0] if samples == 1 else DEEP[..., :3]) / 65535
    array = array.astype(dtype)
    expected = grey(array) if samples == 1 else array
    data = tiff(array, **({} if samples == 1 else {"photometric": "rgb"}))
    np.testing.assert_allclose(decode_image(data), expected.astype(np.float32), atol=1e-7)


@pytest.mark.parametrize("kind", ["unassalpha", "assocalpha"])
def test_floating_point_alpha_is_laid_over_white(kind):
    array = (DEEP / 65535).astype(np.float32)
    stored = array.copy()
    if kind == "assocalpha":
        stored[..., :3] *= stored[..., 3:]
    data = tiff(stored, photometric="rgb", extrasamples=[kind])
    np.testing.assert_allclose(decode_image(data), over_white(array[..., :3], array[..., 3]), atol=1e-6)


def test_thirty_two_bit_tiff_is_scaled_by_its_whole_range():
    data = tiff(DEEP[..., 0].astype(np.uint32) * 65537)
    np.testing.assert_allclose(decode_image(data), grey(DEEP[..., 0] / 65535), atol=1e-6)


# EXIF.


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["jpeg", "png", "webp", "tiff", "deep png", "deep tiff", "float tiff"])
def test_recorded_turn_is_carried_out(orientation, kind):
    exif = Image.Exif()
    exif[274] = orientation
    corner = np.full((16, 32), 0.2, np.float32)
    corner[:8, :8] = 0.8  # Bright in the upper left corner before the turn.
    levels, deep = grey((corner * 255).astype(np.uint8)), (corner * 65535).astype(np.uint16)
    data = {
        "jpeg": lambda: encoded(levels, "JPEG", exif=exif, quality=95),
        "png": lambda: encoded(levels, "PNG", exif=exif),
        "webp": lambda: encoded(levels, "WEBP", exif=exif, lossless=True),
        "tiff": lambda: tiff(levels, photometric="rgb", extratags=[(274, 3, 1, orientation, True)]),
        "deep png": lambda: encoded(deep, "PNG", exif=exif),
        "deep tiff": lambda: tiff(grey(deep), photometric="rgb", extratags=[(274, 3, 1, orientation, True)]),
        "float tiff": lambda: tiff(grey(corner), photometric="rgb", extratags=[(274, 3, 1, orientation, True)]),
    }[kind]()
    # Which corner of the upright picture the recorded first row and column meet in (EXIF 2.3, tag 274).
    row, column = {1: (0, 0), 2: (0, 1), 3: (1, 1), 4: (1, 0), 5: (0, 0), 6: (0, 1), 7: (1, 1), 8: (1, 0)}[orientation]
    image = decode_image(data)
    assert image.shape == ((16, 32, 3) if orientation < 5 else (32, 16, 3))
    expected = np.full(image.shape, 0.2)
    expected[:8, :8] = 0.8
    expected = expected[::-1] if row else expected
    expected = expected[:, ::-1] if column else expected
    np.testing.assert_allclose(image, expected, atol=4 / 255)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_array_turn_equals_pillows(orientation):
    exif = Image.Exif()
    exif[274] = orientation
    picture = Image.open(io.BytesIO(encoded(RGB, "PNG", exif=exif)))
    turned = np.asarray(ImageOps.exif_transpose(picture))
    np.testing.assert_array_equal(images._turned(unit(RGB), orientation), unit(turned))


def test_broken_exif_does_not_hide_the_picture():
    for exif in (
        b"Exif\0\0garbage",
        b"Exif\0\0II*\0\xff\xff\xff\xff",
        b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + b"\xff" * 40,
    ):
        image = decode_image(encoded(np.full((8, 8, 3), 90, np.uint8), "JPEG", exif=exif))
        np.testing.assert_allclose(image, 90 / 255, atol=1 / 255)


def test_colour_profile_is_left_alone():
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    np.testing.assert_array_equal(decode_image(encoded(RGB, "PNG", icc_profile=profile)), unit(RGB))


# What cannot be read.


def reason(path):
    with pytest.raises(ImageError) as error:
        read_image(path)
    message = str(error.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message


def test_missing_file_is_named(tmp_path):
    assert "no such file" in reason(tmp_path / "none.jpg")


def test_folder_is_named(tmp_path):
    assert "folder" in reason(tmp_path)


def test_path_that_cannot_exist_is_named():
    assert "there is no such file" in reason("a\0b.png")


def test_empty_file_is_named(tmp_path):
    (tmp_path / "empty.png").write_bytes(b"")
    assert "empty" in reason(tmp_path / "empty.png")


@pytest.mark.parametrize(
    "data", [b"hello", b"\0" * 100, b"II*\0", b"MM\0*" + b"\xff" * 50, b"%!PS-Adobe-3.0 EPSF-3.0\n", b"<svg/>"]
)
def test_garbage_is_named(tmp_path, data):
    (tmp_path / "garbage.jpg").write_bytes(data)
    assert any(word in reason(tmp_path / "garbage.jpg") for word in ("no picture of a kind", "damaged"))


FILES = {
    "jpeg": lambda: encoded(RGB, "JPEG"),
    "progressive": lambda: encoded(RGB, "JPEG", progressive=True),
    "png": lambda: encoded(RGB, "PNG"),
    "deep png": lambda: png16(DEEP[..., :3]),
    "gif": lambda: encoded(RGB[..., 0], "GIF"),
    "bmp": lambda: encoded(RGB, "BMP"),
    "webp": lambda: encoded(RGB, "WEBP"),
    "tiff": lambda: encoded(RGB, "TIFF"),
    "lzw": lambda: encoded(RGB, "TIFF", compression="tiff_lzw"),
    "float tiff": lambda: tiff(unit(RGB), photometric="rgb"),
}


@pytest.mark.parametrize("kind", FILES)
def test_a_file_cut_short_is_refused_or_whole(tmp_path, kind, capfd):
    data, path = FILES[kind](), tmp_path / "cut"
    whole = decode_image(data)
    outcomes = []
    for share in (0.01, 0.1, 0.3, 0.5, 0.7, 0.9):
        path.write_bytes(data[: int(len(data) * share)])
        try:
            image = read_image(path)
        except ImageError as error:
            outcomes.append(str(error))
        else:
            np.testing.assert_array_equal(image, whole)
    assert len(outcomes) >= 4
    assert all(outcome.startswith(f"{path}: ") for outcome in outcomes)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("kind", FILES)
def test_a_damaged_file_is_read_or_refused_and_nothing_else(kind, capfd):
    data, random = FILES[kind](), np.random.default_rng(2)
    for _ in range(60):
        broken = bytearray(data)
        for position in random.integers(0, len(data) if random.random() < 0.5 else min(64, len(data)), 4):
            broken[position] = random.integers(0, 256)
        try:
            image = decode_image(bytes(broken))
        except ImageError:
            continue
        assert image.dtype == np.float32
        assert np.isfinite(image).all()
        assert image.min() >= 0
        assert image.max() <= 1
    captured = capfd.readouterr()
    assert not captured.out
    assert not captured.err or kind == "lzw"  # libtiff, in C, has its say about damaged codes.


def test_picture_above_the_limit_is_refused_before_it_is_decoded(tmp_path):
    def bomb(width, height):
        header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
        start = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + b"IHDR" + header
        return start + struct.pack(">I", zlib.crc32(b"IHDR" + header)) + struct.pack(">I", 10**6) + b"IDAT"

    for width, height in ((20_000, 7_501), (60_000, 60_000)):
        (tmp_path / "bomb.png").write_bytes(bomb(width, height))
        assert re.search("above the limit|exceeds limit", reason(tmp_path / "bomb.png"))
    # One row fewer is inside the limit: it is only cut short.
    (tmp_path / "large.png").write_bytes(bomb(20_000, 7_500))
    assert "above the limit" not in reason(tmp_path / "large.png")


def test_floating_point_tiff_above_the_limit_is_refused(monkeypatch):
    monkeypatch.setattr(images, "MAX_PIXELS", 24 * 37 - 1)
    for data in (tiff(unit(RGB), photometric="rgb"), encoded(RGB, "PNG")):
        with pytest.raises(ImageError, match="37x24 pixels are above the limit"):
            decode_image(data)


@pytest.mark.parametrize("size", [(0, 5), (5, 0), (0, 0)])
def test_picture_without_pixels_is_refused(size):
    header = struct.pack(">IIBBBBB", *size, 8, 2, 0, 0, 0)
    data = encoded(RGB, "PNG")
    data = data[:16] + header + struct.pack(">I", zlib.crc32(b"IHDR" + header)) + data[33:]
    with pytest.raises(ImageError):
        decode_image(data)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("samples", [1, 3])
def test_pixels_that_are_not_finite_are_refused(value, samples):
    array = unit(RGB) if samples == 3 else unit(RGB[..., 0])
    array[3, 4] = value
    with pytest.raises(ImageError, match="not finite"):
        decode_image(tiff(array, **({"photometric": "rgb"} if samples == 3 else {})))


def test_floating_point_pixels_outside_the_range_are_refused():
    with pytest.raises(ImageError, match=r"run from 0 to 255: .*\[0, 1\]"):
        decode_image(tiff(np.array([[0, 255]], np.float32)))
    with pytest.raises(ImageError, match=r"run from -1 to 1"):
        decode_image(tiff(np.array([[-1, 1]], np.float32)))


@pytest.mark.parametrize("dtype", [np.int16, np.int32])
def test_signed_pixels_are_refused(dtype):
    with pytest.raises(ImageError, match="signed"):
        decode_image(tiff(np.arange(12, dtype=dtype).reshape(3, 4)))


def test_no_warning_leaks_from_a_picture_between_pillows_limits(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 500)  # Pillow warns above it and raises above twice as much.
    np.testing.assert_array_equal(decode_image(encoded(RGB, "PNG")), unit(RGB))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(ImageError, match="exceeds limit"):
        decode_image(encoded(RGB, "PNG"))


def test_reading_in_threads_leaves_the_warning_filters_as_they_were():
    before, data = list(warnings.filters), encoded(RGB, "PNG")
    threads = [threading.Thread(target=lambda: [decode_image(data) for _ in range(20)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert warnings.filters == before


# Resize and crop.


def torchvision_crop(torchvision, picture, resize, crop):
    from torchvision import transforms

    assert torchvision is not None
    chain = transforms.Compose([transforms.Resize(resize), transforms.CenterCrop(crop), transforms.ToTensor()])
    return chain(picture).numpy().transpose(1, 2, 0)


SIZES = [(48, 48), (47, 63), (63, 47), (101, 33), (33, 100), (500, 21), (7, 400), (1, 90), (90, 1), (20, 31), (57, 56)]


@pytest.mark.parametrize(("resize", "crop"), [(40, 32), (33, 32), (32, 32), (45, 20), (41, 7)])
@pytest.mark.parametrize("size", SIZES)
def test_resize_and_crop_equals_torchvision_bit_for_bit(torchvision, size, resize, crop):
    levels = np.random.default_rng(3).integers(0, 256, (*size, 3), dtype=np.uint8)
    expected = torchvision_crop(torchvision, Image.fromarray(levels), resize, crop)
    image = resize_and_crop(unit(levels), resize, crop)
    assert image.dtype == np.float32
    np.testing.assert_array_equal(image, expected)


@pytest.mark.parametrize("resize", [232, 256])
def test_the_cat_at_full_size_equals_torchvision_bit_for_bit(torchvision, resize):
    expected = torchvision_crop(torchvision, Image.open(sample_path("cat")).convert("RGB"), resize, 224)
    np.testing.assert_array_equal(load(sample_path("cat"), resize, 224), expected)


@pytest.mark.parametrize("data", [encoded(RGB, "PNG"), png16(DEEP[..., :3])], ids=["8 bits", "16 bits"])
def test_load_is_read_then_resize_and_crop(tmp_path, data):
    (tmp_path / "a.png").write_bytes(data)
    expected = resize_and_crop(read_image(tmp_path / "a.png"), 20, 16)
    np.testing.assert_array_equal(load(tmp_path / "a.png", 20, 16), expected)


def test_deep_picture_is_not_rounded_to_levels_on_the_way():
    image = resize_and_crop(np.full((40, 50, 3), 0.5004, np.float32), 20, 16)
    np.testing.assert_allclose(image, 0.5004, atol=1e-6)


@pytest.mark.parametrize("size", [(47, 63), (101, 33), (20, 31)])
def test_deep_picture_is_resized_like_the_8_bit_one_up_to_rounding(size):
    levels = np.random.default_rng(4).integers(0, 256, (*size, 3), dtype=np.uint8)
    eight = resize_and_crop(unit(levels), 40, 32)
    deep = resize_and_crop(np.clip(unit(levels) + np.float32(1e-5), 0, 1), 40, 32)
    assert deep.dtype == np.float32
    np.testing.assert_allclose(deep, eight, atol=1.1 / 255)  # Pillow rounds after each of its two passes.
    assert not np.array_equal(deep, eight)


def test_picture_of_the_right_size_is_untouched():
    np.testing.assert_array_equal(resize_and_crop(unit(RGB[:, :24]), 24, 24), unit(RGB[:, :24]))


def test_crop_larger_than_the_short_side_is_refused(tmp_path):
    (tmp_path / "a.png").write_bytes(encoded(RGB, "PNG"))
    with pytest.raises(ImageError, match=r"a\.png: a crop of 33 pixels does not fit a short side of 32"):
        load(tmp_path / "a.png", 32, 33)
    with pytest.raises(ImageError, match="a crop of 0 pixels"):
        resize_and_crop(unit(RGB), 32, 0)


def test_aspect_that_would_fill_the_memory_is_refused():
    with pytest.raises(ImageError, match="256x5120000 pixels are above the limit"):
        resize_and_crop(np.zeros((20_000, 1, 3), np.float32), 256, 224)


# Packaged photographs.


@pytest.mark.parametrize(("name", "shape"), [("cat", (300, 451, 3)), ("portrait", (512, 512, 3))])
def test_sample_ships_in_the_wheel_and_is_scikit_images(name, shape):
    import skimage.data

    image = sample(name)
    assert image.shape == shape
    function = {"cat": skimage.data.chelsea, "portrait": skimage.data.astronaut}[name]
    np.testing.assert_array_equal(image, unit(function()))
    shipped = {str(file) for file in importlib.metadata.files("scikit-image") or ()}
    assert f"skimage/data/{images.SAMPLES[name]}" in shipped


def test_unknown_sample_is_refused_with_the_known_ones():
    with pytest.raises(ImageError, match="'dog': there are cat and portrait"):
        sample("dog")


def test_reading_a_picture_imports_nothing_heavy():
    code = (
        "import sys; from fame_jax.data import images; images.sample('cat');"
        "assert not {'cv2', 'tifffile', 'skimage.transform', 'flax', 'torch'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_portable_pixmaps_are_read():
    np.testing.assert_array_equal(decode_image(encoded(RGB, "PPM"), "a.ppm"), RGB.astype(np.float32) / 255)
