"""SFace with its published weights: ONNX Runtime is the oracle, on aligned faces of photographs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fame_jax.losses import class_logit
from fame_jax.models import card, installed, load
from fame_jax.models.checkpoint import about
from fame_jax.walk import perturb
from weight_conversion import read_checkpoint

onnxruntime = pytest.importorskip("onnxruntime")

FILE = "face_recognition_sface_2021dec.onnx"
PEOPLE = ("obama", "obama2", "obama3", "biden")
# OpenCV's published threshold.
SAME_PERSON = 0.363


@pytest.fixture(scope="module")
def file(shared_data):
    return shared_data / "weights" / FILE


@pytest.fixture(scope="module")
def faces(shared_data):
    pytest.importorskip("cv2")
    from fame_jax.data.faces import load_face

    return np.stack([np.asarray(load_face(shared_data / "photos" / f"{name}.jpg").image) for name in PEOPLE])


@pytest.fixture(scope="module")
def expected(file, faces):
    """Embeddings by the published graph, which takes levels from 0 to 255."""
    onnxruntime.set_default_logger_severity(3)
    graph = onnxruntime.InferenceSession(file)
    return np.concatenate([graph.run(None, {"data": 255 * face.transpose(2, 0, 1)[None]})[0] for face in faces])


def embeddings(network, faces):
    return np.asarray(jax.jit(jax.vmap(network))(jnp.asarray(faces)))


def cosines(embeddings):
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    return unit @ unit.T


def test_embeddings_are_onnx_runtimes(file, faces, expected):
    np.testing.assert_allclose(embeddings(load("sface", file), faces), expected, atol=1e-4)


def test_bundled_weights_are_the_published_ones_in_half_precision(file, faces, expected):
    stored = about(installed("sface"))
    assert (stored.file, stored.dtype) == (FILE, "float16")
    published, bundled = load("sface", file), load("sface")
    for exact, rounded in zip(jax.tree.leaves(published), jax.tree.leaves(bundled), strict=True):
        np.testing.assert_array_equal(np.asarray(exact).astype(np.float16), rounded)
    found = embeddings(bundled, faces)
    assert np.abs(found - expected).max() <= 0.01
    assert np.abs(cosines(found) - cosines(expected)).max() <= 5e-4


def test_one_person_is_similar_and_another_is_not(faces):
    scores = cosines(embeddings(load("sface"), faces))
    one_person = scores[:3, :3][np.triu_indices(3, 1)]
    assert 0.74 <= one_person.min() <= one_person.max() <= 0.81
    # 0.28 for one of the pairs; the detector's landmarks, a pixel this way or that, move it by 0.05.
    assert scores[3, :3].max() <= 0.3 < SAME_PERSON


def test_the_graphs_photometry_is_that_of_the_registry():
    sface = card("sface")
    levels = np.arange(256)
    expected = (levels - 127.5) * 0.0078125
    np.testing.assert_allclose((levels / 255 - sface.mean[0]) / sface.std[0], expected, rtol=0, atol=1e-15)


@pytest.mark.slow
def test_hundred_steps_in_float64_are_torchs_elementwise(file, faces):
    torch = pytest.importorskip("torch")
    from tests.reference import sface_torch, twins

    class Photometry(torch.nn.Module):
        def forward(self, x):
            return (255 * x - 127.5) * 0.0078125

    network = sface_torch.SFace().load_graph_initializers(read_checkpoint(file)).double().eval()
    module = torch.nn.Sequential(Photometry(), network)
    face = faces[:1].astype(np.float64)
    expected = twins.lots_in_torch(module, face, 3, 100)[0]
    with jax.enable_x64(True):
        found = perturb(class_logit, jnp.asarray(face[0]), load("sface", file, precision="float64"), 3, iterations=100)
        np.testing.assert_allclose(found.perturbed, expected, rtol=0, atol=1e-6)
