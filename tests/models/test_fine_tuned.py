"""Networks of one's own training, as random torch twins: converted, equal to torch, and installed with their labels."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from fame_jax import models
from fame_jax.data.faces import sample_face
from fame_jax.data.images import sample_path
from fame_jax.experiments.store import Run
from fame_jax.inputs import geometry_of, images
from fame_jax.models.labels import LabelsError, read_labels
from tests.marks import slow, thorough
from tests.reference import iresnet_torch
from tests.reference.twins import randomise

torch = pytest.importorskip("torch")

# By name: architecture, outputs, side of the input, options of `fame convert`.
CASES = {
    "birds": ("resnet18", 10, 64, []),
    "doors": ("mobilenet_v2", 1, 64, ["--score", "sigmoid"]),
    "faces": ("iresnet18", 256, 112, ["--rgb"]),
    "better": ("iresnet50", 256, 112, []),
    "larger": ("convnext_tiny", 5, 288, ["--mean", "0.5", "0.4", "0.3", "--std", "0.2", "0.3", "0.4"]),
}
FEW = ("--fractions", "0.1,0.5", "--batch-size", 1, "--no-progress")
QUICK = ("--iterations", 1, "--batch-size", 1, "--no-progress")
OUTPUT = jax.jit(lambda network, image: network(image))


def twin_of(torchvision, architecture: str, outputs: int):
    if architecture.startswith("iresnet"):
        network = iresnet_torch.IResNet(iresnet_torch.DEPTHS[int(architecture.removeprefix("iresnet"))])
        network.output_layer[3] = torch.nn.Linear(25088, outputs)
        network.output_layer[4] = torch.nn.BatchNorm1d(outputs, affine=False)
    else:
        network = torchvision.models.get_model(architecture, num_classes=outputs)
    return randomise(network)


@pytest.fixture
def installed(fame, torchvision, tmp_path):
    """Converts the random twin of a case by the command; its twin, and the checkpoint."""

    def install(name):
        architecture, outputs, size, options = CASES[name]
        twin, file = twin_of(torchvision, architecture, outputs), tmp_path / "mine.pth"
        torch.save({"model": {f"module.{key}": value for key, value in twin.state_dict().items()}}, file)
        if not architecture.startswith("iresnet"):
            (tmp_path / "labels.txt").write_text("".join(f"kind {number}\n" for number in range(outputs)))
            options = [*options, "--labels", tmp_path / "labels.txt", "--size", size]
        ended = fame("convert", architecture, file, "--name", name, *options)
        assert ended.code == 0, ended.err
        assert "UNVERIFIED" in ended.out
        return twin, file

    return install


@pytest.mark.parametrize("name", ["birds", *thorough("doors", "faces"), *slow("better", "larger")])
def test_a_fine_tuned_network_is_installed_and_equals_torchs(name, installed):
    architecture, outputs, size, _ = CASES[name]
    twin, file = installed(name)
    card, network = models.find(name)
    assert models.describe(network, card).outputs == outputs
    assert (card.size, card.name, card.architecture) == (size, name, architecture)
    assert card.labels == (None if card.task == "face" else tuple(f"kind {i}" for i in range(outputs)))
    assert card.score == ("sigmoid" if name == "doors" else models.card(architecture).score)
    compare(card, network, twin, 1e-4)
    with jax.enable_x64(True):
        compare(card, models.converted(card, file, precision="float64").network, twin.double(), 1e-10)


@jax.jit
def outputs_and_slope(network, image):
    found, pullback = jax.vjp(network, image)
    return found, *pullback(jnp.ones_like(found))


def compare(card, network, twin, tolerance):
    """Outputs, and the gradient of their sum, of one image; at another, a unit may lie on its kink in 32 bits."""
    dtype = next(twin.parameters()).dtype
    image = np.random.default_rng(3).random((card.size, card.size, 3))
    x = torch.from_numpy(image).to(dtype).requires_grad_()
    normalised = (x - torch.tensor(card.mean, dtype=x.dtype)) / torch.tensor(card.std, dtype=x.dtype)
    normalised = normalised.flip(-1) if card.reverse_channels else normalised
    expected = twin(normalised.permute(2, 0, 1)[None])
    expected = (expected[0] if isinstance(expected, tuple) else expected)[0]
    (gradient,) = torch.autograd.grad(expected.sum(), x)
    found, slope = outputs_and_slope(network, jnp.asarray(x.detach().numpy()))
    for ours, theirs in ((found, expected.detach().numpy()), (slope, gradient.numpy())):
        assert ours.dtype == theirs.dtype
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance * np.abs(theirs).max())


@pytest.mark.parametrize("name", [*thorough("birds"), *slow("doors", "larger")])
def test_a_classifier_is_explained_run_scored_and_reported_with_its_labels(name, installed, fame, tmp_path):
    installed(name)
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for image in ("cat", "portrait"):
        Image.open(sample_path(image)).convert("RGB").save(pictures / f"{image}.png")
    model, last = ("--model", name), f"kind {CASES[name][1] - 1}"
    explained = fame("explain", pictures / "cat.png", *model, "--class", last, "--out", tmp_path / "one", *QUICK)
    assert explained.code == 0, explained.err
    assert f"FAME of {last} ({CASES[name][1] - 1})" in explained.out
    ran = fame("run", "folder", pictures, *model, "--out", tmp_path / "maps", *QUICK)
    assert ran.code == 0, ran.err
    scored = fame("score", tmp_path / "maps", "--metric", "deletion", *FEW)
    assert scored.code == 0, scored.err
    assert "n=2" in scored.out
    card, network = models.find(name)
    predicted = [card.labels[int(jnp.argmax(OUTPUT(network, image)))] for image in images_of(tmp_path / "maps")]
    assert fame("report", tmp_path / "maps", tmp_path / "one", "--out", tmp_path / "report.html").code == 0
    page = (tmp_path / "report.html").read_text()
    assert all(label in page for label in (*predicted, last, "deletion auc"))


def images_of(folder):
    run = Run(folder)
    return [jnp.asarray(images(record, geometry_of(run.manifest))[0]) for record in run.records]


@pytest.mark.parametrize("name", slow("faces", "better"))
def test_a_face_network_is_verified_run_scored_and_reported(name, installed, fame, tmp_path):
    twin, _ = installed(name)
    face = np.rint(sample_face().image * 255).astype(np.uint8)
    for file, array in (("a.png", face), ("b.png", face[:, ::-1]), ("c.png", 255 - face)):
        Image.fromarray(array).save(tmp_path / file)
    (tmp_path / "pairs.csv").write_text("G,P,T\na.png,b.png,1\na.png,c.png,0\n")
    pair = (tmp_path / "a.png", tmp_path / "c.png")
    verified = fame("verify", *pair, "--model", name, "--threshold", 0.5, "--out", tmp_path / "one", *QUICK)
    assert verified.code == 0, verified.err
    card = models.find(name).card
    assert f"similarity {similarity(card, twin, face, 255 - face):.3f}, threshold 0.500" in verified.out
    ran = fame("run", "pairs", tmp_path / "pairs.csv", "--model", name, "--out", tmp_path / "maps", *QUICK)
    assert ran.code == 0, ran.err
    scored = fame("score", tmp_path / "maps", *FEW)
    assert scored.code == 0, scored.err
    assert "deletion AUC" in scored.out
    assert fame("report", tmp_path / "maps", tmp_path / "one", "--out", tmp_path / "report.html").code == 0
    assert name in (tmp_path / "report.html").read_text()


def similarity(card, twin, one, other):
    """The cosine of torch's embeddings of two faces."""
    faces = torch.from_numpy(np.stack([one, other]) / np.float32(255))
    faces = faces.flip(-1) if card.reverse_channels else faces
    embeddings = twin.eval()(((faces - 0.5) / 0.5).permute(0, 3, 1, 2))
    embeddings = embeddings[0] if isinstance(embeddings, tuple) else embeddings
    return float(torch.nn.functional.cosine_similarity(*embeddings, dim=0).detach())


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
    assert models.installed_names() == ["mobilenet_v2", "sface", "yunet"]


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
    with pytest.raises(LabelsError, match=r"labels\.json: .*; expected"):
        read_labels(tmp_path / "labels.json")


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
    assert read_labels(tmp_path / name) == ("a b", "c")


def test_a_card_and_a_file_in_python_are_what_the_command_installs(torchvision, tmp_path, monkeypatch):
    monkeypatch.setenv("FAME_HOME", str(tmp_path / "home"))
    torch.save(torchvision.models.resnet18(num_classes=2).state_dict(), tmp_path / "mine.pth")
    card = dataclasses.replace(models.card("resnet18"), name="two", labels=("no", "yes"))
    folder = models.install(card, tmp_path / "mine.pth")
    assert folder == tmp_path / "home" / "models" / "two"
    assert models.find("two").card.labels == ("no", "yes")
