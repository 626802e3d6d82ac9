import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fame_jax.metrics.masks import _check, count, deletion_mask, insertion_mask, ranks, selected, warn_of_maps

MAP = jnp.array([[0.2, 0.9, 0.2], [0.5, 0.9, 0.0]])
TENTHS = np.linspace(0, 1, 11)


def random_map(seed, shape=(13, 17), zeros=0.0):
    generator = np.random.default_rng(seed)
    map = generator.random(shape, np.float32)
    return np.where(generator.random(shape) < zeros, np.float32(0), map)


def test_ties_are_broken_row_by_row_whatever_comes_first():
    np.testing.assert_array_equal(ranks(MAP), [[3, 0, 4], [2, 1, 5]])
    np.testing.assert_array_equal(ranks(MAP, order="least"), [[1, 4, 2], [3, 5, 0]])


def test_percentile_gives_equal_pixels_the_last_of_their_places():
    np.testing.assert_array_equal(ranks(MAP, method="percentile"), [[4, 1, 4], [2, 1, 5]])


@pytest.mark.parametrize("order", ["most", "least"])
def test_ranks_are_those_of_a_stable_sort(order):
    map = np.round(random_map(0), 1)
    expected = np.argsort(-map.ravel() if order == "most" else map.ravel(), kind="stable")
    np.testing.assert_array_equal(np.argsort(ranks(jnp.asarray(map), order=order).ravel()), expected)


def test_negative_zero_is_tied_with_zero():
    np.testing.assert_array_equal(ranks(jnp.array([[0.0, -0.0, 0.0]])), [[0, 1, 2]])


def test_rank_selects_the_rounded_number_of_pixels():
    for size in (224 * 224, 112 * 112, 221):
        expected = [round(fraction * size) for fraction in TENTHS.tolist()]
        np.testing.assert_array_equal(count(TENTHS, size), expected)


def test_half_a_pixel_is_rounded_to_even():
    assert [int(count(fraction, 2)) for fraction in (0.25, 0.75)] == [0, 2]
    assert int(count(0.25, 10)) == 2


def test_rank_is_exact_at_both_ends():
    map = jnp.asarray(random_map(1, zeros=0.5))
    assert not selected(map, 0.0).any()
    assert selected(map, 1.0).all()


@pytest.mark.parametrize("zeros", [0.0, 0.6, 1.0])
@pytest.mark.parametrize("shape", [(13, 17), (1, 51), (5, 5), (32, 32)])
def test_percentile_masks_are_those_of_numpy(shape, zeros):
    map = random_map(2, shape, zeros)
    percents = np.array([0, 1, 10, 20, 30, 50, 70, 80, 90, 99, 100])
    # Double precision: in single, NumPy's own position in the sorted map is off by rounding.
    thresholds = np.percentile(map.astype(np.float64), 100 - percents)[:, None, None]
    kept = jax.vmap(lambda f: deletion_mask(jnp.asarray(map), f, method="percentile"))(percents / 100)
    np.testing.assert_array_equal(kept, map <= thresholds)
    shown = jax.vmap(lambda f: insertion_mask(jnp.asarray(map), f, method="percentile"))(percents / 100)
    np.testing.assert_array_equal(shown, map > thresholds)


def test_percentile_places_are_exact_for_every_percent_of_a_real_map():
    for size in (224 * 224, 112 * 112):
        percents = np.arange(101)
        exact = [size - 1 - (100 - p) * (size - 1) // 100 for p in percents.tolist()]
        np.testing.assert_array_equal(count(percents / 100, size, method="percentile"), exact)


def test_percentile_of_the_least_relevant_is_below_the_percentile():
    map = random_map(3, zeros=0.3)
    threshold = np.percentile(map.astype(np.float64), 60)
    chosen = selected(jnp.asarray(map), 0.6, method="percentile", order="least")
    np.testing.assert_array_equal(chosen, map < threshold)


def test_percentile_never_selects_the_smallest_values():
    map = random_map(4, zeros=0.3)
    chosen = selected(jnp.asarray(map), 1.0, method="percentile")
    np.testing.assert_array_equal(chosen, map > 0)


def test_percentile_of_an_all_zero_map_selects_nothing():
    for fraction in TENTHS:
        assert not selected(jnp.zeros((6, 7)), fraction, method="percentile").any()


def test_rank_of_an_all_zero_map_goes_row_by_row():
    np.testing.assert_array_equal(selected(jnp.zeros((2, 4)), 0.625), [[1, 1, 1, 1], [1, 0, 0, 0]])


@pytest.mark.parametrize("method", ["rank", "percentile"])
def test_deletion_and_insertion_are_complements(method):
    map = jnp.asarray(random_map(5, zeros=0.4))
    for fraction in TENTHS:
        kept = deletion_mask(map, fraction, method=method)
        np.testing.assert_array_equal(kept, ~insertion_mask(map, fraction, method=method))


@pytest.mark.parametrize("method", ["rank", "percentile"])
def test_a_larger_fraction_selects_what_a_smaller_one_does(method):
    map = jnp.asarray(random_map(6, zeros=0.4))
    masks = jax.vmap(lambda fraction: selected(map, fraction, method=method))(jnp.asarray(TENTHS))
    assert (masks[1:] | ~masks[:-1]).all()


def test_most_and_least_relevant_halves_make_up_a_map_without_ties():
    map = jnp.asarray(random_map(7, (4, 6)))
    np.testing.assert_array_equal(selected(map, 0.5), ~selected(map, 0.5, order="least"))


def test_a_new_fraction_does_not_compile_anew():
    masks = jax.jit(selected)
    for fraction in (0.1, 0.2, 0.9):
        masks(MAP, fraction)
    assert masks._cache_size() == 1


def test_fractions_under_vmap_sort_once():
    program = str(jax.make_jaxpr(jax.vmap(selected, (None, 0)))(jnp.zeros((8, 9)), jnp.asarray(TENTHS)))
    sorts = [line for line in program.splitlines() if " sort[" in line]
    assert len(sorts) == 1
    assert "f32[72]" in sorts[0]


def test_whole_numbers_are_fractions_too():
    assert [int(count(fraction, 9, method="percentile")) for fraction in (0, 1)] == [0, 8]


def test_an_unknown_option_is_named():
    with pytest.raises(ValueError, match="method='quantile'"):
        _check("quantile", "most")
    with pytest.raises(ValueError, match="order='best'"):
        _check("rank", "best")


def test_maps_with_a_single_pixel_are_not_blank():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert warn_of_maps(jnp.zeros((2, 4, 5)).at[:, 1, 2].set(1e-30), "rank") == (0, 0)
