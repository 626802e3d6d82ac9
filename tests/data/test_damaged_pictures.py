"""What is no picture, damaged or too large is refused in one line, and nothing else happens."""

import re
import struct
import threading
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image

from fame_jax.data import ImageError, decode_image, decoding, read_image
from tests.data.pictures import DEEP, RGB, encoded, png16, tiff, unit


def reason(path):
    with pytest.raises(ImageError) as error:
        read_image(path)
    message = str(error.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message


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
    monkeypatch.setattr(decoding, "MAX_PIXELS", 24 * 37 - 1)
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
