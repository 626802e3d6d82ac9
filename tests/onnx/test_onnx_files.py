"""SFace and YuNet, read from their publishers' own files."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fame_jax import onnx as reader
from fame_jax.losses import class_logit
from fame_jax.models import load
from fame_jax.walk import perturb
from tests.onnx.graphs import pixels, planes, relative, runtime


@pytest.fixture(scope="module")
def sface_file(shared_data):
    return shared_data / "weights" / "face_recognition_sface_2021dec.onnx"


@pytest.fixture(scope="module")
def sface(sface_file):
    return reader.read(sface_file, photometry="opencv_sface", features="conv_14_relu")


@pytest.fixture(scope="module")
def yunet_file(shared_data):
    return shared_data / "weights" / "face_detection_yunet_2023mar.onnx"


def in_double(network, image):
    """What both approximate."""
    with jax.enable_x64(True):
        double = jax.tree.map(lambda x: x.astype(jnp.float64), network)
        return jax.jit(lambda network, image: network(image))(double, jnp.asarray(image, jnp.float64))


def as_near(ours, runtimes, exact):
    """Ours is as near to double precision as ONNX Runtime's; a sigmoid's small values are as far off as its logits."""
    return relative(ours, exact) <= max(1e-5, 1.5 * relative(runtimes, exact))


def test_sface_is_onnx_runtimes_and_the_hand_made_port(sface_file, sface):
    face = pixels(112)
    expected = runtime(str(sface_file), data=planes(255 * face))[0][0]
    by_hand = load("sface", sface_file)

    @jax.jit
    def outputs(network, face):
        features = network.features(face)
        return network.head(features), features

    embedding, features = outputs(sface, face)
    # In single precision the hand-made port is as far from the exact values, and ONNX Runtime 1e-6.
    assert relative(embedding, expected) <= 2e-5
    for ours, theirs in zip((embedding, features), outputs(by_hand, face), strict=True):
        assert relative(ours, theirs) <= 2e-5


@pytest.mark.slow
def test_sface_in_double_precision_walks_as_the_hand_made_port_does(sface_file, sface):
    with jax.enable_x64(True):
        face = jnp.asarray(pixels(112, np.float64))
        ours = jax.tree.map(lambda x: x.astype(jnp.float64), sface)
        theirs = load("sface", sface_file, precision="float64")
        walks = [perturb(class_logit, face, network, 3, iterations=20).perturbed for network in (ours, theirs)]
        np.testing.assert_allclose(*walks, rtol=0, atol=1e-9)


def test_sface_says_that_it_normalises_by_itself(sface_file):
    found = reader.inspect(sface_file)
    assert found.normalises == ("Sub 127.5", "Mul 0.0078125")
    assert (found.opset, found.size, found.missing) == (11, (112, 112), {})
    assert found.candidates[-4].name == "bn1"
    assert found.candidates[-5:-4] == (reader.Candidate("conv_14_relu", (1, 1024, 7, 7), "first"),)


def test_yunet_is_onnx_runtimes_at_its_own_and_at_another_size(yunet_file):
    picture = pixels((96, 128))
    content = yunet_file.read_bytes()
    network = reader.read(content, photometry="opencv_yunet", size=(96, 128))
    found = jax.jit(lambda network, image: network(image))(network, picture)
    assert {name: value.shape for name, value in found.items() if "16" in name} == {
        "cls_16": (48, 1),
        "obj_16": (48, 1),
        "bbox_16": (48, 4),
        "kps_16": (48, 10),
    }
    exact = in_double(network, picture)
    names = [form.name for form in network.plan.outputs]
    expected = dict(zip(names, runtime(_free_size(content), input=planes(255 * picture[..., ::-1])), strict=True))
    for name, value in found.items():
        assert as_near(value, expected[name][0], exact[name])


def _free_size(content):
    """The same graph with a size that may vary."""
    import onnx

    made = onnx.load_model_from_string(content)
    for axis in (2, 3):
        made.graph.input[0].type.tensor_type.shape.dim[axis].dim_param = f"side{axis}"
    for value in made.graph.output:
        value.type.tensor_type.ClearField("shape")
    return made
