from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

from fame_jax.losses import cosine
from fame_jax.metrics.decisions import operating_point, verification_accuracy
from fame_jax.metrics.masks import selected
from fame_jax.metrics.verification import pair_scores, verification_curves
from fame_jax.options import OptionError

SIDE = 12
EYES = np.s_[2:5, 2:10]
NETWORK = Partial(
    lambda weights, image: weights @ image.ravel(), jax.random.normal(jax.random.key(0), (8, SIDE**2 * 3))
)


def embedding_of_eyes(image):
    """Sees the colours of one region and nothing else."""
    return image[EYES].ravel()


def pairs(number=6, seed=0):
    generator = np.random.default_rng(seed)
    galleries = generator.random((number, SIDE, SIDE, 3), np.float32)
    genuine = np.arange(number) % 2 == 0
    probes = np.where(genuine[:, None, None, None], galleries, generator.random(galleries.shape, np.float32))
    return probes, galleries, generator.random((number, SIDE, SIDE), np.float32), genuine


def brute_force(scores, genuine, criterion):
    """Every threshold by its definition, with exact fractions; the first best of descending ones."""
    best = None
    for threshold in sorted(set(scores.tolist()), reverse=True):
        matches = Fraction(sum(s >= threshold for s in scores[~genuine].tolist()), int((~genuine).sum()))
        misses = Fraction(sum(s < threshold for s in scores[genuine].tolist()), int(genuine.sum()))
        right = Fraction(sum((s >= threshold) == g for s, g in zip(scores.tolist(), genuine, strict=True)), len(scores))
        value = abs(matches - misses) if criterion == "equal_error_rate" else -right
        if best is None or value < best[0]:
            best = (value, threshold, matches, misses, right)
    return best[1:]


@pytest.mark.parametrize("criterion", ["equal_error_rate", "max_accuracy"])
@pytest.mark.parametrize("decimals", [1, 2, 8])
@pytest.mark.parametrize("seed", range(4))
def test_the_operating_point_is_that_of_brute_force(seed, decimals, criterion):
    generator = np.random.default_rng(seed)
    genuine = generator.random(61) < (0.3 if seed % 2 else 0.6)
    # Few decimals make ties within and between the two kinds of pairs.
    scores = np.round(generator.normal(np.where(genuine, 0.5, 0.2), 0.2), decimals)
    point = operating_point(scores, genuine, criterion)
    assert point == tuple(float(value) for value in brute_force(scores, genuine, criterion))
    assert point.accuracy == float(verification_accuracy(scores, genuine, point.threshold))


@pytest.mark.parametrize("criterion", ["equal_error_rate", "max_accuracy"])
def test_separated_pairs_are_parted_at_the_lowest_genuine_score(criterion):
    scores, genuine = np.array([0.9, 0.1, 0.6, 0.3]), np.array([True, False, True, False])
    point = operating_point(scores, genuine, criterion)
    assert point == (0.6, 0, 0, 1)
    assert point.equal_error_rate == 0


def test_equally_good_thresholds_give_the_largest():
    # False matches against false non-matches: 0 and 1/2 at 0.9, 1 and 1/2 at 0.5, 1 and 0 at 0.1.
    assert operating_point(np.array([0.9, 0.1, 0.5]), np.array([True, True, False])) == (0.9, 0, 0.5, 2 / 3)
    # Errors of four: 1 at 0.7, 2 at 0.5, 1 at 0.3, 2 at 0.1.
    scores, genuine = np.array([0.7, 0.3, 0.5, 0.1]), np.array([True, True, False, False])
    assert operating_point(scores, genuine, "max_accuracy").threshold == 0.7


def test_the_operating_point_of_wrongly_ordered_pairs_by_hand():
    scores, genuine = np.array([0.1, 0.2, 0.8, 0.9]), np.array([True, True, False, False])
    # False matches against false non-matches: 1/2 and 1 at 0.9, 1 and 1 at 0.8, 1 and 1/2 at 0.2, 1 and 0 at 0.1.
    assert operating_point(scores, genuine) == (0.8, 1, 1, 0)
    assert operating_point(scores, genuine, "max_accuracy") == (0.1, 1, 0, 0.5)


def test_all_pairs_at_one_score_are_accepted():
    assert operating_point(np.array([0.4, 0.4]), np.array([True, False])) == (0.4, 1, 0, 0.5)


