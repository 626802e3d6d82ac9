"""Gradients, SmoothGrad, integrated gradients and RISE: known answers and identities."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

from fame_jax import class_evidence, class_logit
from fame_jax.explainers import (
    blob_map,
    expected_gradients,
    expected_path_integral,
    gradient,
    integrated_gradients,
    path_integral,
    random_blurred_map,
    rise,
    smooth_grad,
    smooth_grad_squared,
    var_grad,
)
from fame_jax.explainers.chunks import map_over, sum_over
from fame_jax.explainers.rise import smooth_mask
from fame_jax.image import LUMA, gaussian_blur

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


def slopes_of_copies(network, image, count, noise=0.15):
    """One gradient after the other, of copies drawn by hand."""
    deviation = noise * np.ptp(image)
    copies = [image + deviation * jax.random.normal(jax.random.fold_in(KEY, i), image.shape) for i in range(count)]
    return np.stack([jax.grad(class_logit)(copy, network, 1) for copy in copies]).astype(np.float64)


def test_smooth_grad_squared_and_var_grad_are_second_moments(classifier, images):
    slopes = slopes_of_copies(classifier, images[0], 7)
    for method, expected in ((smooth_grad_squared, (slopes**2).mean(0)), (var_grad, slopes.var(0))):
        expected = expected @ np.asarray(LUMA)
        found = method(classifier, images[0], 1, key=KEY, samples=7, chunk=3)
        np.testing.assert_allclose(found, expected / expected.max(), atol=1e-4)


def test_var_grad_of_a_linear_logit_is_blank(linear, images):
    assert not var_grad(linear, images[0], 0, key=KEY, samples=5).any()


def baselines_and_places(image, count):
    for index in range(count):
        of_baseline, of_place = jax.random.split(jax.random.fold_in(KEY, index))
        yield jax.random.uniform(of_baseline, image.shape), jax.random.uniform(of_place)


@pytest.mark.parametrize(("name", "loss"), [("logit", class_logit), ("evidence", class_evidence)])
def test_expected_gradients_are_the_mean_over_baselines_and_places(name, loss, classifier, images):
    drawn = baselines_and_places(images[0], 6)
    shares = [(images[0] - b) * jax.grad(loss)(b + a * (images[0] - b), classifier, 1) for b, a in drawn]
    expected = np.mean(shares, axis=0)
    how = {"key": KEY, "samples": 6, "chunk": 4, "loss": name}
    np.testing.assert_allclose(expected_path_integral(classifier, images[0], 1, **how), expected, atol=1e-5)
    of_signs = np.maximum(gaussian_blur(jnp.asarray(expected @ np.float32(LUMA)), 9), 0)
    found = expected_gradients(classifier, images[0], 1, **how, kernel_size=9)
    np.testing.assert_allclose(found, of_signs / of_signs.max(), atol=1e-4)
    of_magnitudes = gaussian_blur(jnp.asarray(np.abs(expected) @ np.float32(LUMA)), 9)
    found = expected_gradients(classifier, images[0], 1, **how, kernel_size=9, signed=False)
    np.testing.assert_allclose(found, of_magnitudes / of_magnitudes.max(), atol=1e-4)


def test_expected_gradients_of_a_linear_logit_add_up_to_its_distance_from_the_baselines(linear, images):
    baselines = [linear(b)[0] for b, _ in baselines_and_places(images[0], 5)]
    found = expected_path_integral(linear, images[0], 0, key=KEY, samples=5)
    np.testing.assert_allclose(found.sum(), linear(images[0])[0] - np.mean(baselines), rtol=1e-4)


def test_any_map_of_pixels_takes_any_blur(classifier, images):
    plain = gradient(classifier, images[0], 1)
    blurred = gaussian_blur(plain, 63, 3.0)
    found = gradient(classifier, images[0], 1, sigma=3.0)
    np.testing.assert_allclose(found, blurred / blurred.max(), atol=1e-5)
    of_taps = gaussian_blur(plain, 9)
    found = gradient(classifier, images[0], 1, kernel_size=9)
    np.testing.assert_allclose(found, of_taps / of_taps.max(), atol=1e-5)


def test_floors_know_only_the_shape():
    image = jnp.zeros((30, 41, 3))
    blob = blob_map(image)
    np.testing.assert_allclose(blob, blob[::-1, ::-1], atol=1e-6)
    middle, beside = blob[14, 20], blob[14, 20 - 7]
    # 7 pixels from the centre, in units of a deviation of 7.5; the centre lies between two rows.
    assert float(beside / middle) == pytest.approx(np.exp(-(7**2) / (2 * 7.5**2)), rel=1e-5)
    noise = gaussian_blur(jax.random.uniform(KEY, (30, 41)), 9)
    expected = (noise - noise.min()) / np.ptp(noise)
    np.testing.assert_allclose(random_blurred_map(image, KEY, kernel_size=9), expected, atol=1e-5)


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


def test_rise_of_an_unlikely_class_is_scaled_like_that_of_any_other():
    def network(image, other):
        return jnp.stack([jnp.float32(other), 3 * image[8:16, 8:16].mean() - 5])

    image = jnp.ones((32, 32, 3))
    likely, unlikely = (rise(Partial(network, other=other), image, 1, key=KEY, masks=100) for other in (0.0, 20.0))
    np.testing.assert_allclose(unlikely.max(), 1, atol=1e-4)
    assert np.corrcoef(likely.ravel(), unlikely.ravel())[0, 1] > 0.99


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


def test_a_sum_of_thousands_in_16_bits_loses_none():
    total = sum_over(lambda i: jnp.bfloat16(1), 2048, 1)
    assert (total.dtype, float(total)) == (jnp.bfloat16, 2048)
