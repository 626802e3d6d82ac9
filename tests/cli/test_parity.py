"""`fame parity`: a good checkpoint is equal, and of each of the usual faults it names the layer."""

import pathlib
import sys
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import numpy as np
import pytest

from fame_jax import models, parity
from tests.reference.twins import randomise

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.usefixtures("torchvision")

TWICE = ("conv1", "bn1", "conv2", "bn2")
PROJECTED = [f"layer{stage}.0.downsample.{layer}" for stage in (2, 3, 4) for layer in (0, 1)]

# A torch module of a user's own, and what is wrong with it.
OWN = """
import torch, torchvision
network = torchvision.models.resnet18(num_classes=5)
network.load_state_dict(torch.load({path!r}))
"""
PHOTOMETRY = "torchvision.transforms.functional.normalize(x[0]{turned}, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])"
INSIDE = f"network.register_forward_pre_hook(lambda _, x: {PHOTOMETRY})"
SAME, OTHER = "Its weights are the same", "Its weights differ"
FAULTS = {
    "network.layer2[1].bn1.eps = 1.1e-5": ("layer2.1.bn1", SAME),
    "network.layer2[0].conv1.stride = network.layer2[0].downsample[0].stride = (1, 1)": ("layer2.0.conv1", SAME),
    "network.conv1.weight.data = network.conv1.weight.data.flip(1)": ("conv1", OTHER),
    "first, second = network.layer3[0].conv2, network.layer3[1].conv1\n"
    "first.weight, second.weight = second.weight, first.weight": ("layer3.0.conv2", OTHER),
    "network.layer1[1].relu = torch.nn.LeakyReLU(1e-3)": ("layer1.1.conv2", SAME),
    "network.fc.bias.data += 1e-6": ("fc", OTHER),
    "network.register_forward_hook(lambda _, x, y: y * 1.001)": ("output", "Everything before it agrees"),
}


class Installed(NamedTuple):
    """A checkpoint as a trainer saves it, what `fame convert` makes of it, and that in both precisions."""

    path: pathlib.Path
    folder: pathlib.Path
    networks: dict[str, Any]


@pytest.fixture(scope="module")
def checkpoint(torchvision, tmp_path_factory):
    path = tmp_path_factory.mktemp("trained") / "last.pth"
    torch.save(randomise(torchvision.models.resnet18(num_classes=5)).state_dict(), path)
    card = replace(models.card("resnet18"), name="mine", labels=None, size=32, resize=36)
    folder = models.install(card, path, path.with_name("mine"))
    networks = {}
    for precision in parity.PRECISIONS:
        with jax.enable_x64(precision == "float64"):
            networks[precision] = models.find(folder, precision=precision).network
    return Installed(path, folder, networks)


@pytest.fixture
def one_step(monkeypatch):
    """A layer at fault is found without the longer walks."""
    monkeypatch.setattr(parity, "STEPS", (1,))


def own(checkpoint, change=""):
    """A module of the user's own, with a fault."""
    namespace: dict[str, Any] = {}
    exec(OWN.format(path=str(checkpoint.path)) + change, namespace)
    return parity.of_module(namespace["network"], "own.py:network")


def compared(checkpoint, twin, *, raw=False):
    image = np.random.default_rng(0).random((32, 32, 3), np.float32)
    return parity.compare(checkpoint.networks, "resnet18", twin, [image], raw=raw, iterations=1)


