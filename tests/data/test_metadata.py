"""Of metadata only the turn counts; whatever else is in it, pictures are read, side by side and without a word."""

import contextlib
import io
import logging
import struct
import threading
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from fame_jax.data import ImageError, decode_image, decoding, tags
from fame_jax.data.kinds import kind
from tests.data.pictures import DEEP, RGB, encoded, png16, tiff, unit

# A block by hand: the turn and one odd entry, in the first directory or in the one of EXIF.

VALUES = {
    1: b"\7",
    2: b"72\0",
    3: struct.pack("<H", 72),
    4: struct.pack("<I", 72),
    5: struct.pack("<II", 72, 0),
    7: b"abcdefgh",
    10: struct.pack("<ii", -1, 0),
    11: struct.pack("<f", 1.5),
    12: struct.pack("<d", 1.5),
    13: b"\xff" * 4,
    99: b"?",
}
TAGS = (33432, 270, 282, 296, 305, 306, 34665, 34853, 513, 514, 37380, 37500, 40965)


def block(turn, odd=None, sub=False):
    """A little-endian EXIF block."""

    def directory(entries, at):
        head, tail, end = struct.pack("<H", len(entries)), b"", at + 6 + 12 * len(entries)
        for number, type_, value in sorted(entries):
            size = {2: 1, 3: 2, 4: 4, 5: 8, 10: 8, 11: 4, 12: 8, 13: 4}.get(type_, 1)
            field = value.ljust(4, b"\0") if len(value) <= 4 else struct.pack("<I", end + len(tail))
            tail += value if len(value) > 4 else b""
            head += struct.pack("<HHI", number, type_, len(value) // size) + field
        return head + b"\0" * 4 + tail

    entries = [(274, 3, struct.pack("<H", turn))]
    if not sub:
        return b"II*\0\x08\0\0\0" + directory(entries + ([odd] if odd else []), 8)
    return b"II*\0\x08\0\0\0" + directory([*entries, (34665, 4, struct.pack("<I", 38))], 8) + directory([odd], 38)


def wrapped(format, exif):
    """The picture with the block beside it."""
    payload = b"Exif\0\0" + exif
    if format == "JPEG":
        data = encoded(RGB, "JPEG", quality=95, subsampling=0)
        return data[:2] + b"\xff\xe1" + struct.pack(">H", len(payload) + 2) + payload + data[2:]
    if format == "PNG":
        data = encoded(RGB, "PNG")
        chunk = struct.pack(">I", len(exif)) + b"eXIf" + exif + struct.pack(">I", zlib.crc32(b"eXIf" + exif))
        return data[:33] + chunk + data[33:]
    return encoded(RGB, "WEBP", lossless=True, exif=payload)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("sub", [False, True])
def test_odd_entries_of_any_type_cost_nothing_but_themselves(format, sub):
    plain = decode_image(encoded(RGB, format, **({"lossless": True} if format == "WEBP" else {"quality": 95})))
    if format == "JPEG":
        plain = decode_image(encoded(RGB, "JPEG", quality=95, subsampling=0))
    for number in TAGS:
        for type_, value in VALUES.items():
            image = decode_image(wrapped(format, block(6, (number, type_, value), sub)))
            np.testing.assert_array_equal(image, np.rot90(plain, -1))


@pytest.mark.parametrize("turn", [0, 9, 65535])
def test_a_turn_that_is_none_is_none(turn):
    np.testing.assert_array_equal(decode_image(wrapped("PNG", block(turn))), unit(RGB))


def test_odd_entries_of_a_tiff_cost_nothing_but_themselves():
    turned = np.ascontiguousarray(np.rot90(RGB))
    for number in (270, 282, 296, 305, 34665, 33432, 700):
        for data in (
            tiff(
                turned, photometric="rgb", metadata=None, extratags=[(274, 3, 1, 6, True), (number, 2, 5, "text", True)]
            ),
            tiff(
                turned, photometric="rgb", metadata=None, extratags=[(274, 3, 1, 6, True), (number, 12, 1, 1.5, True)]
            ),
        ):
            np.testing.assert_array_equal(decode_image(data), unit(RGB))


@pytest.mark.parametrize("bigtiff", [False, True])
@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_a_turned_deep_tiff_is_upright_in_each_layout(bigtiff, byteorder):
    for array in (unit(RGB), DEEP[..., :3].copy(), DEEP[..., 0].copy()):
        scaled = array if array.dtype == np.float32 else (array / 65535).astype(np.float32)
        expected = np.rot90(np.broadcast_to(scaled if array.ndim == 3 else scaled[..., None], RGB.shape), -1)
        data = tiff(
            array,
            bigtiff=bigtiff,
            byteorder=byteorder,
            photometric="rgb" if array.ndim == 3 else None,
            extratags=[(274, 3, 1, 6, True)],
        )
        np.testing.assert_allclose(decode_image(data), expected, atol=1e-7)


def test_a_turn_in_the_text_of_a_png_is_carried_out():
    # As ImageMagick writes it.
    exif = b"Exif\0\0" + block(6)
    text = f"\nexif\n{len(exif):8}\n{exif.hex()}\n".encode()
    body = b"Raw profile type exif\0\0" + zlib.compress(text)
    chunk = struct.pack(">I", len(body)) + b"zTXt" + body + struct.pack(">I", zlib.crc32(b"zTXt" + body))
    data = encoded(RGB, "PNG")
    np.testing.assert_array_equal(decode_image(data[:33] + chunk + data[33:]), unit(np.rot90(RGB, -1)))
    bad = chunk.replace(body, b"Raw profile type exif\0\0" + zlib.compress(b"\nexif\n8\nno hexadecimal digits\n"))
    body = bad[8:-4]
    bad = struct.pack(">I", len(body)) + b"zTXt" + body + struct.pack(">I", zlib.crc32(b"zTXt" + body))
    np.testing.assert_array_equal(decode_image(data[:33] + bad + data[33:]), unit(RGB))


def test_metadata_is_left_as_it_is():
    data = wrapped("JPEG", block(6, (305, 11, VALUES[11])))
    kept = bytes(data)
    decode_image(data)
    assert data == kept


def test_of_several_pictures_in_a_jpeg_the_first_counts():
    file = io.BytesIO()
    Image.fromarray(RGB).save(file, "MPO", save_all=True, append_images=[Image.fromarray(RGB[::-1].copy())], quality=95)
    first = Image.open(io.BytesIO(file.getvalue())).convert("RGB")
    np.testing.assert_array_equal(decode_image(file.getvalue()), unit(np.asarray(first)))


@pytest.mark.parametrize("frames", [0, 2**32 - 1])
def test_a_damaged_animation_does_not_cost_the_picture(frames):
    body = struct.pack(">II", frames, 0)
    chunk = struct.pack(">I", 8) + b"acTL" + body + struct.pack(">I", zlib.crc32(b"acTL" + body))
    data = encoded(RGB, "PNG")
    np.testing.assert_array_equal(decode_image(data[:33] + chunk + data[33:]), unit(RGB))


@given(st.binary(max_size=200), st.sampled_from([b"", b"II*\0\x08\0\0\0", b"MM\0*\0\0\0\x08", b"II+\0\x08\0\0\0"]))
def test_any_bytes_have_a_turn(rest, start):
    assert 1 <= tags.orientation(start + rest) <= 8
    assert 1 <= tags.orientation(b"Exif\0\0" + start + rest) <= 8


def test_a_tiff_whose_tags_are_larger_than_the_file_is_refused():
    entries = b"".join(struct.pack("<HHII", number, 1, 2**31, 8) for number in (258, 273, 279, 320))
    with pytest.raises(ImageError, match="its tag 258 is damaged"):
        decode_image(b"II*\0\x08\0\0\0" + struct.pack("<H", 4) + entries + b"\0" * 4)


# Side by side.


def test_two_decoders_run_at_once(monkeypatch):
    meeting, real = threading.Barrier(2, timeout=30), decoding._pixels

    def pixels(data):
        meeting.wait()  # Broken if only one thread gets here.
        return real(data)

    monkeypatch.setattr(decoding, "_pixels", pixels)
    with ThreadPoolExecutor(2) as pool:
        for image in pool.map(decode_image, [encoded(RGB, "PNG")] * 6):
            np.testing.assert_array_equal(image, unit(RGB))


def noisy():
    """Files that Pillow or tifffile would warn of."""
    broken = bytearray(tiff(unit(RGB), photometric="rgb"))
    return [
        wrapped("JPEG", block(6)[:-2] + b"\xff" * 40),
        bytes(broken[: len(broken) // 2]),
        png16(DEEP[..., :3]),
    ]


@pytest.mark.parametrize("action", ["error", "always"])
def test_warnings_and_logs_of_other_threads_are_heard_while_pictures_are_decoded(action, capfd):
    heard, logger, stop, files = [], logging.getLogger("tifffile"), threading.Event(), noisy()
    listener = logging.Handler()
    listener.emit = lambda record: heard.append(record.getMessage())

    def decode():
        while not stop.is_set():
            for data in files:
                with contextlib.suppress(ImageError):
                    decode_image(data)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter(action)
        filters = list(warnings.filters)
        logger.addHandler(listener)
        threads = [threading.Thread(target=decode) for _ in range(2)]
        for thread in threads:
            thread.start()
        for number in range(200):
            logger.warning("mine %d", number)
            assert warnings.filters == filters
            if action == "always":
                warnings.warn(f"mine {number}", UserWarning, stacklevel=1)
        stop.set()
        for thread in threads:
            thread.join()
        logger.removeHandler(listener)
    assert heard == [f"mine {number}" for number in range(200)]
    assert [str(one.message) for one in caught] == (heard if action == "always" else [])
    assert not logger.filters
    assert capfd.readouterr() == ("", "")


def test_of_a_tiff_with_missing_strips_nothing_is_made_up():
    data = bytearray(encoded(RGB, "TIFF"))
    (place,) = struct.unpack_from("<I", data, 4)
    (number,) = struct.unpack_from("<H", data, place)
    for at in range(place + 2, place + 2 + 12 * number, 12):
        if struct.unpack_from("<H", data, at)[0] == 257:
            struct.pack_into("<HHII", data, at, 257, 4, 1, 5000)
    with pytest.raises(ImageError, match="cut short"):
        decode_image(bytes(data))


@pytest.mark.parametrize("format", ["PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM"])
def test_no_format_warns_of_a_large_picture(monkeypatch, format):
    data = encoded(RGB, format)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 500)  # Pillow warns above it.
    assert decode_image(data).shape == RGB.shape


# Kinds.


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        (b"P5\n12 16\n255\n", "PPM"),
        (b"P5 is what we call it", "PPM"),
        (b"Pyramids", None),
        (b"BMW and others are cars, and so on", None),
        (b"II*\0", "TIFF"),
        (b"MM\0+", "TIFF"),
        (b"RIFF\0\0\0\0WAVEfmt ", None),
        (b"\xff\xd8\xff\xe1", "JPEG"),
        (b"", None),
    ],
)
def test_the_first_bytes_tell_the_kind(start, expected):
    assert kind(start) == expected


@pytest.mark.parametrize(
    ("start", "words"),
    [
        (
            b"\0\0\0\x18ftypheic\0\0\0\0",
            "it is HEIC, no picture of a kind .*: convert it to JPEG or PNG, as `heif-convert",
        ),
        (b"\0\0\0\x20ftypavif\0\0\0\0", "it is AVIF, .*: convert it to JPEG or PNG$"),
        (b"\xff\x0a\xfa", "it is JPEG XL, .*convert"),
        (b"hello", "it is no picture of a kind that is read"),
    ],
)
def test_pictures_of_other_kinds_are_refused_with_the_way_to_convert_them(start, words):
    with pytest.raises(ImageError, match=words):
        decode_image(start + b"\0" * 40)
