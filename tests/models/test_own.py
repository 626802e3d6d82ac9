"""Networks of one's own, of six libraries, each in a file: found by `file.py:attribute`, equal to the function."""

import importlib.util
import os
import textwrap

os.environ.setdefault("KERAS_BACKEND", "jax")

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fame_jax import class_logit, explain, models
from fame_jax.identity import identity
from fame_jax.models import Card, OwnNetworkError
from fame_jax.models.own import imported
from fame_jax.network import NetworkError, Picked, extent, head_of

START = """
import jax
import jax.numpy as jnp
from jax.tree_util import Partial
from fame_jax.models import Card
image = jnp.linspace(0, 1, 32 * 32 * 3).reshape(32, 32, 3)
card = Card("mine", "class", 32, 32)
"""

# By library: code that defines `network`, and `same`, the function it has to equal.
CODE = {
    "plain": """
        def network(image):
            return jnp.tanh(image.mean((0, 1))) * 2
        same = network
    """,
    "nnx": """
        from flax import nnx
        class Net(nnx.Module):
            def __init__(self, rngs):
                self.conv = nnx.Conv(3, 8, (3, 3), strides=2, rngs=rngs)
                self.drop = nnx.Dropout(0.5, rngs=rngs)
                self.norm = nnx.BatchNorm(8, rngs=rngs)
                self.out = nnx.Linear(8, 3, rngs=rngs)
            def features(self, image):
                return self.norm(nnx.relu(self.conv(image)))
            def head(self, features):
                return self.out(self.drop(features.mean((0, 1))))
            def __call__(self, image):
                return self.head(self.features(image))
        network = Net(nnx.Rngs(0))
        network.eval()
        same = network
    """,
    "linen": """
        import flax.linen as nn
        class Net(nn.Module):
            @nn.compact
            def __call__(self, image):
                return nn.Dense(3)(nn.relu(nn.Conv(8, (3, 3))(image)).mean((0, 1)))
        module = Net()
        parameters = module.init(jax.random.key(0), image)
        network = Partial(module.apply, parameters)
        same = lambda image: module.apply(parameters, image)
    """,
    "equinox": """
        import equinox as eqx
        class Net(eqx.Module):
            conv: eqx.nn.Conv2d
            drop: eqx.nn.Dropout
            out: eqx.nn.Linear
            act: object
            def __init__(self, key):
                self.conv = eqx.nn.Conv2d(3, 8, 3, key=key)
                self.drop = eqx.nn.Dropout(0.5)
                self.out = eqx.nn.Linear(8, 3, key=key)
                self.act = jax.nn.relu
            def __call__(self, image):
                x = self.act(self.conv(jnp.moveaxis(image, -1, 0)))
                return self.out(self.drop(x.mean((1, 2))))
        network = eqx.nn.inference_mode(Net(jax.random.key(0)))
        same = network
    """,
    "haiku": """
        import haiku as hk
        def forward(image):
            return hk.Linear(3)(jax.nn.relu(hk.Conv2D(8, 3)(image[None])).mean((1, 2)))[0]
        transformed = hk.without_apply_rng(hk.transform(forward))
        parameters = transformed.init(jax.random.key(0), image)
        network = Partial(transformed.apply, parameters)
        same = lambda image: transformed.apply(parameters, image)
    """,
    "keras": """
        import keras
        keras.utils.set_random_seed(0)
        network = keras.Sequential([
            keras.Input((32, 32, 3)), keras.layers.Conv2D(8, 3, activation="relu"),
            keras.layers.BatchNormalization(), keras.layers.Dropout(0.5),
            keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(3),
        ])
        same = lambda image: network(image[None], training=False)[0]
    """,
}


@pytest.fixture
def written(tmp_path, monkeypatch):
    """Writes a module into the current folder."""
    monkeypatch.chdir(tmp_path)

    def write(code: str, name: str = "mine.py"):
        (tmp_path / name).write_text(START + textwrap.dedent(code))

    return write


@pytest.fixture
def image():
    return jnp.asarray(np.random.default_rng(0).random((32, 32, 3)), jnp.float32)


@pytest.mark.filterwarnings("default")  # Keras and Haiku have warnings of their own.
@pytest.mark.parametrize("library", CODE)
def test_a_network_of_any_library_is_found_and_explained_as_the_function(library, written, image):
    written(CODE[library] + "\n        pair = network, card\n")
    # Keras adds biases by rank promotion, which this project's tests forbid.
    with jax.numpy_rank_promotion("allow"):
        compare(image)


def compare(image):
    card, network = models.find("mine.py:pair")
    same = imported("mine.py:same")
    assert identity(network) == identity(models.find("mine.py:pair").network)
    assert models.describe(network, card).outputs == 3
    found = jax.jit(lambda network, image: network(image))(network, image)
    np.testing.assert_allclose(found, same(image), rtol=1e-5, atol=1e-6)
    expected = explain(lambda x: same(x)[1], image, iterations=3).perturbed
    np.testing.assert_allclose(explain(class_logit, image, network, 1, iterations=3).perturbed, expected, atol=1e-5)


