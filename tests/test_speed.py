"""Guards against slow paths, as ratios inside one run: not among the ordinary tests, since others' load disturbs them.

Processor time with one thread is what a busy machine disturbs least:
`XLA_FLAGS=--xla_cpu_multi_thread_eigen=false pytest -m slow -n 0 tests/test_speed.py`.
"""

import time

import jax
import jax.numpy as jnp
import pytest

from fame_jax.experiments import bench
from fame_jax.models import build, layers
from fame_jax.models.layers import _plain

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
        ((2, 28, 28, 128), (3, 3, 128, 128), 1, 1, 0.8),
        ((2, 56, 56, 64), (3, 3, 64, 64), 2, 1, 1.0),
        ((2, 28, 28, 96), (7, 7, 1, 96), 1, 96, 0.5),
    ],
)
def test_fast_input_gradient_beats_the_plain_one(shape, kernel, stride, groups, at_most):
    x, weights = jax.random.normal(jax.random.key(0), shape), jax.random.normal(jax.random.key(1), kernel)
    pad = ((kernel[0] // 2,) * 2, (kernel[1] // 2,) * 2)
    programs = {
        "fast": loop(lambda x, k: layers.convolution(x, k, (stride, stride), pad, feature_group_count=groups), weights),
        "plain": loop(lambda x, k: _plain(x, k, (stride, stride), pad, groups, None), weights),
    }
    sides = {name: (lambda run=run: run(x)) for name, run in programs.items()}
    bench.alternating(sides, 1)
    assert bench.ratio(bench.alternating(sides, 5, time.process_time), "fast", "plain") <= at_most


def test_time_is_linear_in_steps():
    walk = bench.program(build("mobilenet_v2"), "mobilenet_v2", "float32", 1)
    walk.run(1)
    assert bench.linearity(walk.run, (4, 8, 16), 3, time.process_time) <= 0.25
