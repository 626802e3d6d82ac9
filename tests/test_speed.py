"""Guards against slow paths, as ratios inside one run: not among the ordinary tests, since others' load disturbs them.

`pytest -m slow -n 0 tests/test_speed.py` on a quiet machine. Limits lie between what was measured on two cores and what
a slow path takes, nearer to the former.
"""

import functools
import importlib
import pathlib
import sys
import time

import jax
import jax.numpy as jnp
import pytest

from fame_jax import bench
from fame_jax.architectures import convolution, layers
from fame_jax.architectures.convolution import _plain
from fame_jax.hoist import hoisted
from fame_jax.models import build

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(jax.default_backend() != "cpu", reason="the fast forms are for CPU"),
]


def loop(convolution, kernel):
    """Input gradients of a convolution, one after the other."""

    def gradient(x, kernel):
        return jax.grad(lambda x: jnp.sum(convolution(x, kernel) ** 2))(x)

    return jax.jit(lambda x: jax.lax.fori_loop(0, 5, lambda _, x: gradient(x, kernel) * 1e-3, x))


@pytest.mark.parametrize(
    ("shape", "kernel", "stride", "groups", "at_most"),
    [
        ((2, 28, 28, 128), (3, 3, 128, 128), 1, 1, 0.4),
        ((2, 56, 56, 64), (3, 3, 64, 64), 2, 1, 0.8),
        ((2, 28, 28, 96), (7, 7, 1, 96), 1, 96, 0.2),
    ],
)
def test_fast_input_gradient_beats_the_plain_one(shape, kernel, stride, groups, at_most):
    x, weights = jax.random.normal(jax.random.key(0), shape), jax.random.normal(jax.random.key(1), kernel)
    pad = ((kernel[0] // 2,) * 2, (kernel[1] // 2,) * 2)
    programs = {
        "fast": loop(
            lambda x, k: convolution.convolution(x, k, (stride, stride), pad, feature_group_count=groups), weights
        ),
        "plain": loop(lambda x, k: _plain(x, k, (stride, stride), pad, None, groups), weights),
    }
    sides = {name: (lambda run=run: run(x)) for name, run in programs.items()}
    bench.alternating(sides, 1)
    assert bench.ratio(bench.alternating(sides, 5, time.process_time), "fast", "plain") <= at_most


@pytest.mark.parametrize("shape", [(4, 56, 56, 64), (4, 14, 14, 256), (1, 28, 28, 512), (4, 7, 7, 512)])
def test_a_convolution_in_another_shape_beats_the_plain_one(shape):
    x = jax.random.normal(jax.random.key(0), shape)
    kernel = jax.random.normal(jax.random.key(1), (3, 3, shape[3], shape[3])) / 50
    around = ((1, 1), (1, 1))

    def walk(convolution):
        def steps(x, kernel):
            step = hoisted(lambda x, kernel: jnp.tanh(convolution(x, kernel, (1, 1), around, None)), x, kernel)
            return jax.lax.fori_loop(0, 20, lambda _, x: step(x), x)

        return functools.partial(jax.jit(steps), kernel=kernel)

    programs = {"other": walk(convolution._dense), "plain": walk(_plain)}
    assert ratio(programs, x, "other", "plain") <= 0.9


def test_a_chain_of_residual_blocks_is_not_computed_anew_for_every_block():
    x = jax.random.normal(jax.random.key(0), (784, 1024))
    narrow = jax.random.normal(jax.random.key(1), (12, 1024, 64)) / 32
    wide = jax.random.normal(jax.random.key(2), (12, 64, 1024)) / 32

    def gradient(added):
        def blocks(x):
            for inward, outward in zip(narrow, wide, strict=True):
                x = added(jax.nn.relu(x @ inward) @ outward, x)
            return jnp.sum(x**2)

        return jax.jit(jax.grad(blocks))

    programs = {"stored": gradient(layers.relu_of_sum), "plain": gradient(lambda x, y: jax.nn.relu(x + y))}
    assert ratio(programs, x, "stored", "plain") <= 0.9


@pytest.mark.parametrize("name", ["mobilenet_v2", "resnet50"])
def test_a_step_takes_no_longer_than_in_pytorch(name, torchvision):
    sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / "scripts"))
    script = importlib.import_module("bench_fame")
    entry = script.measured(name, "float32", 4, 4, 2, 5, "eager", 0, time.perf_counter)
    assert entry["ratio"]["eager"] <= 1.0


def ratio(programs, x, one, other):
    """Median ratio of wall time: the fast forms gain by using both cores."""
    sides = {name: (lambda run=run: run(x)) for name, run in programs.items()}
    bench.alternating(sides, 2)
    return bench.ratio(bench.alternating(sides, 9), one, other)


def test_time_is_linear_in_steps():
    walk = bench.program(build("mobilenet_v2"), "mobilenet_v2", "float32", 1)
    walk.run(1)
    assert bench.linearity(walk.run, (4, 8, 16), 3, time.process_time) <= 0.25
