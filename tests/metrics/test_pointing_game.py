import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fame_jax import metrics
from fame_jax.data.faces import SUNGLASSES
from fame_jax.metrics.iou import box_masks
from fame_jax.metrics.pointing_game import (
    composed_grid,
    concentration,
    grid_members,
    grid_pointing_game,
    occluded,
    pointing_game,
)

MASK = box_masks(np.array([[2, 1, 5, 4]]), 6, 8)[0]


def test_a_maximum_inside_is_a_hit_and_one_outside_is_not():
    map = jax.random.uniform(jax.random.key(0), (6, 8))
    assert bool(pointing_game(map.at[3, 4].set(2), MASK))
    assert not bool(pointing_game(map.at[4, 4].set(2), MASK))
    assert not bool(pointing_game(map.at[3, 5].set(2), MASK))


def test_the_first_of_equal_maxima_counts_row_by_row():
    map = jnp.zeros((6, 8))
    assert bool(pointing_game(map.at[1, 4].set(1).at[2, 0].set(1), MASK))
    assert not bool(pointing_game(map.at[1, 0].set(1).at[1, 4].set(1), MASK))


def test_an_all_zero_map_points_nowhere():
    assert not bool(pointing_game(jnp.zeros((6, 8)), np.ones((6, 8), bool)))


def test_pointing_of_many_maps_is_that_of_each():
    maps = jax.random.uniform(jax.random.key(1), (20, 6, 8))
    hits = jax.vmap(pointing_game, (0, None))(maps, jnp.asarray(MASK))
    assert 0 < int(hits.sum()) < 20
    assert hits.tolist() == [bool(MASK.ravel()[np.argmax(map)]) for map in maps]


def test_a_grid_shows_the_means_of_2x2_blocks_in_reading_order():
    images = jax.random.uniform(jax.random.key(2), (4, 6, 8, 3))
    grid = composed_grid(images)
    assert grid.shape == (6, 8, 3)
    for quarter, (row, column) in enumerate([(0, 0), (0, 4), (3, 0), (3, 4)]):
        for i in range(3):
            for j in range(4):
                block = images[quarter, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2]
                np.testing.assert_allclose(grid[row + i, column + j], block.mean((0, 1)), rtol=1e-6)


def test_photographs_of_one_colour_make_a_grid_of_four():
    colours = jnp.array([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1]])
    grid = composed_grid(jnp.broadcast_to(colours[:, None, None], (4, 4, 4, 3)))
    np.testing.assert_array_equal(grid[::2, ::2].reshape(4, 3), colours)


def test_an_odd_side_is_refused():
    with pytest.raises(ValueError, match="5x4"):
        composed_grid(jnp.zeros((4, 5, 4, 3)))


@pytest.mark.parametrize("quarter", range(4))
def test_the_map_that_is_its_quarter_scores_one_there_and_zero_elsewhere(quarter):
    maps = jnp.zeros((4, 6, 8, 1)).at[quarter].set(1)
    map = composed_grid(maps)[..., 0]
    scores = jax.vmap(grid_pointing_game, (None, 0))(map, jnp.arange(4))
    np.testing.assert_array_equal(scores, jnp.arange(4) == quarter)


def test_an_even_map_scores_a_quarter_and_a_blank_one_zero():
    for quarter in range(4):
        assert float(grid_pointing_game(jnp.full((6, 8), 0.3), quarter)) == pytest.approx(0.25)
        assert float(grid_pointing_game(jnp.zeros((6, 8)), quarter)) == 0


def test_grid_shares_sum_to_one():
    map = jax.random.uniform(jax.random.key(3), (6, 8))
    assert sum(float(grid_pointing_game(map, quarter)) for quarter in range(4)) == pytest.approx(1)


def test_members_of_a_grid_are_of_different_classes_and_used_once():
    labels = np.random.default_rng(0).integers(0, 9, 101)
    grids = grid_members(labels, seed=1)
    assert len(np.unique(grids)) == grids.size
    assert all(len(set(labels[grid])) == 4 for grid in grids)


