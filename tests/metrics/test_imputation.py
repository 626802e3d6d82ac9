import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse
from scipy.ndimage import gaussian_filter
from scipy.sparse.linalg import spsolve

from fame_jax.image import IMAGENET_STD
from fame_jax.metrics.imputation import ImputationStatus, impute

KEY = jax.random.key(0)
STEPS = [step for step in itertools.product((-1, 0, 1), repeat=2) if step != (0, 0)]
PERCENTS_MISSING = (1, 10, 30, 50, 90, 99)


def direct(image, missing):
    """The imputed image without noise by a sparse direct solver in float64, one equation a missing pixel."""
    height, width = missing.shape
    unknown = np.full(missing.shape, -1)
    unknown[missing] = np.arange(missing.sum())
    rows, columns = np.nonzero(missing)
    diagonal, right_side, entries = np.zeros(rows.size), np.zeros((rows.size, image.shape[2])), []
    for down, right in STEPS:
        weight = 1 / 6 if 0 in (down, right) else 1 / 12
        inside = (rows + down >= 0) & (rows + down < height) & (columns + right >= 0) & (columns + right < width)
        equation = np.flatnonzero(inside)
        neighbour = rows[inside] + down, columns[inside] + right
        diagonal[equation] += weight
        known = ~missing[neighbour]
        right_side[equation[known]] += weight * image[neighbour][known]
        pairs = equation[~known], unknown[neighbour][~known]
        entries.append(scipy.sparse.coo_array((np.full(pairs[0].size, -weight), pairs), shape=(rows.size,) * 2))
    matrix = scipy.sparse.diags_array(diagonal) + sum(entries)
    result = np.asarray(image, np.float64).copy()
    result[missing] = spsolve(matrix.tocsc(), right_side).reshape(rows.size, -1)
    return result


def photograph(height=61, width=48, channels=3, seed=0):
    """Smooth areas, texture, and an edge, in [0, 1]."""
    rng = np.random.default_rng(seed)
    image = gaussian_filter(rng.normal(size=(height, width, channels)), (6, 6, 0)) * 4
    image += 0.05 * rng.normal(size=image.shape) + 0.3 * (np.arange(width) > width / 3)[:, None]
    return np.clip(0.4 + image, 0, 1).astype(np.float32)


def first(order, percent):
    """The mask of the given share of pixels with the largest values of `order`."""
    mask = np.zeros(order.size, bool)
    mask[np.argsort(-order, axis=None, kind="stable")[: round(percent * order.size / 100)]] = True
    return mask.reshape(order.shape)


def filled(image, missing, key=KEY, noise=0.0, scale=(1.0, 1.0, 1.0), tolerance=3e-6, max_iterations=100):
    """`impute` with one signature, so that it compiles once a shape."""
    return impute(
        jnp.asarray(image),
        jnp.asarray(missing),
        key,
        noise=noise,
        scale=jnp.broadcast_to(jnp.asarray(scale), image.shape),
        tolerance=tolerance,
        max_iterations=max_iterations,
    )


def orders(height=61, width=48):
    rng = np.random.default_rng(1)
    rows, columns = np.mgrid[:height, :width]
    return {
        "scattered": rng.random((height, width)),
        "islands": gaussian_filter(rng.random((height, width)), 4),
        "a disc": -np.hypot(rows - height / 2, columns - width / 3),
        "whole borders": np.maximum(np.abs(rows - height / 2) / height, np.abs(columns - width / 2) / width),
        "all but one corner": (rows + columns).astype(float),
    }


@pytest.mark.parametrize("percent", PERCENTS_MISSING)
def test_imputation_equals_a_sparse_direct_solver(percent):
    image = photograph()
    for name, order in orders().items():
        missing = first(order, percent)
        result = filled(image, missing)
        assert result.status == ImputationStatus.OK, name
        np.testing.assert_allclose(result.imputed, direct(image, missing), rtol=0, atol=1e-5, err_msg=name)
        np.testing.assert_array_equal(np.asarray(result.imputed)[~missing], image[~missing])
        assert result.relative_residual < 1e-4, name
        assert 1 <= result.iterations <= 20, name


def test_a_photograph_of_224_pixels_is_imputed_as_closely():
    image = photograph(224, 224)
    order = gaussian_filter(np.random.default_rng(2).random((224, 224)), 8)
    masks = np.stack([first(order, percent) for percent in (30, 99)])
    result = jax.vmap(lambda missing: filled(image, missing))(jnp.asarray(masks))
    for imputed, missing in zip(result.imputed, masks, strict=True):
        np.testing.assert_allclose(imputed, direct(image, missing), rtol=0, atol=1e-5)
    assert result.iterations.max() <= 15


