"""Torch's side of a comparison is the publisher's network; `python -m weight_conversion` lists the sources."""

import argparse
import re
import sys

import jax
import numpy as np
import pytest

from fame_jax import models, parity
from tests.reference import iresnet_torch, sface_torch
from tests.reference.twins import randomise
from weight_conversion import ConversionError, twins
from weight_conversion.__main__ import main

torch = pytest.importorskip("torch")


def answer(twin, image):
    """What a twin computes for an image `[112, 112, 3]` that it takes as it is."""
    return twin.answers("float64", lambda x: x)(image, np.ones(512))


def both(name, path):
    """A network from its file, in both precisions."""
    networks = {}
    for precision in parity.PRECISIONS:
        with jax.enable_x64(precision == "float64"):
            networks[precision] = models.find(name, path, precision=precision).network
    return networks


@pytest.mark.usefixtures("torchvision")
@pytest.mark.parametrize(
    ("name", "file", "side", "layers"),
    [
        ("mobilenet_v2", "mobilenet_v2-b0353104.pth", 64, 105),
        ("sface", "face_recognition_sface_2021dec.onnx", 112, 84),
    ],
)
@pytest.mark.slow
def test_a_published_file_is_equal(shared_data, name, file, side, layers):
    path = shared_data / "weights" / file
    images = np.random.default_rng(0).random((2, side, side, 3)).astype(np.float32)
    twin = twins.of_checkpoint(name, path)
    rows = parity.compare(both(name, path), name, twin, images, raw=False, iterations=1)
    assert parity.parting(rows) is None, parity.verdict(rows)
    assert sum(row.weights == 0 for row in rows) == layers


@pytest.mark.usefixtures("torchvision")
@pytest.mark.parametrize("name", ["resnet50", "mobilenet_v2", "vgg19", "convnext_tiny", "vit_b_16", "iresnet18"])
@pytest.mark.slow
def test_every_layer_of_a_random_twin_is_equal(torchvision, tmp_path, name):
    side, is_face = 224 if name in ("vgg19", "vit_b_16") else 64, name == "iresnet18"
    build = (lambda: iresnet_torch.IResNet(iresnet_torch.DEPTHS[18])) if is_face else getattr(torchvision.models, name)
    module = randomise(build())
    torch.save(module.state_dict(), tmp_path / "last.pth")
    networks = both(name, tmp_path / "last.pth")
    image = np.random.default_rng(0).random((112 if is_face else side,) * 2 + (3,)).astype(np.float32)
    for twin in (twins.of_checkpoint(name, tmp_path / "last.pth"), twins.of_module(module, "a module")):
        rows = parity.compare(networks, name, twin, [image], raw=False, iterations=1)
        assert parity.parting(rows) is None, parity.verdict(rows)
        compared = {row.layer for row in rows}
        layers = {key.rpartition(".")[0] for key in module.state_dict()}
        # Torch shows an attention as a whole; the last one is computed for the class token alone here.
        missing = {layer for layer in layers - compared if "self_attention" not in layer}
        assert missing <= {"", "encoder"}


def test_a_table_of_the_sources_is_printed(torchvision, tmp_path, capsys):
    torch.save(torchvision.models.mobilenet_v2(num_classes=3).state_dict(), tmp_path / "last.pth")
    assert main(["mobilenet_v2", str(tmp_path / "last.pth")]) == 0
    text = capsys.readouterr().out
    assert re.search(r"^last\.pth: sha256 [0-9a-f]{64}$", text, re.MULTILINE)
    assert len(re.findall(r"^blocks\.\S+ +features\.\S+ +[\dx]+ +[0-9a-f]{64}$", text, re.MULTILINE)) == 260
    assert re.search(r"^classifier.kernel +classifier.1.weight +3x1280 +[0-9a-f]{64}$", text, re.MULTILINE)


def test_the_layers_of_sface_in_torch_are_the_graphs():
    module = randomise(sface_torch.SFace()).double()
    x = torch.randn(1, 3, 112, 112, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    seen = []
    output = twins._sface(module.graph_initializers(), x, lambda name, value: seen.append(name) or value)
    torch.testing.assert_close(output, module(x))
    assert len(seen) == 27 * 3 + 3


@pytest.mark.thorough
@pytest.mark.parametrize("prefix", ["", "model."])
def test_the_layers_of_iresnet_in_torch_are_adafaces(tmp_path, prefix):
    module = randomise(iresnet_torch.IResNet(iresnet_torch.DEPTHS[18]))
    state = {prefix + key: value for key, value in module.state_dict().items()} | {"head.kernel": torch.ones(2)}
    torch.save({"state_dict": state, "callbacks": argparse.Namespace()}, tmp_path / "a.ckpt")
    image = np.random.default_rng(0).standard_normal((112, 112, 3))
    found = answer(twins.of_checkpoint("iresnet18", tmp_path / "a.ckpt"), image)
    expected = answer(twins.of_module(module, "a module"), image)
    for one, other in zip(found[1:], expected[1:], strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-12 * np.abs(other).max())


def test_without_torchvision_it_is_said_how_to_get_it(torchvision, tmp_path, monkeypatch):
    torch.save(torchvision.models.resnet18().state_dict(), tmp_path / "a.pth")
    monkeypatch.setitem(sys.modules, "torchvision", None)
    with pytest.raises(ImportError, match=r"torchvision cannot be imported .*: pip install 'fame-jax\[torch\]'"):
        twins.of_checkpoint("resnet18", tmp_path / "a.pth")


def test_a_checkpoint_that_torchvision_does_not_load_is_said(torchvision, tmp_path):
    timm = pytest.importorskip("timm")
    torch.save(timm.create_model("mobilenetv2_100", num_classes=2).state_dict(), tmp_path / "timm.pth")
    with pytest.raises(ConversionError, match=r"torchvision's mobilenet_v2 does not load it; give the torch module"):
        twins.of_checkpoint("mobilenet_v2", tmp_path / "timm.pth")


@pytest.mark.parametrize(
    ("model", "content", "message"),
    [
        ("mobilenet_v2", {"a": torch.ones(1)}, "mobilenet_v2: not this network's weights"),
        ("mobilenet_v2", [1], "no state dict"),
        ("mobilenet_v3", {"a": torch.ones(1)}, "unknown architecture 'mobilenet_v3'"),
        ("mobilenet_v2", None, "No such file"),
    ],
)
def test_what_cannot_be_converted_is_one_line_and_exit_code_2(tmp_path, capsys, model, content, message):
    path = tmp_path / "a.pth"
    if content is not None:
        torch.save(content, path)
    assert main([model, str(path)]) == 2
    found = capsys.readouterr()
    assert found.out == ""
    assert found.err.startswith("error: ")
    assert message in found.err
    assert found.err.count("\n") == 1
