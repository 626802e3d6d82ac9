"""The tables of names: every key of a publisher's checkpoint is asked for once, in its shape, and no other."""

from typing import Any

import numpy as np
import pytest

from fame_jax.architectures import abstract
from fame_jax.models import card, parameter_count
from weight_conversion import NAMES, convert
from weight_conversion.errors import ConversionError

torch = pytest.importorskip("torch")

from tests.reference import iresnet_torch, sface_torch  # noqa: E402

STATE_KEYS = {18: 179, 34: 323, 50: 467, 101: 917}
TORCHVISION = ["vgg19", "convnext_tiny", "convnext_small", "convnext_base", "vit_b_16"]


@pytest.fixture
def published(torchvision):
    """Name to the shapes of the publisher's state dict: arrays that take no memory."""

    def of_name(name: str) -> dict[str, np.ndarray]:
        with torch.device("meta"):
            if name.startswith("iresnet"):
                module: Any = iresnet_torch.IResNet(iresnet_torch.DEPTHS[int(name.removeprefix("iresnet"))])
            else:
                module = torchvision.models.get_model(name)
        return shapes_of(module.state_dict())

    return of_name


def shapes_of(state: dict[str, Any]) -> dict[str, np.ndarray]:
    return {key: np.broadcast_to(np.float32(0), value.shape) for key, value in state.items()}


def refusal(name: str, state: dict[str, np.ndarray]) -> str:
    with pytest.raises(ConversionError) as error:
        convert(abstract(name), state, NAMES[name])
    return str(error.value)


@pytest.mark.parametrize("name", [*TORCHVISION, "iresnet18", "iresnet34", "iresnet50", "iresnet101"])
def test_every_published_key_is_asked_for_in_its_shape(published, name):
    # Refused for the one key that is too many, before a weight is copied: the large networks would take gigabytes.
    message = refusal(name, published(name) | {"one.too.many": np.zeros(3, np.float32)})
    assert message.endswith("(1 left over: one.too.many).")


def test_every_initializer_of_sfaces_graph_is_asked_for_in_its_shape():
    with torch.device("meta"):
        state = shapes_of(sface_torch.SFace().graph_initializers())
    assert len(state) == 172 + 2
    assert refusal("sface", state | {"one_too_many": np.zeros(3, np.float32)}).endswith("(1 left over: one_too_many).")


@pytest.mark.parametrize("name", [*TORCHVISION, "iresnet18", "iresnet34", "iresnet50", "iresnet101", "sface"])
def test_parameters_are_as_many_as_published(name):
    assert parameter_count(abstract(name)) == card(name).parameters


@pytest.mark.parametrize("depth", STATE_KEYS)
def test_iresnets_twin_has_adafaces_state_keys(published, depth):
    assert len(published(f"iresnet{depth}")) == STATE_KEYS[depth]


def test_a_lightning_checkpoint_is_the_bare_one_with_a_prefix_and_a_margin(published):
    bare = published("iresnet18")
    state = {f"model.{key}": value for key, value in bare.items()} | shapes_of({"head.kernel": np.zeros((512, 10572))})
    for checkpoint in (bare, state):
        rows = convert(abstract("iresnet18"), checkpoint, NAMES["iresnet18"]).rows
        assert {row.source.removeprefix("model.") for row in rows} == {k for k in bare if "num_batches" not in k}


def test_only_the_margin_is_ignored(published):
    message = refusal("iresnet18", published("iresnet18") | {"header.weight": np.zeros(1)})
    assert message.endswith("(1 left over: header.weight).")


def test_a_vision_transformer_may_have_its_older_names(published):
    older = {
        key.replace("mlp.0.", "mlp.linear_1.").replace("mlp.3.", "mlp.linear_2."): value
        for key, value in published("vit_b_16").items()
    }
    assert "encoder.layers.encoder_layer_11.mlp.linear_2.bias" in older
    message = refusal("vit_b_16", older | {"one.too.many": np.zeros(3, np.float32)})
    assert message.endswith("(1 left over: one.too.many).")


@pytest.mark.parametrize("constants", [{"scalar_op1": 127.0}, {"scalar_op2": 1 / 127.5}, {"scalar_op1": None}])
def test_sface_with_another_photometry_is_refused(constants):
    with torch.device("meta"):
        state = shapes_of(sface_torch.SFace().graph_initializers())
    state |= {"scalar_op1": np.array([127.5]), "scalar_op2": np.array([0.0078125])}
    for key, value in constants.items():
        state[key] = np.empty(0) if value is None else np.array([value])
        assert f"{key} is [{'' if value is None else value}] in the checkpoint" in refusal("sface", state)


@pytest.mark.parametrize(
    ("theirs", "ours", "first"),
    [
        ("convnext_small", "convnext_tiny", "features.5.9.layer_scale of shape (384, 1, 1) is in the checkpoint, not"),
        ("convnext_tiny", "convnext_small", "features.5.9.block.0.bias is missing, of shape (384,)"),
        ("convnext_base", "convnext_small", "features.0.0.weight has shape (128, 3, 4, 4) in the checkpoint, the net"),
        (
            "iresnet50",
            "iresnet101",
            "body.7.res_layer.1.weight has shape (256, 128, 3, 3) in the checkpoint, the network's is (128, 128, 3, 3)",
        ),
        (
            "iresnet34",
            "iresnet18",
            "body.2.res_layer.1.weight has shape (64, 64, 3, 3) in the checkpoint, the network's is (128, 64, 3, 3)",
        ),
    ],
)
def test_a_neighbour_is_refused_by_the_first_differing_key(published, theirs, ours, first):
    assert first in refusal(ours, published(theirs))
