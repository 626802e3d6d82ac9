"""Networks of one's own training, as random torch twins: converted, equal to torch, and installed with their labels."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fame_jax import models
from tests.reference import iresnet_torch
from tests.reference.twins import randomise

torch = pytest.importorskip("torch")

# By name: architecture, outputs, side of the input, options of `fame convert`.
CASES = {
    "birds": ("resnet18", 10, 64, []),
    "doors": ("mobilenet_v2", 1, 64, ["--score", "sigmoid"]),
    "faces": ("iresnet18", 256, 112, ["--bgr"]),
    "larger": ("convnext_tiny", 5, 96, ["--mean", "0.5", "0.4", "0.3", "--std", "0.2", "0.3", "0.4"]),
}


def twin_of(torchvision, architecture: str, outputs: int):
    if architecture == "iresnet18":
        network = iresnet_torch.IResNet(iresnet_torch.DEPTHS[18])
        network.output_layer[3] = torch.nn.Linear(25088, outputs)
        network.output_layer[4] = torch.nn.BatchNorm1d(outputs, affine=False)
    else:
        network = torchvision.models.get_model(architecture, num_classes=outputs)
    return randomise(network)


@pytest.mark.parametrize("name", CASES)
def test_a_fine_tuned_network_is_installed_and_equals_torchs(name, fame, torchvision, tmp_path):
    architecture, outputs, size, options = CASES[name]
    twin = twin_of(torchvision, architecture, outputs)
    torch.save({"model": {f"module.{key}": value for key, value in twin.state_dict().items()}}, tmp_path / "mine.pth")
    if architecture != "iresnet18":
        (tmp_path / "labels.txt").write_text("".join(f"kind {number}\n" for number in range(outputs)))
        options = [*options, "--labels", tmp_path / "labels.txt", "--size", size]
    ended = fame("convert", architecture, tmp_path / "mine.pth", "--name", name, *options)
    assert ended.code == 0, ended.err
    assert "UNVERIFIED" in ended.out
    card, network = models.find(name)
    assert models.describe(network, card).outputs == outputs
    assert (card.size, card.name, card.architecture) == (size, name, architecture)
    assert card.labels == (None if "--labels" not in options else tuple(f"kind {i}" for i in range(outputs)))
    assert card.score == ("sigmoid" if name == "doors" else models.card(architecture).score)
    card, network = converted_in_64_bits(card, tmp_path / "mine.pth")
    compare(card, network, twin.double())


def converted_in_64_bits(card, path):
    with jax.enable_x64(True):
        return models.converted(card, path, precision="float64")


def compare(card, network, twin):
    """Outputs, and the gradient of their sum, of one image in 64 bits."""
    image = np.random.default_rng(0).random((card.size, card.size, 3))
    x = torch.from_numpy(image).requires_grad_()
    normalised = (x - torch.tensor(card.mean, dtype=x.dtype)) / torch.tensor(card.std, dtype=x.dtype)
    normalised = normalised.flip(-1) if card.reverse_channels else normalised
    expected = twin(normalised.permute(2, 0, 1)[None])
    expected = (expected[0] if isinstance(expected, tuple) else expected)[0]
    (gradient,) = torch.autograd.grad(expected.sum(), x)
    with jax.enable_x64(True):
        found, pullback = jax.vjp(network, jnp.asarray(image))
        (slope,) = pullback(jnp.ones_like(found))
    np.testing.assert_allclose(found, expected.detach(), rtol=1e-10, atol=1e-10 * np.abs(expected.detach()).max())
    np.testing.assert_allclose(slope, gradient, rtol=0, atol=1e-9 * np.abs(gradient).max())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--labels", "two.txt", "--name", "birds"], "birds has 3 outputs, its card 2 labels"),
        (["--labels", "two.txt"], "--labels: a network other than the published one needs a --name"),
        (["--name", "resnet50"], "no published network's name"),
        (["--name", "../birds"], "expected letters"),
        (["--name", "birds", "--labels", "gap.txt"], "no name for output 1"),
        (["--name", "birds", "--labels", "no.txt"], "no.txt"),
        (["--name", "birds", "--std", "0", "1", "1"], "std is"),
        (["--name", "birds", "--sha256", "0" * 64], "SHA-256 is"),
        (["--name", "birds", "--key", "ema"], "no weights of this network under 'ema'"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line_and_installs_nothing(
    options, words, fame, torchvision, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "two.txt").write_text("a\nb\n")
    (tmp_path / "gap.txt").write_text("a\n\nc\n")
    torch.save(torchvision.models.resnet18(num_classes=3).state_dict(), "mine.pth")
    ended = fame("convert", "resnet18", "mine.pth", *options)
    assert ended.code == 2
    assert words in ended.err
    assert len(ended.err.strip().splitlines()) == 1
    assert models.installed_names() == ["mobilenet_v2", "sface"]


def test_safetensors_hold_the_same_network(fame, torchvision, tmp_path):
    torch.save(torchvision.models.resnet18(num_classes=3).state_dict(), tmp_path / "mine.pth")
    for form in ("orbax", "safetensors"):
        out = tmp_path / form
        assert (
            fame("convert", "resnet18", tmp_path / "mine.pth", "--name", form, "--format", form, "--out", out).code == 0
        )
    one, other = (models.find(tmp_path / form).network for form in ("orbax", "safetensors"))
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_published_name_takes_weights_of_another_head(torchvision, tmp_path):
    torch.save(torchvision.models.resnet18(num_classes=3).state_dict(), tmp_path / "mine.pth")
    card, network = models.find("resnet18", tmp_path / "mine.pth")
    assert models.describe(network, card).outputs == 3
    assert card.labels is None


@pytest.mark.parametrize(
    "content", ["[]", '{"0": "a", "2": "b"}', '{"a": 0, "b": 0}', '{"id2label": 3}', '["a", 1]', "{"]
)
def test_a_file_that_is_no_list_of_labels_is_refused(content, tmp_path):
    (tmp_path / "labels.json").write_text(content)
    with pytest.raises(models.labels.LabelsError, match=r"labels\.json: .*; expected"):
        models.labels.read_labels(tmp_path / "labels.json")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("labels.txt", "a b\nc\n\n"),
        ("labels.json", '["a b", "c"]'),
        ("labels.json", '{"1": "c", "0": "a b"}'),
        ("labels.json", '{"a b": 0, "c": 1}'),
        ("config.json", '{"id2label": {"0": "a b", "1": "c"}, "label2id": {}}'),
        ("config.json", '{"label_names": ["a b", "c"]}'),
    ],
)
def test_labels_are_read_from_every_form(name, content, tmp_path):
    (tmp_path / name).write_text(content)
    assert models.labels.read_labels(tmp_path / name) == ("a b", "c")


def test_a_card_and_a_file_in_python_are_what_the_command_installs(torchvision, tmp_path, monkeypatch):
    monkeypatch.setenv("FAME_HOME", str(tmp_path / "home"))
    torch.save(torchvision.models.resnet18(num_classes=2).state_dict(), tmp_path / "mine.pth")
    card = dataclasses.replace(models.card("resnet18"), name="two", labels=("no", "yes"))
    folder = models.install(card, tmp_path / "mine.pth")
    assert folder == tmp_path / "home" / "models" / "two"
    assert models.find("two").card.labels == ("no", "yes")
