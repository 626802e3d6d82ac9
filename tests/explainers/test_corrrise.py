"""CorrRISE against NumPy and SciPy, pixel by pixel and with the same masks."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from jax.tree_util import Partial

from fame_jax.explainers import corrrise
from fame_jax.explainers.corrrise import average_ranks, patch_corners

KEY = jax.random.key(5)
MASKS = {"masks": 40, "patches": 3, "size": 9}


def masks_of(key, side, masks, patches, size):
    kept = np.ones((masks, side, side))
    corners_of = np.asarray(patch_corners(key, side, side, masks=masks, patches=patches, size=size))
    for mask, corners in zip(kept, corners_of, strict=True):
        for row, column in corners:
            mask[row : row + size, column : column + size] = 0
    return kept


def parts(correlation):
    """e+ and e-, each divided by its largest value."""
    for part in (np.maximum(correlation, 0), np.maximum(-correlation, 0)):
        yield part / part.max()


@pytest.mark.parametrize(
    ("statistic", "of_pixel"), [("pearson", scipy.stats.pearsonr), ("rank", scipy.stats.spearmanr)]
)
def test_maps_are_the_correlations_of_scipy(statistic, of_pixel, face_network, images):
    # In double precision: the scores vary by a hundredth, so that float32's rounding of them shows in the fifth digit.
    with jax.enable_x64(True):
        network, faces = jax.tree.map(lambda x: np.asarray(x, np.float64), (face_network, images[:2]))
        found = np.stack(corrrise(network, *faces, key=KEY, statistic=statistic, **MASKS))
        kept = masks_of(KEY, 32, **MASKS)
        references = np.stack(jax.vmap(network)(faces))
        expected = []
        for face, reference in zip(faces, references[::-1], strict=True):
            embeddings = np.asarray(jax.vmap(network)(face[None] * kept[..., None]))
            scores = embeddings @ reference / np.linalg.norm(embeddings, axis=1) / np.linalg.norm(reference)
            correlation = np.zeros((32, 32))
            for row, column in np.argwhere(kept.std(axis=0) > 0):
                correlation[row, column] = of_pixel(kept[:, row, column], scores).statistic
            expected += parts(correlation)
    np.testing.assert_allclose(found, np.stack(expected), atol=1e-8)


@pytest.mark.parametrize("chunk", [1, 7, 100])
def test_chunks_of_any_size_give_the_same_maps(chunk, face_network, images):
    # In double precision: a correlation magnifies the rounding of similarities that hardly differ.
    with jax.enable_x64(True):
        network, faces = jax.tree.map(lambda x: jnp.asarray(np.asarray(x, np.float64)), (face_network, images[:2]))
        found, expected = (corrrise(network, *faces, key=KEY, chunk=n, **MASKS) for n in (chunk, MASKS["masks"]))
    np.testing.assert_allclose(found, expected, atol=1e-9)


@pytest.mark.parametrize("patches", [{"patches": 1, "size": 32}, {"patches": 0, "size": 9}], ids=["hidden", "kept"])
@pytest.mark.parametrize("statistic", ["pearson", "rank"])
def test_constant_masks_give_blank_maps(statistic, patches, face_network, images):
    maps = corrrise(face_network, *images[:2], key=KEY, masks=10, statistic=statistic, **patches)
    assert not np.any(maps)


@pytest.mark.parametrize("statistic", ["pearson", "rank"])
def test_constant_scores_give_blank_maps(statistic, images):
    network = Partial(lambda embedding, image: embedding + 0 * jnp.sum(image), jnp.array([0.3, -0.7, 0.1]))
    assert not np.any(corrrise(network, *images[:2], key=KEY, statistic=statistic, **MASKS))


def test_pixel_that_no_mask_hides_is_zero(face_network, images):
    kept = masks_of(KEY, 32, masks=8, patches=1, size=5)
    untouched = kept.min(axis=0) == 1
    assert untouched.any()
    for map in corrrise(face_network, *images[:2], key=KEY, masks=8, patches=1, size=5):
        assert not np.asarray(map)[untouched].any()


def test_squares_lie_inside_and_reach_every_edge():
    corners = np.asarray(patch_corners(KEY, 40, 32, masks=200, patches=5, size=30))
    assert corners.min(axis=(0, 1)).tolist() == [0, 0]
    assert corners.max(axis=(0, 1)).tolist() == [10, 2]


def test_ten_squares_hide_three_quarters_of_the_centre_and_three_a_third():
    for patches, hidden in ((10, 0.75), (3, 0.34)):
        kept = masks_of(KEY, 112, masks=500, patches=patches, size=30)
        assert 1 - kept[:, 46:66, 46:66].mean() == pytest.approx(hidden, abs=0.04)


def test_ties_share_the_mean_of_their_ranks():
    values = jnp.array([0.5, 0.1, 0.5, 0.9, 0.1, 0.1])
    np.testing.assert_array_equal(average_ranks(values), scipy.stats.rankdata(values))


def test_square_larger_than_the_face_is_refused(face_network, images):
    with pytest.raises(ValueError, match="square of 33 pixels does not fit into 32x32"):
        corrrise(face_network, *images[:2], key=KEY, size=33)


def test_faces_of_different_sizes_are_refused(face_network, images):
    with pytest.raises(ValueError, match="one size"):
        inspect.unwrap(corrrise)(face_network, images[0], images[1][:30], key=KEY)


def test_unknown_statistic_is_refused(face_network, images):
    with pytest.raises(ValueError, match="'rank'"):
        inspect.unwrap(corrrise)(face_network, *images[:2], key=KEY, statistic="kendall", **MASKS)


@pytest.mark.parametrize("masks", [41, 61])
def test_a_pixel_that_is_always_kept_is_zero_where_a_share_of_all_masks_is_off_one(masks, face_network, images):
    assert np.float32(masks) * np.float32(1 / masks) != 1
    kept = masks_of(KEY, 32, masks=masks, patches=1, size=3)
    untouched = kept.min(axis=0) == 1
    assert untouched.any()
    for map in corrrise(face_network, *images[:2], key=KEY, masks=masks, patches=1, size=3):
        assert not np.asarray(map)[untouched].any()