def test_parameters_are_data_and_not_constants_of_the_program(written, image):
    written(CODE["equinox"])
    network = models.find("mine.py:network").network
    text = str(jax.make_jaxpr(lambda network, image: network(image))(network, image))
    assert len(jax.tree.leaves(network)) == 4
    assert "8,3,3,3" in text.split("\n")[0].replace("[", "").replace("]", "") or "f32[8,3,3,3]" in text


@pytest.mark.parametrize(
    ("code", "spec"),
    [
        ("def make():\n    return lambda image: image[0, 0], card", "mine.py:make"),
        ("def make():\n    return card, (lambda image: image[0, 0])", "mine.py:make"),
        ("class Make:\n    def __call__(self, image):\n        return image[0, 0]\npair = Make, card", "mine.py:pair"),
        ("class Net:\n    @staticmethod\n    def best(image):\n        return image[0, 0]", "mine:Net.best"),
    ],
)
def test_what_makes_a_network_is_called(code, spec, written, image):
    written(code)
    card, network = models.find(spec)
    np.testing.assert_array_equal(network(image), image[0, 0])
    assert card.size == (224 if "best" in spec else 32)


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize(
    ("code", "words"),
    [
        (CODE["nnx"].replace("network.eval()", ""), r"training mode.*network\.eval\(\)"),
        (CODE["equinox"].replace("eqx.nn.inference_mode", ""), r"training mode.*network\.eval\(\)"),
        (CODE["linen"] + "\n        network = module", r"holds no parameters.*Partial\(network\.apply"),
        (CODE["haiku"] + "\n        network = transformed", "holds no parameters"),
        pytest.param(
            "import torch\nnetwork = torch.nn.Linear(3, 3)",
            "is a PyTorch module",
            marks=pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="needs torch"),
        ),
        ("network = 3", "a int is no network"),
        ("network = (lambda image: image, 3)", "a pair without a card"),
        ("def network():\n    raise KeyError('weights')", r"network\(\): KeyError: 'weights'"),
        ("class network:\n    def __init__(self, width):\n        pass", "the class network needs width"),
        ("net = 3", "mine.py has no 'network'; did you mean net"),
        ("import no_such_package", "No module named 'no_such_package'"),
        ("def network(image:", "SyntaxError"),
    ],
)
def test_what_is_no_network_is_refused_in_one_line(code, words, written):
    written(code)
    with pytest.raises((OwnNetworkError, NetworkError), match=words) as caught:
        models.find("mine.py:network")
    assert "\n" not in str(caught.value)


def test_a_file_or_name_that_is_not_there_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OwnNetworkError, match=r"other\.py: no such file"):
        models.find("other.py:network")
    with pytest.raises(OwnNetworkError, match="No module named"):
        models.find("no_such.module:network")
    with pytest.raises(models.UnknownNetworkError, match="did you mean resnet18"):
        models.find("resnet_18")
    with pytest.raises(models.WeightsNotFoundError, match="no such file or folder"):
        models.find("folder/resnet18")


def test_a_name_without_a_colon_runs_nothing(written):
    written("raise SystemExit('run')")
    for spec in ("mine.py", "mine", "./mine.py"):
        with pytest.raises((ValueError, OSError)):
            models.find(spec)


def test_an_object_takes_a_card(image):
    card = Card("mine", "face", 32, 32)
    found = models.find(lambda image: image[0, 0], card=card)
    assert found.card is card
    np.testing.assert_array_equal(found.network(image), image[0, 0])


@pytest.mark.parametrize(("precision", "inner"), [("float32", "float32"), ("bfloat16", "bfloat16")])
def test_a_network_of_ones_own_computes_in_the_precision(precision, inner, image):
    seen = []

    def network(image):
        seen.append(image.dtype)
        return image[0, 0]

    output = models.find(network, precision=precision).network(image)
    assert str(seen[0]) == inner
    assert output.dtype == image.dtype


@jax.tree_util.register_static
class _Passing:
    """A network part of which passes its feature map by, and what detectors say of themselves."""

    root = True
    extent = (40, 40)

    def features(self, image):
        return image[::2, ::2]

    def head(self, features):
        raise ValueError("something passes the features by")

    def head_of(self, image):
        return lambda features: features.mean((0, 1)) + image[0, 0]

    def __call__(self, image):
        return self.head_of(image)(self.features(image))


@pytest.mark.parametrize("wrap", [lambda own: models.own.loaded(own).network, lambda own: Picked(own, lambda x: x)])
def test_what_a_network_says_of_itself_is_not_lost_by_loading_or_picking(wrap, image):
    own = _Passing()
    found = wrap(own)
    head = head_of(found, image)
    np.testing.assert_allclose(head(found.features(image)), own(image), rtol=1e-6)
    assert extent(found, image) == own.extent
    assert isinstance(found, Picked) or found.root
    bare = wrap(lambda image: image.mean((0, 1)))
    assert extent(bare, image) == image.shape[:2]
    assert not hasattr(bare, "root")
    assert not hasattr(bare, "head_of")
