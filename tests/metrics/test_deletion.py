import inspect
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

from fame_jax import OptionError, metrics
from fame_jax.image import gaussian_blur
from fame_jax.metrics.causal import rise_deletion, rise_insertion
from fame_jax.metrics.deletion import class_curves, deletion, insertion
from fame_jax.metrics.masks import canvas_of, selected
from fame_jax.metrics.table import METRICS, Subject

SIDE = 16
PATCH = np.s_[3:7, 8:12]
LABEL = 1


def logits_of_patch(gain, image):
    """Class 1 sees the mean brightness of one patch and nothing else."""
    seen = gain * jnp.mean(image[PATCH])
    return jnp.stack([jnp.zeros(()), seen, -seen])


NETWORK = Partial(logits_of_patch, jnp.float32(5))
IMAGE = jax.random.uniform(jax.random.key(0), (SIDE, SIDE, 3), minval=0.5)
PERFECT = jnp.zeros((SIDE, SIDE)).at[PATCH].set(1)
RANDOM = jax.random.uniform(jax.random.key(1), (SIDE, SIDE))


def clean(score="softmax", image=IMAGE):
    logits = NETWORK(image)
    return float((jax.nn.softmax(logits) if score == "softmax" else logits)[LABEL])


@pytest.mark.parametrize("method", ["rank", "percentile"])
@pytest.mark.parametrize("score", ["softmax", "logit"])
def test_deletion_begins_and_insertion_by_rank_ends_at_the_clean_score(method, score):
    removed = deletion(NETWORK, IMAGE, RANDOM, LABEL, method=method, score=score)
    assert float(removed.scores[0]) == pytest.approx(clean(score), rel=1e-6)
    shown = insertion(NETWORK, IMAGE, RANDOM, LABEL, score=score)
    assert float(shown.scores[-1]) == pytest.approx(clean(score), rel=1e-6)


def test_the_other_ends_are_the_canvas():
    canvas = jnp.array([0.2, 0.4, 0.9])
    expected = clean(image=jnp.broadcast_to(canvas, IMAGE.shape))
    assert float(deletion(NETWORK, IMAGE, RANDOM, LABEL, canvas=canvas).scores[-1]) == pytest.approx(expected)
    assert float(insertion(NETWORK, IMAGE, RANDOM, LABEL, canvas=canvas).scores[0]) == pytest.approx(expected)


def test_a_perfect_map_beats_a_random_one_and_its_opposite_loses():
    by_map = {
        name: (deletion(NETWORK, IMAGE, map, LABEL).auc, insertion(NETWORK, IMAGE, map, LABEL).auc)
        for name, map in {"perfect": PERFECT, "random": RANDOM, "opposite": 1 - PERFECT}.items()
    }
    assert by_map["perfect"][0] < by_map["random"][0] < by_map["opposite"][0]
    assert by_map["perfect"][1] > by_map["random"][1] > by_map["opposite"][1]


def test_a_perfect_map_by_hand():
    # The patch is 16 of 256 pixels: gone, or all of it there, from the first tenth on.
    removed = deletion(NETWORK, IMAGE, PERFECT, LABEL, score="logit")
    np.testing.assert_allclose(removed.scores, [clean("logit")] + 10 * [0], atol=1e-6)
    assert float(removed.auc) == pytest.approx(clean("logit") / 20)
    shown = insertion(NETWORK, IMAGE, PERFECT, LABEL, score="logit")
    np.testing.assert_allclose(shown.scores, [0] + 10 * [clean("logit")], rtol=1e-6)
    assert float(shown.auc) == pytest.approx(clean("logit") * 19 / 20)


@pytest.mark.parametrize("order", ["most", "least"])
@pytest.mark.parametrize("method", ["rank", "percentile"])
def test_the_curve_is_the_score_of_each_masked_image(method, order):
    fractions = [0.0, 0.05, 0.5, 0.8]
    curve = deletion(NETWORK, IMAGE, RANDOM, LABEL, fractions=fractions, method=method, order=order, canvas=0.3)
    for fraction, value in zip(fractions, curve.scores, strict=True):
        removed = selected(RANDOM, fraction, method=method, order=order)
        assert float(value) == pytest.approx(clean(image=jnp.where(removed[..., None], 0.3, IMAGE)), rel=1e-6)


def test_the_area_is_the_trapezoid_over_uneven_fractions():
    fractions = np.array([0, 0.1, 0.5, 1])
    curve = insertion(NETWORK, IMAGE, RANDOM, LABEL, fractions=fractions)
    assert float(curve.auc) == pytest.approx(np.trapezoid(np.asarray(curve.scores), fractions), rel=1e-6)


