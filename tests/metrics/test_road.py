import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

from fame_jax import OptionError
from fame_jax.metrics.imputation import ImputationStatus, impute
from fame_jax.metrics.masks import selected
from fame_jax.metrics.road import DECILES, road_combined, road_delete, road_insert

KEY = jax.random.key(0)
SIDE, LABEL = 16, 1
PATCH = np.s_[3:7, 8:12]
PATCH_SHARE = 16 / SIDE**2


def logits_of_patch(gain, image):
    """Class 1 sees the contrast of a bright patch to what is around it, and nothing else."""
    seen = gain * (jnp.mean(image[PATCH]) - 0.3)
    return jnp.stack([jnp.zeros(()), seen])


NETWORK = Partial(logits_of_patch, jnp.float32(6))
IMAGE = jnp.full((SIDE, SIDE, 3), 0.2).at[PATCH].set(0.9)
PERFECT = jnp.zeros((SIDE, SIDE)).at[PATCH].set(1)
RANDOM = jax.random.uniform(KEY, (SIDE, SIDE))
CLEAN = 6 * (0.9 - 0.3)


def test_nothing_removed_drops_nothing_and_all_shown_is_the_clean_score():
    assert road_delete(NETWORK, IMAGE, RANDOM, LABEL, KEY, fractions_removed=[0.0]).drops[0] == 0
    shown = road_insert(NETWORK, IMAGE, RANDOM, LABEL, KEY, fractions_inserted=[1.0])
    assert float(shown.scores[0]) == pytest.approx(CLEAN, rel=1e-5)


def test_a_perfect_map_erases_what_the_network_looks_at():
    result = road_delete(NETWORK, IMAGE, PERFECT, LABEL, KEY, fractions_removed=[PATCH_SHARE], noise=0.0)
    # The patch is imputed from the grey around it, all of it.
    assert float(result.scores[0]) == pytest.approx(6 * (0.2 - 0.3), rel=1e-4)
    assert float(result.drops[0]) == pytest.approx(6 * 0.7, rel=1e-4)
    np.testing.assert_array_equal(result.status, [ImputationStatus.OK])


def test_a_perfect_map_beats_a_random_one_which_beats_the_opposite():
    perfect, random, opposite = (
        road_delete(NETWORK, IMAGE, map, LABEL, KEY).drops for map in (PERFECT, RANDOM, -PERFECT)
    )
    assert (perfect > random + 1).all()
    assert (random > opposite).all()
    np.testing.assert_allclose(opposite, 0, atol=1e-5)


def test_least_relevant_first_is_the_reversed_map_up_to_ties():
    least = road_delete(NETWORK, IMAGE, RANDOM, LABEL, KEY, order="least")
    reverse = road_delete(NETWORK, IMAGE, -RANDOM, LABEL, KEY)
    np.testing.assert_array_equal(least.scores, reverse.scores)


def test_inserting_a_share_removes_the_others():
    inserted = road_insert(NETWORK, IMAGE, RANDOM, LABEL, KEY, fractions_inserted=[0.25])
    removed = road_delete(NETWORK, IMAGE, RANDOM, LABEL, KEY, fractions_removed=[0.75], order="least")
    np.testing.assert_allclose(inserted.scores, removed.scores, rtol=1e-6)


def test_inserting_nothing_is_one_colour_and_says_so():
    result = road_insert(NETWORK, IMAGE, RANDOM, LABEL, KEY, fractions_inserted=[0.0, 0.5], noise=0.0)
    np.testing.assert_array_equal(result.status, [ImputationStatus.NOTHING_KNOWN, ImputationStatus.OK])
    assert float(result.scores[0]) == pytest.approx(6 * (float(IMAGE.mean()) - 0.3), rel=1e-3)


def test_scores_are_those_of_the_imputed_images():
    fractions = [0.1, 0.4]
    result = road_delete(NETWORK, IMAGE, RANDOM, LABEL, KEY, fractions_removed=fractions)
    for index, (fraction, key) in enumerate(zip(fractions, jax.random.split(KEY, 2), strict=True)):
        imputed = impute(IMAGE, selected(RANDOM, fraction), key).imputed
        assert float(result.scores[index]) == pytest.approx(float(NETWORK(imputed)[LABEL]), rel=1e-5)


