"""The blocks of "Use my own network" that need a file: with one, they run from the file to the report."""

import os

os.environ.setdefault("KERAS_BACKEND", "jax")

import json

import jax
import pytest

from scripts.build_docs import DOCS
from tests.documents import blocks, execute
from tests.models.test_hub import TIMM, hub, publish, weights_of  # noqa: F401 - a fixture
from tests.reference import iresnet_torch
from tests.reference.twins import randomise
from tests.test_docs import folder  # noqa: F401 - a fixture

torch = pytest.importorskip("torch")


def run_section(heading):
    """Every block of a section that is not run without its file."""
    text = (DOCS / "use_my_model.md").read_text()
    start = text.index(f"## {heading}")
    lines = range(text[:start].count("\n"), text.count("\n", 0, text.index("\n## ", start + 1)))
    found = [block for block in blocks(DOCS / "use_my_model.md") if block.line in lines and block.reason]
    assert found
    namespace = {"__name__": "page"}
    for block in found:
        assert "tests/test_own_network_page.py" in block.reason
        execute(block, heading, namespace)


@pytest.mark.slow
def test_a_fine_tuner(folder, torchvision):  # noqa: F811
    twin = randomise(torchvision.models.resnet18(num_classes=3))
    torch.save({"state_dict": {f"model.{k}": v for k, v in twin.state_dict().items()}}, folder / "last.ckpt")
    (folder / "birds.txt").write_text("heron\ncrane\nstork\n")
    run_section("I fine-tuned a network in PyTorch")
    assert "heron" in (folder / "report.html").read_text() + (folder / "fame-out" / "manifest.json").read_text()


@pytest.mark.slow
def test_a_user_of_timm(folder, hub, torchvision):  # noqa: F811
    twin = randomise(pytest.importorskip("timm").create_model("resnet50", num_classes=4))
    config = json.dumps(TIMM | {"architecture": "resnet50"}).encode()
    publish(hub, "timm/resnet50.a1_in1k", {"config.json": config, "model.safetensors": weights_of(twin)})
    run_section("I use timm")
    assert (folder / "report.html").is_file()


@pytest.mark.slow
def test_a_researcher_with_adaface(folder):  # noqa: F811
    twin = randomise(iresnet_torch.IResNet(iresnet_torch.DEPTHS[18]))
    state = {f"model.{key}": value for key, value in twin.state_dict().items()} | {"head.kernel": torch.zeros(512, 9)}
    torch.save({"state_dict": state, "epoch": 25}, folder / "adaface_ir18_webface4m.ckpt")
    run_section("I work with AdaFace")
    assert (folder / "report.html").is_file()


@pytest.mark.filterwarnings("default")  # Keras has warnings of its own.
def test_a_user_of_keras(folder):  # noqa: F811
    keras = pytest.importorskip("keras")
    layers = keras.layers
    parts = [keras.Input((64, 64, 3)), layers.Conv2D(8, 3), layers.GlobalAveragePooling2D(), layers.Dense(3)]
    keras.Sequential(parts).save(folder / "mine.keras")
    with jax.numpy_rank_promotion("allow"):  # Keras adds biases by it.
        run_section("I have a Keras 3 model")
    assert "class 2" in (folder / "fame-out" / "manifest.json").read_text()
