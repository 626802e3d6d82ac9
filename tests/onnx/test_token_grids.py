"""Tokens of an exported transformer as a map: by flags and by the card, the class token held, against torch."""

import contextlib
import io
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from fame_jax import losses, models
from fame_jax import onnx as reader
from fame_jax.cli.console import run
from fame_jax.network import head_of
from tests.cli.conftest import arrays
from tests.onnx.graphs import pixels, planes, relative

torch = pytest.importorskip("torch")
pytest.importorskip("onnxscript")
pytestmark = pytest.mark.filterwarnings("ignore")  # Of torch's exporter.

from tests.reference.twins import randomise  # noqa: E402 - after torch is known to be there.

SIDE, LABEL = 32, 3
PLACES = ("whole", "passed")
"""Tokens before the last block, through which all passes, and those of its attention, which a shortcut passes by."""


@pytest.fixture(scope="module")
def exported(torchvision, tmp_path_factory):
    """torchvision's transformer, small and random, its file, and the names of two tensors, found by their values."""
    module, path = (
        torchvision.models.VisionTransformer(SIDE, 8, 2, 2, 16, 32, num_classes=5),
        tmp_path_factory.mktemp("vit"),
    )
    module, path = randomise(module), path / "vit.onnx"
    with contextlib.redirect_stdout(io.StringIO()), torch.no_grad():
        torch.onnx.export(module, (torch.zeros(1, 3, SIDE, SIDE),), dynamo=True, verbose=False).save(str(path))
    image = pixels(SIDE)
    graph = reader.read(path, photometry="unit").plan.graph
    every = [name for node in graph.nodes for name in node.outputs]
    values = jax.jit(reader.read(path, photometry="unit", output=every))(jnp.asarray(image))
    names = {}
    for place in PLACES:
        tokens, _ = of_torch(module, image, place)
        names[place] = next(
            name for name, x in values.items() if x.shape == tokens.shape and relative(x, tokens) < 1e-5
        )
    return module, path, names


def of_torch(module, image, place):
    """Tokens `[17, 16]` and the gradient of a logit at them."""
    block, kept = module.encoder.layers[-1], []

    def keep(_, given, returned=None):
        kept.append(given[0] if returned is None else returned)
        kept[0].retain_grad()

    hook = block.register_forward_pre_hook(keep) if place == "whole" else block.ln_1.register_forward_hook(keep)
    try:
        module(torch.from_numpy(planes(image)).requires_grad_())[0, LABEL].backward()
    finally:
        hook.remove()
    return kept[0].detach()[0].numpy(), kept[0].grad[0].numpy()


@pytest.mark.parametrize("place", PLACES)
def test_the_gradient_at_the_grid_is_torchs_with_the_class_token_held(place, exported):
    module, path, names = exported
    image = pixels(SIDE)
    network = reader.read(path, photometry="unit", features=names[place], grid=(4, 4), class_tokens=1)

    @jax.jit
    def both(network, image):
        features = network.features(image)
        return features, *jax.value_and_grad(lambda x: head_of(network, image)(x)[LABEL])(features)

    features, logit, slope = both(network, jnp.asarray(image))
    tokens, gradient = of_torch(module, image, place)
    assert relative(features, tokens[1:].reshape(4, 4, 16)) < 1e-5
    assert relative(slope, gradient[1:].reshape(4, 4, 16)) < 1e-4
    assert float(logit) == pytest.approx(float(module(torch.from_numpy(planes(image)))[0, LABEL]), rel=1e-4)
    evidence = jax.jit(losses.class_evidence)(jnp.asarray(image), network, LABEL)
    expected = np.maximum((tokens * gradient)[1:].sum(1), 0).sum()
    # In front of a layer norm the gradient is perpendicular to each token, so that nothing is left.
    assert (expected < 1e-6) == (place == "whole")
    np.testing.assert_allclose(evidence, expected, rtol=1e-4, atol=1e-6)
    with pytest.raises(reader.GraphError, match="by other ways than"):
        network.head(features)


def call(capsys, *arguments):
    capsys.readouterr()
    code = run([*map(str, arguments)])
    return code, *capsys.readouterr()


@pytest.fixture
def photograph(tmp_path, monkeypatch):
    monkeypatch.setenv("FAME_HOME", str(tmp_path / "home"))
    Image.fromarray(np.rint(pixels(SIDE) * 255).astype(np.uint8)).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


@pytest.mark.parametrize("place", PLACES)
def test_activation_maps_of_the_command_line_are_torchs(place, exported, photograph, capsys, tmp_path):
    module, path, names = exported
    told = ("--preset-input", "unit", "--features", names[place], "--grid", "1+4x4")
    shown = ("--method", "grad_cam", "--class", LABEL, "--no-progress", "--out", tmp_path)
    code, _, err = call(capsys, "explain", photograph, "--model", path, *told, *shown)
    assert code == 0, err
    found = arrays(tmp_path / "photo.grad_cam.npz")
    tokens, gradient = of_torch(module, found["image"], place)
    cells = np.maximum(tokens[1:] @ gradient[1:].mean(0), 0).reshape(4, 4)
    expected = jax.image.resize(cells - cells.min(), (SIDE, SIDE), "bilinear")
    expected = (expected - expected.min()) / np.ptp(expected)
    np.testing.assert_allclose(found["attribution"], expected, atol=1e-3)


def test_an_installed_network_keeps_its_grid_and_its_locations(exported, photograph, capsys, tmp_path):
    _, path, names = exported
    told = ("--preset-input", "unit", "--features", names["whole"], "--grid", "1+4x4")
    assert call(capsys, "convert", "onnx", path, "--name", "mine", *told)[0] == 0
    card, network = models.find("mine")
    assert (card.grid, card.class_tokens) == ((4, 4), 1)
    assert network.features(jnp.asarray(pixels(SIDE))).shape == (4, 4, 16)
    quick = ("--iterations", "2", "--sigma", "0.5", "--no-progress", "--out", tmp_path)
    code, _, err = call(capsys, "locations", photograph, "--model", "mine", "--rows", "0,2", *quick)
    assert code == 0, err
    assert json.loads((tmp_path / "photo.locations.json").read_text())["feature_map"] == [4, 4]
    maps = arrays(tmp_path / "photo.locations.npz")["attribution"]
    assert maps.shape == (2, 4, SIDE, SIDE)
    assert maps.max((2, 3)).min() > 0


def test_inspect_proposes_the_grid(exported, capsys):
    _, path, names = exported
    code, out, _ = call(capsys, "inspect", path)
    assert code == 0
    line = next(line for line in out.splitlines() if line.startswith(names["whole"] + " "))
    assert line.endswith("tokens, --grid 1+4x4")


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--features", "whole", "--grid", "4x4"), "is [1, 17, 16]; expected [1, 4 x 4, c], a token each"),
        (("--features", "whole", "--grid", "2+4x4"), "expected [1, 2 + 4 x 4, c], a token each"),
        (("--features", "whole", "--grid", "1+4"), "--grid 1+4: expected 14x14 or 1+14x14"),
        (("--grid", "1+4x4"), "and --features with the tensor it is of"),
    ],
)
def test_a_grid_that_is_none_is_told_in_one_line(flags, words, exported, photograph, capsys):
    _, path, names = exported
    flags = [names.get(flag, flag) for flag in flags]
    code, _, err = call(capsys, "explain", photograph, "--model", path, "--preset-input", "unit", *flags)
    assert code == 2
    assert words in err
    assert len(err.strip().splitlines()) == 1
