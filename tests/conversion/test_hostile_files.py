"""Files made to harm: nothing runs, nothing is imported, nothing large is allocated, every failure is one line."""

import builtins
import collections
import io
import os
import pathlib
import pickle
import struct
import subprocess
import sys
import tracemalloc
import zipfile
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

from weight_conversion import CheckpointError, read_checkpoint

formats = pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])

MEGABYTE = 2**20


class Call:
    """Pickles as a call, which an ordinary unpickler makes."""

    def __init__(self, function: Any, *args: Any):
        self.function, self.args = function, args

    def __reduce__(self) -> tuple[Any, ...]:
        return self.function, self.args


class Reference(NamedTuple):
    """Pickles as a persistent id."""

    identifier: Any


class _Pickler(pickle.Pickler):
    def persistent_id(self, obj: Any) -> Any:
        return obj.identifier if isinstance(obj, Reference) else None


def pickled(value: Any) -> bytes:
    stream = io.BytesIO()
    _Pickler(stream, protocol=2).dump(value)
    return stream.getvalue()


def claim(
    shape: Any, strides: Any, *, offset: Any = 0, elements: Any = 4, key: Any = "0", kind: Any = torch.FloatStorage
) -> Call:
    """A tensor as a file may claim it."""
    storage = Reference(("storage", kind, key, "cpu", elements))
    return Call(torch._utils._rebuild_tensor_v2, storage, offset, shape, strides, False, collections.OrderedDict())


def archive(path: pathlib.Path, data: bytes, storages: dict[str, bytes], compression: int = zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as file:
        file.writestr("weights/data.pkl", data)
        for key, raw in storages.items():
            file.writestr(f"weights/data/{key}", raw)
    return path


def hostile(path: pathlib.Path, data: bytes, zipped: bool) -> pathlib.Path:
    """A checkpoint whose object is this pickle, with one storage of four floats."""
    raw = np.arange(4, dtype="<f4").tobytes()
    if zipped:
        return archive(path, data, {"0": raw})
    header = [0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}]
    path.write_bytes(b"".join(map(pickled, header)) + data + pickled(["0"]) + struct.pack("<q", 4) + raw)
    return path


