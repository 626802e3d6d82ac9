import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from fame_jax import OptionError, Status, attribution, class_logit, explain, lots, perturb, walk
from fame_jax.batching import perturb_many
from fame_jax.paths import path_average

SIZE = 32
STEP = 1 / 255


def weights(seed: int, classes: int = 4):
    keys = jax.random.split(jax.random.key(seed))
    return {
        "hidden": jax.random.normal(keys[0], (SIZE * SIZE * 3, 16)) / SIZE,
        "out": jax.random.normal(keys[1], (16, classes)),
    }


def apply(parameters, image):
    return jax.nn.relu(image.reshape(-1) @ parameters["hidden"]) @ parameters["out"]


def network(seed: int = 0):
    return jax.tree_util.Partial(apply, weights(seed))


def images(count: int, dtype=jnp.float32):
    return jax.random.uniform(jax.random.key(7), (count, SIZE, SIZE, 3), dtype)


IMAGE = images(1)[0]


def status(result) -> Status:
    return Status(int(result.status))


def test_one_step_moves_some_pixel_by_exactly_the_step_size():
    with jax.enable_x64(True):
        image = jnp.zeros((SIZE, SIZE, 3), jnp.float64)
        parameters = jax.tree.map(lambda x: jnp.asarray(x, jnp.float64), weights(3))
        loss = functools.partial(class_logit)
        result = perturb(
            loss, image + 0.0, jax.tree_util.Partial(lambda p, x: apply(p, x + 0.5), parameters), 1, iterations=1
        )
        change = jnp.abs(result.perturbed - image)
        assert float(change.max()) == STEP
        assert int((change == STEP).sum()) == 1


def test_step_is_the_gradient_over_its_largest_magnitude():
    gradient = jax.grad(class_logit)(IMAGE, network(), 2)
    expected = IMAGE - STEP * gradient / jnp.abs(gradient).max()
    np.testing.assert_allclose(perturb(class_logit, IMAGE, network(), 2, iterations=1).perturbed, expected, atol=1e-7)


def test_no_pixel_moves_farther_than_steps_times_step_size():
    result = perturb(class_logit, IMAGE, network(), 2, iterations=30)
    assert float(jnp.abs(result.perturbed - IMAGE).max()) <= 30 * STEP + 1e-6
    assert int(result.steps) == 30
    assert float(result.last_loss) < float(result.first_loss)


def test_first_and_last_loss_are_those_of_the_images():
    result = perturb(class_logit, IMAGE, network(), 2, iterations=10)
    assert float(result.first_loss) == pytest.approx(float(network()(IMAGE)[2]), abs=1e-5)
    assert float(result.last_loss) == pytest.approx(float(network()(result.perturbed)[2]), abs=1e-5)


def test_vmap_equals_a_loop():
    batch, labels = images(3), jnp.array([0, 3, 1])
    together = jax.vmap(lambda x, y: explain(class_logit, x, network(), y, iterations=5, kernel_size=11))(batch, labels)
    for i in range(3):
        alone = explain(class_logit, batch[i], network(), labels[i], iterations=5, kernel_size=11)
        np.testing.assert_allclose(together.perturbed[i] * 255, alone.perturbed * 255, atol=0.05)
        np.testing.assert_allclose(together.attribution[i], alone.attribution, atol=1e-3)


