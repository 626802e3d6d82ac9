"""Gradients, SmoothGrad, integrated gradients and RISE: known answers and identities."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

from fame_jax.explainers import gradient, integrated_gradients, path_integral, rise, smooth_grad
from fame_jax.explainers.chunks import map_over, sum_over
from fame_jax.explainers.rise import smooth_mask
from fame_jax.image import LUMA

KEY = jax.random.key(6)


@pytest.fixture(scope="module")
def weights():
    return jax.random.normal(jax.random.key(1), (32, 32, 3))


@pytest.fixture(scope="module")
def linear(weights):
    """Two logits: a weighted sum of the pixels and its negative."""
    return Partial(lambda w, image: jnp.stack([jnp.vdot(w, image), -jnp.vdot(w, image)]), weights)


def test_gradient_of_a_linear_logit_is_its_grey_weights(linear, weights, images):
    expected = np.abs(weights) @ np.asarray(LUMA)
    np.testing.assert_allclose(gradient(linear, images[0], 0), expected / expected.max(), atol=1e-6)


def test_smooth_grad_of_a_linear_logit_is_its_gradient(linear, images):
    found = smooth_grad(linear, images[0], 0, key=KEY, samples=5)
    np.testing.assert_allclose(found, gradient(linear, images[0], 0), atol=1e-6)


def test_smooth_grad_without_noise_is_the_gradient(classifier, images):
    found = smooth_grad(classifier, images[0], 1, key=KEY, samples=3, noise=0.0)
    np.testing.assert_allclose(found, gradient(classifier, images[0], 1), atol=1e-5)


def test_noise_is_a_fraction_of_the_images_range():
    """The gradient of the sum of squares is 2 (x + noise): its spread over samples tells the noise."""
    squares = Partial(lambda image: jnp.sum(image**2)[None])
    image = jnp.zeros((32, 32, 1)).at[0, 0].set(0.5)
    one = smooth_grad(squares, image, 0, key=KEY, samples=1, noise=0.2)
    # Elsewhere |gradient| is 2 |n| with n of deviation 0.1, whose mean is 0.2 sqrt(2 / pi); the map is divided by its
    # largest value, about that of the pixel at 0.5.
    ratio = float(jnp.mean(one[1:]) / one[0, 0])
    noise_there = 0.1 * float(jax.random.normal(jax.random.fold_in(KEY, 0), image.shape)[0, 0, 0])
    assert ratio == pytest.approx(0.2 * np.sqrt(2 / np.pi) / (2 * (0.5 + noise_there)), rel=0.05)


@pytest.mark.parametrize("baseline", [0.0, 0.4])
def test_integrated_gradients_add_up_to_the_change_of_the_logit(baseline, transformer, images):
    change = transformer(images[0])[3] - transformer(jnp.full_like(images[0], baseline))[3]
    assert abs(change) > 0.05
    found = path_integral(transformer, images[0], 3, baseline=baseline).sum()
    np.testing.assert_allclose(found, change, atol=1e-4)


def test_integrated_gradients_map_is_the_grey_magnitude(transformer, images):
    expected = np.abs(path_integral(transformer, images[0], 3)) @ np.asarray(LUMA)
    np.testing.assert_allclose(integrated_gradients(transformer, images[0], 3), expected / expected.max(), atol=1e-5)


def test_rise_is_the_mean_of_the_masks_weighted_by_probability(classifier, images):
    masks = np.stack([smooth_mask(jax.random.fold_in(KEY, i), 32, 32, cells=4, kept=0.5) for i in range(10)])
    probabilities = [jax.nn.softmax(classifier(images[0] * mask[..., None]))[1] for mask in masks]
    expected = np.tensordot(np.asarray(probabilities), masks, 1)
    expected = (expected - expected.min()) / np.ptp(expected)
    found = rise(classifier, images[0], 1, key=KEY, masks=10, cells=4, chunk=4)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_rise_finds_the_only_pixels_that_count():
    corner = Partial(lambda image: jnp.stack([jnp.mean(image[4:12, 4:12]) * 20, jnp.float32(10)]))
    map = rise(corner, jnp.ones((32, 32, 3)), 0, key=KEY, masks=400)
    row, column = np.unravel_index(np.argmax(map), map.shape)
    assert 4 <= row < 12
    assert 4 <= column < 12


def test_masks_keep_their_share_and_move_by_less_than_a_cell():
    masks = jax.vmap(lambda k: smooth_mask(k, 30, 40, cells=5, kept=0.3))(jax.random.split(KEY, 2000))
    assert masks.shape == (2000, 30, 40)
    assert masks.min() >= 0
    assert masks.max() <= 1
    np.testing.assert_allclose(masks.mean(axis=0), 0.3, atol=0.05)


@pytest.mark.parametrize(("count", "chunk"), [(1, 1), (7, 3), (6, 3), (5, 50), (9, 1)])
def test_chunks_cover_every_index_once(count, chunk):
    np.testing.assert_array_equal(map_over(lambda i: i * i, count, chunk), np.arange(count) ** 2)
    total, powers = sum_over(lambda i: (i, 2.0**i), count, chunk)
    assert int(total) == count * (count - 1) // 2
    assert float(powers) == 2**count - 1


def test_chunk_of_nothing_is_refused():
    with pytest.raises(ValueError, match="at least 1"):
        sum_over(lambda i: i, 5, 0)