@pytest.mark.parametrize("rate", [0.0, 0.001, 0.01, 0.1, 0.29, 0.999])
@pytest.mark.parametrize("decimals", [1, 2, 8])
def test_the_threshold_of_a_false_match_rate_is_the_lowest_that_keeps_it(rate, decimals):
    generator = np.random.default_rng(decimals)
    genuine = np.arange(1100) < 100
    scores = np.round(generator.normal(np.where(genuine, 0.6, 0.1), 0.15), decimals)
    point = operating_point(scores, genuine, rate)
    impostors = scores[~genuine]
    shares = {t: np.mean(impostors >= t) for t in np.append(scores, np.nextafter(scores.max(), 2))}
    assert point.threshold == min(t for t, share in shares.items() if share <= rate)
    assert point.false_match_rate == shares[point.threshold]
    assert point.false_non_match_rate == np.mean(scores[genuine] < point.threshold)
    # By NumPy's quantile: no more than that share of the impostors lie above it.
    assert np.mean(impostors > np.quantile(impostors, 1 - rate, method="higher")) <= max(rate, point.false_match_rate)


def test_where_an_impostor_is_first_a_rate_of_zero_accepts_nobody():
    point = operating_point(np.array([0.5, 0.9], np.float32), np.array([True, False]), 0.0)
    assert point[1:] == (0, 1, 0.5)
    assert 0.9 < point.threshold < 0.9001


@pytest.mark.parametrize("rate", [1.0, -0.1, float("nan"), 2.0])
def test_a_rate_that_is_none_is_refused(rate):
    with pytest.raises(ValueError, match="a false match rate from 0 to below 1"):
        operating_point(np.array([0.5, 0.9]), np.array([True, False]), rate)


@pytest.mark.parametrize(
    ("scores", "genuine", "message"),
    [
        (np.array([0.1, 0.2]), np.array([True, True]), "2 genuine and 0 impostor"),
        (np.array([0.1, 0.2]), np.array([False, False]), "0 genuine and 2 impostor"),
        (np.array([0.1, np.nan]), np.array([True, False]), "1 of 2 scores are not finite"),
    ],
)
def test_a_threshold_needs_finite_scores_of_both_kinds(scores, genuine, message):
    with pytest.raises(ValueError, match=message):
        operating_point(scores, genuine)


def test_pairs_may_be_told_by_ones_and_zeros_and_by_nothing_else():
    scores, genuine = np.array([0.9, 0.8, 0.7, 0.3, 0.2, 0.1]), [1, 1, 1, 0, 0, 0]
    expected = operating_point(scores, np.array(genuine, bool))
    assert expected.threshold == 0.7
    assert operating_point(scores, np.array(genuine)) == operating_point(scores, genuine) == expected
    assert verification_accuracy(scores, genuine, 0.25) == 5 / 6
    probes, galleries, maps, truth = pairs()
    curves = [verification_curves(NETWORK, probes, galleries, maps, told) for told in (truth, truth.astype(int))]
    assert curves[0].threshold == curves[1].threshold
    assert curves[0].deletion_auc == curves[1].deletion_auc
    for told, message in (([1, 1, 2, 0, 0, 0], "genuine: 2"), ([1, 1, 0, 0], "of 4 pairs")):
        with pytest.raises(OptionError, match=message):
            verification_curves(NETWORK, probes, galleries, maps, told)


def test_a_score_at_the_threshold_is_accepted_in_single_precision_too():
    scores, genuine = np.array([0.1, 0.7], np.float32), np.array([False, True])
    assert float(verification_accuracy(scores, genuine, operating_point(scores, genuine).threshold)) == 1


def test_accuracy_counts_impostors_as_well():
    scores = np.array([[0.9, 0.2], [0.4, 0.1], [0.6, 0.3]])
    np.testing.assert_allclose(verification_accuracy(scores, np.array([True, True, False]), 0.5), [1 / 3, 1 / 3])
    np.testing.assert_allclose(verification_accuracy(scores, np.array([True, True, False]), 0.35), [2 / 3, 1 / 3])


