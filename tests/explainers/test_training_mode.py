"""A network in training mode is refused by every method, and explained once it no longer is."""

import equinox
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from fame_jax import NetworkError, Picked, Split, class_logit, explain, metrics
from fame_jax.batching import map_many, perturb_many
from fame_jax.explainers import EXPLAINERS
from tests.explainers.test_contract import QUICK

IMAGE = jax.random.uniform(jax.random.key(0), (32, 32, 3))
KEY = jax.random.key(1)


class Network(nnx.Module):
    def __init__(self, layer):
        self.conv = nnx.Conv(3, 6, (4, 4), strides=4, rngs=nnx.Rngs(0))
        self.layers = nnx.List([layer])
        self.fc = nnx.Linear(6, 5, rngs=nnx.Rngs(1))

    def features(self, image):
        return self.layers[0](jax.nn.relu(self.conv(image)))

    def head(self, features):
        return self.fc(features.mean((0, 1)))

    def __call__(self, image):
        return self.head(self.features(image))


def dropout(rate=0.5):
    return Network(nnx.Dropout(rate, rngs=nnx.Rngs(2)))


def batch_norm():
    return Network(nnx.BatchNorm(6, rngs=nnx.Rngs(2)))


@pytest.mark.parametrize("build", [dropout, batch_norm])
@pytest.mark.parametrize("name", EXPLAINERS)
def test_every_method_asks_for_eval(name, build):
    row, network = EXPLAINERS[name], build()
    options = {"key": KEY, **QUICK.get(name, {})}
    if row.of_class is not None:
        with pytest.raises(NetworkError, match=r"network\.eval\(\)"):
            row.explain(network, IMAGE, 1, **options)
    if row.of_pair is not None:
        with pytest.raises(NetworkError, match=r"network\.eval\(\)"):
            row.explain_pair(network, IMAGE, IMAGE[::-1], **options)


MAP = jnp.ones((32, 32))
USES = {
    "explain": lambda network: explain(class_logit, IMAGE, network, 1, iterations=1),
    "perturb_many": lambda network: list(perturb_many(class_logit, [(IMAGE, (1,))], network, iterations=1)),
    "map_many": lambda network: list(map_many(lambda image, network: network(image), [(IMAGE, ())], network)),
    "deletion": lambda network: metrics.deletion(network, IMAGE, MAP, 1),
    "road_delete": lambda network: metrics.road_delete(network, IMAGE, MAP, 1, KEY),
    "rise_insertion": lambda network: metrics.rise_insertion(network, IMAGE, MAP),
    "pair_scores": lambda network: metrics.pair_scores(network, IMAGE, IMAGE, MAP),
}


@pytest.mark.parametrize("use", USES)
def test_so_does_everything_else_that_runs_a_network(use):
    with pytest.raises(NetworkError, match="Dropout has deterministic=False"):
        USES[use](dropout())


@pytest.mark.parametrize(
    "wrapped",
    [
        lambda network: Split(network.features, network.head),
        lambda network: Picked(network, lambda outputs: outputs),
        lambda network: network.__call__,
    ],
    ids=["split", "picked", "method"],
)
def test_training_mode_shows_through_wrappers(wrapped):
    with pytest.raises(NetworkError, match=r"network\.eval\(\)"):
        EXPLAINERS["gradient"].explain(wrapped(dropout()), IMAGE, 1)


def test_network_is_explained_after_eval_and_without_anything_random():
    network = dropout()
    network.eval()
    assert np.isfinite(EXPLAINERS["gradient"].explain(network, IMAGE, 1).attribution).all()
    assert np.isfinite(EXPLAINERS["gradient"].explain(dropout(rate=0.0), IMAGE, 1).attribution).all()


def test_dropout_of_equinox_is_seen_too():
    layer = equinox.nn.Dropout(0.3)
    with pytest.raises(NetworkError, match="inference_mode"):
        EXPLAINERS["gradient"].explain(Split(layer, lambda f: f.mean((0, 1))), IMAGE, 1)
