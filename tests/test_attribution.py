"""From a change of pixels to a map, and the map of a path's mean image."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fame_jax import OptionError, Status, attribution, explain, perturb
from fame_jax.explainers import EXPLAINERS, class_starts, expected_gradients, path_sums_map
from fame_jax.explainers.floors import random_blurred_map
from fame_jax.paths import path_average, path_sums
from tests.test_core import IMAGE, SIZE, linear, status


def test_map_is_grey_then_blurred_then_divided_by_its_maximum():
    perturbed = IMAGE.at[16, 16].add(jnp.asarray([0.1, -0.2, 0.3]))
    found = attribution(IMAGE, perturbed, kernel_size=None)
    assert float(found[16, 16]) == 1
    assert int((found > 1e-5).sum()) == 1
    blurred = attribution(IMAGE, perturbed, kernel_size=5)
    assert float(blurred[16, 16]) == 1
    assert int((blurred > 1e-5).sum()) == 25


def test_grey_of_images_lets_opposite_changes_cancel():
    perturbed = (
        IMAGE + jnp.asarray([0.1 / 0.2989, -0.1 / 0.587, 0.0])[None, None] * (jnp.arange(32) == 5)[:, None, None]
    )
    assert float(attribution(IMAGE, perturbed, kernel_size=None).max()) == 1
    cancelled = attribution(IMAGE, perturbed.at[0, 0].add(0.5), grey_of="images", kernel_size=None)
    assert float(cancelled[5].max()) < 1e-5


@pytest.mark.parametrize(("weights", "expected"), [("mean", 0.2), ("max", 0.3), ((0.5, 0.25, 0.25), 0.175)])
def test_grey_weights(weights, expected):
    change = jnp.zeros((SIZE, SIZE, 3)).at[0, 0].set(jnp.asarray([0.1, 0.2, 0.3])).at[1, 1].set(1.0)
    found = attribution(jnp.zeros_like(change), change, grey_weights=weights, kernel_size=None)
    assert float(found[0, 0]) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("options", [{"grey_of": "sum"}, {"normalise": "l2"}, {"grey_weights": "median"}])
def test_unknown_option_of_the_map_is_named(options):
    (name, value), unchecked = next(iter(options.items())), inspect.unwrap(attribution)
    with pytest.raises(ValueError, match=f"{name}='{value}'"):
        unchecked(IMAGE, IMAGE, kernel_size=None, **options)


def test_average_is_that_of_the_images_on_the_path():
    with jax.enable_x64(True):
        image = IMAGE.astype(jnp.float64)
        slope = jax.random.normal(jax.random.key(6), image.shape)

        def bent(x, slope):
            return jnp.sum(jnp.abs(x - image + 0.01 * slope) * slope)

        path = [perturb(bent, image, slope, iterations=t).perturbed for t in range(1, 6)]
        result = path_average(bent, image, slope, iterations=5)
        np.testing.assert_allclose(result.perturbed, jnp.mean(jnp.stack(path), axis=0), atol=1e-12)
        assert (int(result.steps), status(result)) == (5, Status.OK)
        found = explain(bent, image, slope, iterations=5, average=True).attribution
        np.testing.assert_allclose(found, attribution(image, result.perturbed), atol=1e-12)


def test_average_of_no_steps_is_the_image():
    result = path_average(linear, IMAGE, jnp.ones_like(IMAGE), iterations=0)
    np.testing.assert_array_equal(result.perturbed, IMAGE)
    assert status(result) is Status.STOPPED_BEFORE_FIRST_STEP


@pytest.mark.parametrize("summed", [path_average, path_sums])
def test_sums_over_a_path_refuse_to_compare_maps_of_single_images(summed):
    for option in ({"stop_change": 0.02}, {"window": 5}):
        with pytest.raises(TypeError, match=f"{summed.__name__}: {min(option)}"):
            summed(linear, IMAGE, jnp.ones_like(IMAGE), **option)


def test_a_sigma_alone_is_the_maps_whatever_the_taps_are_by_default():
    options, slope = {"iterations": 1, "sigma": 9.0}, jnp.ones_like(IMAGE).at[16, 16].set(9.0)
    found = explain(linear, IMAGE, slope, **options)
    whole, cut = (attribution(IMAGE, found.perturbed, kernel_size=k, sigma=9.0) for k in (None, 11))
    np.testing.assert_array_equal(found.attribution, whole)
    assert np.abs(whole - cut).max() > 0.01
    np.testing.assert_array_equal(explain(linear, IMAGE, slope, **options, kernel_size=11).attribution, cut)
    for method in ("fame", "expected_gradients", "refined_cam"):
        row = EXPLAINERS[method]
        assert row.chosen("class", {"sigma": 9.0})["kernel_size"] is None
        assert row.chosen("class", {"sigma": 9.0, "kernel_size": 11})["kernel_size"] == 11
        assert "kernel_size" not in row.chosen("class", {})


def test_a_sigma_alone_is_the_same_blur_by_function_and_by_table():
    image, key = jax.random.uniform(jax.random.key(3), (64, 64, 3), minval=0.7), jax.random.key(0)
    how = {
        "expected_gradients": (expected_gradients, {"samples": 2, "key": key}),
        "fame_starts": (class_starts, {"starts": 1, "iterations": 1, "key": key, "loss": "logit"}),
        "path_sums": (path_sums_map, {"iterations": 2}),
        "random_blurred": (lambda _, image, label, **options: random_blurred_map(image, **options), {"key": key}),
    }
    for method, (function, options) in how.items():
        found, cut = (function(_colours, image, 1, sigma=20.0, **options, **k) for k in ({}, {"kernel_size": 49}))
        by_table = EXPLAINERS[method].explain(_colours, image, 1, sigma=20.0, **options).attribution
        found, cut = (getattr(x, "attribution", x) for x in (found, cut))
        np.testing.assert_allclose(found, by_table, atol=1e-6)
        assert np.abs(found - cut).max() > 0.01, method


def _colours(image):
    return (image**2 * jnp.linspace(0, 1, len(image))[:, None, None]).mean((0, 1))


@pytest.mark.parametrize("call", [perturb, path_average, path_sums, explain])
def test_a_scale_of_another_number_of_channels_is_refused(call):
    with pytest.raises(OptionError, match="expected one number, or 3 of channels"):
        call(linear, IMAGE, jnp.ones_like(IMAGE), scale=(0.2, 0.3))


def test_weights_of_channels_may_be_a_list():
    how = {"starts": 1, "iterations": 1, "loss": "logit", "key": jax.random.key(0)}
    maps = [
        EXPLAINERS["fame_starts"].explain(_colours, IMAGE, 1, grey_weights=w([0.2, 0.3, 0.5]), **how)
        for w in (list, tuple)
    ]
    np.testing.assert_array_equal(*(found.attribution for found in maps))
