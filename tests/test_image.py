import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage

from fame_jax import image
from fame_jax.image import blurred, gaussian_blur, grey, kernel_sigma, max_normalise, minmax_normalise, resize


def test_grey_equals_torchvision(torchvision):
    torch = pytest.importorskip("torch")
    pixels = np.random.default_rng(0).random((5, 7, 3), np.float32)
    reference = torchvision.transforms.functional.rgb_to_grayscale(torch.from_numpy(pixels).permute(2, 0, 1))[0]
    np.testing.assert_allclose(grey(jnp.asarray(pixels)), reference, atol=1e-6)


def test_grey_passes_one_channel_through():
    pixels = jnp.arange(6.0).reshape(2, 3, 1)
    np.testing.assert_array_equal(grey(pixels), pixels[..., 0])


@pytest.mark.parametrize("channels", [2, 4, 12])
def test_grey_is_the_mean_where_there_is_no_red_green_and_blue(channels):
    pixels = jax.random.uniform(jax.random.key(0), (5, 7, channels))
    np.testing.assert_allclose(grey(pixels), np.mean(pixels, axis=-1), atol=1e-6)
    weights = tuple(range(channels))
    np.testing.assert_allclose(grey(pixels, weights), np.asarray(pixels) @ weights, rtol=1e-5)


def test_weights_of_another_number_of_channels_are_refused():
    with pytest.raises(ValueError, match=r"grey_weights=\(1, 2, 3\): expected 4 numbers, one a channel"):
        grey(jnp.ones((2, 2, 4)), (1, 2, 3))


def test_sigma_of_the_papers_kernel_is_7_7():
    assert kernel_sigma(49) == pytest.approx(7.7, abs=1e-12)


@pytest.mark.parametrize(("kernel_size", "sigma"), [(49, None), (25, 5.0), (5, 1.1)])
@pytest.mark.parametrize("shape", [(64, 64), (30, 41)])
def test_blur_equals_scipy_with_the_same_radius_and_mirror(kernel_size, sigma, shape):
    map = np.random.default_rng(1).random(shape)
    expected = scipy.ndimage.gaussian_filter(
        map, sigma or kernel_sigma(kernel_size), radius=kernel_size // 2, mode="mirror"
    )
    with jax.enable_x64(True):
        np.testing.assert_allclose(gaussian_blur(jnp.asarray(map), kernel_size, sigma), expected, atol=1e-12)


def test_blur_equals_torchvision(torchvision):
    torch = pytest.importorskip("torch")
    map = np.random.default_rng(2).random((112, 112), np.float32)
    expected = torchvision.transforms.functional.gaussian_blur(torch.from_numpy(map)[None], 49)[0]
    np.testing.assert_allclose(gaussian_blur(jnp.asarray(map)), expected, atol=1e-5)


def test_blur_leaves_a_constant_map_as_it_is():
    np.testing.assert_allclose(gaussian_blur(jnp.full((50, 60), 0.3)), 0.3, rtol=1e-5)


def test_even_kernel_is_raised_by_one():
    map = jnp.asarray(np.random.default_rng(3).random((40, 40), np.float32))
    np.testing.assert_array_equal(gaussian_blur(map, 24, 5.0), gaussian_blur(map, 25, 5.0))


def test_a_kernel_of_no_taps_is_refused_and_not_taken_for_the_widest():
    for blur in (gaussian_blur, blurred):
        with pytest.raises(ValueError, match="kernel_size=0"):
            blur(jnp.ones((20, 20)), 0, 2.0)


def test_blur_refuses_a_map_that_cannot_be_mirrored():
    with pytest.raises(ValueError, match="24x64 map is too small for kernel_size=49"):
        gaussian_blur(jnp.zeros((24, 64)))


def test_resize_equals_torch_bilinear():
    torch = pytest.importorskip("torch")
    map = np.random.default_rng(4).random((7, 7), np.float32)
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(map)[None, None], (224, 224), mode="bilinear", align_corners=False
    )[0, 0]
    np.testing.assert_allclose(resize(jnp.asarray(map), 224, 224), expected, atol=1e-6)


@pytest.mark.parametrize("normalise", [max_normalise, minmax_normalise])
def test_normalising_zeros_gives_zeros(normalise):
    np.testing.assert_array_equal(normalise(jnp.zeros((3, 4))), 0)


def test_max_normalise_keeps_signs_and_tiny_values():
    np.testing.assert_allclose(max_normalise(jnp.asarray([-4e-20, 1e-20, 2e-20])), [-1, 0.25, 0.5], rtol=1e-6)


def test_gradient_of_max_normalise_is_finite_at_zero():
    gradient = jax.grad(lambda x: image.max_normalise(x).sum())(jnp.zeros(5))
    assert bool(jnp.all(jnp.isfinite(gradient)))


def test_minmax_moves_the_smallest_value_to_zero():
    found = minmax_normalise(jnp.asarray([2.0, 3.0, 6.0]))
    np.testing.assert_allclose(found, [0, 0.25, 1], atol=1e-6)
