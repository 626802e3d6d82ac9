"""Winograd's form of a convolution: the same values and derivatives, and no worse rounding."""

import jax
import jax.extend
import jax.numpy as jnp
import numpy as np
import pytest

from fame_jax.architectures import convolution, winograd
from fame_jax.architectures.convolution import _plain
from fame_jax.hoist import hoisted, repeated
from tests.test_hoist import equations

AROUND = ((1, 1), (1, 1))


def of(rows, columns, channels, features, dtype=None, batch=2):
    keys = jax.random.split(jax.random.key(rows), 2)
    x = jax.random.normal(keys[0], (batch, rows, columns, channels), dtype)
    return x, jax.random.normal(keys[1], (3, 3, channels, features), dtype) / channels**0.5


@pytest.mark.parametrize(
    ("rows", "columns", "pad"),
    [(8, 9, AROUND), (9, 8, ((0, 2), (1, 0))), (3, 3, ((0, 0), (0, 0))), (4, 7, ((2, 2),) * 2)],
)
def test_values_are_those_of_the_sum(rows, columns, pad):
    with jax.enable_x64(True):
        x, kernel = of(rows, columns, 3, 4)
        found = winograd.convolution(x, winograd.prepared(kernel), pad, None)
        np.testing.assert_allclose(found, _plain(x, kernel, (1, 1), pad, None), atol=1e-13)


def ours(x, kernel):
    with repeated(True):
        return convolution.convolution(x, kernel, (1, 1), AROUND)


def theirs(x, kernel):
    return _plain(x, kernel, (1, 1), AROUND, None)


def test_derivatives_are_those_of_the_sum():
    with jax.enable_x64(True):
        x, kernel = of(9, 10, 32, 33)

        def found(form):
            def value(x, kernel):
                return jnp.sum(form(x, kernel) ** 3)

            directions = (jnp.cos(x), jnp.sin(kernel))
            curved = jax.jvp(jax.grad(value, (0, 1)), (x, kernel), directions)
            return curved, jax.jvp(form, (x, kernel), directions)

        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9), found(ours), found(theirs))


def test_images_and_directions_are_mapped_over():
    x, kernel = of(9, 10, 32, 33, batch=6)

    def gradient(x):
        value, pull = jax.vjp(lambda x: ours(x, kernel), x)
        return jax.vmap(pull)(jnp.stack([value, value**2]))[0]

    found = jax.vmap(gradient)(x[:, None])
    for one, expected in zip(found, (gradient(image[None]) for image in x), strict=True):
        np.testing.assert_allclose(one, expected, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("channels", [64, 512])
def test_rounding_is_that_of_the_sum(channels):
    """What a walk makes of rounding is no better than what each step has of it."""
    x, kernel = of(14, 14, channels, 64, jnp.float32, batch=1)
    forms = {
        "winograd": lambda x, kernel: winograd.convolution(x, winograd.prepared(kernel), AROUND, None),
        "direct": theirs,
    }
    found = {name: np.asarray(jax.jit(form)(x, kernel)) for name, form in forms.items()}
    with jax.enable_x64(True):
        exact = np.asarray(theirs(jnp.float64(x), jnp.float64(kernel)))
    error = {name: np.sqrt(np.mean((value - exact) ** 2)) for name, value in found.items()}
    assert error["winograd"] < 2.5 * error["direct"], error


@pytest.mark.parametrize(
    ("shape", "dtype", "once", "many_times"),
    [
        ((14, 14, 32), "float32", "_plain", "_of_fewer_products"),
        ((14, 14, 31), "float32", "_plain", "_plain"),
        ((7, 7, 32), "float32", "_product_of_patches", "_product_of_patches"),
        ((28, 28, 128), "float32", "_of_fewer_products", "_of_fewer_products"),
        ((64, 64, 96), "float32", "_plain", "_plain"),
        ((64, 64, 256), "float32", "_of_fewer_products", "_of_fewer_products"),
        ((66, 64, 256), "float32", "_plain", "_plain"),
        ((28, 28, 128), "bfloat16", "_plain", "_plain"),
    ],
)
def test_where_it_is_taken(shape, dtype, once, many_times):
    x, kernel = (jnp.zeros(size, dtype) for size in ((1, *shape), (3, 3, shape[-1], shape[-1])))

    def form():
        made = convolution._made_on_cpu(x, kernel, (1, 1), AROUND)
        return convolution._form_on_cpu(made, x, kernel, (1, 1), AROUND).__name__

    assert form() == once
    with repeated(True):
        assert form() == many_times


def test_other_platforms_have_the_plain_form():
    x, kernel = of(9, 10, 32, 32)
    programs = {
        platform: jax.export.export(jax.jit(ours), platforms=[platform])(x, kernel).mlir_module()
        for platform in ("cpu", "cuda", "tpu")
    }
    plain = [platform for platform, program in programs.items() if "stablehlo.convolution" in program]
    assert plain == ["cuda", "tpu"]


def test_a_program_traced_for_one_pass_is_differentiated_within_a_walk():
    x, kernel = of(9, 10, 32, 32)
    once = jax.make_jaxpr(lambda x, kernel: convolution.convolution(x, kernel, (1, 1), AROUND))(x, kernel)

    def slope(form):
        return jax.grad(lambda x: jnp.sum(form(x, kernel) ** 2))(x)

    with repeated(True):
        found = slope(lambda *args: jax.extend.core.jaxpr_as_fun(once)(*args)[0])
    np.testing.assert_allclose(found, slope(theirs), rtol=1e-4, atol=1e-3)


def test_kernels_are_prepared_before_a_walk():
    x, kernel = of(9, 10, 32, 32)

    def walk(x, kernel):
        def loss(x, kernel):
            return jnp.sum(convolution.convolution(x, kernel, (1, 1), AROUND) ** 2)

        step = hoisted(jax.grad(loss), x, kernel)
        return jax.lax.fori_loop(0, 3, lambda _, x: step(x), x)

    program = jax.make_jaxpr(walk)(x, kernel).jaxpr
    (loop,) = (e for e in program.eqns if e.primitive.name in ("scan", "while"))

    def prepared(equations):
        return sum(e.params.get("name") == "prepared" for e in equations)

    inside = equations((loop.params.get("jaxpr") or loop.params["body_jaxpr"]).jaxpr)
    assert (prepared(inside), prepared(program.eqns)) == (0, 2)
