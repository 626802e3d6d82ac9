"""The equations of linear imputation, solved without a matrix.

Conjugate gradients, preconditioned by a multigrid V-cycle, need 6 to 15 iterations whatever the mask.

References:
    Briggs, Henson and McCormick, "A Multigrid Tutorial", 2000, Ch. 3.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from fame_jax._types import Scalar
from fame_jax.varying import varying_as

Planes = Float[Array, "channels height width"]
"""An image with its channels first, so that neighbours in a row are neighbours in memory."""

Plane = Float[Array, "1 height width"]
"""1 at a missing pixel, 0 at a known one."""

Pyramid = list[Float[Array, "1 _ _"]]
"""Such planes of ever smaller sides."""

_WEIGHTS = ([1, 3, 0], [0, 3, 1])  # of the neighbours of an even and of an odd row or column
_SUMS = np.outer([1, 2, 1], [1, 2, 1])[None]
_HALVES = np.outer([1, 3, 3, 1], [1, 3, 3, 1])[None] / 16
_PHASES = np.stack([np.outer(row, column) for row in _WEIGHTS for column in _WEIGHTS]) / 16


def laplacian(planes: Planes) -> Planes:
    """`sum_n w_n (u - u_n)` over the neighbours n inside the image, w = 1/6 beside a pixel and 1/12 at its corners.

    With a centre of 4/12 the weights are (1, 2, 1) along rows times (1, 2, 1) along columns, over 12, and (1, 2, 1) is
    the second difference plus 4. In differences alone a flat image gives exactly 0, and a smooth one loses no digits.
    """
    rows, columns = _line_sums(planes)
    across, down = _second_difference(planes, 2), _second_difference(planes, 1)
    return -(_second_difference(across, 1) + rows * across + columns * down) / 12


def _second_difference(planes: Planes, axis: int) -> Planes:
    """`(u_next - u) - (u - u_last)` along an axis, without a term that leaves the image."""
    difference = jnp.diff(planes, axis=axis)
    to_next, to_last = ([ends if a == axis else (0, 0) for a in range(3)] for ends in ((0, 1), (1, 0)))
    return jnp.pad(difference, to_next) - jnp.pad(difference, to_last)


def _line_sums(planes: Planes) -> tuple[np.ndarray, np.ndarray]:
    """Along both axes, the sum of (1, 2, 1) over what of it lies inside: 4, and 3 at the ends."""
    rows, columns = (np.full(size, 4, planes.dtype) for size in planes.shape[1:])
    for sums in (rows, columns):
        sums[0] -= 1
        sums[-1] -= 1
    return rows[None, :, None], columns[None, None, :]


def solved(
    right_side: Planes, missing: Plane, tolerance: ArrayLike, max_iterations: ArrayLike
) -> tuple[Planes, Scalar, Scalar]:
    """Solves for the missing pixels with known ones at 0: solution, number of iterations, whether it converged."""
    pyramid = _pyramid(missing)

    def unfinished(state: tuple[Array, ...]) -> Scalar:
        error, iterations = state[-2:]
        return (error > tolerance) & (iterations < max_iterations)

    def next_iteration(state: tuple[Array, ...]) -> tuple[Array, ...]:
        solution, residual, direction, product, _, iterations = state
        correction = _v_cycle(residual, pyramid)
        next_product = jnp.sum(residual * correction)
        direction = correction + next_product / product * direction
        change = missing * laplacian(direction)
        curvature = jnp.sum(direction * change)
        # Zero once the solution is exact to the last digit.
        length = next_product / jnp.where(curvature == 0, 1, curvature)
        error = jnp.max(jnp.abs(correction))
        next_residual = residual - length * change
        return solution + length * direction, next_residual, direction, next_product, error, iterations + 1

    nowhere, one = jnp.zeros_like(right_side), jnp.ones((), right_side.dtype)
    error = jnp.where(jnp.any(right_side != 0), jnp.inf * one, 0)
    start = (nowhere, right_side, nowhere, one, error, jnp.int32(0))
    start = varying_as(start, right_side, missing, tolerance, max_iterations)
    solution, _, _, _, error, iterations = jax.lax.while_loop(unfinished, next_iteration, start)
    return solution, iterations, error <= tolerance


def _v_cycle(residual: Planes, pyramid: Pyramid) -> Planes:
    """A multigrid V-cycle: an estimate of the error that leaves this residual, linear and symmetric in it.

    Every level has the same stencil, which in two dimensions is the one that bilinear interpolation induces. Plain
    Richardson sweeps smooth: the stencil has its high frequencies between 2/3 and 4/3, so that a sweep divides them by
    three; the first of them, from zero, is the residual itself.
    """
    missing, coarser = pyramid[0], pyramid[1:]
    if not coarser:
        return residual
    left = residual - missing * _summed_laplacian(residual)
    coarse_error = _v_cycle(coarser[0] * _halved(left), coarser)
    error = residual + missing * _doubled(coarse_error, (missing.shape[1], missing.shape[2]))
    return error + residual - missing * _summed_laplacian(error)


def _pyramid(missing: Plane) -> Pyramid:
    """Masks of halved sides, down to two pixels; a coarse pixel is missing where all that it covers are."""
    masks = [missing]
    while max(masks[-1].shape) > 2:
        _, height, width = masks[-1].shape
        even = jnp.pad(masks[-1], ((0, 0), (0, height % 2), (0, width % 2)), constant_values=1)
        masks.append(jnp.min(even.reshape(1, (height + 1) // 2, 2, (width + 1) // 2, 2), axis=(2, 4)))
    return masks


def _summed_laplacian(planes: Planes) -> Planes:
    """`laplacian` by plain sums, which take fewer passes; its digits are enough to precondition."""
    rows, columns = _line_sums(planes)
    sums = _convolved(planes, _SUMS, padding=1)[:, 0]
    return (planes * (rows * columns) - sums) / 12


def _doubled(planes: Planes, size: tuple[int, int]) -> Float[Array, "channels _ _"]:
    """Bilinear interpolation to twice the sides, less a last row or column beyond `size`: half-pixel centres, ends
    clamped.
    """
    channels, height, width = planes.shape
    padded = jnp.pad(planes, ((0, 0), (1, 1), (1, 1)), mode="edge")
    phases = _convolved(padded, _PHASES).reshape(channels, 2, 2, height, width)
    doubled = phases.transpose(0, 3, 1, 4, 2).reshape(channels, 2 * height, 2 * width)
    return doubled[:, : size[0], : size[1]]


def _halved(planes: Planes) -> Float[Array, "channels _ _"]:
    """The transpose of `_doubled`."""
    _, height, width = planes.shape
    even = jnp.pad(planes, ((0, 0), (0, height % 2), (0, width % 2)))
    padded = jnp.pad(even, ((0, 0), (1, 1), (1, 1)), mode="edge")
    return _convolved(padded, _HALVES, stride=2)[:, 0]


def _convolved(
    planes: Planes, kernels: np.ndarray, *, stride: int = 1, padding: int = 0
) -> Float[Array, "channels kernels _ _"]:
    """Every plane with every kernel. XLA's CPU backend would compute what goes into a sum of slices once a slice."""
    return jax.lax.conv_general_dilated(
        planes[:, None],
        jnp.asarray(kernels[:, None], planes.dtype),
        (stride, stride),
        ((padding, padding), (padding, padding)),
        precision="highest",
    )
