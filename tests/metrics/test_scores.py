"""What outputs mean for a class, against the probabilities by hand."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

from fame_jax.metrics import deletion, insertion, rise_deletion, road_combined, road_delete
from fame_jax.scores import ScoreError, constant, output_of, score_of, scores_of

KEY, MAP = jax.random.key(0), jax.random.uniform(jax.random.key(1), (16, 16))
IMAGE = jax.random.uniform(jax.random.key(2), (16, 16, 3), minval=0.5)
OUTPUTS = jnp.array([2.0, -1.0, 0.5])


def one_logit(gain, image):
    return gain * (jnp.mean(image, (0, 1))[:1] - 0.5)


ONE = Partial(one_logit, jnp.float32(6))
METHODS = {
    "deletion": lambda network, score: deletion(network, IMAGE, MAP, 0, score=score).auc,
    "insertion": lambda network, score: insertion(network, IMAGE, MAP, 0, score=score).auc,
    "rise_deletion": lambda network, score: rise_deletion(network, IMAGE, MAP, mean=0.0, score=score).auc,
    "road_delete": lambda network, score: road_delete(network, IMAGE, MAP, 0, KEY, score=score).drops,
    "road_combined": lambda network, score: road_combined(network, IMAGE, MAP, 0, KEY, score=score),
}


@pytest.mark.parametrize(
    ("score", "expected"),
    [
        ("softmax", np.exp(2) / np.exp([2, -1, 0.5]).sum()),
        ("sigmoid", 1 / (1 + np.exp(-2))),
        ("logit", 2),
        (lambda outputs: outputs / jnp.sum(outputs), 2 / 1.5),
    ],
)
def test_scores_by_hand(score, expected):
    assert float(score_of(OUTPUTS, 0, score)) == pytest.approx(float(expected), rel=1e-6)
    assert np.isnan([score_of(OUTPUTS, label, score) for label in (-1, 3)]).all()


def test_outputs_outside_are_nan():
    assert [float(output_of(OUTPUTS, label)) for label in (0, 2)] == [2, 0.5]
    assert np.isnan([output_of(OUTPUTS, label) for label in (-1, -3, 3)]).all()


def test_unknown_score_is_named():
    with pytest.raises(ScoreError, match="'probability'; expected 'softmax', 'sigmoid', 'logit'"):
        inspect.unwrap(scores_of)(OUTPUTS, "probability")


@pytest.mark.parametrize("method", METHODS)
def test_single_output_is_no_case_for_the_softmax(method):
    with pytest.raises(ScoreError, match=r"softmax of a single output is always 1.*'sigmoid'"):
        METHODS[method](ONE, "softmax")


@pytest.mark.parametrize("method", METHODS)
def test_sigmoid_of_one_logit_is_the_softmax_of_it_and_zero(method):
    def two(network, image):
        return jnp.append(network(image), 0)

    found, expected = METHODS[method](ONE, "sigmoid"), METHODS[method](Partial(two, ONE), "softmax")
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_accuracy_of_a_single_output_is_refused():
    with pytest.raises(ScoreError, match="accuracy"):
        METHODS["road_delete"](ONE, "accuracy")


@pytest.mark.parametrize("method", [name for name in METHODS if name != "road_delete"])
def test_score_that_does_not_vary_has_no_figure(method):
    def nearly_constant(image):
        return jnp.ones(3) + 1e-9 * jnp.mean(image)

    assert np.isnan(METHODS[method](nearly_constant, "logit"))


def test_drop_of_what_does_not_matter_is_zero():
    def blind(image):
        return jnp.ones(3) + jnp.mean(image[:2])

    drops = road_delete(blind, IMAGE, MAP.at[:4].set(0), 0, KEY, fractions_removed=[0.1, 0.3]).drops
    np.testing.assert_allclose(drops, 0, atol=1e-6)


def test_scores_that_differ_by_rounding_are_constant_and_nan_is_not():
    assert bool(constant(jnp.array([1.0, 1 + 2e-7, 1])))
    assert bool(constant(jnp.zeros(4)))
    assert not bool(constant(jnp.array([1e-9, 2e-9])))
    assert not bool(constant(jnp.array([1.0, jnp.nan])))


@pytest.mark.parametrize(("kind", "factor"), [(jnp.bfloat16, 1), (jnp.float16, 1), (jnp.float32, 8)])
def test_scores_vary_from_more_than_rounding_on(kind, factor):
    eps = float(jnp.finfo(kind).eps)
    assert bool(constant(jnp.asarray([1, 1 + factor * eps], kind) * 8))
    assert not bool(constant(jnp.asarray([1, 1 + 2 * factor * eps], kind) * 8))
