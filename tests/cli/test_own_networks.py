"""Networks of one's own file, of five libraries, through the commands: maps and scores are those of Python."""

import os

os.environ.setdefault("KERAS_BACKEND", "jax")

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from fame_jax import class_logit, cosine, explain, models
from fame_jax.cli.flags import NetworkFlags
from fame_jax.cli.thresholds import stored_threshold
from fame_jax.experiments.store import Run
from fame_jax.inputs import geometry, images
from fame_jax.metrics import deletion
from tests.marks import thorough
from tests.models.test_own import CODE, START

LABELS = 'card = Card("shapes", "class", 32, 36, labels=("circle", "square", "star"))\npair = network, card\n'
QUIET = ("--batch-size", "1", "--no-progress")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current folder, with two photographs in `pictures`."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pictures").mkdir()
    generator = np.random.default_rng(0)
    for name in ("one", "two"):
        Image.fromarray(generator.integers(0, 256, (40, 50, 3), np.uint8)).save(tmp_path / "pictures" / f"{name}.png")
    return tmp_path


def write(folder, code, name="mine.py"):
    (folder / name).write_text(START + "\n".join(line[8:] for line in code.splitlines()) + "\n" + LABELS)


@pytest.mark.filterwarnings("default")  # Keras and Haiku have warnings of their own.
@pytest.mark.parametrize("library", ["nnx", "equinox", *thorough("linen", "haiku", "keras")])
def test_a_run_and_its_scores_are_pythons(library, folder, fame):
    write(folder, CODE[library])
    with jax.numpy_rank_promotion("allow"):  # Keras adds biases by it.
        run = fame("run", "folder", "pictures", "--model", "mine.py:pair", "--iterations", 3, "--out", "maps", *QUIET)
        assert run.code == 0, run.err
        scored = fame("score", "maps", "--metric", "deletion", "--fractions", "0.1,0.5", "--json", *QUIET)
        assert scored.code == 0, scored.err
        compare(folder, json.loads(scored.out))
    reported = fame("report", "maps")
    assert reported.code == 0, reported.err
    page = (folder / "report.html").read_text()
    assert any(label in page for label in ("circle", "square", "star"))


def compare(folder, scores):
    """A run's maps against `explain`, its scores against the metric's own function."""
    card, network = models.find("mine.py:pair")
    run, values = Run(folder / "maps"), []
    assert run.manifest["labels"] == list(card.labels)
    for index, record in enumerate(run.records):
        (image,) = map(jnp.asarray, images(record, geometry(card)))
        label = int(jnp.argmax(jax.jit(lambda network, image: network(image))(network, image)))
        assert label == run.column("label")[index]
        expected = explain(class_logit, image, network, label, iterations=3).attribution
        np.testing.assert_allclose(run.map(index), expected, atol=2e-5)
        values.append(float(deletion(network, image, run.map(index), label, fractions=[0.1, 0.5]).auc))
    (figure,) = scores["deletion"][0]["figures"]
    assert figure["number"] == 2
    assert figure["mean"] == pytest.approx(np.mean(values), abs=1e-6)


FACES = """
from flax import nnx
class Net(nnx.Module):
    def __init__(self, rngs):
        self.conv = nnx.Conv(3, 8, (3, 3), strides=16, rngs=rngs)
        self.out = nnx.Linear(8 * 49, 16, rngs=rngs)
    def features(self, image):
        return nnx.relu(self.conv(image))
    def head(self, features):
        return self.out(features.reshape(-1))
    def __call__(self, image):
        return self.head(self.features(image))
def network():
    return Net(nnx.Rngs(0)), Card("mine", "face", 112, 112, mean=(0.5,) * 3, std=(0.5,) * 3, score="logit")
"""


@pytest.fixture
def faces(folder):
    """A face network and three aligned faces, as pairs."""
    (folder / "net.py").write_text(START + FACES)
    generator = np.random.default_rng(1)
    for name in "abc":
        coarse = Image.fromarray(generator.integers(0, 256, (7, 7, 3), np.uint8))
        coarse.resize((112, 112), Image.Resampling.NEAREST).save(folder / f"{name}.png")
    (folder / "pairs.csv").write_text("G,P,T\na.png,a.png,1\na.png,b.png,0\nb.png,c.png,0\n")
    return folder


@pytest.mark.thorough
def test_a_face_network_is_calibrated_verified_run_scored_and_reported(faces, fame):
    model = ("--model", "net.py:network")
    calibrated = fame("calibrate", "pairs.csv", *model, "--aligned", "--no-progress")
    assert calibrated.code == 0, calibrated.err
    threshold = calibrated.out.split()[1]
    verified = fame("verify", "a.png", "b.png", *model, "--aligned", "--iterations", 2, "--out", "one", "--no-progress")
    assert verified.code == 0, verified.err
    assert f"threshold {float(threshold):.3f} (calibrated by eer on 3 pairs): no match" in verified.out
    for precision in ("bfloat16", "tf32"):
        told = NetworkFlags("net.py:network", precision=precision).load("pair").card
        assert stored_threshold(told.name, told.sha256).value == pytest.approx(float(threshold), abs=1e-4)
    _, network = models.find("net.py:network")
    a, b = (jnp.asarray(np.asarray(Image.open(f"{name}.png")) / 255, jnp.float32) for name in "ab")
    assert f"similarity {float(cosine(network(a), network(b))):.3f}" in verified.out
    run = fame("run", "pairs", "pairs.csv", *model, "--aligned", "--iterations", 2, "--out", "maps", *QUIET)
    assert run.code == 0, run.err
    scored = fame("score", "maps", "--fractions", "0.1,0.5", *QUIET)
    assert scored.code == 0, scored.err
    assert "deletion AUC" in scored.out
    assert fame("report", "maps", "one").code == 0
    found = fame("locations", "a.png", *model, "--aligned", "--iterations", 2, "--rows", 3, "--out", "seen", *QUIET)
    assert found.code == 0, found.err
    assert "7 locations (7 ok)" in found.out


def test_bench_times_a_network_of_ones_own(faces, fame):
    ended = fame("bench", "--model", "net.py:network", "--batch-sizes", 1, "--steps", 1, "--repeats", 1,
                 "--json", "speed.json", "--no-progress")  # fmt: skip
    assert ended.code == 0, ended.err
    assert ended.out.startswith("mine, float32")
    (speed,) = json.loads((faces / "speed.json").read_text())["speeds"]
    assert speed["network"] == "mine"