def test_an_all_zero_map_deletes_nothing_with_percentile_and_the_top_rows_with_rank():
    blank = jnp.zeros((SIDE, SIDE))
    removed = deletion(NETWORK, IMAGE, blank, LABEL, method="percentile")
    np.testing.assert_allclose(removed.scores, clean(), rtol=1e-6)
    shown = insertion(NETWORK, IMAGE, blank, LABEL, method="percentile")
    np.testing.assert_allclose(shown.scores, 1 / 3, rtol=1e-6)
    by_row = deletion(NETWORK, IMAGE, blank, LABEL, fractions=[3 / 16, 7 / 16], score="logit")
    np.testing.assert_allclose(by_row.scores, [clean("logit"), 0], atol=1e-6)


def test_batch_size_does_not_matter():
    whole = deletion(NETWORK, IMAGE, RANDOM, LABEL)
    for batch_size in (1, 4):
        np.testing.assert_allclose(
            deletion(NETWORK, IMAGE, RANDOM, LABEL, batch_size=batch_size).scores, whole.scores, rtol=1e-6
        )


def test_a_plain_function_is_a_network():
    curve = deletion(lambda image: logits_of_patch(5, image), IMAGE, RANDOM, LABEL)
    np.testing.assert_allclose(curve.scores, deletion(NETWORK, IMAGE, RANDOM, LABEL).scores, rtol=1e-6)


def test_a_label_above_the_classes_is_not_a_number():
    assert np.isnan(deletion(NETWORK, IMAGE, RANDOM, 3).scores).all()


def test_new_weights_labels_and_fractions_do_not_compile_anew():
    traces = []

    def counted(gain, image):
        traces.append(None)
        return logits_of_patch(gain, image)

    for gain, label, fractions in ((5.0, 1, (0.0, 0.5, 1.0)), (2.0, 2, (0.0, 0.1, 0.2))):
        deletion(Partial(counted, jnp.float32(gain)), IMAGE, RANDOM, label, fractions=fractions)
        if gain == 5.0:
            first = len(traces)
    assert len(traces) == first


def test_rise_deletion_scores_the_predicted_class_every_224_pixels():
    image = jax.random.uniform(jax.random.key(2), (32, 32, 3))
    map = jax.random.uniform(jax.random.key(3), (32, 32))
    mean = jnp.array([0.485, 0.456, 0.406])
    curve = rise_deletion(NETWORK, image, map, mean=mean)
    # 1024 pixels: four steps of 224 and one of 128.
    removed = [0, 224, 448, 672, 896, 1024]
    np.testing.assert_allclose(curve.fractions, np.array(removed) / 1024)
    order = np.argsort(-np.asarray(map).ravel(), kind="stable")
    expected = []
    for number in removed:
        pixels = np.array(image).reshape(-1, 3)
        pixels[order[:number]] = mean
        expected.append(clean(image=jnp.asarray(pixels.reshape(image.shape))))
    np.testing.assert_allclose(curve.scores, expected, rtol=1e-5)
    assert float(curve.auc) == pytest.approx((sum(expected) - expected[0] / 2 - expected[-1] / 2) / 5, rel=1e-5)


def test_rise_insertion_goes_from_the_blurred_to_the_clean_image():
    curve = rise_insertion(NETWORK, IMAGE, PERFECT, pixels_a_step=64)
    blurred = jnp.stack([gaussian_blur(IMAGE[..., channel], 11, 5.0) for channel in range(3)], axis=-1)
    assert float(curve.scores[0]) == pytest.approx(clean(image=blurred), rel=1e-6)
    np.testing.assert_allclose(curve.scores[1:], clean(), rtol=1e-6)


def test_rise_follows_the_predicted_class():
    dark_network = Partial(logits_of_patch, jnp.float32(-5))
    assert int(jnp.argmax(dark_network(IMAGE))) == 2
    curve = rise_deletion(dark_network, IMAGE, PERFECT, mean=0.0)
    assert float(curve.scores[0]) == pytest.approx(float(jax.nn.softmax(dark_network(IMAGE))[2]), rel=1e-6)