def test_every_mask_of_nine_pixels_but_the_full_one_has_a_solution():
    """Eight neighbours connect the grid, so no group of missing pixels is cut off from all known ones."""
    image = photograph(3, 3)
    masks = np.array(list(itertools.product((False, True), repeat=9)))[1:-1].reshape(-1, 3, 3)
    result = jax.vmap(lambda missing: filled(image, missing))(jnp.asarray(masks))
    assert (result.status == ImputationStatus.OK).all()
    for imputed, missing in zip(result.imputed, masks, strict=True):
        np.testing.assert_allclose(imputed, direct(image, missing), rtol=0, atol=1e-5)


@pytest.mark.parametrize("shape", [(1, 30, 1), (40, 2, 3), (5, 33, 4)])
def test_images_of_any_shape_are_imputed(shape):
    image = photograph(*shape)
    missing = first(np.random.default_rng(3).random(shape[:2]), 60)
    result = filled(image, missing, scale=1.0)
    np.testing.assert_allclose(result.imputed, direct(image, missing), rtol=0, atol=1e-5)


def test_double_precision_is_kept():
    with jax.enable_x64(True):
        image = np.asarray(photograph(), np.float64)
        missing = first(orders()["islands"], 90)
        result = filled(image, missing, tolerance=1e-13)
        assert result.imputed.dtype == jnp.float64
        np.testing.assert_allclose(result.imputed, direct(image, missing), rtol=0, atol=1e-12)


@pytest.mark.filterwarnings("ignore:__array_wrap__:DeprecationWarning")
def test_imputation_equals_that_of_the_grad_cam_package(torchvision):
    """Its conventions: normalised tensor, channels first, removed where the map reaches its percentile, no noise."""
    torch = pytest.importorskip("torch")
    road = pytest.importorskip("pytorch_grad_cam.metrics.road")
    image, map = photograph(), orders()["scattered"].astype(np.float32)
    mean, std = np.array([0.485, 0.456, 0.406], np.float32), np.array([0.229, 0.224, 0.225], np.float32)
    for percent_removed in (20, 50, 90):
        kept = map < np.percentile(map, 100 - percent_removed)
        normalised = torch.from_numpy(((image - mean) / std).transpose(2, 0, 1).copy())
        expected = road.NoisyLinearImputer(noise=0)(normalised, torch.from_numpy(kept.astype(np.float32)))
        result = filled(image, ~kept)
        np.testing.assert_allclose(
            (np.asarray(result.imputed) - mean) / std, expected.numpy().transpose(1, 2, 0), rtol=0, atol=1e-4
        )


def test_imputation_commutes_with_normalisation():
    image, missing = photograph(), first(orders()["islands"], 50)
    scale, shift = np.array([4.0, 0.3, 2.0], np.float32), np.array([-2.0, 7.0, 0.1], np.float32)
    pixels = filled(image, missing, noise=0.01, scale=1 / scale).imputed
    normalised = filled(image * scale + shift, missing, noise=0.01).imputed
    np.testing.assert_allclose(np.asarray(pixels) * scale + shift, normalised, rtol=0, atol=1e-5)


def test_noise_has_the_stated_size_and_touches_imputed_pixels_alone():
    image, missing = np.full((61, 48, 3), 0.5, np.float32), first(orders()["islands"], 80)
    result = filled(image, missing, noise=0.01, scale=(1.0, 2.0, 0.0))
    noise = np.asarray(result.imputed - image)
    assert not noise[~missing].any()
    noise = noise[missing]
    np.testing.assert_allclose(noise.std(axis=0), [0.01, 0.02, 0], rtol=0.06, atol=1e-7)
    np.testing.assert_allclose(noise.mean(axis=0), 0, atol=1e-3)
    assert abs(np.corrcoef(noise[:, 0], noise[:, 1])[0, 1]) < 0.08


def test_a_hundredth_is_the_default_noise():
    image, missing = photograph(), first(orders()["islands"], 80)
    default = impute(jnp.asarray(image), jnp.asarray(missing), KEY)
    np.testing.assert_allclose(default.imputed, filled(image, missing, noise=0.01).imputed, rtol=0, atol=1e-6)


def test_noise_is_not_clamped():
    image, missing = np.ones((61, 48, 3), np.float32), first(orders()["scattered"], 50)
    assert float(filled(image, missing, noise=0.01).imputed.max()) > 1.01


def test_equal_keys_give_equal_noise_and_others_do_not():
    image, missing = photograph(), first(orders()["scattered"], 50)
    again = [filled(image, missing, jax.random.key(seed), noise=0.01).imputed for seed in (1, 1, 2)]
    np.testing.assert_array_equal(again[0], again[1])
    assert (again[0] != again[2]).any()