def refused(path: pathlib.Path, match: str | None = None) -> None:
    with pytest.raises(CheckpointError, match=match) as caught:
        read_checkpoint(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "; expected " in message
    assert "\n" not in message
    assert len(message) < 800


@formats
def test_the_crafted_files_are_readable_where_they_are_honest(tmp_path, zipped):
    path = hostile(tmp_path / "a.pth", pickled({"a": claim((2, 2), (1, 2))}), zipped)
    np.testing.assert_array_equal(read_checkpoint(path)["a"], [[0, 2], [1, 3]])


def payloads(canary: pathlib.Path) -> dict[str, Call]:
    code = f"open({str(canary)!r}, 'w')"
    return {
        "os.system": Call(os.system, f"touch {canary}"),
        "eval": Call(builtins.eval, code),
        "exec": Call(builtins.exec, code),
        "open": Call(builtins.open, str(canary), "w"),
        "subprocess": Call(subprocess.run, ["touch", str(canary)]),
        "tofile": Call(np.ndarray.tofile, np.zeros(1), str(canary)),
    }


@pytest.mark.parametrize("name", list(payloads(pathlib.Path("canary"))))
@formats
def test_a_malicious_pickle_runs_nothing(tmp_path, zipped, name):
    canary = tmp_path / "canary"
    payload = payloads(canary)[name]
    path = tmp_path / "a.pth"

    beside = {"payload": payload, "a": claim((4,), (1,))}
    assert list(read_checkpoint(hostile(path, pickled(beside), zipped))) == ["a"]
    refused(hostile(path, pickled(payload), zipped), "a pickled '.*' object, not its state_dict")
    refused(hostile(path, pickled({"a": Call(torch._utils._rebuild_parameter, payload)}), zipped), "no tensors")
    refused(hostile(path, pickled({"a": claim((payload,), (1,))}), zipped), "no counts")
    refused(hostile(path, pickled({"a": claim((4,), (1,), key=payload)}), zipped), "persistent id")
    assert not canary.exists()


@formats
def test_an_ordinary_unpickler_would_have_run_it(tmp_path, zipped):
    """The canary can sing: the same file does harm where it is unpickled as Python does."""
    canary = tmp_path / "canary"
    path = tmp_path / "a.pth"
    value = {"b": Call(builtins.open, str(canary), "w"), "a": torch.ones(2)}
    torch.save(value, path, _use_new_zipfile_serialization=zipped)
    np.testing.assert_array_equal(read_checkpoint(path)["a"], [1, 1])
    assert not canary.exists()
    torch.load(path, weights_only=False)["b"].close()
    assert canary.exists()


@pytest.mark.parametrize(
    "instructions",
    [
        b"cevil\nf\n)R.",
        b"cevil\nf\n)R)R.",
        b"(ievil\nf\n.",
        b"\x80\x04\x8c\x04evil\x8c\x01f\x93)R.",
        b"\x80\x04\x8c\x04evil\x8c\x01f\x93)\x81.",
        b"\x80\x04\x8c\x04evil\x8c\x01f\x93)}\x92.",
        b"(cevil\nf\no.",
        b"cevil\nf\n)R}\x8c\x01a\x8c\x01bsb.",
        b"cevil\nf\n)R(\x8c\x01a\x8c\x01bu.",
        b"cevil\nf\n)R(\x8c\x01ae.",
    ],
    ids=[
        "reduce",
        "reduce twice",
        "inst",
        "stack global",
        "newobj",
        "newobj_ex",
        "obj",
        "build",
        "setitems",
        "appends",
    ],
)
@formats
def test_no_instruction_imports_or_calls(tmp_path, zipped, instructions, monkeypatch):
    (tmp_path / "evil.py").write_text("raise SystemExit('imported')\n")
    monkeypatch.syspath_prepend(tmp_path)
    refused(hostile(tmp_path / "a.pth", instructions, zipped), "evil.f")
    assert "evil" not in sys.modules


@pytest.mark.parametrize(
    "instructions",
    [
        b"\x82\x01.",
        b"\x80\x05\x97.",
        b"X\x01\x00\x00\x00aX\x01\x00\x00\x00b\x93Nb.",
        b"N)R.",
        b"(NNd.",
        b"}(NNNu.",
        b"Ne.",
        b"NNa.",
        b".",
        b"R.",
        b"0.",
        b"h\x05.",
        b"\x8a\x08abcdefgh)Q.",
        b"PX\n.",
        b"\x80\x04K\x01K\x02\x93.",
    ],
)
@formats
def test_a_senseless_instruction_is_refused(tmp_path, zipped, instructions):
    refused(hostile(tmp_path / "a.pth", instructions, zipped))


@pytest.mark.parametrize(
    "identifier",
    [
        "0",
        7,
        (),
        ("storage",),
        ("storage", "torch.FloatStorage", "0", "cpu", 4),
        ("storage", torch.FloatStorage, 0, "cpu", 4),
        ("storage", torch.FloatStorage, "0", "cpu", -4),
        ("storage", torch.FloatStorage, "0", "cpu", "4"),
        ("storage", torch.FloatStorage, "0", "cpu", 4, 5),
        ("storage", torch.FloatStorage, "0", "cpu", 4, ("view", -1, 2)),
        ("storage", torch.Tensor, "0", "cpu", 4),
        ("storage", torch.ComplexFloatStorage, "0", "cpu", 4),
    ],
    ids=str,
)
@formats
def test_a_senseless_persistent_id_is_refused(tmp_path, zipped, identifier):
    refused(hostile(tmp_path / "a.pth", pickled({"a": Reference(identifier)}), zipped), "persistent id|unknown type")


@pytest.mark.parametrize(
    "tensor",
    [
        claim((5,), (1,)),
        claim((4,), (1,), offset=1),
        claim((2, 2), (3, 1)),
        claim((2,), (2**40,)),
        claim((1,), (1,), offset=4),
        claim((), (), offset=4),
        claim((4,), (1,), offset=-1),
        claim((4,), (-1,), offset=3),
        claim((-1,), (1,)),
        claim((2, 2), (1,)),
        claim((2**62, 2**62, 2**62), (1, 1, 1)),
        claim((0, 2**62, 2**62), (1, 1, 1)),
        claim((10**400,), (0,)),
        claim((1,) * 1000, (0,) * 1000),
        claim((1,), (1,), elements=2**40),
        claim((1,), (1,), elements=2**70),
        claim((1,), (1,), elements=3),
        claim((1,), (1,), kind=torch.DoubleStorage),
        claim((1,), (1,), key="1"),
        claim((1,), (1,), key="../data.pkl"),
        claim("4", (1,)),
        claim((4.0,), (1,)),
        claim((4,), None),
        Call(torch._utils._rebuild_tensor_v2, 1, 0, (4,), (1,)),
        Call(torch._utils._rebuild_tensor_v2),
    ],
)
@formats
def test_a_tensor_outside_its_storage_is_refused(tmp_path, zipped, tensor):
    path = hostile(tmp_path / "a.pth", pickled({"a": tensor}), zipped)
    tracemalloc.start()
    try:
        refused(path)
        assert tracemalloc.get_traced_memory()[1] < 5 * MEGABYTE
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "instructions",
    [
        b"N" + b"r\xff\xff\xff\xff" + b".",
        b"\x8e" + struct.pack("<Q", 2**40) + b".",
        b"\x8d" + struct.pack("<Q", 2**63) + b".",
        b"\x96" + struct.pack("<Q", 2**40) + b".",
        b"\x95" + struct.pack("<Q", 2**40) + b"N.",
        b"B" + struct.pack("<I", 2**32 - 1) + b".",
        b"\x8b" + struct.pack("<i", 2**31 - 1) + b".",
        b"I" + b"9" * 5000 + b"\n.",
    ],
    ids=["memo", "bytes", "string", "bytearray", "frame", "short bytes", "integer", "decimal"],
)
@formats
def test_a_claimed_length_allocates_nothing(tmp_path, zipped, instructions):
    path = hostile(tmp_path / "a.pth", instructions, zipped)
    tracemalloc.start()
    try:
        refused(path)
        assert tracemalloc.get_traced_memory()[1] < 5 * MEGABYTE
    finally:
        tracemalloc.stop()


