"""The safetensors format; the safetensors package writes it."""

import json
import struct
import tracemalloc

import ml_dtypes
import numpy as np
import pytest

from weight_conversion import CheckpointError, read_checkpoint

safetensors = pytest.importorskip("safetensors.numpy")


def file_of(header: object, data: bytes) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def tensor(shape: list[int], start: int, end: int, dtype: str = "F32") -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


@pytest.mark.parametrize(
    "dtype",
    [np.float64, np.float32, np.float16, ml_dtypes.bfloat16, np.int64, np.int32, np.int16, np.int8, np.uint8, np.bool_],
)
def test_every_dtype_comes_back(tmp_path, dtype):
    numbers = np.array([[0, 1, 2], [3, 100, 127]]).astype(dtype)
    safetensors.save_file(
        {"a": numbers, "scalar": np.array(numbers[0, 1]), "empty": numbers[:0]}, tmp_path / "a.safetensors"
    )
    found = read_checkpoint(tmp_path / "a.safetensors")
    assert found["a"].dtype == dtype
    np.testing.assert_array_equal(found["a"], numbers)
    assert found["scalar"].shape == ()
    assert found["empty"].shape == (0, 3)


def test_it_is_known_by_its_content_and_not_by_its_name(tmp_path):
    state = {f"layer{i}.weight": np.random.default_rng(i).random((2, i)) for i in range(5)}
    safetensors.save_file(state, tmp_path / "a.ckpt", metadata={"format": "pt"})
    found = read_checkpoint(tmp_path / "a.ckpt")
    assert found.keys() == state.keys()
    for key, value in state.items():
        np.testing.assert_array_equal(found[key], value)


@pytest.mark.parametrize(
    "content",
    [
        file_of({"a": tensor([2], 0, 8)}, bytes(7)),
        file_of({"a": tensor([2], 0, 8)}, bytes(9)),
        file_of({"a": tensor([2], 0, 12)}, bytes(12)),
        file_of({"a": tensor([2], 4, 12)}, bytes(12)),
        file_of({"a": tensor([2], -8, 0)}, bytes(8)),
        file_of({"a": tensor([2], 0, 8), "b": tensor([2], 0, 8)}, bytes(8)),
        file_of({"a": tensor([2], 0, 8), "b": tensor([2], 4, 12)}, bytes(12)),
        file_of({"a": tensor([2**40], 0, 2**42)}, bytes(8)),
        file_of({"a": tensor([2**62, 2**62], 0, 8)}, bytes(8)),
        file_of({"a": tensor([-1, -2], 0, 8)}, bytes(8)),
        file_of({"a": tensor([2], 0, 8, "F8_E4M3")}, bytes(8)),
        file_of({"a": {"dtype": "F32"}}, bytes(8)),
        file_of({"a": 1}, bytes(8)),
        file_of({}, b""),
        file_of({"__metadata__": {"format": "pt"}}, b""),
        file_of([], b""),
        file_of(b"{" * 100_000, b""),
        file_of(b'{"a": \xff}', b""),
        struct.pack("<Q", 2**62) + b"{}",
        struct.pack("<Q", 90_000_000) + b"{}",
    ],
)
def test_a_header_that_does_not_describe_its_bytes_is_refused(tmp_path, content):
    path = tmp_path / "a.safetensors"
    path.write_bytes(content)
    tracemalloc.start()
    try:
        with pytest.raises(CheckpointError, match=r"a\.safetensors: .*; expected "):
            read_checkpoint(path)
        assert tracemalloc.get_traced_memory()[1] < 5 * 2**20
    finally:
        tracemalloc.stop()


def test_a_file_cut_anywhere_is_refused(tmp_path):
    path = tmp_path / "a.safetensors"
    raw = safetensors.save({f"layer{i}.weight": np.random.default_rng(i).random((3, 5)) for i in range(4)})
    for length in [8, 9, 30, len(raw) - 1, *np.random.default_rng(0).integers(1, len(raw), 20)]:
        path.write_bytes(raw[:length])
        with pytest.raises(CheckpointError, match=r"a\.safetensors: .*; expected "):
            read_checkpoint(path)


def test_a_shard_with_a_name_of_several_lines_is_told_in_one(tmp_path):
    index = {"weight_map": {"bias": "one\nshard.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(CheckpointError) as refused:
        read_checkpoint(tmp_path)
    assert "\n" not in str(refused.value)
