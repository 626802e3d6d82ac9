"""What does not depend on the loop's variable is computed before the loop, and nothing else changes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fame_jax import hoist
from fame_jax.hoist import hoisted
from fame_jax.models import build
from fame_jax.walk import advance, begin, evaluation, lots, rules_from


def looped(function, x, *args):
    """`x` through `function` three times."""
    rest = hoisted(function, x, *args)
    return jax.lax.fori_loop(0, 3, lambda _, x: rest(x), x)


def inside_and_before(function, x, *args):
    """Names of the operations inside the loop and before it."""
    program = jax.make_jaxpr(lambda x, *args: looped(function, x, *args))(x, *args).jaxpr
    (loop,) = (equation for equation in program.eqns if equation.primitive.name in ("scan", "while"))
    body = loop.params.get("jaxpr") or loop.params["body_jaxpr"]
    return operations(body.jaxpr), operations(program) - {loop.primitive.name}


def operations(program):
    return {equation.primitive.name for equation in program.eqns}


def mixed(x, weights):
    """Weights worked on, broadcast, and met by `x`."""
    turned = jnp.sin(weights)[::-1].T
    return jnp.tanh(x @ turned) + jnp.broadcast_to(jnp.cos(weights[0]), x.shape)


X = jax.random.normal(jax.random.key(0), (5, 4))
WEIGHTS = jax.random.normal(jax.random.key(1), (4, 4))


def test_values_are_those_of_the_function():
    expected = mixed(mixed(mixed(X, WEIGHTS), WEIGHTS), WEIGHTS)
    np.testing.assert_allclose(jax.jit(looped, static_argnums=0)(mixed, X, WEIGHTS), expected, atol=1e-6)
    both = jax.vmap(lambda x: looped(mixed, x, WEIGHTS))(jnp.stack([X, X]))
    np.testing.assert_allclose(both, jnp.stack([expected, expected]), atol=1e-6)
    each = jax.vmap(lambda w: looped(mixed, X, w))(jnp.stack([WEIGHTS, WEIGHTS]))
    np.testing.assert_allclose(each, jnp.stack([expected, expected]), atol=1e-6)


def test_work_on_the_weights_is_before_the_loop():
    inside, before = inside_and_before(mixed, X, WEIGHTS)
    assert {"sin", "rev", "transpose", "cos"} <= before
    assert not {"sin", "rev", "transpose", "cos"} & inside
    assert {"dot_general", "tanh"} <= inside


def test_broadcasts_stay_in_the_loop():
    inside, _ = inside_and_before(mixed, X, WEIGHTS)
    assert "broadcast_in_dim" in inside


def test_side_effects_stay_in_the_loop():
    seen = []

    def noting(x, weights):
        jax.debug.callback(lambda w: seen.append(float(w)), weights)
        return x * weights

    jax.block_until_ready(jax.jit(looped, static_argnums=0)(noting, jnp.float32(1), jnp.float32(2)))
    jax.effects_barrier()
    assert seen == [2.0] * 3


def test_pytrees_and_results_without_the_variable():
    def function(x, weights):
        return {"sum": x["a"] + weights["w"], "weights": weights["w"], "one": 1.0, "x": x["b"]}

    x, weights = {"a": jnp.ones(2), "b": jnp.zeros(3)}, {"w": jnp.arange(2.0)}
    found = hoisted(function, x, weights)({"a": jnp.full(2, 5.0), "b": jnp.ones(3)})
    expected = function({"a": jnp.full(2, 5.0), "b": jnp.ones(3)}, weights)
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    jax.tree.map(np.testing.assert_array_equal, found, expected)


def test_arrays_closed_over_count_as_arguments():
    def step(x):
        return hoisted(lambda x: x * jnp.sin(WEIGHTS), x)(x)

    np.testing.assert_allclose(jax.jit(step)(WEIGHTS), WEIGHTS * jnp.sin(WEIGHTS), atol=1e-6)


@pytest.mark.parametrize("moved", ["eval_jaxpr", "Literal"])
def test_where_jax_has_moved_its_parts_the_loop_gets_the_whole_function_and_one_warning(moved, monkeypatch):
    expected = mixed(mixed(mixed(X, WEIGHTS), WEIGHTS), WEIGHTS)
    monkeypatch.setattr(hoist, moved, None)
    with pytest.warns(UserWarning, match="is not known here, walks are slower") as caught:
        found = jax.jit(lambda x: looped(mixed, x, WEIGHTS))(X)
    assert len(caught) == 1
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_an_error_of_the_function_is_the_functions_own():
    def wrong(x, weights):
        raise TypeError("of the function")

    with pytest.raises(TypeError, match="of the function"):
        hoisted(wrong, X, WEIGHTS)


def equations(jaxpr):
    """Those of a program and of all programs inside it, whatever the platform."""
    parts = [
        part for e in jaxpr.eqns for value in e.params.values() for part in jax.tree.leaves(value, is_leaf=is_program)
    ]
    return [*jaxpr.eqns, *(e for part in parts if is_program(part) for e in equations(getattr(part, "jaxpr", part)))]


def is_program(value):
    return hasattr(value, "eqns") or hasattr(getattr(value, "jaxpr", None), "eqns")


def test_the_walk_turns_no_kernel_in_its_loop():
    network = build("mobilenet_v2")
    image = jnp.full((64, 64, 3), 0.5)

    def loss(image, network):
        return network(image)[0]

    def walk(network):
        rules = rules_from(iterations=2)
        return advance(evaluation(loss, image, (network,)), lots, rules, begin(lots, image, rules), 2)

    (loop,) = (e for e in jax.make_jaxpr(walk)(network).jaxpr.eqns if e.primitive.name == "while")
    inside = equations(loop.params["body_jaxpr"].jaxpr)
    assert "conv_general_dilated" in {e.primitive.name for e in inside}
    assert not [e for e in inside if e.primitive.name in ("gather", "rsqrt")]
    # The first kernel, 3x3x3x32 of stride 2, as the numbers of the one of 2x2x32x12 that the gradient takes.
    assert 2 * 2 * 32 * 12 in {variable.aval.size for variable in loop.invars}