@pytest.mark.thorough
def test_a_good_checkpoint_is_equal(fame, checkpoint, tmp_path):
    state = {f"model.{key}": value for key, value in torch.load(checkpoint.path).items()}
    torch.save({"epoch": 3, "state_dict": state}, tmp_path / "last.ckpt")
    ended = fame("parity", checkpoint.folder, tmp_path / "last.ckpt", "--out", tmp_path / "page", "--iterations", 7)
    assert ended.code == 0, ended.err
    assert "mine: equal: in float64 the two agree" in ended.out
    page = (tmp_path / "page" / "parity.md").read_text()
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in page.splitlines() if line.startswith("| ")]
    exact = {layer: float(float64) for layer, _, float64, *_ in cells[2:]}
    blocks = [f"layer{stage}.{block}" for stage in (1, 2, 3, 4) for block in (0, 1)]
    layers = ["conv1", "bn1", *blocks, *(f"{block}.{name}" for block in blocks for name in TWICE), *PROJECTED, "fc"]
    walks = ["walk of 1 step", *(f"walk of {n} steps" for n in (2, 3, 4, 5, 7))]
    assert set(exact) == {*layers, "output", "input gradient", *walks}
    assert max(exact.values()) < 1e-12
    assert {weights for layer, weights, *_ in cells[2:] if layer in layers and layer not in blocks} == {"0.0e+00"}


@pytest.mark.thorough
def test_each_fault_is_named(checkpoint, one_step):
    found = {}
    for change in FAULTS:
        rows = compared(checkpoint, own(checkpoint, change))
        first = parity.parting(rows)
        why = next((why for why in (SAME, OTHER, "Everything before it agrees") if why in parity.verdict(rows)), "")
        found[change] = (first and first.layer, why)
    assert found == FAULTS


@pytest.mark.slow
def test_pixels_of_a_modules_own_are_compared_too(checkpoint, one_step):
    right, turned = (own(checkpoint, INSIDE.replace("{turned}", order)) for order in ("", ".flip(1)"))
    assert parity.parting(compared(checkpoint, right, raw=True)) is None
    rows = compared(checkpoint, turned, raw=True)
    assert parity.verdict(rows).startswith("a fault at conv1: ")
    assert SAME in parity.verdict(rows)


@pytest.mark.thorough
def test_a_module_in_a_file_parts_with_exit_code_2(fame, checkpoint, one_step, tmp_path):
    (tmp_path / "own.py").write_text(OWN.format(path=str(checkpoint.path)) + "network.layer2[1].bn1.eps = 1.1e-5\n")
    ended = fame("parity", checkpoint.folder, f"{tmp_path / 'own.py'}:network", "--iterations", 1)
    assert ended.code == 2
    assert ended.err == ""
    assert "mine: a fault at layer2.1.bn1: a difference of " in ended.out
    assert next(line.split()[0] for line in ended.out.splitlines() if line.endswith("parts")) == "layer2.1.bn1"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("resnet18", "nowhere.pth"), "nowhere.pth: no such file; expected a checkpoint"),
        (("resnet18", "own.py:number"), "own.py:number: a int, expected a torch.nn.Module"),
        (("resnet18", "other.pth"), "other.pth: resnet18: not this network's weights"),
        (("resnet81", "other.pth"), "unknown network 'resnet81'"),
        (("own.py:image", "other.pth"), "own.py:image: no architecture that torch has"),
        (("resnet18", "other.pth", "--iterations", "0"), "--iterations 0"),
    ],
)
def test_what_cannot_be_compared_is_one_line(fame, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.py").write_text("number = 1\nimage = lambda image: image.mean((0, 1))\n")
    torch.save({"a": torch.ones(1)}, tmp_path / "other.pth")
    ended = fame("parity", *arguments)
    assert ended.code == 2
    assert message in ended.err
    assert ended.err.count("\n") == 1


def test_without_torch_it_is_said_how_to_get_it(fame, checkpoint, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    ended = fame("parity", checkpoint.folder, checkpoint.path)
    assert (ended.code, ended.err) == (2, "fame: PyTorch is not installed: pip install 'fame-jax[torch]'\n")


def test_what_is_not_finite_or_of_another_shape_parts():
    row = parity.LayerErrors("fc", 0.0, float("nan"), 0.0, 0.0, 0.0)
    assert row.parts
    assert row._replace(float64=parity._difference(np.zeros(3), np.zeros(2))).parts
    assert parity.parting([row._replace(float64=1e-12)]) is None
