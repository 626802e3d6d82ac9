"""Files made to harm: nothing runs, nothing is imported, nothing large is allocated, every failure is one line."""

import builtins
import os
import pathlib
import struct
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest

from tests.conversion.crafted import Call, Reference, claim, formats, hostile, pickled, refused
from weight_conversion import read_checkpoint

torch = pytest.importorskip("torch")

MEGABYTE = 2**20


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
