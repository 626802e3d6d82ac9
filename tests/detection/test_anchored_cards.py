"""SSD, RetinaNet and FCOS as cards say them, against torchvision's own anchors and networks with nothing suppressed."""

import contextlib
import io
import json
from collections import OrderedDict
from dataclasses import replace

import jax
import numpy as np
import pytest
from PIL import Image

from fame_jax import models
from fame_jax.cli.console import run
from fame_jax.detection import of_graph
from fame_jax.models.anchors import USUAL, Anchors
from tests.cli.conftest import arrays
from tests.onnx.graphs import pixels, planes

torch = pytest.importorskip("torch")
pytest.importorskip("onnxscript")
pytestmark = pytest.mark.filterwarnings("ignore")  # Of torch's exporter.

from tests.marks import thorough  # noqa: E402
from tests.reference.twins import randomise  # noqa: E402 - after torch is known to be there.

SIDE, CLASSES, WIDTH = 64, 3, 32
STRIDES = (8, 16)


def places(torchvision, generator, size, strides):
    """torchvision's anchors on maps that convolutions with padding make of an image."""
    from torchvision.models.detection.image_list import ImageList

    maps = [torch.zeros(1, 1, -(-size // stride), -(-size // stride)) for stride in strides]
    (found,) = generator(ImageList(torch.zeros(1, 3, size, size), [(size, size)]), maps)
    return found.numpy()


@pytest.mark.parametrize("size", [320, 300, 97])
def test_boxes_around_corners_are_torchvisions(size, torchvision):
    from torchvision.models.detection.anchor_utils import AnchorGenerator
    from torchvision.models.detection.retinanet import _default_anchorgen

    usual = USUAL["retinanet"]
    np.testing.assert_array_equal(usual.on(size), places(torchvision, _default_anchorgen(), size, usual.strides))
    fcos = AnchorGenerator(USUAL["fcos"].sizes, ((1.0,),) * 5)
    np.testing.assert_array_equal(USUAL["fcos"].on(size), places(torchvision, fcos, size, usual.strides))
    # Halves of 5 and 7 pixels are rounded to even numbers, 2 and 4, and levels differ in what they have.
    odd = Anchors.from_json({"strides": [8, 32], "sizes": [[5, 7], [21]], "ratios": [[1, 3], [0.3, 1, 1.7]]})
    theirs = AnchorGenerator(odd.sizes, odd.ratios)
    np.testing.assert_array_equal(odd.on(size), places(torchvision, theirs, size, (8, 32)))
    assert odd.count(size) == len(odd.on(size))
    assert {4, 8} <= set(np.ptp(odd.on(size)[:4].reshape(-1, 2, 2), 1).ravel())


@pytest.mark.parametrize("size", [320, 300, 97])
@pytest.mark.parametrize("steps", [(), USUAL["ssd"].steps])
def test_boxes_around_middles_are_torchvisions(size, steps, torchvision):
    from torchvision.models.detection.anchor_utils import DefaultBoxGenerator

    usual = USUAL["ssd"]
    ours = replace(usual, steps=steps)
    ratios = [list(map(int, level)) for level in usual.ratios]
    theirs = DefaultBoxGenerator(ratios, scales=list(usual.scales), steps=list(steps) or None)
    expected = places(torchvision, theirs, size, usual.strides)
    np.testing.assert_allclose(ours.on(size), expected, rtol=1e-6, atol=1e-4)
    assert ours.count(size) == len(expected)


class Backbone(torch.nn.Module):
    """Maps of 32 channels at strides 8 and 16."""

    out_channels = WIDTH

    def __init__(self):
        super().__init__()
        self.one = torch.nn.Conv2d(3, WIDTH, 8, 8)
        self.two = torch.nn.Conv2d(WIDTH, WIDTH, 3, 2, 1)

    def forward(self, x):
        one = torch.relu(self.one(x))
        return OrderedDict([("0", one), ("1", torch.relu(self.two(one)))])


class Heads(torch.nn.Module):
    """A detector up to what its heads give, by torchvision's names."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, x):
        found = self.network.head(list(self.network.backbone(x).values()))
        return tuple(found[name] for name in NAMES if name in found)


NAMES = ("cls_logits", "bbox_regression", "bbox_ctrness")
SIZES, SCALES = ((12, 20), (31, 44)), (0.15, 0.4, 0.7)
TOLD = {
    "retinanet": {"strides": STRIDES, "sizes": SIZES, "ratios": [[0.5, 1, 2]]},
    "fcos": {"strides": STRIDES, "sizes": [[8], [16]], "ratios": [[1]]},
    "ssd": {"strides": STRIDES, "scales": SCALES, "ratios": [[2], [2, 3]]},
}


def made(torchvision, family):
    """torchvision's network of a family, small, with random weights under which scores and boxes differ."""
    from torchvision.models.detection import FCOS, RetinaNet
    from torchvision.models.detection.anchor_utils import AnchorGenerator, DefaultBoxGenerator
    from torchvision.models.detection.ssd import SSD

    kept = {"score_thresh": -1.0, "detections_per_img": 10**6, "topk_candidates": 10**6}
    shown = {"image_mean": [0.0] * 3, "image_std": [1.0] * 3, **kept}
    if family == "ssd":
        rule = DefaultBoxGenerator([[2], [2, 3]], scales=list(SCALES))
        backbone = Backbone()
        backbone.out_channels = [WIDTH, WIDTH]
        return randomise(SSD(backbone, rule, (SIDE, SIDE), CLASSES + 1, **shown))
    if family == "fcos":
        rule = AnchorGenerator(((8,), (16,)), ((1.0,),) * 2)
        return randomise(FCOS(Backbone(), CLASSES, SIDE, SIDE, anchor_generator=rule, **shown))
    rule = AnchorGenerator(SIZES, ((0.5, 1.0, 2.0),) * 2)
    return randomise(RetinaNet(Backbone(), CLASSES, SIDE, SIDE, anchor_generator=rule, **shown))


@pytest.fixture(scope="module")
def exported(torchvision, tmp_path_factory):
    """Makes torchvision's network and the ONNX file of its heads, each family once."""
    folder, done = tmp_path_factory.mktemp("graphs"), {}

    def export(family):
        if family not in done:
            network, path = made(torchvision, family), folder / f"{family}.onnx"
            with torch.no_grad():
                for name, weight in network.head.named_parameters():
                    if weight.ndim == 4 and ".conv." not in name:  # The last ones, so that scores and boxes differ.
                        weight *= 5
            names = list(NAMES[: 3 if family == "fcos" else 2])
            with contextlib.redirect_stdout(io.StringIO()), torch.no_grad():
                example = (torch.zeros(1, 3, SIDE, SIDE),)
                program = torch.onnx.export(Heads(network), example, dynamo=True, verbose=False, output_names=names)
            program.save(str(path))
            done[family] = network, path
        return done[family]

    return export


def theirs(network, image, monkeypatch):
    """All that torchvision's whole network finds, best first, with its suppression switched off."""
    from torchvision.ops import boxes

    monkeypatch.setattr(boxes, "batched_nms", lambda found, scores, *_: torch.argsort(-scores, stable=True))
    with torch.no_grad():
        (found,) = network([torch.from_numpy(planes(image)[0])])
    return {name: value.numpy() for name, value in found.items()}


def card_of(family):
    anchors = Anchors.from_json(TOLD[family])
    return models.Card(family, "detect", SIDE, SIDE, (0.0,) * 3, (1.0,) * 3, decoding=family, anchors=anchors)


@pytest.mark.parametrize("family", ["fcos", *thorough("retinanet", "ssd")])
def test_candidates_are_torchvisions_before_suppression(family, exported, monkeypatch):
    network, path = exported(family)
    card, image = card_of(family), pixels(SIDE)
    detector = of_graph(models.find(path, card=card).network, card)
    boxes, scores, objectness, _ = (np.asarray(part) for part in jax.jit(lambda d, x: d(x))(detector, image))
    scores = scores * objectness[:, None]
    scores = np.sqrt(scores) if detector.root else scores
    expected = theirs(network, image, monkeypatch)
    assert len(boxes) == card.anchors.count(SIDE)
    assert np.ptp(expected["scores"]) > 0.5
    for label in range(CLASSES):
        # SSD's labels begin with the background.
        of_label = expected["labels"] == label + (family == "ssd")
        order = np.argsort(-scores[:, label], kind="stable")
        np.testing.assert_allclose(scores[order, label], expected["scores"][of_label], rtol=1e-4, atol=1e-6)
        # The order of scores that are alike is chance.
        apart = np.abs(np.diff(scores[order, label])) > 1e-5
        clear = np.append(apart, True) & np.append(True, apart)
        assert clear.mean() > 0.7
        inside = np.clip(boxes[order], 0, SIDE)
        np.testing.assert_allclose(inside[clear], expected["boxes"][of_label][clear], atol=1e-3)


@pytest.mark.slow
def test_an_exported_retinanet_is_installed_detects_and_is_explained(exported, capsys, monkeypatch, tmp_path):
    _, path = exported("retinanet")
    monkeypatch.setenv("FAME_HOME", str(tmp_path / "home"))
    photograph, rule = tmp_path / "photo.png", tmp_path / "anchors.json"
    Image.fromarray(np.rint(pixels(SIDE) * 255).astype(np.uint8)).save(photograph)
    rule.write_text(json.dumps(TOLD["retinanet"]))

    def fame(*arguments):
        assert run([*map(str, arguments)]) == 0, capsys.readouterr().err

    told = ("--decoding", "retinanet", "--anchors", rule, "--preset-input", "unit")
    fame("convert", "onnx", path, "--name", "mine", *told)
    shown = ("--model", "mine", "--threshold", "0.8", "--out", tmp_path / "out", "--no-progress")
    fame("detect", photograph, *shown)
    first = json.loads((tmp_path / "out" / "photo.detections.json").read_text())["detections"][0]
    fame("explain", photograph, *shown, "--detection", "1", "--iterations", "3")
    found = arrays(tmp_path / "out" / "photo.1.fame.npz")
    # What is explained is the best detection itself: its score is the walk's first loss.
    np.testing.assert_allclose(found["first_loss"], first["score"], rtol=1e-5)
    assert found["last_loss"] < found["first_loss"]
    assert found["attribution"].shape == (SIDE, SIDE)
