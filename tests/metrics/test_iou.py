import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fame_jax.metrics.iou import box_iou, box_masks, cropped_boxes, energy_inside, iou

TWO_BOXES = np.array([[1, 2, 4, 6], [3, 5, 9, 7]])


def filled(*boxes, shape=(10, 12)):
    return jnp.asarray(box_masks(np.array(boxes), *shape).any(0), jnp.float32)


def test_a_box_holds_its_minima_and_not_its_maxima():
    expected = np.zeros((4, 5), bool)
    expected[1:3, 2:5] = True
    np.testing.assert_array_equal(box_masks(np.array([[2, 1, 5, 3]]), 4, 5)[0], expected)


def test_corners_are_truncated():
    np.testing.assert_array_equal(
        box_masks(np.array([[1.9, 0.99, 3.99, 2.5]]), 4, 5), box_masks(np.array([[1, 0, 3, 2]]), 4, 5)
    )


def test_a_box_is_cut_at_the_border_of_the_map():
    masks = box_masks(np.array([[-3, -2, 2, 1], [4, 3, 90, 90], [20, 20, 30, 30]]), 4, 5)
    assert [mask.sum() for mask in masks] == [2, 1, 0]


def test_a_wide_photograph_is_scaled_alike_and_cropped_in_the_middle():
    # 500x375 times 232/375 is 309 1/3 x 232; 42 2/3 columns and 4 rows are cut off on each side.
    boxes = cropped_boxes(np.array([[100, 75, 300, 225], [0, 0, 500, 375]]), 500, 375)
    np.testing.assert_allclose(boxes[0], [928 / 15 - 128 / 3, 42.4, 928 / 5 - 128 / 3, 135.2], rtol=1e-12)
    np.testing.assert_array_equal(boxes[1], [0, 0, 224, 224])


def test_a_tall_photograph_is_cropped_above_and_below():
    # 100x300 doubled is 200x600; 20 columns and 220 rows are cut off on each side.
    boxes = cropped_boxes(np.array([[20, 100, 60, 150], [50, 120, 99, 300]]), 100, 300, short_side=200, crop=160)
    np.testing.assert_allclose(boxes, [[20, 0, 100, 80], [80, 20, 160, 160]], rtol=1e-12)


def test_original_boxes_scales_each_axis_by_itself():
    boxes = cropped_boxes(np.array([[100, 75, 300, 225]]), 500, 375, convention="original_boxes")
    np.testing.assert_allclose(boxes, [[42.4, 42.4, 135.2, 135.2]], rtol=1e-12)


def test_the_conventions_agree_on_a_square_and_differ_by_23_pixels_at_500x375():
    box = np.array([[10, 20, 150, 199]])
    np.testing.assert_allclose(
        cropped_boxes(box, 200, 200), cropped_boxes(box, 200, 200, convention="original_boxes"), rtol=1e-12
    )
    left_strip = np.array([[100, 0, 101, 375]])
    ours, theirs = (
        cropped_boxes(left_strip, 500, 375, convention=name)[0, 0] for name in ("aspect_preserving", "original_boxes")
    )
    assert theirs - ours == pytest.approx(23.2)


def test_a_box_outside_the_crop_has_no_area_left():
    boxes = cropped_boxes(np.array([[0, 0, 50, 375]]), 500, 375)
    assert not box_masks(boxes, 224, 224).any()


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.7, 1.0])
def test_the_map_that_is_its_box_scores_one(threshold):
    box = np.array([[3, 2, 8, 9]])
    assert float(box_iou(filled(*box), box, threshold)) == 1


def test_iou_of_a_shifted_box_by_hand():
    # Two 4x4 boxes two columns apart: 8 shared, 24 covered.
    assert float(box_iou(filled([2, 2, 6, 6]), np.array([[4, 2, 8, 6]]), 0.5)) == pytest.approx(8 / 24)


def test_the_threshold_itself_is_above():
    map = jnp.full((3, 4), 0.5)
    assert float(iou(map, np.ones((3, 4), bool), 0.5)) == 1
    assert float(iou(map, np.ones((3, 4), bool), 0.51)) == 0


def test_union_first_and_best_of_two_boxes():
    map = filled(TWO_BOXES[1])
    # Areas 12 and 12, of which the pixel at column 3 in row 5 is shared.
    assert float(box_iou(map, TWO_BOXES, 0.5, choose="union")) == pytest.approx(12 / 23)
    assert float(box_iou(map, TWO_BOXES, 0.5, choose="first")) == pytest.approx(1 / 23)
    assert float(box_iou(map, TWO_BOXES, 0.5, choose="best")) == 1


def test_all_zero_maps_and_disjoint_boxes_score_zero():
    box = np.array([[3, 2, 8, 9]])
    assert float(box_iou(jnp.zeros((10, 12)), box, 0.5)) == 0
    assert float(box_iou(filled([0, 0, 2, 2]), box, 0.5)) == 0
    assert float(iou(jnp.zeros((10, 12)), np.zeros((10, 12), bool), 0.5)) == 0


def test_no_boxes_is_an_error():
    with pytest.raises(ValueError, match="no boxes"):
        box_iou(jnp.zeros((10, 12)), np.zeros((0, 4)), 0.5)


def test_iou_of_many_maps_is_that_of_each():
    maps = jax.random.uniform(jax.random.key(0), (5, 10, 12))
    masks = jnp.asarray(box_masks(np.array([[i, i, i + 4, i + 5] for i in range(5)]), 10, 12))
    together = jax.vmap(iou, (0, 0, None))(maps, masks, 0.4)
    np.testing.assert_array_equal(together, [iou(map, mask, 0.4) for map, mask in zip(maps, masks, strict=True)])


def test_energy_inside_is_the_share_of_the_mass():
    map = jnp.array([[1.0, 2.0], [3.0, 4.0]])
    assert float(energy_inside(map, np.array([[True, False], [False, True]]))) == pytest.approx(0.5)
    assert float(energy_inside(map, np.ones((2, 2), bool))) == 1
    assert float(energy_inside(jnp.zeros((2, 2)), np.ones((2, 2), bool))) == 0


def test_energy_does_not_depend_on_the_scale_of_the_map():
    map, mask = jax.random.uniform(jax.random.key(1), (10, 12)), box_masks(TWO_BOXES, 10, 12)[0]
    assert float(energy_inside(0.01 * map, mask)) == pytest.approx(float(energy_inside(map, mask)), rel=1e-6)
