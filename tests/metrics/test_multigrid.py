import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from fame_jax.metrics.multigrid import _doubled, _halved, _pyramid, _summed_laplacian, _v_cycle, laplacian


def dense(function, shape):
    """The matrix of a linear function of a plane."""
    basis = jnp.eye(np.prod(shape)).reshape(-1, 1, *shape)
    return np.asarray(jax.jit(jax.vmap(function))(basis)).reshape(np.prod(shape), -1)


def test_the_laplacian_is_symmetric_and_flat_images_are_its_kernel():
    matrix = dense(laplacian, (5, 7))
    np.testing.assert_allclose(matrix, matrix.T, atol=1e-6)
    assert not np.asarray(laplacian(jnp.full((3, 9, 8), 0.3))).any()
    eigenvalues = np.linalg.eigvalsh(matrix)
    assert abs(eigenvalues[0]) < 1e-6 < 0.01 < eigenvalues[1]
    assert eigenvalues[-1] < 4 / 3


def test_the_preconditioner_is_symmetric_and_positive_definite():
    order = gaussian_filter(np.random.default_rng(1).random((13, 10)), 2)
    missing = jnp.asarray(order > np.quantile(order, 0.3), jnp.float32)[None]
    matrix = dense(lambda plane: _v_cycle(plane * missing, _pyramid(missing)), (13, 10))
    inside = np.flatnonzero(missing)
    assert not np.delete(matrix, inside, axis=1).any()
    matrix = matrix[np.ix_(inside, inside)]
    np.testing.assert_allclose(matrix, matrix.T, atol=1e-5)
    system = dense(laplacian, (13, 10))[np.ix_(inside, inside)]
    eigenvalues = np.linalg.eigvals(matrix @ system)
    assert eigenvalues.real.min() > 0.2
    assert eigenvalues.real.max() < 1.5


def interpolation(size):
    """Bilinear from half the samples to `size`, half-pixel centres, ends clamped."""
    coarse = (size + 1) // 2
    centre = np.clip((np.arange(size) + 0.5) / 2 - 0.5, 0, coarse - 1)
    return np.maximum(0, 1 - np.abs(centre[:, None] - np.arange(coarse)))


@pytest.mark.parametrize("size", [(1, 8), (2, 7), (7, 1), (8, 2)])
def test_doubling_is_bilinear_and_halving_its_transpose(size):
    rows, columns = (interpolation(n) for n in size)
    coarse = jax.random.normal(jax.random.key(0), (2, rows.shape[1], columns.shape[1]))
    fine = jax.random.normal(jax.random.key(1), (2, *size))
    np.testing.assert_allclose(_doubled(coarse, size), rows @ coarse @ columns.T, atol=1e-6)
    np.testing.assert_allclose(_halved(fine), rows.T @ fine @ columns, atol=1e-6)


def test_the_summed_laplacian_is_the_laplacian():
    planes = jax.random.normal(jax.random.key(0), (3, 9, 6))
    np.testing.assert_allclose(_summed_laplacian(planes), laplacian(planes), atol=1e-6)
