"""`python -m weight_conversion`: the evidence it prints, and one line and exit code 2 for what it cannot convert."""

import argparse
import dataclasses
import re
import sys

import numpy as np
import pytest

from fame_jax.architectures import architecture
from tests.reference import iresnet_torch, sface_torch
from tests.reference.twins import randomise
from weight_conversion import report
from weight_conversion.__main__ import main
from weight_conversion.convert import Row

torch = pytest.importorskip("torch")


def parities(text: str) -> dict[str, list[float]]:
    """Features, output and input gradient by precision."""
    lines = re.findall(r"^(float\d+): features (\S+), output (\S+), input gradient (\S+)$", text, re.MULTILINE)
    return {precision: [float(number) for number in numbers] for precision, *numbers in lines}


@pytest.mark.usefixtures("torchvision")
@pytest.mark.slow
def test_the_report_of_the_real_mobilenet_v2_is_evidence(shared_data, capsys, monkeypatch):
    monkeypatch.setattr(report, "architecture", lambda name: dataclasses.replace(architecture(name), size=64))
    path = shared_data / "weights" / "mobilenet_v2-b0353104.pth"
    assert main(["mobilenet_v2", str(path)]) == 0
    text = capsys.readouterr().out
    official = r"^mobilenet_v2-b0353104\.pth: sha256 b0353104\w{56}$"
    assert re.search(official, text, re.MULTILINE)
    assert len(re.findall(r"^blocks\.\S+ +features\.\S+ +[\dx]+ +[0-9a-f]{64}$", text, re.MULTILINE)) == 260
    found = parities(text)
    assert max(found["float64"]) < 1e-10
    assert max(found["float32"][:2]) < 1e-4


def test_the_layers_of_sface_in_torch_are_the_graphs():
    module = randomise(sface_torch.SFace()).double()
    x = torch.randn(1, 3, 112, 112, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    maps, output = report._sface(module.graph_initializers())(x)
    assert maps.shape == (1, 1024, 7, 7)
    torch.testing.assert_close(output, module(x))


@pytest.mark.slow
def test_the_published_sface_agrees_with_its_layers_in_torch(shared_data):
    path = shared_data / "weights" / "face_recognition_sface_2021dec.onnx"
    features, output, gradient, _ = report.parity("sface", path)
    assert features is not None
    assert max(features, output, gradient) < 1e-10


@pytest.mark.parametrize("prefix", ["", "model."])
def test_the_layers_of_iresnet_in_torch_are_adafaces(tmp_path, prefix):
    module = randomise(iresnet_torch.IResNet(iresnet_torch.DEPTHS[18]))
    state = {prefix + key: value for key, value in module.state_dict().items()} | {"head.kernel": torch.ones(2)}
    torch.save({"state_dict": state, "callbacks": argparse.Namespace()}, tmp_path / "a.ckpt")
    twin, _ = report._twin("iresnet18", tmp_path / "a.ckpt", "float64")
    x = torch.randn(1, 3, 112, 112, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    maps, output = twin(x)
    assert maps.shape == (1, 512, 7, 7)
    torch.testing.assert_close(output, module.double()(x))


def test_without_torch_the_report_says_so(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    line = report.parity_lines("mobilenet_v2", tmp_path)
    assert line == "parity: not measured, PyTorch is not installed: pip install fame-jax[torch]"


def test_without_torchvision_the_report_says_so(tmp_path, monkeypatch):
    torch.save({"a": torch.ones(1)}, tmp_path / "a.pth")
    monkeypatch.setitem(sys.modules, "torchvision", None)
    line = report.parity_lines("mobilenet_v2", tmp_path / "a.pth")
    assert line.startswith("parity: not measured, torchvision cannot be imported")


def test_the_table_has_a_line_a_weight():
    lines = report.table([Row("fc.kernel", "fc.weight", (2, 3), "ab"), Row("scale", "scale", (), "cd")]).splitlines()
    assert [line.split() for line in lines] == [
        ["layer", "source", "shape", "sha256"],
        ["fc.kernel", "fc.weight", "2x3", "ab"],
        ["scale", "scale", "cd"],
    ]


def test_a_twin_of_another_shape_is_an_error():
    with pytest.raises(ValueError, match=r"shape \(3,\), its twin \(1,\)"):
        report._difference(np.zeros(3), np.zeros(1))


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
