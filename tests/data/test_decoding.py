"""Files of every mode with known pixels."""

import io

import numpy as np
import pytest
from PIL import Image, ImageOps

from fame_jax.data import decode_image, decoding
from tests.data.pictures import DEEP, LEVELS, RGB, encoded, grey, over_white, png16, tiff, unit

# Every mode of 8 bits.


@pytest.mark.parametrize("format", ["PNG", "BMP", "TIFF", "WEBP"])
def test_lossless_rgb_is_exact(format):
    image = decode_image(encoded(RGB, format, **({"lossless": True} if format == "WEBP" else {})))
    assert image.dtype == np.float32
    np.testing.assert_array_equal(image, unit(RGB))


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_deflate", "packbits"])
def test_compressed_tiff_is_exact(compression):
    np.testing.assert_array_equal(decode_image(encoded(RGB, "TIFF", compression=compression)), unit(RGB))


def test_portable_pixmaps_are_read():
    np.testing.assert_array_equal(decode_image(encoded(RGB, "PPM"), "a.ppm"), RGB.astype(np.float32) / 255)


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
    np.testing.assert_array_equal(decoding._turned(unit(RGB), orientation), unit(turned))


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
