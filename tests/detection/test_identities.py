"""What must hold of explained detections: D-RISE, the gradient, all boxes at once."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fame_jax import class_logit, explain
from fame_jax.data.images import sample
from fame_jax.detection import detected, detections, yunet
from fame_jax.explainers.rise import rise, smooth_mask

WIDE = {"height": 96, "width": 192}


@pytest.fixture(scope="module")
def faces():
    """Two faces of some 50 pixels, YuNet for them, what it finds, and its network, all in double precision."""
    face = sample("portrait")[32:224:2, 128:320:2].astype(np.float64)
    image = np.concatenate([face, face[:, ::-1]], axis=1)
    with jax.enable_x64(True):
        detector = jax.tree.map(lambda x: jnp.asarray(x, jnp.float64), yunet(**WIDE))
        found = detections(detector, image, threshold=0.6)
        assert len(found) == 2
        yield jnp.asarray(image), detector, found, detected(detector, found)


def similarities(candidates, box):
    """The factors of D-RISE's similarity, `[n]` each, in NumPy: IoU, and score times objectness."""
    boxes, scores, objectness, _ = (np.asarray(part, np.float64) for part in candidates)
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    across = np.minimum(boxes[:, 2], box[2]) - np.maximum(boxes[:, 0], box[0])
    down = np.minimum(boxes[:, 3], box[3]) - np.maximum(boxes[:, 1], box[1])
    both = np.where((across > 0) & (down > 0), across * down, 0)
    return both / (areas + (box[2] - box[0]) * (box[3] - box[1]) - both), scores[:, 0] * objectness


@pytest.mark.thorough
def test_rise_of_a_detection_is_d_rise(faces):
    image, detector, found, network = faces
    key, count = jax.random.key(3), 40
    ours = jax.jit(lambda network, image: rise(network, image, 1, key=key, masks=count, score="logit"))(network, image)
    run = jax.jit(lambda detector, image: detector(image))
    total = 0
    for index in range(count):
        mask = np.asarray(smooth_mask(jax.random.fold_in(key, index), *image.shape[:2], cells=8, kept=0.5))
        held, score = similarities(run(detector, image * mask[..., None]), found[1].box)
        total = total + (held * score).max() * mask.astype(np.float64)
    np.testing.assert_allclose(ours, (total - total.min()) / np.ptp(total), atol=1e-6)


def test_the_gradient_is_that_of_the_score_with_the_overlap_held(faces):
    image, detector, found, network = faces
    run = jax.jit(lambda detector, image: detector(image))
    slope = jax.jit(jax.grad(class_logit))(image, network, 0)
    held, score = similarities(run(detector, image), found[0].box)
    best = int(np.argmax(held * score))
    numbers, step = np.random.default_rng(0), 1e-8  # So small that no ReLU turns on the way.
    for _ in range(5):
        way = numbers.normal(size=image.shape)
        (_, more), (_, less) = (
            similarities(run(detector, image + sign * step * way), found[0].box) for sign in (1, -1)
        )
        difference = held[best] * (more[best] - less[best]) / (2 * step)
        np.testing.assert_allclose(jnp.vdot(slope, way), difference, rtol=1e-5)


@pytest.mark.thorough
def test_all_boxes_in_one_call_are_single_runs(faces):
    image, _, _, network = faces

    def one(network, image, place):
        return explain(class_logit, image, network, place, iterations=8)

    together = jax.jit(jax.vmap(one, (None, None, 0)))(network, image, jnp.arange(2))
    alone = jax.jit(one)
    for place in (0, 1):
        single = alone(network, image, place)
        np.testing.assert_allclose(together.attribution[place], single.attribution, atol=1e-9)
        np.testing.assert_allclose(together.last_loss[place], single.last_loss, rtol=1e-9)
        assert int(together.steps[place]) == int(single.steps) == 8