@pytest.mark.parametrize("method", ["rank", "percentile"])
@pytest.mark.parametrize("order", ["most", "least"])
@pytest.mark.parametrize("both", [False, True])
def test_pair_scores_are_the_cosines_of_the_masked_images(method, order, both):
    probes, galleries, maps, _ = map(jnp.asarray, pairs())
    gallery_map = maps[3] if both else None
    fractions = [0.0, 0.3, 0.7, 1.0]
    scores = pair_scores(
        NETWORK,
        probes[1],
        galleries[1],
        maps[1],
        gallery_map,
        fractions=fractions,
        canvas=0.1,
        method=method,
        order=order,
    )
    assert float(scores.clean) == pytest.approx(float(cosine(NETWORK(probes[1]), NETWORK(galleries[1]))), rel=1e-5)
    for index, fraction in enumerate(fractions):
        for curve, inserting in ((scores.deletion, True), (scores.insertion, False)):
            gone = selected(maps[1], fraction, method=method, order=order)[..., None] == inserting
            probe, gallery = jnp.where(gone, 0.1, probes[1]), galleries[1]
            if both:
                gone = selected(maps[3], fraction, method=method, order=order)[..., None] == inserting
                gallery = jnp.where(gone, 0.1, gallery)
            expected = float(cosine(NETWORK(probe), NETWORK(gallery)))
            assert float(curve[index]) == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_untouched_pairs_keep_their_clean_score_to_the_last_bit():
    probes, galleries, maps, _ = map(jnp.asarray, pairs(40))
    scores = jax.vmap(lambda *pair: pair_scores(NETWORK, *pair, batch_size=3))(probes, galleries, maps)
    np.testing.assert_array_equal(scores.deletion[:, 0], scores.clean)
    np.testing.assert_array_equal(scores.insertion[:, -1], scores.clean)


def test_an_all_zero_map_changes_nothing_with_percentile():
    probes, galleries, maps, _ = map(jnp.asarray, pairs())
    scores = pair_scores(NETWORK, probes[1], galleries[1], jnp.zeros_like(maps[1]), method="percentile")
    np.testing.assert_array_equal(scores.deletion, jnp.full(11, scores.clean))
    # All black: the embedding is zero here, and similar to nothing.
    np.testing.assert_array_equal(scores.insertion, jnp.zeros(11))


def test_a_map_of_what_the_network_sees_beats_a_random_one_and_its_opposite_loses():
    probes, galleries, maps, genuine = pairs(20)
    perfect = np.zeros_like(maps)
    perfect[:, *EYES] = 1
    results = {
        name: verification_curves(embedding_of_eyes, probes, galleries, some, genuine, threshold=0.9)
        for name, some in {"perfect": perfect, "random": maps, "opposite": 1 - perfect}.items()
    }
    assert results["perfect"].deletion_auc < results["random"].deletion_auc < results["opposite"].deletion_auc
    assert results["perfect"].insertion_auc > results["random"].insertion_auc > results["opposite"].insertion_auc


def test_areas_of_a_perfect_map_by_hand():
    probes, galleries, maps, genuine = pairs(10)
    perfect = np.zeros_like(maps)
    perfect[:, *EYES] = 1
    curves = verification_curves(embedding_of_eyes, probes, galleries, perfect, genuine)
    # 24 of 144 pixels: complete from 20 % on. Genuine pairs are equal, so that clean accuracy is 1; without eyes the
    # score is 0, below the threshold, which leaves the impostors right.
    assert curves.threshold == pytest.approx(1, abs=1e-6)
    np.testing.assert_array_equal(curves.deletion[[0, 2, -1]], [1, 0.5, 0.5])
    np.testing.assert_array_equal(curves.insertion[[0, 2, -1]], [0.5, 1, 1])
    assert curves.deletion_auc == pytest.approx(100 * np.trapezoid(curves.deletion, np.linspace(0, 1, 11)))
    assert curves.deletion_auc == pytest.approx(100 * (0.05 * 1 + 0.1 * curves.deletion[1] + 0.85 * 0.5))


def test_clean_accuracy_is_that_of_the_operating_point_though_a_pair_sits_on_it():
    probes, galleries, maps, genuine = pairs(30, seed=3)
    probes = np.clip(probes + np.random.default_rng(4).normal(0, 0.4, probes.shape).astype(np.float32), 0, 1)
    for criterion in ("equal_error_rate", "max_accuracy"):
        curves = verification_curves(NETWORK, probes, galleries, maps, genuine, threshold=criterion, pairs_at_once=7)
        point = operating_point(curves.scores.clean, genuine, criterion)
        assert curves.threshold == point.threshold
        assert curves.deletion[0] == curves.insertion[-1] == point.accuracy