@pytest.mark.parametrize("split", [1, 2, 3])
def test_any_split_of_a_batch_gives_the_same_maps_in_float64(split):
    with jax.enable_x64(True):
        batch = images(6, jnp.float64)
        net = jax.tree.map(lambda x: jnp.asarray(x, jnp.float64), network())
        run = jax.jit(jax.vmap(lambda x: explain(class_logit, x, net, 1, iterations=100, kernel_size=11).attribution))
        parts = jnp.concatenate([run(part) for part in jnp.split(batch, 6 // split)])
        np.testing.assert_allclose(run(batch), parts, atol=1e-9)


def test_new_label_step_count_step_size_and_weights_compile_nothing():
    walk._perturb.clear_cache()
    perturb(class_logit, IMAGE, network(0), 1, iterations=3, step_size=0.1)
    perturb(class_logit, IMAGE, network(0), 2, iterations=3, step_size=0.1)
    perturb(class_logit, IMAGE, network(0), 2, iterations=4, step_size=0.1)
    perturb(class_logit, IMAGE, network(1), 2, iterations=4, step_size=0.2)
    assert walk._perturb._cache_size() == 1


def test_plain_function_is_a_network_too():
    parameters = weights(0)

    def plain(image):
        return apply(parameters, image)

    found = perturb(class_logit, IMAGE, plain, 2, iterations=2)
    np.testing.assert_array_equal(found.perturbed, perturb(class_logit, IMAGE, network(0), 2, iterations=2).perturbed)


def test_weights_leave_no_constants_in_the_program():
    jaxpr = jax.make_jaxpr(lambda net, x: perturb(class_logit, x, net, 1))(network(), IMAGE)
    assert not jaxpr.consts


def test_jit_equals_no_jit():
    with jax.enable_x64(True):
        net = jax.tree.map(lambda x: jnp.asarray(x, jnp.float64), network())
        image = jnp.asarray(IMAGE, jnp.float64)
        compiled = explain(class_logit, image, net, 1, iterations=3, kernel_size=11)
        with jax.disable_jit():
            plain = explain(class_logit, image, net, 1, iterations=3, kernel_size=11)
        np.testing.assert_allclose(compiled.attribution, plain.attribution, atol=1e-12)
        np.testing.assert_allclose(compiled.perturbed, plain.perturbed, atol=1e-12)


def linear(image, slope):
    return jnp.vdot(image, slope)


def test_zero_gradient_is_a_zero_step_and_has_a_status():
    result = explain(linear, IMAGE, jnp.zeros_like(IMAGE), kernel_size=11)
    assert status(result) is Status.ZERO_GRADIENT
    assert int(result.steps) == 0
    np.testing.assert_array_equal(result.perturbed, IMAGE)
    np.testing.assert_array_equal(result.attribution, 0)


@pytest.mark.parametrize("bad", [jnp.nan, jnp.inf])
def test_gradient_that_is_not_finite_freezes_the_image(bad):
    slope = jnp.ones_like(IMAGE).at[3, 4, 1].set(bad)
    result = explain(linear, IMAGE, slope, kernel_size=11)
    assert status(result) is Status.NOT_FINITE
    np.testing.assert_array_equal(result.perturbed, IMAGE)
    assert np.isnan(result.attribution).all()


def test_one_bad_image_of_a_batch_leaves_the_others_alone():
    slopes = jnp.stack([jnp.ones_like(IMAGE), jnp.full_like(IMAGE, jnp.nan), jnp.zeros_like(IMAGE)])
    result = jax.vmap(lambda slope: perturb(linear, IMAGE, slope, iterations=4))(slopes)
    assert [Status(int(s)) for s in result.status] == [Status.OK, Status.NOT_FINITE, Status.ZERO_GRADIENT]
    np.testing.assert_allclose(result.perturbed[0], IMAGE - 4 * STEP, atol=1e-6)
    np.testing.assert_array_equal(result.perturbed[1], IMAGE)


def test_loss_that_turns_bad_on_the_way_keeps_the_steps_before():
    def root(image):
        return jnp.sqrt(image[0, 0, 0])

    image = jnp.zeros((SIZE, SIZE, 3)).at[0, 0, 0].set(2.5 * STEP)
    result = perturb(root, image)
    assert status(result) is Status.NOT_FINITE
    assert int(result.steps) == 3


def test_stop_below_a_loss_is_tested_before_every_step():
    slope = jnp.zeros_like(IMAGE).at[0, 0, 0].set(1)
    image = jnp.zeros_like(IMAGE).at[0, 0, 0].set(1)
    result = perturb(linear, image, slope, stop_loss=1 - 9.5 * STEP)
    assert status(result) is Status.OK
    assert int(result.steps) == 10


@pytest.mark.parametrize("options", [{"stop_loss": 1e9}, {"iterations": 0}])
def test_stop_before_the_first_step_has_a_status(options):
    result = explain(class_logit, IMAGE, network(), 1, kernel_size=11, **options)
    assert status(result) is Status.STOPPED_BEFORE_FIRST_STEP
    np.testing.assert_array_equal(result.attribution, 0)


def test_stop_is_decided_image_by_image():
    slope = jnp.zeros_like(IMAGE).at[0, 0, 0].set(1)
    batch = jnp.stack([jnp.zeros_like(IMAGE).at[0, 0, 0].set(v) for v in (0.2, 0.9, 0.1)])
    result = jax.vmap(lambda x: perturb(linear, x, slope, stop_loss=0.5, step_size=0.25))(batch)
    np.testing.assert_array_equal(result.steps, [0, 2, 0])


def test_walk_ends_when_its_map_no_longer_changes():
    slope = jax.random.normal(jax.random.key(5), IMAGE.shape)
    result = perturb(linear, IMAGE, slope, stop_change=0.01, window=5)
    # A linear loss moves every pixel at a constant rate, so the map is the same after every window: the second
    # comparison finds no change.
    assert int(result.steps) == 10
    assert status(result) is Status.OK


def log_of_all(image):
    return jnp.sum(jnp.log(image))


def weighted_square(image, weights):
    return jnp.sum(weights * image**2)


RULES = [{}, {"stop_change": 0.02, "window": 10}, {"stop_loss": -20.0}, {"stop_change": 0.02, "iterations": 13}]


@pytest.mark.parametrize("walk", [perturb, path_average])
@pytest.mark.parametrize("rules", RULES)
def test_last_loss_is_that_of_the_image_returned_with_every_stopping_rule(walk, rules):
    if walk is path_average and "stop_change" in rules:
        rules = {"iterations": 7}
    with jax.enable_x64(True):
        image = IMAGE.astype(jnp.float64)
        weights = jax.random.normal(jax.random.key(1), image.shape)
        result = walk(weighted_square, image, weights, **{"iterations": 60, **rules})
        expected = weighted_square(result.perturbed, weights)
        assert float(result.last_loss) == pytest.approx(float(expected), abs=1e-9)
        assert status(result) is Status.OK


def test_walk_that_leaves_the_domain_as_its_map_stops_changing_is_not_ok():
    # The steps are equal, so the second comparison ends the walk, at an image whose logarithm does not exist.
    result = perturb(log_of_all, jnp.full((SIZE, SIZE, 3), 21.5 * STEP), stop_change=0.02, window=11)
    assert int(result.steps) == 22
    assert np.isnan(result.last_loss)
    assert status(result) is Status.NOT_FINITE


def test_first_comparison_has_nothing_to_compare_with():
    result = perturb(linear, IMAGE, jax.random.normal(jax.random.key(5), IMAGE.shape), stop_change=0.9, window=5)
    assert int(result.steps) == 10


BAD_OPTIONS = [
    {"window": 0},
    {"window": -3},
    {"window": 2.5},
    {"window": 4.0},
    {"stop_change": -0.1},
    {"stop_change": 1.5},
    {"stop_change": float("nan")},
    {"stop_loss": float("nan")},
    {"iterations": -1},
    {"step_size": 0.0},
    {"step_size": float("inf")},
    {"sigma": 0.0},
    {"sigma": -1.0},
    {"clip": (1.0, 0.0)},
    {"clip": (0.0, float("nan"))},
    {"kernel_size": 0},
    {"kernel_size": 2 * SIZE + 1},
]


@pytest.mark.parametrize("options", BAD_OPTIONS, ids=str)
def test_values_that_cannot_be_meant_are_refused_before_the_loss_is_traced(options):
    def untraced(image):
        raise AssertionError("traced")

    def run(image):
        return explain(untraced, image, **options)

    for call in (run, functools.partial(jax.eval_shape, run)):
        with pytest.raises(OptionError, match=f"{next(iter(options))}="):
            call(IMAGE)


@pytest.mark.parametrize("name", ["window", "stop_change", "iterations", "step_size", "clip"])
def test_averages_and_many_walks_refuse_what_one_walk_refuses(name):
    options = next(options for options in BAD_OPTIONS if name in options)
    with pytest.raises(OptionError, match=f"{name}="):
        perturb_many(linear, [(IMAGE, (IMAGE,))], **options)
    if name not in ("window", "stop_change"):
        with pytest.raises(OptionError, match=f"{name}="):
            path_average(linear, IMAGE, IMAGE, **options)


def test_step_that_clipping_undoes_has_a_status():
    result = perturb(linear, jnp.zeros_like(IMAGE), jnp.ones_like(IMAGE), clip=(0.0, 1.0))
    assert status(result) is Status.STEP_WITHOUT_EFFECT
    assert int(result.steps) == 0


def test_clipping_keeps_pixels_in_range():
    result = perturb(linear, IMAGE, jnp.ones_like(IMAGE), clip=(0.0, 1.0), iterations=200)
    assert float(result.perturbed.min()) == 0
    assert float(perturb(linear, IMAGE, jnp.ones_like(IMAGE), iterations=200).perturbed.min()) < 0


def test_scale_takes_the_step_in_the_normalised_space():
    mean, std = 0.4, jnp.asarray([0.2, 0.3, 0.1])
    net = network()

    def of_normalised(y, net, label):
        return class_logit(y * std[None, None] + mean, net, label)

    walked = perturb(of_normalised, (IMAGE - mean) / std[None, None], net, 2, iterations=5).perturbed
    scaled = perturb(class_logit, IMAGE, net, 2, iterations=5, scale=(0.2, 0.3, 0.1)).perturbed
    np.testing.assert_allclose(scaled, walked * std[None, None] + mean, atol=1e-4)


@pytest.mark.parametrize("optimizer", [optax.adam, optax.adam(0.01), functools.partial(optax.sgd, momentum=0.9)])
def test_any_optax_transformation_takes_the_place_of_lots(optimizer):
    result = perturb(class_logit, IMAGE, network(), 2, optimizer=optimizer, iterations=10, step_size=0.01)
    assert int(result.steps) == 10
    assert float(result.last_loss) < float(result.first_loss)


def test_lots_is_an_optax_transformation():
    transformation = optax.chain(lots(0.5), optax.scale(2.0))
    updates, _ = transformation.update(jnp.asarray([-2.0, 1.0, 0.0]), transformation.init(jnp.zeros(3)))
    np.testing.assert_allclose(updates, [1.0, -0.5, 0.0])


def test_unknown_option_of_explain_is_an_error():
    with pytest.raises(TypeError, match="iteration"):
        explain(class_logit, IMAGE, network(), 1, iteration=5)


@pytest.mark.parametrize("status", list(Status))
def test_every_status_has_words(status):
    assert status.message


def test_bounds_of_another_dtype_do_not_change_that_of_the_walk():
    result = perturb(linear, IMAGE.astype(jnp.bfloat16), IMAGE, clip=(np.float32(0), np.float32(1)), iterations=2)
    assert result.perturbed.dtype == jnp.bfloat16


def test_weights_of_grey_may_be_a_list():
    found = [attribution(IMAGE, IMAGE + 0.1, grey_weights=w, kernel_size=3) for w in ([0.3, 0.6, 0.1], (0.3, 0.6, 0.1))]
    np.testing.assert_array_equal(*found)


def test_an_image_with_pixels_that_are_no_numbers_has_no_map():
    """Of some sizes XLA's ReLU on CPU takes them for zeros, so that value and gradient are finite."""
    for size in (32, 64):
        image = jax.random.uniform(jax.random.key(1), (size, size, 3)).at[3:20].set(jnp.nan)
        result = explain(lambda x: jax.nn.relu(x).mean(), image, iterations=2)
        assert status(result) is Status.NOT_FINITE


def test_a_traced_number_of_steps_below_zero_is_none():
    result = jax.jit(lambda count: perturb(linear, IMAGE, IMAGE, iterations=count))(-1)
    assert status(result) is Status.STOPPED_BEFORE_FIRST_STEP
    np.testing.assert_allclose(result.first_loss, linear(IMAGE, IMAGE), rtol=1e-6)


@pytest.mark.parametrize("options", [{"iterations": [3, 4]}, {"iterations": None}, {"step_size": (1.0, 2.0)}], ids=str)
def test_an_option_that_is_no_single_number_is_refused(options):
    with pytest.raises(OptionError, match=f"{next(iter(options))}="):
        walk.rules_from(**options)
