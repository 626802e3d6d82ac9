"""One test for each row of the table of presets (`paper` against `official`)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fame_jax import PRESETS, Split, class_logit, explain
from fame_jax.core import attribution, split_options
from fame_jax.explainers import corrrise, fggb, pair_cam, pair_maps
from fame_jax.image import IMAGENET_STD
from fame_jax.losses import similarity, similarity_free_norm
from fame_jax.metrics import deletion_mask
from fame_jax.metrics.road import road_delete
from fame_jax.walk import perturb

PAPER, OFFICIAL = PRESETS["paper"], PRESETS["official"]
SIZE = 32
FACES = jax.random.uniform(jax.random.key(0), (2, SIZE, SIZE, 3))
IMAGE, OTHER = FACES
WEIGHTS = jax.random.normal(jax.random.key(1), (SIZE * SIZE * 3, 6)) / SIZE


def network(image):
    return jnp.tanh(image.reshape(-1) @ WEIGHTS)


NETWORK = jax.tree_util.Partial(network)
FEW = {"iterations": 3, "kernel_size": 11}


def change(loss, *args, **options):
    rules, _ = split_options(options)
    return perturb(loss, IMAGE, *args, iterations=1, **rules).perturbed - IMAGE


def test_the_paper_is_the_default_of_every_function():
    assert set(PAPER) == set(OFFICIAL)
    assert all(not options for options in PAPER.values())


def test_space_of_the_step_for_classes_is_pixels_or_the_normalised_tensor():
    gradient = jax.grad(class_logit)(IMAGE, network, 1)
    pixels = change(class_logit, NETWORK, 1, **PAPER["classification"])
    np.testing.assert_allclose(pixels, -gradient / jnp.abs(gradient).max() / 255, atol=1e-7)
    std = jnp.asarray(IMAGENET_STD)[None, None]
    normalised = change(class_logit, NETWORK, 1, **OFFICIAL["classification"])
    scaled = gradient * std
    np.testing.assert_allclose(normalised / std, -scaled / jnp.abs(scaled).max() / 255, atol=1e-6)


@pytest.mark.parametrize("preset", [PAPER, OFFICIAL])
def test_space_of_the_step_for_faces_and_feature_maps_is_pixels(preset):
    for question in ("faces", "feature_map"):
        assert "scale" not in preset[question]
        options = {k: v for k, v in preset[question].items() if k != "free_norm"}
        assert float(jnp.abs(change(similarity, NETWORK, network(OTHER), **options)).max()) == pytest.approx(
            1 / 255, abs=1e-6
        )


@pytest.mark.parametrize("preset", [PAPER, OFFICIAL])
def test_nothing_is_clipped(preset):
    bright = jnp.ones_like(IMAGE)
    rules, _ = split_options(preset["classification"])
    walked = perturb(lambda image: -jnp.sum(image), bright, iterations=5, **rules).perturbed
    assert float(walked.max()) > 1


@pytest.mark.parametrize("preset", [PAPER, OFFICIAL])
def test_class_loss_is_the_logit_itself(preset):
    rules, _ = split_options(preset["classification"])
    label = int(jnp.argmax(network(IMAGE)))
    walked = perturb(class_logit, IMAGE, NETWORK, label, iterations=300, **rules)
    assert float(walked.first_loss) > 0 > float(walked.last_loss) + 0.5


def test_norms_are_held_constant_or_differentiated():
    options = {"iterations": 2, "kernel_size": 11}
    paper = pair_maps(NETWORK, IMAGE, OTHER, **{**options, **PAPER["faces"]})
    official = pair_maps(NETWORK, IMAGE, OTHER, **{**options, **OFFICIAL["faces"], "stop_loss": None})
    reference = network(OTHER)
    frozen = perturb(similarity, IMAGE, NETWORK, reference, iterations=2).perturbed
    free = perturb(similarity_free_norm, IMAGE, NETWORK, reference, iterations=2).perturbed
    assert float(jnp.abs(frozen - free).max()) > 1e-4
    np.testing.assert_allclose(paper.probe_similar.perturbed, frozen, atol=1e-6)
    np.testing.assert_allclose(official.probe_similar.perturbed, free, atol=1e-6)


def test_early_stop_is_off_or_for_faces_a_loss_of_a_hundredth():
    assert all("stop_loss" not in preset["classification"] for preset in (PAPER, OFFICIAL))
    options = {"iterations": 200, "kernel_size": 11}
    paper = pair_maps(NETWORK, IMAGE, OTHER, **{**options, **PAPER["faces"]})
    official = pair_maps(NETWORK, IMAGE, OTHER, **{**options, **OFFICIAL["faces"]})
    assert int(paper.probe_similar.steps) > int(official.probe_similar.steps)
    assert float(paper.probe_similar.last_loss) < -0.5
    assert float(official.probe_similar.last_loss) < 0.01 < float(official.probe_similar.first_loss)


def test_grey_is_of_the_change_or_of_the_images():
    # Red up and green down by as much luma: the images' grey does not change, the change's does.
    perturbed = IMAGE.at[4, 4].add(jnp.asarray([0.1 / 0.2989, -0.1 / 0.587, 0])).at[9, 9].add(0.3)
    for question in ("classification", "feature_map"):
        _, paper = split_options(PAPER[question])
        _, official = split_options(OFFICIAL[question])
        assert float(attribution(IMAGE, perturbed, kernel_size=None, **paper)[4, 4]) == pytest.approx(
            0.2 / 0.3, abs=1e-3
        )
        assert float(attribution(IMAGE, perturbed, kernel_size=None, **official)[4, 4]) == pytest.approx(0, abs=1e-3)


def test_grey_weights_of_faces_follow_the_colours_or_the_tensors_order():
    red, blue = (IMAGE.at[4, 4, c].add(0.1).at[9, 9].add(0.1) for c in (0, 2))
    for preset, of_red, of_blue in ((PAPER, 0.2989, 0.114), (OFFICIAL, 0.114, 0.2989)):
        _, options = split_options({k: v for k, v in preset["faces"].items() if k != "free_norm"})
        for perturbed, weight in ((red, of_red), (blue, of_blue)):
            assert float(attribution(IMAGE, perturbed, kernel_size=None, **options)[4, 4]) == pytest.approx(
                weight, abs=2e-3
            )


@pytest.mark.parametrize("preset", [PAPER, OFFICIAL])
def test_blur_has_49_taps_and_7_7_pixels(preset):
    image = jnp.zeros((101, 101, 3))
    for question in ("classification", "feature_map", "faces"):
        _, options = split_options({k: v for k, v in preset[question].items() if k != "free_norm"})
        found = np.asarray(attribution(image, image.at[50, 50].set(1.0), **options))
        assert int((found[50] > 0).sum()) == 49
        assert found[50, 50 + 8] / found[50, 50] == pytest.approx(np.exp(-(8**2) / 2 / 7.7**2), rel=1e-3)


def test_final_normalisation_is_by_the_maximum_or_by_both_ends():
    perturbed = IMAGE + 0.5 + jnp.linspace(0, 0.5, SIZE)[:, None, None]
    for question in ("classification", "feature_map", "faces"):
        maps = []
        for preset in (PAPER, OFFICIAL):
            _, options = split_options({k: v for k, v in preset[question].items() if k != "free_norm"})
            maps.append(attribution(IMAGE, perturbed, kernel_size=None, **options))
        assert float(maps[0].min()) == pytest.approx(0.5, abs=1e-3)
        assert float(maps[1].min()) == pytest.approx(0, abs=1e-6)
        assert float(maps[0].max()) == 1
        assert float(maps[1].max()) == pytest.approx(1, abs=1e-5)


def test_corrrise_hides_ten_patches_by_pearson_or_three_by_rank():
    key = jax.random.key(3)
    few = {"masks": 20, "size": 8, "key": key}
    paper = corrrise(NETWORK, IMAGE, OTHER, **few, **PAPER["corrrise"])
    official = corrrise(NETWORK, IMAGE, OTHER, **few, **OFFICIAL["corrrise"])
    for a, b in zip(paper, corrrise(NETWORK, IMAGE, OTHER, **few, patches=10, statistic="pearson"), strict=True):
        np.testing.assert_array_equal(a, b)
    for a, b in zip(official, corrrise(NETWORK, IMAGE, OTHER, **few, patches=3, statistic="rank"), strict=True):
        np.testing.assert_array_equal(a, b)
    assert float(jnp.abs(paper.probe_similar - official.probe_similar).max()) > 0.1


@pytest.mark.parametrize("preset", [PAPER, OFFICIAL])
def test_fggb_weighs_by_the_dimensions_share_of_the_threshold(preset):
    # Equal faces: v_i = phi_i^2 sums to one, so a threshold of 1 leaves weights of both signs; were it not shared
    # among the dimensions, all weights were negative and e+ blank.
    maps = fggb(NETWORK, IMAGE, IMAGE, threshold=1.0, kernel_size=11, **preset["fggb"])
    assert float(maps.probe_similar.max()) > 0
    assert (
        float(fggb(NETWORK, IMAGE, IMAGE, threshold=1.0, kernel_size=11, per_dimension=True).probe_similar.max()) == 0
    )


def test_masks_are_by_exact_rank_or_by_percentile():
    map = jnp.zeros((8, 8)).at[0, :4].set(1.0)
    assert int((~deletion_mask(map, 0.5, **PAPER["masks"])).sum()) == 32
    assert int((~deletion_mask(map, 0.5, **OFFICIAL["masks"])).sum()) == 4


def test_road_fills_by_noisy_linear_imputation_or_with_black():
    map, label, key = jax.random.uniform(jax.random.key(5), (SIZE, SIZE)), 1, jax.random.key(6)
    smooth = jnp.full_like(IMAGE, 0.6)
    at_half = {"fractions_removed": [0.5]}

    def brightness(image):
        return jnp.stack([jnp.mean(image), jnp.mean(image)])

    paper = road_delete(brightness, smooth, map, label, key, **at_half, **PAPER["road"])
    official = road_delete(brightness, smooth, map, label, key, **at_half, **OFFICIAL["road"])
    assert float(paper.drops[0]) == pytest.approx(0, abs=0.01)
    assert float(official.drops[0]) == pytest.approx(0.3, abs=0.01)


def test_face_cam_targets_give_the_same_map():
    def features(image):
        return image.reshape(4, 8, 4, 8, 3).mean((1, 3))

    split = Split(features, lambda f: jnp.tanh(f.reshape(-1) @ WEIGHTS[:48]))
    paper = pair_cam(split, IMAGE, OTHER, **PAPER["face_cam"])
    official = pair_cam(split, IMAGE, OTHER, **OFFICIAL["face_cam"])
    np.testing.assert_allclose(paper.probe_similar, official.probe_similar, atol=1e-5)


def test_a_preset_goes_straight_into_explain():
    result = explain(class_logit, IMAGE, NETWORK, 1, **FEW, **OFFICIAL["classification"])
    assert result.attribution.shape == (SIZE, SIZE)