@pytest.mark.parametrize(("pairs_at_once", "batch_size"), [(1, 32), (4, 5), (100, 32)])
def test_portions_do_not_matter(pairs_at_once, batch_size):
    probes, galleries, maps, genuine = pairs(6)
    curves = verification_curves(
        NETWORK, probes, galleries, maps, genuine, pairs_at_once=pairs_at_once, batch_size=batch_size
    )
    assert curves.scores.deletion.shape == (6, 11)
    for index in range(6):
        one = pair_scores(NETWORK, *(jnp.asarray(array[index]) for array in (probes, galleries, maps)))
        np.testing.assert_allclose(curves.scores.insertion[index], one.insertion, rtol=1e-4, atol=1e-6)


def test_gallery_maps_mask_both_images():
    probes, galleries, maps, genuine = pairs(4)
    curves = verification_curves(NETWORK, probes, galleries, maps, genuine, gallery_maps=maps[::-1])
    one = pair_scores(NETWORK, *(jnp.asarray(array) for array in (probes[1], galleries[1], maps[1], maps[2])))
    np.testing.assert_allclose(curves.scores.deletion[1], one.deletion, rtol=1e-4, atol=1e-6)
    alone = verification_curves(NETWORK, probes, galleries, maps, genuine)
    assert not np.allclose(curves.scores.deletion, alone.scores.deletion)


def test_the_threshold_can_be_given_and_rounded():
    probes, galleries, maps, genuine = pairs(4)
    curves = verification_curves(NETWORK, probes, galleries, maps, genuine, threshold=0.43217, decimals=4)
    assert curves.threshold == 0.4322
    np.testing.assert_array_equal(curves.deletion, verification_accuracy(curves.scores.deletion, genuine, 0.4322))


def test_all_zero_maps_are_counted_and_named():
    probes, galleries, maps, genuine = pairs(4)
    maps[1] = 0
    with pytest.warns(UserWarning, match="1 of 4 maps are all zero: they remove and show nothing"):
        assert verification_curves(NETWORK, probes, galleries, maps, genuine, method="percentile").blank == 1


def test_new_weights_and_fractions_do_not_compile_anew():
    probes, galleries, maps, genuine = pairs(4)
    traces = []

    def counted(weights, image):
        traces.append(None)
        return weights @ image.ravel()

    counts = []
    for scale, fractions in ((1.0, (0.0, 0.5, 1.0)), (3.0, (0.0, 0.2, 0.4))):
        network = Partial(counted, scale * NETWORK.args[0])
        verification_curves(network, probes, galleries, maps, genuine, fractions=fractions, threshold=0.5)
        counts.append(len(traces))
    assert counts[0] == counts[1]


def test_double_precision_stays_double():
    with jax.enable_x64(True):
        probes, galleries, maps, genuine = pairs(4)
        probes, galleries, maps = (array.astype(np.float64) for array in (probes, galleries, maps))
        curves = verification_curves(embedding_of_eyes, probes, galleries, maps, genuine)
        assert curves.scores.insertion.dtype == np.float64
        assert curves.deletion[0] == 1


def test_as_many_scores_as_pairs_are_needed():
    with pytest.raises(OptionError, match="1 scores of 2 pairs"):
        verification_accuracy(np.array([0.9]), [0, 1], 0.5)


def test_no_false_match_at_all_may_be_asked_for_as_a_whole_number():
    scores, genuine = np.array([0.1, 0.2, 0.8, 0.9]), [0, 0, 1, 1]
    assert operating_point(scores, genuine, 0) == operating_point(scores, genuine, 0.0)


def test_percents_are_no_shares():
    with pytest.raises(OptionError, match="expected shares of the pixels from 0 to 1"):
        verification_curves(
            lambda image: image.mean((0, 1)),
            jnp.ones((2, 4, 4, 3)),
            jnp.ones((2, 4, 4, 3)),
            jnp.ones((2, 4, 4)),
            [1, 0],
            threshold=0.5,
            fractions=[0.0, 10.0, 100.0],
        )
