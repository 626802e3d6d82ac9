"""What a network returns is said in one line before any work, and one of its outputs can be picked."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fame_jax import Picked, models
from fame_jax.models import Card, OutputError

CARD = Card("mine", "class", 8, 8)
IMAGE = jnp.asarray(np.random.default_rng(0).random((8, 8, 3)), jnp.float32)


def logits(image):
    return image.mean((0, 1))


@pytest.mark.parametrize(
    ("network", "returned", "which"),
    [
        (lambda x: {"logits": logits(x), "aux": x}, r"a dictionary {'aux': float32\[8, 8, 3\], 'logits'", "logits"),
        (lambda x: (logits(x), x), r"a tuple \(float32\[3\], float32\[8, 8, 3\]\)", 0),
        (lambda x: [x, logits(x)], "a list", 1),
        (lambda x: logits(x)[None], r"float32\[1, 3\] for float32\[8, 8, 3\]", 0),
        (lambda x: x, r"float32\[8, 8, 3\] for", logits),
        (lambda x: x.mean(), r"float32\[\] for", lambda y: y * jnp.ones(3)),
    ],
)
def test_outputs_of_another_kind_are_named_and_can_be_picked(network, returned, which):
    with pytest.raises(OutputError, match=rf"mine returns {returned}.*fame_jax\.Picked\(network, ") as caught:
        models.describe(network, CARD)
    assert "\n" not in str(caught.value)
    picked = Picked(network, which)
    assert models.describe(picked, CARD) == (3, None)
    expected = which(network(IMAGE)) if callable(which) else network(IMAGE)[which]
    np.testing.assert_array_equal(jax.jit(lambda n, x: n(x))(picked, IMAGE), expected)


def test_picking_keeps_features_and_head():
    class Network:
        def features(self, image):
            return image[::2, ::2]

        def head(self, features):
            return {"a": logits(features)}

        def __call__(self, image):
            return self.head(self.features(image))

    network = Picked(Network(), "a")
    assert models.describe(network, CARD) == (3, (4, 4, 3))
    np.testing.assert_array_equal(network.head(network.features(IMAGE)), network(IMAGE))


@pytest.mark.parametrize(
    ("network", "takes"),
    [
        (lambda x: x.reshape(1, 8, 8, 3)[0, 0, 0] + 0 * x[0, 7, 7, 2], "a batch"),
        (lambda x: jnp.zeros((1, 3)) @ x[:, 0, :1], "channels first"),
    ],
)
def test_a_network_of_another_input_says_which(network, takes):
    with pytest.raises(OutputError, match=rf"fails on float32\[8, 8, 3\] \(it takes {takes}; "):
        models.describe(network, CARD)


def test_a_network_that_fails_says_how():
    with pytest.raises(OutputError, match=r"mine fails on float32\[8, 8, 3\]: KeyError: 'weights'"):
        models.describe(lambda image: {}["weights"], CARD)


def test_whole_numbers_are_no_outputs():
    with pytest.raises(OutputError, match=r"int32\[3\]"):
        models.describe(lambda image: jnp.arange(3), CARD)


def test_labels_are_as_many_as_outputs():
    with pytest.raises(OutputError, match="mine has 3 outputs, its card 2 labels"):
        models.describe(logits, Card("mine", "class", 8, 8, labels=("a", "b")))


def test_the_softmax_of_one_output_is_refused():
    with pytest.raises(OutputError, match="sigmoid or logit"):
        models.describe(lambda image: logits(image)[:1], CARD)
    assert models.describe(lambda image: logits(image)[:1], Card("mine", "class", 8, 8, score="sigmoid")).outputs == 1


def test_twelve_channels_are_those_of_the_mean():
    card = Card("mine", "class", 8, 8, mean=(0.5,) * 12, std=(0.5,) * 12)
    assert models.describe(logits, card).outputs == 12
