"""A ported network is differentiated like any function of JAX, and its program has the form of its platform."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from fame_jax.architectures import convolution, layers
from fame_jax.architectures.convolution import _plain

PAD = ((1, 1), (1, 1))

# Stride, groups and rows: each form on CPU once, and the plain one.
KINDS = [(1, 1, 7), (1, 1, 10), (2, 1, 9), (1, 6, 9), (2, 6, 9)]


def pair(stride, groups, rows, dtype=jnp.float32):
    """A convolution of one map, in our form and in JAX's own, a map, and a kernel."""
    keys = jax.random.split(jax.random.key(rows), 2)
    kernel = jax.random.normal(keys[1], (3, 3, 6 // groups, 6), dtype)

    def ours(x, kernel):
        return convolution.convolution(x[None], kernel, (stride,) * 2, PAD, feature_group_count=groups)[0]

    def plain(x, kernel):
        return _plain(x[None], kernel, (stride,) * 2, PAD, None, groups)[0]

    return ours, plain, jax.random.normal(keys[0], (rows, rows + 1, 6), dtype), kernel


def equal(found, expected, tolerance=1e-11):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=tolerance, rtol=1e-9), found, expected)


@pytest.mark.parametrize("kind", KINDS)
def test_forward_mode_is_that_of_the_plain_convolution(kind):
    with jax.enable_x64(True):
        *forms, x, kernel = pair(*kind, jnp.float64)
        found, expected = (jax.jvp(form, (x, kernel), (jnp.cos(x), jnp.sin(kernel))) for form in forms)
        equal(found, expected)
        equal(*(jax.jvp(lambda x, f=form: f(x, kernel), (x,), (x,)) for form in forms))


@pytest.mark.parametrize("kind", KINDS)
def test_curvature_by_forward_over_reverse_and_reverse_over_forward(kind):
    with jax.enable_x64(True):
        *forms, x, kernel = pair(*kind, jnp.float64)

        def products(form):
            def value(x, kernel):
                return jnp.sum(form(x, kernel) ** 3)

            directions = (jnp.cos(x), jnp.sin(kernel))

            def along(x, kernel):
                return jax.jvp(value, (x, kernel), directions)[1]

            return jax.jvp(jax.grad(value, (0, 1)), (x, kernel), directions)[1], jax.grad(along, (0, 1))(x, kernel)

        found, expected = map(products, forms)
        equal(found, expected, 1e-8)
        equal(found[0], found[1], 1e-8)


@pytest.mark.parametrize("kind", KINDS)
def test_two_vmaps_and_a_checkpoint_change_nothing(kind):
    ours, plain, x, kernel = pair(*kind)
    many = jnp.stack([x, x + 1, x * 2, x - 1]).reshape(2, 2, *x.shape)

    def gradients(form):
        def gradient(x):
            return jax.grad(lambda x, kernel: jnp.sum(jax.checkpoint(form)(x, kernel) ** 2), (0, 1))(x, kernel)

        return jax.vmap(jax.vmap(gradient))(many)

    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-3), gradients(ours), gradients(plain))


@pytest.mark.thorough
def test_jacobian_and_hessian_of_a_network_are_those_of_reverse_mode():
    with jax.enable_x64(True):
        rngs = nnx.Rngs(0)
        stages = [layers.conv(2, 4, 3, stride=2, padding=1, dtype=jnp.float64, rngs=rngs), layers.gelu]
        stages += [layers.conv(4, 4, 3, padding=1, groups=4, dtype=jnp.float64, rngs=rngs)]
        x = jax.random.normal(jax.random.key(0), (5, 5, 2))

        def network(x):
            return jnp.mean(layers.chain(stages, x), axis=(0, 1))

        equal(jax.jacfwd(network)(x), jax.jacrev(network)(x))
        equal(jax.hessian(lambda x: network(x)[0])(x), jax.jacrev(jax.jacrev(lambda x: network(x)[0]))(x))


def exported(stride, groups, platform):
    """The input gradient's program for a platform that need not be there."""
    ours, _, x, kernel = pair(stride, groups, 20)

    def gradient(x, kernel):
        return jax.grad(lambda x: jnp.sum(ours(x, kernel) ** 2))(x)

    return jax.export.export(jax.jit(gradient), platforms=[platform])(x, kernel).mlir_module()


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
def test_an_accelerators_program_has_the_plain_forms(platform):
    assert "lhs_dilate = [2, 2]" in exported(2, 1, platform)
    depthwise = exported(1, 6, platform)
    assert "feature_group_count = 6" in depthwise
    assert depthwise.count("stablehlo.convolution") == 2


def test_a_cpus_program_has_the_fast_forms():
    strided = exported(2, 1, "cpu")
    assert strided.count("stablehlo.convolution") == 2
    assert "lhs_dilate = [2, 2]" not in strided
    assert "stablehlo.convolution" not in exported(1, 6, "cpu")