def test_many_images_are_each_scored_by_themselves():
    images = np.random.default_rng(0).random((5, SIDE, SIDE, 3), np.float32)
    maps = np.random.default_rng(1).random((5, SIDE, SIDE), np.float32)
    labels = np.array([0, 1, 2, 1, 0])
    # Class 0 has the same logit whatever it sees.
    with pytest.warns(UserWarning, match="2 of 5 images: the score did not vary"):
        curves = class_curves(NETWORK, images, maps, labels, images_at_once=2, score="logit")
    assert (curves.blank, curves.constant) == (0, 2)
    assert np.isnan(curves.deletion.auc).tolist() == [True, False, False, False, True]
    assert curves.deletion.scores.shape == (5, 11)
    for index, (image, map, label) in enumerate(zip(images, maps, labels, strict=True)):
        one = deletion(NETWORK, jnp.asarray(image), jnp.asarray(map), label, score="logit")
        np.testing.assert_allclose(curves.deletion.scores[index], one.scores, rtol=1e-5, atol=1e-6)
        one = insertion(NETWORK, jnp.asarray(image), jnp.asarray(map), label, score="logit")
        np.testing.assert_allclose(curves.insertion.auc[index], one.auc, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("method", "effect"), [("rank", "row by row"), ("percentile", "remove and show nothing")])
def test_all_zero_maps_are_counted_and_named(method, effect):
    images = np.full((3, SIDE, SIDE, 3), 0.7, np.float32)
    maps = np.stack([np.zeros((SIDE, SIDE), np.float32), PERFECT, np.zeros((SIDE, SIDE), np.float32)])
    with pytest.warns(UserWarning, match=r"of 3 (maps|images)") as warned:
        curves = class_curves(NETWORK, images, maps, np.array([1, 1, 1]), method=method)
    assert re.match(f"2 of 3 maps are all zero.*{effect}", str(warned[0].message))
    # Where nothing is removed there is nothing to measure either.
    assert (curves.blank, curves.constant, len(warned)) == (2, *((2, 2) if method == "percentile" else (0, 1)))


def test_double_precision_stays_double():
    with jax.enable_x64(True):
        image, map = (jnp.asarray(np.asarray(array), jnp.float64) for array in (IMAGE, RANDOM))
        network = Partial(logits_of_patch, jnp.float64(5))
        for method in ("rank", "percentile"):
            curve = deletion(network, image, map, LABEL, method=method)
            assert curve.scores.dtype == curve.auc.dtype == jnp.float64
            assert float(curve.scores[0]) == pytest.approx(float(jax.nn.softmax(network(image))[LABEL]), rel=1e-14)
        assert rise_deletion(network, image, map, mean=0.5).scores.dtype == jnp.float64


def test_canvas_may_be_the_images_own_colour_or_a_blur_of_it():
    subject = Subject(IMAGE, RANDOM, label=LABEL)
    mean = np.asarray(IMAGE).mean((0, 1))
    blur = np.stack([gaussian_blur(IMAGE[..., c], 2 * SIDE - 1, 2.0) for c in range(3)], axis=-1)
    for name, of in (("deletion", deletion), ("insertion", insertion)):
        given_as = (
            {"canvas": "mean"},
            {"canvas": "blur", "canvas_sigma": 2.0},
            {"canvas": mean},
            {"canvas": mean.tolist()},
            {"canvas": tuple(mean.tolist())},
        )
        for given, canvas in zip(given_as, (mean, blur, mean, mean, mean), strict=True):
            expected = of(NETWORK, IMAGE, RANDOM, LABEL, canvas=jnp.asarray(canvas))
            if isinstance(given["canvas"], tuple):
                np.testing.assert_array_equal(of(NETWORK, IMAGE, RANDOM, LABEL, **given).scores, expected.scores)
            found = METRICS[name].measure(NETWORK, subject, **given)
            np.testing.assert_allclose(found["score"], expected.scores, atol=1e-6)
    with pytest.raises(ValueError, match="canvas='grey'; expected numbers, 'mean' or 'blur'"):
        inspect.unwrap(canvas_of)("grey", IMAGE)


GREY, RISING = jnp.full((8, 8, 3), 0.5), np.arange(64.0, dtype=np.float32).reshape(8, 8)


def brightness(image):
    return jnp.stack([image.mean(), jnp.float32(0.1)])


@pytest.mark.parametrize(
    "shares", [[0.0, 10.0, 100.0], [0.0, 0.5, 0.2], [-0.1, 0.5], [0.0, float("nan")], [], 0.5], ids=str
)
def test_shares_that_cannot_be_meant_are_refused(shares):
    for measure in (metrics.deletion, metrics.insertion):
        with pytest.raises(OptionError, match="expected shares of the pixels from 0 to 1, ascending"):
            measure(brightness, GREY, RISING, 0, fractions=shares)


def test_an_image_that_is_not_finite_has_no_figure():
    image = GREY.at[2:4].set(jnp.nan)
    relu = lambda x: brightness(jax.nn.relu(x))  # noqa: E731
    assert np.isnan(metrics.deletion(relu, image, RISING, 0).auc)
    assert np.isnan(metrics.road_delete(relu, image, RISING, 0, jax.random.key(0)).drops).all()
