"""Files that torch wrote, read without it; torch's own reader is the oracle."""

import argparse
import collections
import pathlib

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weight_conversion import CheckpointError, read_checkpoint, sha256

torch = pytest.importorskip("torch")

DTYPES = {
    torch.float32: np.float32,
    torch.float16: np.float16,
    torch.bfloat16: ml_dtypes.bfloat16,
    torch.float64: np.float64,
    torch.int64: np.int64,
    torch.int32: np.int32,
    torch.int16: np.int16,
    torch.int8: np.int8,
    torch.uint8: np.uint8,
    torch.bool: np.bool_,
}

formats = pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])


def written(folder: pathlib.Path, value: object, zipped: bool) -> pathlib.Path:
    path = folder / "weights.pth"
    torch.save(value, path, _use_new_zipfile_serialization=zipped)
    return path


def assert_as_torch_reads_it(path: pathlib.Path) -> None:
    expected = torch.load(path, weights_only=True)
    found = read_checkpoint(path)
    assert list(found) == list(expected)
    for key, tensor in expected.items():
        assert found[key].dtype == DTYPES[tensor.dtype]
        assert found[key].shape == tuple(tensor.shape)
        np.testing.assert_array_equal(found[key].astype(np.float64), tensor.detach().double().numpy(), err_msg=key)


@formats
def test_every_dtype_comes_back(tmp_path, zipped):
    numbers = torch.tensor([[0, 1, 2], [3, 100, 127]])
    state = {str(dtype): numbers.to(dtype) for dtype in DTYPES}
    state["negative.half"] = torch.tensor([-1.5, 65504.0], dtype=torch.float16)
    assert_as_torch_reads_it(written(tmp_path, state, zipped))


@formats
def test_views_that_share_a_storage_come_back(tmp_path, zipped):
    whole = torch.arange(24.0).reshape(4, 6)
    state = {
        "whole": whole,
        "transposed": whole.t(),
        "row": whole[2],
        "column": whole[:, 1],
        "every second": whole[::2, 1::2],
        "expanded": whole[0, :1].expand(5),
        "diagonal": whole.diagonal(),
        "channels last": torch.arange(48.0).reshape(1, 3, 4, 4).to(memory_format=torch.channels_last),
    }
    path = written(tmp_path, state, zipped)
    assert_as_torch_reads_it(path)
    found = read_checkpoint(path)
    assert np.shares_memory(found["whole"], found["diagonal"])


@formats
def test_scalars_empty_tensors_and_parameters_come_back(tmp_path, zipped):
    state = collections.OrderedDict(
        scalar=torch.tensor(3.5),
        count=torch.tensor(7),
        empty=torch.zeros(0, 3),
        inner=torch.ones(4)[4:],
        parameter=torch.nn.Parameter(torch.arange(3.0)),
        frozen=torch.nn.Parameter(torch.arange(4.0), requires_grad=False),
    )
    assert_as_torch_reads_it(written(tmp_path, state, zipped))


@formats
def test_a_modules_state_dict_comes_back_in_order(tmp_path, zipped):
    module = torch.nn.Sequential(torch.nn.Conv2d(2, 3, 3), torch.nn.BatchNorm2d(3), torch.nn.PReLU(3))
    assert_as_torch_reads_it(written(tmp_path, module.state_dict(), zipped))


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@formats
def test_every_pickle_protocol_comes_back(tmp_path, zipped, protocol):
    path = tmp_path / "weights.pth"
    state = {"a": torch.arange(3.0), "nested": {"b": [1, (2.5, b"x", {"c"})], "frozen": frozenset((1,))}}
    torch.save(state, path, pickle_protocol=protocol, _use_new_zipfile_serialization=zipped)
    np.testing.assert_array_equal(read_checkpoint(path)["a"], [0, 1, 2])


@settings(max_examples=60, deadline=None)
@given(
    shape=st.lists(st.integers(0, 4), max_size=4),
    strides=st.lists(st.integers(0, 5), min_size=4, max_size=4),
    offset=st.integers(0, 7),
    zipped=st.booleans(),
)
def test_any_view_comes_back(tmp_path_factory, shape, strides, offset, zipped):
    view = torch.as_strided(torch.arange(100.0), shape, strides[: len(shape)], offset)
    path = written(tmp_path_factory.mktemp("view"), {"view": view}, zipped)
    np.testing.assert_array_equal(read_checkpoint(path)["view"], view.numpy())


class Unknown:
    """A class that a reader has no business with."""

    made: int = 0

    def __init__(self) -> None:
        type(self).made += 1
        self.learning_rate = torch.ones(2)

    def __setstate__(self, state: dict) -> None:
        type(self).made += 1


class Keyed(dict):
    """A dictionary with a type of its own, which pickles as an object whose items are set."""

    made: int = 0

    def __setitem__(self, key: object, value: object) -> None:
        type(self).made += 1
        super().__setitem__(key, value)


@pytest.mark.parametrize("place", [("state_dict",), ("model",), ("model", "state_dict")])
@formats
def test_a_training_checkpoint_gives_its_state_dict_and_makes_no_object(tmp_path, zipped, place):
    weights = {"model.conv.weight": torch.arange(6.0).reshape(2, 3), "head.kernel": torch.ones(2), "note": "text"}
    nested: object = weights
    for key in reversed(place):
        nested = {key: nested}
    assert isinstance(nested, dict)
    nested |= {
        "epoch": 3,
        "loss": torch.tensor(0.5),
        "hyper_parameters": argparse.Namespace(lr=0.1, unknown=Unknown()),
        "callbacks": Keyed({"a": Unknown(), Unknown: 1, (1, 2): 3}),
        "optimizer_states": [
            {"state": {0: {"exp_avg": torch.ones(5)}}, "defaults": collections.defaultdict(dict, {1: {}})}
        ],
        "types": {int, str},
    }
    path = written(tmp_path, nested, zipped)
    Unknown.made = Keyed.made = 0
    found = read_checkpoint(path)
    assert list(found) == ["model.conv.weight", "head.kernel"]
    np.testing.assert_array_equal(found["model.conv.weight"], np.arange(6.0).reshape(2, 3))
    assert Unknown.made == Keyed.made == 0


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (torch.nn.Linear(2, 2), "torch.nn.modules.linear.Linear"),
        (torch.ones(3), "no state dict"),
        ([torch.ones(3)], "no state dict"),
        ({"epoch": 3, "optimizer": {"lr": 0.1}}, "epoch"),
        ({}, "no tensors"),
        ({"a": torch.ones(2), "sparse": torch.eye(2).to_sparse()}, "'sparse'"),
    ],
    ids=["module", "tensor", "list", "no tensors", "nothing", "sparse tensor"],
)
@formats
def test_a_file_without_a_state_dict_is_refused_and_says_what_it_has(tmp_path, zipped, value, found):
    path = written(tmp_path, value, zipped)
    with pytest.raises(CheckpointError, match=rf"weights\.pth: .*{found}.*; expected a PyTorch checkpoint"):
        read_checkpoint(path)


def test_a_negated_view_is_refused(tmp_path):
    negated = torch.tensor([1 + 2j]).conj().imag
    assert negated.is_neg()
    with pytest.raises(CheckpointError, match="negative"):
        read_checkpoint(written(tmp_path, {"a": torch._neg_view(torch.ones(2))}, True))


def test_the_real_mobilenet_v2_is_what_torch_reads(shared_data):
    path = shared_data / "weights" / "mobilenet_v2-b0353104.pth"
    assert sha256(path).startswith("b0353104")
    assert_as_torch_reads_it(path)