def test_as_many_grids_are_drawn_as_there_can_be():
    assert len(grid_members(np.arange(100))) == 25
    # Three photographs of class 0 go into three grids, with nine others of three classes.
    assert len(grid_members(np.repeat([0, 1, 2, 3], 3))) == 3
    # Every grid needs three of the seven others beside the ten of class 0.
    assert len(grid_members(np.array([0] * 10 + [1, 2, 3, 4, 5, 6, 7]))) == 2


def test_draws_follow_the_seed_and_fill_every_quarter():
    labels = np.arange(40)
    np.testing.assert_array_equal(grid_members(labels, 3), grid_members(labels, 3))
    assert (grid_members(labels, 3) != grid_members(labels, 4)).any()
    # Where a class may land in any quarter, all four occur.
    quarters = {int(np.argwhere(grid_members(labels, seed) == 0)[0, 1]) for seed in range(20)}
    assert quarters == {0, 1, 2, 3}


def test_three_classes_make_no_grid():
    with pytest.raises(ValueError, match="3 classes"):
        grid_members(np.array([0, 1, 2, 2]))


def test_an_occluder_covers_its_box_and_nothing_else():
    image = jax.random.uniform(jax.random.key(4), (112, 112, 3))
    colour = jnp.array([0.1, 0.2, 0.3])
    drawn = occluded(image, SUNGLASSES, colour)
    mask = box_masks(np.array([SUNGLASSES]), 112, 112)[0]
    np.testing.assert_array_equal(drawn[mask], jnp.broadcast_to(colour, (mask.sum(), 3)))
    np.testing.assert_array_equal(drawn[~mask], image[~mask])


def test_concentration_by_hand():
    # Nine of 48 pixels; mass 9 x 2 of 9 x 2 + 39 x 1.
    found = concentration(jnp.where(MASK, 2.0, 1.0), MASK)
    assert float(found.area) == pytest.approx(9 / 48)
    assert float(found.share) == pytest.approx(18 / 57)
    assert float(found.ratio) == pytest.approx(18 / 57 * 48 / 9)


def test_concentration_is_one_for_an_even_map_and_zero_for_one_that_avoids_the_occluder():
    assert float(concentration(jnp.full((6, 8), 0.2), MASK).ratio) == pytest.approx(1)
    assert float(concentration(jnp.asarray(~MASK, jnp.float32), MASK).ratio) == 0
    assert float(concentration(jnp.zeros((6, 8)), MASK).ratio) == 0


def test_concentration_leaves_out_what_is_not_the_face():
    face = box_masks(np.array([[0, 0, 4, 4]]), 6, 8)[0]
    map = jnp.where(face, 1.0, 7.0)
    found = concentration(map, MASK, face)
    # Columns 2 and 3 of rows 1 to 3: six of sixteen pixels of the face.
    assert float(found.area) == float(found.share) == pytest.approx(6 / 16)
    assert float(found.ratio) == pytest.approx(1)


def test_numbers_of_a_mask_are_inside_wherever_they_are_not_zero():
    map, inside = np.zeros((4, 4), np.float32), np.zeros((4, 4), bool)
    map[1, 1], inside[:2, :2] = 1, True
    for mask in (inside, inside.astype(np.uint8) * 255, inside.astype(np.uint8) * 2, inside.astype(np.float32)):
        assert metrics.pointing_game(map, mask) == 1
        assert metrics.iou(map + inside, mask, 0.7) == 1


def test_there_is_no_fifth_quarter():
    assert np.isnan([metrics.grid_pointing_game(np.ones((4, 4), np.float32), i) for i in (-1, 4, 7)]).all()


def test_sums_of_maps_of_16_bits_do_not_overflow():
    map, half = np.full((300, 300), 0.9, np.float16), np.zeros((300, 300), bool)
    half[:150] = True
    assert metrics.energy_inside(map, half) == pytest.approx(0.5, abs=1e-3)
    found = metrics.locality(np.ones((300, 300), np.float16), jnp.array([0, 0]), (1, 1))
    assert found.outside == pytest.approx(0, abs=1e-3)
    assert found.shift == pytest.approx(0, abs=0.1)


def test_a_map_with_an_odd_side_has_no_quarters():
    with pytest.raises(ValueError, match="7x8 has no quarters"):
        grid_pointing_game(jnp.ones((7, 8)), 0)
