"""Images of another number of channels than three: radar, infrared beside the colours, the bands of a satellite."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

from fame_jax import Split, class_logit, explain
from fame_jax.explainers import EXPLAINERS, gradient
from fame_jax.image import gaussian_blur
from fame_jax.metrics.table import METRICS, Subject
from tests.marks import thorough

CHANNELS = (1, 4, *thorough(2, 12))
SHORT = {"masks": 20, "iterations": 3, "samples": 4, "steps": 4}


def network_and_image(channels):
    weights = jax.random.normal(jax.random.key(1), (channels, 10)) * 5

    def features(image):
        return jax.nn.relu(image.reshape(8, 8, 8, 8, channels).mean((1, 3)))

    image = jax.random.uniform(jax.random.key(0), (64, 64, channels))
    return Split(features, Partial(lambda weights, features: features.mean((0, 1)) @ weights, weights)), image


@pytest.mark.parametrize("channels", CHANNELS)
def test_gradient_is_the_mean_over_the_channels(channels):
    network, image = network_and_image(channels)
    expected = np.abs(jax.grad(class_logit)(image, network, 3)).mean(-1)
    np.testing.assert_allclose(gradient(network, image, 3), expected / expected.max(), atol=1e-5)


@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize("options", [{}, {"stop_change": 1e-9, "window": 2}, {"average": True}])
def test_a_walk_is_explained_by_its_mean_change(channels, options):
    network, image = network_and_image(channels)
    result = explain(class_logit, image, network, 3, iterations=4, **options)
    assert result.steps == 4
    change = gaussian_blur(jnp.mean(jnp.abs(result.perturbed - image), axis=-1))
    np.testing.assert_allclose(result.attribution, change / jnp.max(change), atol=1e-5)


@pytest.mark.parametrize("channels", CHANNELS)
def test_every_method_and_metric_takes_it(channels):
    network, image = network_and_image(channels)
    key, other = jax.random.key(0), image[::-1]
    for row in EXPLAINERS.values():
        if row.of_class is not None and "probes" not in row.needs:
            options = {name: value for name, value in SHORT.items() if name in row.options("class")}
            jax.eval_shape(lambda x, row=row, o=options: row.explain(network, x, 3, key=key, **o), image)
        if row.of_pair is not None:
            options = {name: value for name, value in SHORT.items() if name in row.options("pair")}
            jax.eval_shape(lambda x, y, row=row, o=options: row.explain_pair(network, x, y, key=key, **o), image, other)
    example = Subject(image, image[..., 0], label=3, masks=jnp.ones((1, 64, 64), bool), gallery=other)
    for row in METRICS.values():
        if row.measure is not None and row.name != "rise_deletion":
            jax.eval_shape(lambda example, row=row: row.measure(network, example), example)
