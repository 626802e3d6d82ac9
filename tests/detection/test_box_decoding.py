"""Outputs of each family to boxes, against the same rules in NumPy or the publisher's own code; a box as a network."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fame_jax.detection import Candidates, Detection, chosen, decoding, detected, overlap
from fame_jax.metrics import box_masks, deletion, energy_inside, insertion, pointing_game, road_delete

NUMBERS = np.random.default_rng(0)


def same(found, boxes, scores, objectness):
    np.testing.assert_allclose(found.boxes, boxes, rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(found.scores, scores, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found.objectness, objectness, rtol=1e-5)
    assert found.landmarks.shape == (len(boxes), 0, 2)


@pytest.mark.parametrize("objectness", [True, False])
def test_yolo(objectness):
    rows = NUMBERS.random((7, 9 if objectness else 8)).astype(np.float32)
    x, y, width, height = rows[:, :4].T
    boxes = np.stack([x - width / 2, y - height / 2, x + width / 2, y + height / 2], 1)
    expected = (rows[:, 5:], rows[:, 4]) if objectness else (rows[:, 4:], np.ones(7))
    same(decoding.yolo(jnp.asarray(rows), objectness=objectness), boxes, *expected)


def test_detr():
    logits, boxes = NUMBERS.normal(size=(5, 4)), NUMBERS.random((5, 4))
    scores = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    x, y, width, height = (boxes * [200, 100, 200, 100]).T
    pixels = np.stack([x - width / 2, y - height / 2, x + width / 2, y + height / 2], 1)
    as_float = logits.astype(np.float32), boxes.astype(np.float32)
    same(decoding.detr(*map(jnp.asarray, as_float), 100, 200), pixels, scores[:, :-1], np.ones(5))


@pytest.mark.parametrize("weights", [(10.0, 10.0, 5.0, 5.0), (1.0, 1.0, 1.0, 1.0)])
def test_boxes_relative_to_anchors_are_torchvisions(weights, torchvision):
    torch = pytest.importorskip("torch")
    from torchvision.models.detection._utils import BoxCoder

    anchors = NUMBERS.random((6, 4)) * 50
    anchors[:, 2:] += anchors[:, :2] + 5
    deltas, scores = NUMBERS.normal(size=(6, 4)), NUMBERS.random((6, 3)).astype(np.float32)
    deltas[0, 2:] = 60, 4  # A growth that is cut.
    expected = BoxCoder(weights).decode_single(torch.tensor(deltas), torch.tensor(anchors)).numpy()
    found = decoding.anchored(jnp.asarray(deltas), jnp.asarray(scores), jnp.asarray(anchors), weights)
    same(found, expected, scores, np.ones(6))


def test_distances_of_fcos():
    sides, places = NUMBERS.random((4, 4)).astype(np.float32), NUMBERS.random((4, 2)).astype(np.float32) * 30
    scores, central = NUMBERS.random((4, 2)).astype(np.float32), NUMBERS.random(4).astype(np.float32)
    boxes = np.concatenate([places - sides[:, :2], places + sides[:, 2:]], 1)
    same(decoding.distances(*map(jnp.asarray, (sides, scores, central, places))), boxes, scores, central)


BOXES = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [20, 0, 30, 10], [5, 5, 5, 9]], np.float32)


def test_overlap_is_counted_in_pixels():
    np.testing.assert_allclose(overlap(BOXES, BOXES[0]), [1, 90 / 110, 0, 0], rtol=1e-6)


def candidates(scores, objectness=(1, 1, 1, 1)):
    return Candidates(BOXES, np.array(scores, np.float32), np.array(objectness, np.float32), np.zeros((4, 0, 2)))


def test_of_boxes_of_one_class_that_overlap_the_best_stays():
    scores = [[0.7, 0.1], [0.9, 0.6], [0.8, 0.2], [0.1, 0.1]]
    found = chosen(candidates(scores), threshold=0.5)
    assert [(one.label, round(one.score, 2)) for one in found] == [(0, 0.9), (0, 0.8), (1, 0.6)]
    np.testing.assert_array_equal(found[0].box, BOXES[1])
    halved = chosen(candidates(scores, [1, 0.5, 1, 1]), threshold=0.5)
    assert [round(one.score, 2) for one in halved] == [0.8, 0.7]
    rooted = chosen(candidates(scores, [1, 0.25, 1, 1]), threshold=0.5, root=True)
    assert [round(one.score, 2) for one in rooted][:2] == [0.89, 0.84]
    assert chosen(candidates(np.zeros((4, 2)))) == []


def test_an_output_is_the_largest_product_over_all_candidates_with_the_overlap_held():
    scores = jnp.array([[0.7], [0.9], [0.8], [0.1]])

    def detector(image):
        shifted = BOXES + image[0, 0, 0]
        return Candidates(shifted, scores * image[0, 0, 1], jnp.ones(4), jnp.zeros((4, 0, 2)))

    boxes = [Detection(BOXES[0], 0, 0.7, np.zeros((0, 2))), Detection(BOXES[2], 0, 0.8, np.zeros((0, 2)))]
    network, image = detected(detector, boxes), jnp.zeros((1, 1, 3)).at[0, 0, 1].set(1)
    np.testing.assert_allclose(network(image), [max(0.7, 0.9 * 90 / 110), 0.8], rtol=1e-6)
    slopes = jax.jacobian(network)(image)
    np.testing.assert_allclose(slopes[:, 0, 0], [[0, 0.9 * 90 / 110, 0], [0, 0.8, 0]], atol=1e-6)


def test_a_class_that_the_detector_does_not_have_is_nan():
    network = detected(lambda image: candidates([[0.5]] * 4), [Detection(BOXES[0], 3, 0.5, np.zeros((0, 2)))])
    assert np.isnan(network(jnp.zeros((4, 4, 3)))).all()


def test_nothing_is_no_network():
    with pytest.raises(ValueError, match="there is no detection to explain: lower the threshold"):
        detected(lambda image: candidates([[0.5]] * 4), [])


def test_measures_of_a_box_have_known_answers():
    image, box = jnp.full((20, 30, 3), 0.75), np.array([4, 6, 14, 16])

    def detector(image):
        return Candidates(
            box[None].astype(float), image[6:16, 4:14].mean()[None, None], jnp.ones(1), jnp.zeros((1, 0, 2))
        )

    network = detected(detector, [Detection(box.astype(np.float32), 0, 0.75, np.zeros((0, 2)))])
    (mask,) = box_masks(box[None], 20, 30)
    attribution = jnp.where(mask, 1.0, 0).at[6, 4].set(2)
    share = float(mask.mean())
    curves = [
        measure(network, image, attribution, 0, fractions=[0.0, share / 2, share, 1.0], score="logit")
        for measure in (deletion, insertion)
    ]
    np.testing.assert_allclose(curves[0].scores, [0.75, 0.375, 0, 0], atol=1e-6)
    np.testing.assert_allclose(curves[1].scores, [0, 0.375, 0.75, 0.75], atol=1e-6)
    assert float(pointing_game(attribution, mask)) == float(energy_inside(attribution, mask)) == 1
    assert float(pointing_game(attribution, ~mask)) == float(energy_inside(attribution, ~mask)) == 0
    # The place is filled in from around it, which is as bright as it was: nothing drops.
    road = road_delete(network, image, attribution, 0, jax.random.key(0), fractions_removed=[share], noise=0)
    np.testing.assert_allclose(road.drops, 0, atol=1e-4)
    dark = jnp.where(mask[..., None], image, 0.25)
    road = road_delete(network, dark, attribution, 0, jax.random.key(0), fractions_removed=[share], noise=0)
    np.testing.assert_allclose(road.drops, 0.5, atol=1e-3)
