"""Constants of ONNX graphs; the onnx package writes them."""

import sys

import numpy as np
import pytest

from weight_conversion import CheckpointError, read_checkpoint

onnx = pytest.importorskip("onnx")


def graph(initializers: list) -> bytes:
    values = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [2]) for name in ("x", "y")]
    node = onnx.helper.make_node("Identity", ["x"], ["y"])
    made = onnx.helper.make_graph([node], "graph", values[:1], values[1:], initializer=initializers)
    return onnx.helper.make_model(made).SerializeToString()


def test_every_initializer_comes_back(tmp_path):
    state = {
        "a_weight": np.random.default_rng(0).random((3, 2, 1)).astype(np.float32),
        "b": np.array([1.5, -2], np.float16),
        "c": np.arange(3),
        "d": np.array(2.0),
    }
    path = tmp_path / "a.onnx"
    path.write_bytes(graph([onnx.numpy_helper.from_array(value, name) for name, value in state.items()]))
    found = read_checkpoint(path)
    assert list(found) == list(state)
    for key, value in state.items():
        assert found[key].dtype == value.dtype
        np.testing.assert_array_equal(found[key], value)


def test_a_graph_without_constants_is_refused(tmp_path):
    (tmp_path / "a.onnx").write_bytes(graph([]))
    with pytest.raises(CheckpointError, match=r"a\.onnx: no initializers; expected an ONNX graph"):
        read_checkpoint(tmp_path / "a.onnx")


def test_constants_in_another_file_are_refused(tmp_path):
    tensor = onnx.numpy_helper.from_array(np.zeros(2, np.float32), "a")
    onnx.external_data_helper.set_external_data(tensor, "../secret")
    tensor.ClearField("raw_data")
    (tmp_path / "a.onnx").write_bytes(graph([tensor]))
    with pytest.raises(CheckpointError, match="'a' is kept in another file"):
        read_checkpoint(tmp_path / "a.onnx")


def test_a_tensor_larger_than_its_bytes_is_refused(tmp_path):
    tensor = onnx.numpy_helper.from_array(np.zeros(2, np.float32), "a")
    tensor.dims[0] = 2**40
    (tmp_path / "a.onnx").write_bytes(graph([tensor]))
    with pytest.raises(CheckpointError, match=r"a\.onnx: "):
        read_checkpoint(tmp_path / "a.onnx")


def test_a_graph_cut_anywhere_is_refused(tmp_path):
    value = np.random.default_rng(0).random(500).astype(np.float32)
    raw = graph([onnx.numpy_helper.from_array(value, "a")])
    end = raw.index(value.tobytes()) + value.nbytes
    path = tmp_path / "a.onnx"
    for length in np.random.default_rng(1).integers(1, end, 20):
        path.write_bytes(raw[:length])
        with pytest.raises(CheckpointError, match=r"a\.onnx: "):
            read_checkpoint(path)


def test_without_the_onnx_package_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ImportError, match=r"pip install 'fame-jax\[onnx\]'"):
        read_checkpoint(tmp_path / "a.onnx")