def test_with_nothing_known_every_pixel_is_the_mean_colour_and_the_status_says_so():
    image = photograph()
    result = filled(image, np.ones(image.shape[:2], bool))
    colour = np.broadcast_to(image.mean(axis=(0, 1)), image.shape)
    np.testing.assert_allclose(result.imputed, colour, rtol=1e-5)
    assert result.status == ImputationStatus.NOTHING_KNOWN
    assert ImputationStatus(int(result.status)).message == "nothing known"
    assert result.relative_residual == 0
    noisy = filled(image, np.ones(image.shape[:2], bool), noise=0.01).imputed
    assert np.asarray(noisy - result.imputed).std() == pytest.approx(0.01, rel=0.05)


def test_with_nothing_missing_the_image_is_returned():
    image = photograph()
    result = filled(image, np.zeros(image.shape[:2], bool), noise=0.01)
    np.testing.assert_array_equal(result.imputed, image)
    assert (result.status, result.iterations, result.relative_residual) == (ImputationStatus.OK, 0, 0)


def test_one_known_pixel_colours_the_image():
    image, missing = photograph(), np.ones((61, 48), bool)
    missing[20, 30] = False
    result = filled(image, missing)
    assert result.status == ImputationStatus.OK
    np.testing.assert_allclose(result.imputed, np.broadcast_to(image[20, 30], image.shape), rtol=0, atol=1e-6)


def test_values_of_missing_pixels_are_never_read():
    image, missing = photograph(), first(orders()["islands"], 40)
    spoilt = image.copy()
    spoilt[missing] = np.nan
    expected, result = (filled(i, missing) for i in (image, spoilt))
    np.testing.assert_array_equal(result.imputed, expected.imputed)


def test_a_known_value_that_is_not_finite_is_reported():
    image, missing = photograph(), first(orders()["islands"], 40)
    image[~missing] = np.inf
    assert filled(image, missing).status == ImputationStatus.NOT_FINITE


def test_too_few_iterations_are_reported_with_the_residual_they_leave():
    image, missing = photograph(), first(orders()["islands"], 90)
    few, many = (filled(image, missing, max_iterations=n) for n in (3, 100))
    assert (few.status, few.iterations) == (ImputationStatus.NOT_CONVERGED, 3)
    assert many.status == ImputationStatus.OK
    assert 0.1 > few.relative_residual > 100 * many.relative_residual


def test_the_residual_is_that_of_the_equations():
    image, missing = photograph(), first(orders()["islands"], 50)
    result = filled(image, missing, max_iterations=2)

    def left(values):
        """The equations one by one, in float64."""
        values, total = np.asarray(values, np.float64), np.zeros(values.shape)
        for row, column in np.argwhere(missing):
            for down, right in STEPS:
                if 0 <= row + down < 61 and 0 <= column + right < 48:
                    weight = 1 / 6 if 0 in (down, right) else 1 / 12
                    total[row, column] += weight * (values[row, column] - values[row + down, column + right])
        return np.linalg.norm(total)

    start = np.where(missing[..., None], image[~missing].mean(axis=0), image)
    assert float(result.relative_residual) == pytest.approx(left(result.imputed) / left(start), rel=1e-4)


def test_a_tighter_tolerance_comes_closer():
    image, missing = photograph(), first(orders()["islands"], 90)
    expected = direct(image, missing)
    distances = [
        np.abs(np.asarray(filled(image, missing, tolerance=tolerance).imputed) - expected).max()
        for tolerance in (1e-1, 1e-3, 3e-6)
    ]
    assert distances[0] > 10 * distances[1] > 100 * distances[2]


def test_images_in_a_batch_do_not_disturb_each_other():
    images = np.stack([photograph(seed=seed) for seed in range(3)])
    masks = np.stack([first(orders()["islands"], percent) for percent in (1, 50, 100)])
    keys = jax.random.split(KEY, 3)
    batch = jax.vmap(filled)(images, masks, keys)
    for index in range(3):
        alone = filled(images[index], masks[index], keys[index])
        np.testing.assert_allclose(batch.imputed[index], alone.imputed, rtol=0, atol=1e-6)
        assert (batch.status[index], batch.iterations[index]) == (alone.status, alone.iterations)


def test_a_tuple_is_a_scale_for_each_channel():
    image, missing = jnp.full((6, 6, 3), 0.5), jnp.zeros((6, 6), bool).at[2, 2:4].set(True)
    one, other = (impute(image, missing, jax.random.key(0), scale=of(IMAGENET_STD)) for of in (tuple, jnp.asarray))
    np.testing.assert_array_equal(one.imputed, other.imputed)
