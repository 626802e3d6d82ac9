"""What a map must not depend on, for random small networks: numbering of classes, order of a batch, other classes."""

import functools

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from fame_jax.architectures.probes import Probed
from fame_jax.explainers import EXPLAINERS
from fame_jax.explainers.corrrise import patch_corners

CLASSES, ADDED, SIDE = 4, 3, 16
OPTIONS = {
    "fame": {"iterations": 2, "kernel_size": 5},
    "fame_evidence": {"iterations": 3, "kernel_size": 5},
    "fame_starts": {"starts": 2, "iterations": 2, "kernel_size": 5},
    "evidence_cam": {"starts": 2, "iterations": 2, "kernel_size": 5},
    "expected_gradients_cam": {"samples": 6, "chunk": 4, "kernel_size": 5},
    "refined_cam": {"samples": 6, "chunk": 4, "kernel_size": 5},
    "path_sums": {"iterations": 3, "kernel_size": 5},
    "smooth_grad_squared": {"samples": 6},
    "var_grad": {"samples": 6},
    "expected_gradients": {"samples": 6, "kernel_size": 5},
    "random_blurred": {"kernel_size": 5},
    "smooth_grad": {"samples": 3},
    "integrated_gradients": {"steps": 3},
    # A softmax does depend on classes that are added.
    "rise": {"masks": 6, "cells": 4, "score": "logit"},
    "corrrise": {"masks": 8, "patches": 2, "size": 5},
    "fggb": {"kernel_size": 5},
}
CLASS_ROWS = [name for name, row in EXPLAINERS.items() if row.of_class is not None]
PAIR_ROWS = [name for name, row in EXPLAINERS.items() if row.of_pair is not None]
SEEDS = st.integers(0, 2**32 - 1)
few = hypothesis.settings(max_examples=5, deadline=None, derandomize=True, database=None)


class Network(nnx.Module):
    def __init__(self, conv, bias, fc, fc_bias):
        rngs = nnx.Rngs(0)
        self.conv = nnx.Conv(3, 6, (2, 2), strides=2, rngs=rngs)
        self.fc = nnx.Linear(6, fc.shape[1], rngs=rngs)
        self.conv.kernel[...], self.conv.bias[...] = conv, bias
        self.fc.kernel[...], self.fc.bias[...] = fc, fc_bias

    def features(self, image):
        return jax.nn.softplus(self.conv(image))

    def head(self, features):
        return jnp.tanh(features.mean((0, 1))) @ self.fc.kernel[...] + self.fc.bias[...]

    def __call__(self, image):
        return self.head(self.features(image))


def weights(numbers, outputs):
    shapes = (2, 2, 3, 6), (6,), (6, outputs), (outputs,)
    return tuple(numbers.normal(size=shape).astype(np.float32) for shape in shapes)


@functools.cache
def class_maps(name):
    """Compiled: weights, images, labels and keys to the results of a batch."""
    row = EXPLAINERS[name]

    def one(parameters, image, label, key):
        network = Network(*parameters)
        network = Probed(network) if "probes" in row.needs else network
        result = row.explain(network, image, label, key=key, **OPTIONS.get(name, {}))
        return result.attribution, result.first_loss, result.status

    return jax.jit(jax.vmap(one, (None, 0, 0, 0)))


@functools.cache
def pair_maps(name):
    row = EXPLAINERS[name]

    def one(parameters, probe, gallery, key):
        return row.explain_pair(Network(*parameters), probe, gallery, key=key, **OPTIONS.get(name, {}))

    return jax.jit(jax.vmap(one, (None, 0, 0, 0)))


def assert_same(found, expected):
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(one, other, atol=2e-4, rtol=1e-4)


@pytest.mark.parametrize("name", CLASS_ROWS)
@few
@hypothesis.given(seed=SEEDS, order=st.permutations(range(CLASSES)), batch=st.permutations(range(3)))
def test_class_maps_depend_on_the_class_and_the_image_alone(name, seed, order, batch):
    numbers = np.random.default_rng(seed)
    *body, fc, bias = weights(numbers, CLASSES)
    images = numbers.uniform(size=(3, SIDE, SIDE, 3)).astype(np.float32)
    labels, keys = jnp.asarray(numbers.integers(0, CLASSES, 3)), jax.random.split(jax.random.key(seed % 2**31), 3)
    maps = class_maps(name)
    expected = maps((*body, fc, bias), images, labels, keys)
    relabelled = maps((*body, fc[:, order], bias[np.array(order)]), images, jnp.argsort(jnp.array(order))[labels], keys)
    assert_same(relabelled, expected)
    rows = np.array(batch)
    assert_same(maps((*body, fc, bias), images[rows], labels[rows], keys[rows]), [x[rows] for x in expected])
    *_, more, more_bias = weights(numbers, ADDED)
    assert_same(maps((*body, np.hstack([fc, more]), np.append(bias, more_bias)), images, labels, keys), expected)


@pytest.mark.parametrize("name", PAIR_ROWS)
@few
@hypothesis.given(seed=SEEDS, order=st.permutations(range(CLASSES)), batch=st.permutations(range(3)))
def test_pair_maps_depend_neither_on_the_order_of_dimensions_nor_on_the_batch(name, seed, order, batch):
    numbers = np.random.default_rng(seed)
    # In double precision: a correlation magnifies the rounding of similarities that hardly differ.
    with jax.enable_x64(True):
        *body, fc, bias = weights(numbers, CLASSES)
        probes, galleries = numbers.uniform(size=(2, 3, SIDE, SIDE, 3))
        keys, rows, maps = jax.random.split(jax.random.key(seed % 2**31), 3), np.array(batch), pair_maps(name)
        expected = maps((*body, fc, bias), probes, galleries, keys)
        assert_same(maps((*body, fc[:, order], bias[np.array(order)]), probes, galleries, keys), expected)
        permuted = maps((*body, fc, bias), probes[rows], galleries[rows], keys[rows])
        assert_same(permuted, jax.tree.map(lambda x: x[rows], expected))


@pytest.mark.parametrize("name", [name for name in CLASS_ROWS if "key" in EXPLAINERS[name].needs])
def test_noise_is_the_same_in_all_precisions(name):
    numbers = np.random.default_rng(0)
    parameters, image = weights(numbers, CLASSES), numbers.uniform(size=(SIDE, SIDE, 3)).astype(np.float32)
    key = jax.random.key(1)
    narrow = EXPLAINERS[name].explain(Network(*parameters), jnp.asarray(image), 1, key=key, **OPTIONS.get(name, {}))
    with jax.enable_x64(True):
        image = jnp.asarray(image, jnp.float64)
        wide = EXPLAINERS[name].explain(Network(*parameters), image, 1, key=key, **OPTIONS.get(name, {}))
    assert wide.attribution.dtype == jnp.float64
    np.testing.assert_allclose(narrow.attribution, wide.attribution, atol=1e-4)


def test_squares_of_corrrise_are_the_same_in_all_precisions():
    corners = functools.partial(patch_corners, height=SIDE, width=SIDE, masks=9, patches=3, size=4)
    with jax.enable_x64(True):
        wide = corners(jax.random.key(1))
    np.testing.assert_array_equal(corners(jax.random.key(1)), wide)
