"""One network's weights as training tools save them: read to the bit, whatever wraps them; two candidates are told."""

import json

import numpy as np
import pytest

from weight_conversion import CheckpointError, ConversionError, convert_file, sha256

torch = pytest.importorskip("torch")
save_file = pytest.importorskip("safetensors.torch").save_file


@pytest.fixture(scope="module")
def state(torchvision):
    torch.manual_seed(0)
    return torchvision.models.resnet18(num_classes=3).state_dict()


@pytest.fixture(scope="module")
def values(state, tmp_path_factory):
    path = tmp_path_factory.mktemp("plain") / "plain.pth"
    torch.save(state, path)
    return checksums(path)


def checksums(path, key=None):
    return {row.layer: row.sha256 for row in convert_file("resnet18", path, key=key).rows}


def behind(prefix, state):
    return {prefix + key: value for key, value in state.items()}


def other(state):
    return {key: value + 1 if value.is_floating_point() else value for key, value in state.items()}


OPTIMIZER = {"state": {0: {"step": torch.tensor(3), "exp_avg": torch.ones(2)}}, "param_groups": [{"lr": 0.1}]}

WRAPPERS = {
    **{prefix: (lambda s, prefix=prefix: behind(prefix, s)) for prefix in (
        "module.", "_orig_mod.", "module._orig_mod.", "model.", "net.", "backbone.", "features.", "encoder.model.net.",
    )},
    **{place: (lambda s, place=place: {place: s, "epoch": 1, "optimizer": OPTIMIZER}) for place in (
        "state_dict", "model", "model_state_dict", "net", "ema", "state_dict_ema", "model_ema", "my_own_name",
    )},
    "nested": lambda s: {"checkpoint": {"state": {"weights": behind("module.", s)}}, "optimizer": OPTIMIZER},
    "averaged": lambda s: {**behind("module.", s), "n_averaged": torch.tensor(5)},
    "imagenet example": lambda s: {"state_dict": behind("module.", s), "best_acc1": torch.tensor(7.0)},
    "untrained average": lambda s: {"model": s, "model_ema": {**behind("module.", s), "n_averaged": torch.tensor(0)}},
}  # fmt: skip


@pytest.mark.parametrize("name", WRAPPERS)
def test_every_wrapper_is_read_to_the_bit(name, state, values, tmp_path):
    torch.save(WRAPPERS[name](state), tmp_path / "a.pth")
    assert checksums(tmp_path / "a.pth") == values


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_widened(dtype, state, tmp_path):
    half = {key: value.to(dtype) if value.is_floating_point() else value for key, value in state.items()}
    torch.save(half, tmp_path / "half.pth")
    network = convert_file("resnet18", tmp_path / "half.pth").network
    np.testing.assert_array_equal(network.fc.kernel[...].T, half["fc.weight"].float().numpy())


CANDIDATES = {
    "dictionaries": lambda s: {"model": s, "model_ema": {**behind("module.", other(s)), "n_averaged": torch.tensor(5)}},
    "prefixes": lambda s: {"state_dict": {**behind("model.", s), **behind("ema.module.", other(s))}},
}
KEYS = {
    "dictionaries": ("model", "model_ema", "model_ema.module"),
    "prefixes": ("state_dict.model", "state_dict.ema", "state_dict.ema.module"),
}


@pytest.mark.parametrize("name", CANDIDATES)
def test_of_two_candidates_both_are_named_and_one_is_taken_by_its_key(name, state, values, tmp_path):
    path = tmp_path / "two.pth"
    torch.save(CANDIDATES[name](state), path)
    first, *others = KEYS[name]
    with pytest.raises(ConversionError, match=rf"several weights fit: '{first}', '{others[-1]}'; .*--key"):
        checksums(path)
    assert checksums(path, first) == values
    for key in others:
        assert checksums(path, key) != values
    with pytest.raises(ConversionError, match="no weights of this network under 'teacher'"):
        checksums(path, "teacher")


def test_what_lies_beside_a_prefix_is_refused_unless_the_key_is_given(state, values, tmp_path):
    torch.save({"state_dict": {**behind("model.", state), "loss.weight": torch.ones(3)}}, tmp_path / "a.ckpt")
    with pytest.raises(ConversionError, match=r"with the prefix 'model\.'\): loss\.weight.*--key model"):
        checksums(tmp_path / "a.ckpt")
    assert checksums(tmp_path / "a.ckpt", "state_dict.model") == values


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"module.fc.bias": None}, r"prefix 'module\.'\): module\.fc\.bias is missing"),
        ({"module.fc.bias": torch.ones(4)}, r"prefix 'module\.'\): module\.fc\.bias has shape \(4,\)"),
        ({"module.fc2.bias": torch.ones(4)}, r"prefix 'module\.'\): module\.fc2\.bias of shape \(4,\) is in"),
        ({"module.fc.weight": None}, r"prefix 'module\.'\): module\.fc\.bias has shape \(3,\)"),
    ],
)
def test_a_difference_is_refused_with_the_prefix(change, words, state, tmp_path):
    content = behind("module.", state) | change
    torch.save({key: value for key, value in content.items() if value is not None}, tmp_path / "a.pth")
    with pytest.raises(ConversionError, match=words) as caught:
        checksums(tmp_path / "a.pth")
    assert "\n" not in str(caught.value)


@pytest.fixture
def sharded(state, tmp_path):
    keys = list(state)
    parts = {"model-1-of-2.safetensors": keys[:60], "model-2-of-2.safetensors": keys[60:]}
    for name, part in parts.items():
        save_file({key: state[key].contiguous() for key in part}, tmp_path / name)
    index = {"metadata": {}, "weight_map": {key: name for name, part in parts.items() for key in part}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    return tmp_path / "model.safetensors.index.json"


def test_shards_are_read_by_index_or_folder(sharded, values):
    assert checksums(sharded) == checksums(sharded.parent) == values
    assert sha256(sharded) == sha256(sharded.parent)


@pytest.mark.parametrize("damage", ["a part is missing", "a key is elsewhere", "outside", "no index", "two indices"])
def test_damaged_shards_are_refused(damage, sharded):
    content = json.loads(sharded.read_text())
    if damage == "a part is missing":
        (sharded.parent / "model-2-of-2.safetensors").unlink()
    elif damage == "a key is elsewhere":
        content["weight_map"]["conv1.weight"] = "model-2-of-2.safetensors"
    elif damage == "outside":
        content["weight_map"]["conv1.weight"] = "../model-1-of-2.safetensors"
    elif damage == "two indices":
        sharded.with_name("other.safetensors.index.json").write_text("{}")
    sharded.write_text(json.dumps(content))
    if damage == "no index":
        sharded.unlink()
    with pytest.raises(CheckpointError) as caught:
        checksums(sharded.parent)
    assert "\n" not in str(caught.value)
