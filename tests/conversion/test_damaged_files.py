"""Files that are damaged, cut or something else: every failure is one line."""

import struct
import zipfile

import numpy as np
import pytest

from tests.conversion.crafted import archive, claim, formats, pickled, refused
from weight_conversion import CheckpointError, read_checkpoint

torch = pytest.importorskip("torch")


def test_compressed_records_are_refused(tmp_path):
    data = pickled({"a": claim((4,), (1,))})
    refused(archive(tmp_path / "a.pth", data, {"0": bytes(16)}, zipfile.ZIP_DEFLATED), "compressed")


def test_records_that_claim_more_than_the_file_are_refused(tmp_path):
    path = archive(tmp_path / "a.pth", pickled({"a": claim((4,), (1,))}), {"0": bytes(16)})
    raw = bytearray(path.read_bytes())
    central = raw.rindex(b"PK\x01\x02")
    raw[central + 20 : central + 28] = struct.pack("<II", 2**31, 2**31)
    path.write_bytes(raw)
    refused(path)


def test_a_damaged_storage_is_refused(tmp_path):
    path = archive(tmp_path / "a.pth", pickled({"a": claim((4,), (1,))}), {"0": b"0123456789abcdef"})
    path.write_bytes(path.read_bytes().replace(b"0123456789abcdef", b"0123456789abcdeg"))
    refused(path, "CRC")


def test_another_byte_order_is_refused(tmp_path):
    path = archive(tmp_path / "a.pth", pickled({"a": claim((4,), (1,))}), {"0": bytes(16)})
    with zipfile.ZipFile(path, "a") as file:
        file.writestr("weights/byteorder", "big")
    refused(path, "byte order")
    path.write_bytes(b"".join(map(pickled, [0x1950A86A20F9469CFC6C, 1001, {"little_endian": False}, {}, []])))
    refused(path, "little-endian")


@formats
def test_a_file_cut_anywhere_is_refused(tmp_path, zipped):
    whole = tmp_path / "whole.pth"
    state = {f"layer{i}.weight": torch.randn(3, 5) for i in range(4)}
    torch.save(state, whole, _use_new_zipfile_serialization=zipped)
    raw = whole.read_bytes()
    path = tmp_path / "cut.pth"
    for length in [1, 4, 9, 30, len(raw) - 1, *np.random.default_rng(0).integers(1, len(raw), 20)]:
        path.write_bytes(raw[:length])
        refused(path)


@formats
def test_a_damaged_file_is_read_or_refused_and_nothing_else(tmp_path, zipped):
    whole = tmp_path / "whole.pth"
    torch.save(
        {"a": torch.ones(2), "b": [1, "x", torch.nn.Parameter(torch.ones(1))]},
        whole,
        _use_new_zipfile_serialization=zipped,
    )
    raw = whole.read_bytes()
    generator = np.random.default_rng(0)
    path = tmp_path / "damaged.pth"
    refusals = 0
    for _ in range(300):
        damaged = bytearray(raw)
        for place in generator.integers(0, len(raw), 3):
            damaged[place] = generator.integers(256)
        path.write_bytes(damaged)
        try:
            assert all(isinstance(value, np.ndarray) for value in read_checkpoint(path).values())
        except CheckpointError:
            refusals += 1
    assert refusals > 30


@pytest.mark.parametrize("suffix", ["pth", "ckpt", "safetensors", "onnx"])
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x80",
        b"PK\x03\x04",
        b"PK\x03\x04" + bytes(100),
        bytes(1000),
        b"<html>Not found</html>",
        b"\x80\x02}q\x00.",
    ],
    ids=["empty", "one byte", "zip magic", "zip zeros", "zeros", "web page", "other pickle"],
)
def test_garbage_is_refused(tmp_path, suffix, content):
    path = tmp_path / f"garbage.{suffix}"
    path.write_bytes(content)
    refused(path)


def test_a_folder_and_a_missing_file_are_refused(tmp_path):
    refused(tmp_path, "expected a folder with one safetensors file")
    refused(tmp_path / "none.pth", "No such file")


def test_another_zip_archive_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        file.writestr("readme.txt", "text")
    refused(tmp_path / "a.zip", "zip archive with 0 records")
