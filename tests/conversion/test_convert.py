"""The strict engine: right values in the right places, and every difference refused by the checkpoint's own key."""

import hashlib
from typing import Any

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from flax import nnx

from fame_jax.architectures import ARCHITECTURES, abstract, layers
from fame_jax.models.checkpoint import weights
from tests.marks import slow
from weight_conversion import NAMES, CheckpointError, Names, convert, convert_file, read_checkpoint
from weight_conversion.errors import ConversionError
from weight_conversion.layouts import CHANNELS, LINEAR, flattened

torch = pytest.importorskip("torch")

SIDE = 5


class Stage(nnx.Module):
    def __init__(self, rngs: nnx.Rngs):
        self.filter = layers.conv(4, 4, 3, padding=1, groups=4, rngs=rngs)
        self.layer_scale = nnx.Param(jnp.zeros(4))


class Small(nnx.Module):
    """One of each kind of layer, named a little differently from its twin."""

    def __init__(self, rngs: nnx.Rngs):
        self.stem = layers.conv(3, 4, 3, padding=1, bias=True, rngs=rngs)
        self.norm = layers.batch_norm(4, rngs=rngs)
        self.act = layers.PReLU(4)
        self.stages = nnx.List([Stage(rngs) for _ in range(2)])
        self.flat = nnx.Linear(SIDE * SIDE * 4, 6, rngs=rngs)
        self.last = nnx.LayerNorm(6, use_fast_variance=False, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        x = self.act(self.norm(self.stem(x)))
        for stage in self.stages:
            x = x + stage.layer_scale[...][None, None] * stage.filter(x)
        return self.last(self.flat(x.reshape(-1)))


class Twin(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 4, 3, padding=1)
        self.bn = torch.nn.BatchNorm2d(4)
        self.prelu = torch.nn.PReLU(4)
        self.stage = torch.nn.ModuleList(torch.nn.Conv2d(4, 4, 3, padding=1, groups=4, bias=False) for _ in range(2))
        self.scale = torch.nn.ParameterList(torch.zeros(4, 1, 1) for _ in range(2))
        self.fc = torch.nn.Linear(SIDE * SIDE * 4, 6)
        self.ln = torch.nn.LayerNorm(6, eps=1e-6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.prelu(self.bn(self.conv(x)))
        for filter, scale in zip(self.stage, self.scale, strict=True):
            x = x + scale * filter(x)
        return self.ln(self.fc(x.flatten(1)))


SMALL = Names(
    renames=(
        (r"^stem\.", "conv."),
        (r"^norm\.", "bn."),
        (r"^act\.", "prelu."),
        (r"^stages\.(\d)\.filter\.", r"stage.\1."),
        (r"^stages\.(\d)\.scale$", r"scale.\1"),
        (r"^flat\.", "fc."),
        (r"^last\.", lambda match: "ln."),
    ),
    leaves=((r"\.layer_scale$", "scale", CHANNELS), (r"^flat\.kernel$", "weight", flattened(SIDE, SIDE))),
    ignored=(*Names().ignored, (r"^head\.", "not used")),
)


@pytest.fixture(scope="module")
def twin() -> Twin:
    torch.manual_seed(0)
    module = Twin().eval()
    for tensor in module.state_dict().values():
        if tensor.is_floating_point():
            tensor.uniform_(0.1, 1)
    return module


@pytest.fixture
def state(twin) -> dict[str, np.ndarray]:
    return {key: value.numpy().copy() for key, value in twin.state_dict().items()}


@pytest.fixture(scope="module")
def small() -> Small:
    return nnx.eval_shape(lambda: Small(nnx.Rngs(0)))


def refused(network: Any, state: dict[str, np.ndarray], names: Names, match: str) -> str:
    with pytest.raises(ConversionError, match=match) as caught:
        convert(network, state, names)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("shapes_only", [True, False])
def test_a_converted_network_computes_what_its_twin_does(twin, state, shapes_only):
    network = nnx.eval_shape(lambda: Small(nnx.Rngs(0))) if shapes_only else Small(nnx.Rngs(0))
    image = np.random.default_rng(0).random((SIDE, SIDE, 3)).astype(np.float32)
    expected = twin(torch.from_numpy(image).permute(2, 0, 1)[None])[0].detach().numpy()
    found = convert(network, state, SMALL).network(jnp.asarray(image))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_the_given_network_is_not_changed(state):
    network = Small(nnx.Rngs(0))
    before = {key: np.asarray(value) for key, value in weights(network).items()}
    convert(network, state, SMALL)
    for key, value in weights(network).items():
        np.testing.assert_array_equal(value, before[key])


def test_a_prefix_and_ignored_keys_may_be_there(small, state):
    prefixed = {f"model.{key}": value for key, value in state.items()} | {"head.kernel": np.zeros(3)}
    found, expected = convert(small, prefixed, SMALL), convert(small, state, SMALL)
    assert [row.source for row in found.rows] == [f"model.{row.source}" for row in expected.rows]
    for one, other in zip(jax.tree.leaves(found.network), jax.tree.leaves(expected.network), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_row_says_where_a_weight_came_from(small, state):
    rows = {row.layer: row for row in convert(small, state, SMALL).rows}
    assert len(rows) == 15
    row = rows["stages.1.filter.kernel"]
    assert row.source == "stage.1.weight"
    assert row.shape == (4, 1, 3, 3)
    assert row.sha256 == hashlib.sha256(state["stage.1.weight"].tobytes()).hexdigest()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_weights_take_the_dtype_asked_for(small, state, dtype):
    wide = {key: value.astype(np.float64) if value.dtype == np.float32 else value for key, value in state.items()}
    network = convert(small, wide, SMALL, dtype=dtype).network
    assert {str(leaf.dtype) for leaf in jax.tree.leaves(network)} == {dtype}


def test_weights_are_float32_unless_asked(small, state):
    half = {
        key: value.astype(ml_dtypes.bfloat16) if value.dtype == np.float32 else value for key, value in state.items()
    }
    network = convert(small, half, SMALL).network
    assert {str(leaf.dtype) for leaf in jax.tree.leaves(network)} == {"float32"}
    np.testing.assert_array_equal(network.norm.mean[...], half["bn.running_mean"].astype(np.float32))


def test_float64_needs_64_bit_jax(small, state):
    with pytest.raises(ValueError, match="jax_enable_x64"):
        convert(small, state, SMALL, dtype="float64")
    with jax.enable_x64(True):
        network = convert(small, state, SMALL, dtype="float64").network
        assert {str(leaf.dtype) for leaf in jax.tree.leaves(network)} == {"float64"}


def test_a_missing_tensor_is_refused_by_its_key(small, state):
    del state["stage.1.weight"]
    refused(small, state, SMALL, r"stage\.1\.weight is missing, of shape \(4, 1, 3, 3\) in the network \(1 missing")


def test_an_extra_tensor_is_refused_by_its_key(small, state):
    state["stage.2.weight"] = state["stage.1.weight"]
    refused(small, state, SMALL, r"stage\.2\.weight of shape \(4, 1, 3, 3\) is in the checkpoint, not in the network")


def test_a_misshapen_tensor_is_refused_by_its_key_with_both_shapes(small, state):
    state["fc.weight"] = state["fc.weight"].T
    refused(small, state, SMALL, r"fc\.weight has shape \(100, 6\) in the checkpoint, the network's is \(6, 100\)")


def test_a_tensor_of_the_right_size_and_another_shape_is_refused(small, state):
    state["scale.0"] = state["scale.0"].reshape(4)
    refused(small, state, SMALL, r"scale\.0 has shape \(4,\) in the checkpoint, the network's is \(4, 1, 1\)")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
def test_a_value_that_is_not_finite_is_refused_by_its_key(small, state, value):
    state["bn.running_var"] = state["bn.running_var"].astype(np.float64)
    state["bn.running_var"][2] = value
    refused(small, state, SMALL, r"bn\.running_var has values that are not finite in float32")


def test_whole_numbers_are_no_weights(small, state):
    state["fc.bias"] = state["fc.bias"].astype(np.int8)
    refused(small, state, SMALL, r"fc\.bias has type int8")


def test_a_renamed_tensor_is_not_found_by_its_shape_or_place(small, state):
    renamed = {key.replace("fc.", "linear."): value for key, value in state.items()}
    message = refused(small, renamed, SMALL, r"fc\.bias is missing")
    assert "2 missing: fc.bias, fc.weight; 2 left over: linear.weight, linear.bias" in message


def test_the_order_of_the_checkpoint_does_not_matter(small, state):
    expected = convert(small, state, SMALL).network
    found = convert(small, dict(reversed(state.items())), SMALL).network
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_long_list_of_differences_is_cut_and_counted(small, state):
    state |= {f"extra{i}\n": np.zeros(1) for i in range(1000)}
    assert "and 995 more" in refused(small, state, SMALL, "1000 left over: extra0 , extra1 ")


def test_a_weight_of_an_unknown_kind_is_an_error_of_the_tables(state):
    network = nnx.eval_shape(lambda: nnx.Embed(3, 2, rngs=nnx.Rngs(0)))
    with pytest.raises(TypeError, match="neither LEAVES nor the network's names know the 'embedding' of a Embed"):
        convert(network, state, Names())


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (2, 3), (7, 7)])
def test_a_flattened_layer_takes_row_column_channel(rows, columns):
    generator = np.random.default_rng(0)
    maps, weight = generator.random((4, rows, columns)), generator.random((5, 4 * rows * columns))
    expected = weight @ maps.reshape(-1)
    layout = flattened(rows, columns)
    ours = layout.ours(weight)
    np.testing.assert_allclose(maps.transpose(1, 2, 0).reshape(-1) @ ours, expected)
    assert layout.theirs(ours.shape) == LINEAR.theirs(ours.shape) == weight.shape


def test_every_architecture_has_names():
    assert NAMES.keys() == ARCHITECTURES.keys()


def shapes_of(module: torch.nn.Module) -> dict[str, np.ndarray]:
    """A state dict of the right shapes that takes no memory."""
    return {
        key: np.broadcast_to(np.zeros((), str(value.dtype).removeprefix("torch.")), value.shape)
        for key, value in module.state_dict().items()
    }


@pytest.mark.parametrize(
    ("theirs", "ours", "message"),
    [
        ("resnet34", "resnet18", r"layer1\.2\.conv1\.weight of shape \(64, 64, 3, 3\) is in the checkpoint, not in"),
        ("resnet18", "resnet34", r"layer1\.2\..* is missing, of shape"),
        ("resnet50", "resnet34", r"layer1\.0\.conv1\.weight has shape \(64, 64, 1, 1\) .* is \(64, 64, 3, 3\)"),
        (
            "resnet101",
            "resnet50",
            r"layer3\.6\.conv1\.weight of shape \(256, 1024, 1, 1\) is in the checkpoint, not in",
        ),
    ],
)
def test_a_neighbour_is_refused_by_the_first_differing_key(torchvision, theirs, ours, message):
    with torch.device("meta"):
        module = torchvision.models.get_model(theirs)
    refused(abstract(ours), shapes_of(module), NAMES[ours], message)


@pytest.mark.parametrize(
    "name",
    [
        *("resnet18", "resnet34", "resnet50", "mobilenet_v2"),
        *slow("resnet101", "resnet152"),
    ],
)
def test_every_key_of_torchvision_is_asked_for_in_its_shape(torchvision, name):
    with torch.device("meta"):
        state = shapes_of(torchvision.models.get_model(name))
    # One key too many, so that it is refused before any weight is copied.
    message = refused(abstract(name), state | {"extra": np.zeros(1)}, NAMES[name], "extra")
    assert message.endswith("(1 left over: extra).")


def test_the_real_mobilenet_v2_holds_torchs_weights(shared_data):
    path = shared_data / "weights" / "mobilenet_v2-b0353104.pth"
    expected = torch.load(path, weights_only=True)
    found = weights(convert_file("mobilenet_v2", path).network)
    np.testing.assert_array_equal(found["classifier.kernel"].T, expected["classifier.1.weight"])
    np.testing.assert_array_equal(found["blocks.0.0.kernel"].transpose(3, 2, 0, 1), expected["features.0.0.weight"])
    np.testing.assert_array_equal(found["blocks.18.1.var"], expected["features.18.1.running_var"])


def test_errors_name_the_file_and_the_network(tmp_path, shared_data):
    path = shared_data / "weights" / "mobilenet_v2-b0353104.pth"
    with pytest.raises(ConversionError, match=r"mobilenet_v2-b0353104\.pth: resnet18: not this network's weights"):
        convert_file("resnet18", path)
    torch.save({"fc.weight": torch.ones(2)}, tmp_path / "other.pth")
    with pytest.raises(ConversionError, match=r"other\.pth: mobilenet_v2: .*left over: fc\.weight"):
        convert_file("mobilenet_v2", tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match=r"none\.pth: No such file"):
        convert_file("mobilenet_v2", tmp_path / "none.pth")


def test_a_network_is_the_same_from_every_format(tmp_path, small, twin):
    safetensors = pytest.importorskip("safetensors.torch")
    torch.save(twin.state_dict(), tmp_path / "zip.pth")
    torch.save(twin.state_dict(), tmp_path / "legacy.pth", _use_new_zipfile_serialization=False)
    torch.save({"state_dict": {f"model.{k}": v for k, v in twin.state_dict().items()}}, tmp_path / "lightning.ckpt")
    safetensors.save_file(twin.state_dict(), tmp_path / "a.safetensors")
    found = [convert(small, read_checkpoint(path), SMALL).rows for path in sorted(tmp_path.iterdir())]
    assert len(found) == 4
    for rows in found:
        assert [(row.layer, row.sha256) for row in rows] == [(row.layer, row.sha256) for row in found[0]]
