import itertools

import numpy as np
import pytest
import scipy.stats

from fame_jax.metrics import statistics
from fame_jax.metrics.statistics import compare, estimate, holm, pearson, spearman


def normal(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


def test_the_interval_covers_the_mean_as_often_as_it_says():
    samples = 3 + 2 * normal(0, 400, 60)
    covered = [low <= 3 <= high for _, low, high, *_ in (estimate(s, level=0.9, resamples=800) for s in samples)]
    # 400 trials of 0.9 have a standard deviation of 0.015; 60 values make a percentile interval 0.01 too narrow.
    assert 0.84 < np.mean(covered) < 0.94


def test_the_interval_of_normal_values_is_the_classical_one():
    values = normal(1, 2000)
    _, low, high, count, dropped = estimate(values)
    half = 1.96 * values.std() / np.sqrt(2000)
    np.testing.assert_allclose([low, high], [values.mean() - half, values.mean() + half], atol=0.05 * half)
    assert (count, dropped) == (2000, 0)


def test_the_interval_holds_the_middle_share_of_the_means_of_images_drawn_anew():
    rng = np.random.default_rng(2)
    values = rng.exponential(size=50)
    means = [rng.choice(values, 50).mean() for _ in range(20_000)]
    np.testing.assert_allclose(estimate(values, resamples=20_000)[1:3], np.quantile(means, (0.025, 0.975)), atol=0.01)


def test_a_wider_level_gives_a_wider_interval():
    narrow, wide = (estimate(normal(3, 40), level=level) for level in (0.5, 0.99))
    assert wide.low < narrow.low < narrow.mean < narrow.high < wide.high


def test_values_that_are_not_finite_are_dropped_and_counted():
    values = np.array([1.0, np.nan, 3.0, np.inf, -np.inf, 5.0])
    assert estimate(values) == (*estimate(np.array([1.0, 3.0, 5.0]))[:3], 3, 3)


def test_nothing_finite_has_no_mean():
    mean, low, high, count, dropped = estimate(np.full(4, np.nan))
    assert np.isnan([mean, low, high]).all()
    assert (count, dropped) == (0, 4)
    assert compare(np.full(4, np.nan), np.zeros(4))[3:] == (1.0, 0, 4)
    assert estimate(np.zeros(0)).number == 0


def test_one_image_has_an_interval_of_one_point():
    assert estimate(np.array([7.0])) == (7.0, 7.0, 7.0, 1, 0)


def test_whole_numbers_are_averaged_as_numbers():
    assert estimate(np.array([0, 1, 1, 1])).mean == 0.75


def test_equal_seeds_give_equal_intervals_and_others_do_not():
    values = normal(4, 30)
    assert estimate(values, seed=5) == estimate(values, seed=5) != estimate(values, seed=6)


def test_portions_do_not_change_the_distribution(monkeypatch):
    values = normal(5, 30)
    whole = estimate(values)
    monkeypatch.setattr(statistics, "PORTION", 100)
    assert estimate(values) == whole


def test_identical_methods_do_not_differ():
    values = normal(6, 25)
    assert compare(values, values) == (0.0, 0.0, 0.0, 1.0, 25, 0)


def test_a_constant_gain_is_certain():
    difference, low, high, p_value, *_ = compare(normal(7, 40) * 0 + 2.5, np.zeros(40), resamples=2000)
    assert difference == low == high == 2.5
    assert p_value == pytest.approx(2 / 2001)


@pytest.mark.parametrize(("resamples", "within"), [(512, 1e-12), (500, 0.04)])
def test_the_p_value_is_the_share_of_sign_patterns_with_as_large_a_mean(resamples, within):
    first, second = normal(8, 9) + 0.6, normal(9, 9)
    differences = first - second
    means = [np.mean(differences * signs) for signs in itertools.product((-1, 1), repeat=9)]
    exact = np.mean(np.abs(means) >= abs(differences.mean()) - 1e-12)
    assert compare(first, second, resamples=resamples).p_value == pytest.approx(exact, abs=within)


def test_no_p_value_is_below_that_of_one_pattern_among_the_sampled_ones():
    for number, resamples in ((1, 10), (3, 8), (5, 31), (40, 99)):
        assert compare(np.arange(1.0, number + 1), np.zeros(number), resamples=resamples).p_value >= 1 / (resamples + 1)


def test_ten_thousand_resamples_of_a_thousand_images_are_drawn_in_portions(monkeypatch):
    first, second = normal(20, 1000), normal(21, 1000)
    drawn = []
    monkeypatch.setattr(np, "mean", lambda x, mean=np.mean, **how: drawn.append(np.size(x)) or mean(x, **how))
    compare(first, second)
    assert max(drawn) <= statistics.PORTION
    assert sum(drawn) >= 2 * 10_000 * 1000


def test_the_p_value_is_uniform_where_there_is_no_difference():
    p_values = [compare(*pair, resamples=300).p_value for pair in normal(10, 300, 2, 20)]
    assert scipy.stats.kstest(p_values, "uniform").pvalue > 0.01


def test_pairing_takes_the_images_out_of_the_difference():
    images = 10 * normal(11, 60)
    paired = compare(images + 0.5 + 0.1 * normal(12, 60), images)
    assert 0.4 < paired.low < 0.5 < paired.high < 0.6
    assert estimate(images).high - estimate(images).low > 10 * (paired.high - paired.low)


def test_a_pair_is_dropped_with_either_of_its_values():
    first, second = np.array([1.0, np.nan, 2.0, 4.0, np.inf]), np.array([0.0, 1.0, np.nan, 1.0, np.inf])
    assert compare(first, second)[0::4] == (2.0, 2)
    assert compare(first, second).dropped == 3


def test_swapping_the_methods_changes_the_sign_alone():
    first, second = normal(13, 30), normal(14, 30)
    one, other = compare(first, second), compare(second, first)
    assert one.difference == -other.difference
    assert one.p_value == other.p_value


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(ValueError, match="3 and 4 images"):
        compare(np.zeros(3), np.zeros(4))
    with pytest.raises(ValueError, match=r"level=1\.5"):
        estimate(np.zeros(3), level=1.5)
    with pytest.raises(ValueError, match="resamples=0"):
        estimate(np.zeros(3), resamples=0)


def test_correlations_are_scipys_ties_included():
    first, second = np.round(normal(15, 12, 9), 0), np.round(normal(16, 12, 9) + normal(15, 12, 9), 1)
    assert pearson(first, second) == pytest.approx(scipy.stats.pearsonr(first.ravel(), second.ravel())[0])
    assert spearman(first, second) == pytest.approx(scipy.stats.spearmanr(first.ravel(), second.ravel())[0])


def test_rank_correlation_ignores_any_rising_curve():
    map = normal(17, 8, 8)
    assert spearman(map, np.exp(map)) == pytest.approx(1)
    assert spearman(map, -(map**3)) == pytest.approx(-1)
    assert pearson(map, np.exp(map)) < 0.99


def test_a_constant_map_has_no_correlation():
    assert np.isnan(pearson(np.full((4, 4), 0.1), normal(18, 4, 4)))
    assert np.isnan(spearman(normal(19, 4, 4), np.zeros((4, 4))))


def test_holm_by_hand():
    # Sorted: 0.01, 0.02, 0.03, 0.4 times 4, 3, 2, 1; none below the one before it, none above 1.
    np.testing.assert_allclose(holm(np.array([0.03, 0.4, 0.01, 0.02])), [0.06, 0.4, 0.04, 0.06])
    np.testing.assert_array_equal(holm(np.array([0.9, 0.8])), [1, 1])


def test_constants_have_no_correlation_whatever_rounding_leaves_of_them():
    for value in (0.1, 0.3):
        assert np.isnan(pearson(np.full((5, 7), value), np.full((5, 7), 0.1)))