def test_zero_fill_is_black_and_needs_no_solver():
    result = road_delete(NETWORK, IMAGE, RANDOM, LABEL, KEY, fill="zero")
    for index, fraction in enumerate((0.1, 0.3, 0.5)):
        black = jnp.where(selected(RANDOM, fraction)[..., None], 0, IMAGE)
        assert float(result.scores[index]) == pytest.approx(float(NETWORK(black)[LABEL]), rel=1e-5)
    np.testing.assert_array_equal(result.status, ImputationStatus.OK)


def test_probability_and_accuracy_are_read_from_the_same_logits():
    read = {
        score: road_delete(NETWORK, IMAGE, PERFECT, LABEL, KEY, score=score, fractions_removed=[0.01, PATCH_SHARE])
        for score in ("logit", "softmax", "accuracy")
    }
    logits = np.asarray(read["logit"].scores)
    np.testing.assert_allclose(read["softmax"].scores, 1 / (1 + np.exp(-logits)), rtol=1e-5)
    np.testing.assert_array_equal(read["accuracy"].scores, [1, 0])
    np.testing.assert_array_equal(read["accuracy"].drops, [0, 1])


def test_the_combined_score_is_half_the_distance_of_both_orders():
    least, most = (
        road_delete(NETWORK, IMAGE, RANDOM, LABEL, KEY, fractions_removed=DECILES, order=order).scores
        for order in ("least", "most")
    )
    combined = road_combined(NETWORK, IMAGE, RANDOM, LABEL, KEY)
    assert float(combined) == pytest.approx(float((least - most).mean()) / 2, rel=1e-5)
    assert float(road_combined(NETWORK, IMAGE, PERFECT, LABEL, KEY)) > 1 > abs(float(combined))


def test_a_batch_is_its_images_one_by_one():
    images = jnp.stack([IMAGE, IMAGE[::-1]])
    maps, labels, keys = jnp.stack([RANDOM, PERFECT]), jnp.array([1, 0]), jax.random.split(KEY, 2)
    batch = jax.vmap(lambda *one: road_delete(NETWORK, *one, batch_size=2))(images, maps, labels, keys)
    for index in range(2):
        alone = road_delete(NETWORK, images[index], maps[index], labels[index], keys[index])
        np.testing.assert_allclose(batch.drops[index], alone.drops, rtol=1e-5, atol=1e-5)


def test_a_new_label_fraction_or_weight_does_not_recompile():
    traces = []

    def counted(gain, image):
        traces.append(1)
        return logits_of_patch(gain, image)

    for label, gain, fraction in ((0, 1.0, 0.1), (1, 2.0, 0.2)):
        road_delete(Partial(counted, jnp.float32(gain)), IMAGE, RANDOM, label, KEY, fractions_removed=[fraction])
    # Once for the imputed images and once for the clean one.
    assert len(traces) == 2


def test_a_label_that_does_not_exist_gives_no_number():
    assert np.isnan(road_delete(NETWORK, IMAGE, RANDOM, 7, KEY).drops).all()


def test_options_that_do_not_exist_are_named():
    with pytest.raises(Exception, match="fill"):
        road_delete(NETWORK, IMAGE, RANDOM, LABEL, KEY, fill="blur")
    with pytest.raises(Exception, match="score"):
        road_delete(NETWORK, IMAGE, RANDOM, LABEL, KEY, score="rank")


@pytest.mark.parametrize(("option", "value"), [("noise", -0.1), ("scale", -1.0), ("scale", (1.0, 1.0, 0.0))])
def test_noise_that_cannot_be_meant_is_refused(option, value):
    with pytest.raises(OptionError, match=f"{option}="):
        road_delete(NETWORK, IMAGE, RANDOM, 0, KEY, **{option: value})
