"""timm's checkpoints: random twins under timm's own names, whose logits are timm's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fame_jax import models
from fame_jax.models.hub import TIMM, card_of_config
from tests.marks import slow, thorough
from tests.reference.twins import randomise
from weight_conversion import ConversionError

torch = pytest.importorskip("torch")

SIDE = {"vgg19": 224, "vit_base_patch16_224": 224}
"""Of networks that take no smaller picture."""


@pytest.fixture(scope="session")
def timm(torchvision):
    return pytest.importorskip("timm")


def config_of(twin, side):
    """What timm writes into `config.json`."""
    photometry = {key: twin.pretrained_cfg[key] for key in ("mean", "std", "crop_pct", "license")}
    return {"architecture": twin.pretrained_cfg["architecture"], "num_classes": 5,
            "pretrained_cfg": photometry | {"input_size": [3, side, side]}}  # fmt: skip


QUICK, FAIR = ("resnet18",), ("convnext_tiny", "mobilenetv2_100")
REST = [name for name in TIMM if name not in QUICK + FAIR]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("name", [*QUICK, *thorough(*FAIR), *slow(*REST)])
def test_a_network_of_timm_gives_timms_logits(name, timm, tmp_path):
    twin = randomise(timm.create_model(name, num_classes=5))
    side = SIDE.get(name, 64)
    card = card_of_config(config_of(twin, side), f"timm/{name}")
    # As timm's training script saves it, behind the prefix of a parallel run.
    state = {f"module.{key}": value for key, value in twin.state_dict().items()}
    torch.save({"epoch": 3, "state_dict": state}, tmp_path / "last.pth.tar")
    card, network = models.converted(card, tmp_path / "last.pth.tar")
    assert models.describe(network, card).outputs == 5
    image = np.random.default_rng(0).random((side, side, 3)).astype(np.float32)
    normalised = torch.from_numpy((image - np.float32(card.mean)) / np.float32(card.std)).permute(2, 0, 1)[None]
    expected = twin(normalised)[0].detach().numpy()
    found = jax.jit(lambda network, image: network(image))(network, jnp.asarray(image))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_what_is_missing_is_named_as_timm_names_it(timm, tmp_path):
    state = timm.create_model("mobilenetv2_100", num_classes=5).state_dict()
    del state["blocks.1.0.conv_pw.weight"]
    torch.save(state, tmp_path / "last.pth")
    with pytest.raises(ConversionError, match=r"blocks\.1\.0\.conv_pw\.weight is missing.* \(1 missing: blocks"):
        models.converted(models.card("mobilenet_v2"), tmp_path / "last.pth")