@formats
def test_an_expanded_tensor_of_terabytes_allocates_nothing(tmp_path, zipped):
    path = hostile(tmp_path / "a.pth", pickled({"a": claim((2**40,), (0,))}), zipped)
    tracemalloc.start()
    try:
        assert read_checkpoint(path)["a"].shape == (2**40,)
        assert tracemalloc.get_traced_memory()[1] < 5 * MEGABYTE
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "instructions",
    [
        b"}" + b")" + b"\x85" * 200_000 + b"Ns.",
        b"\x80\x04\x8f(" + b")" + b"\x85" * 200_000 + b"\x90.",
        b"(" * 200_000 + b".",
        b"]" * 200_000 + b"a" * 199_999 + b".",
        b"}q\x00X\x01\x00\x00\x00ah\x00s.",
        b"}q\x00X\x05\x00\x00\x00modelh\x00s.",
        b"]q\x00h\x00a.",
    ],
    ids=["tuple as key", "tuple in set", "marks", "lists", "own item", "own model", "own element"],
)
@formats
def test_deep_and_circular_objects_are_refused(tmp_path, zipped, instructions):
    refused(hostile(tmp_path / "a.pth", instructions, zipped))


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
    refused(tmp_path, "directory")
    refused(tmp_path / "none.pth", "No such file")


def test_another_zip_archive_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        file.writestr("readme.txt", "text")
    refused(tmp_path / "a.zip", "zip archive with 0 records")
