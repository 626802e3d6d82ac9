"""Noisy linear imputation: what ROAD puts in place of removed pixels; it shows neither them nor the shape of the mask.

Every missing pixel is the weighted mean of its neighbours, 1/6 for one beside it and 1/12 for one at a corner, missing
neighbours included, plus a little noise: one sparse, symmetric, positive definite system an image, see `multigrid`.

References:
    Rong, Leemann, Borisov, Kasneci and Kasneci, "A Consistent and Efficient Evaluation Strategy for Attribution
    Methods", ICML 2022, Sec. 4.
"""

import enum
import os
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Key, UInt32

from fame_jax._types import Image, PerChannel, Scalar
from fame_jax.metrics.multigrid import Planes, laplacian, solved
from fame_jax.options import OptionError

RandomKey = Key[Array, ""] | UInt32[Array, "2"]


class ImputationStatus(enum.IntEnum):
    """How an imputation ended; the numbers are kept in scored rows."""

    OK = 0
    NOT_CONVERGED = 1
    NOTHING_KNOWN = 2
    NOT_FINITE = 3

    @property
    def message(self) -> str:
        """The status in words."""
        return self.name.lower().replace("_", " ")


class Imputation(NamedTuple):
    """The result of `impute`, for one image; arrays of one more axis under `vmap`.

    Attributes:
        imputed: `[H, W, C]`; known pixels are the image's own, the others may leave its range by the noise.
        status: a `ImputationStatus` as an integer; `ImputationStatus(int(status)).message` is it in words.
        iterations: conjugate gradient steps, `int32`.
        relative_residual: `|b - A u| / |b|`, computed anew from the solution u before the noise. Both sides are taken
            with the mean known colour as the origin, so that it does not depend on the brightness of the image.
    """

    imputed: Image
    status: Scalar
    iterations: Scalar
    relative_residual: Scalar


@jax.jit
def impute(
    image: Image,
    missing: Bool[Array, "height width"],
    key: RandomKey,
    *,
    noise: ArrayLike = 0.01,
    scale: PerChannel = 1.0,
    tolerance: ArrayLike = 3e-6,
    max_iterations: ArrayLike = 100,
) -> Imputation:
    """Noisy linear imputation of the missing pixels of one image; `vmap` it for many.

    As soon as one pixel is known the solution is unique: pixels with their eight neighbours form a connected grid, so
    every group of missing pixels touches a known one. With no known pixel at all, every pixel becomes the mean colour
    of the image plus noise, and the status says `nothing known`.

    The weights of an equation sum to one, so imputation commutes with any normalisation by mean and standard deviation:
    the space in which it is done only decides the units of the noise, hence `scale`.

    Args:
        image: `[H, W, C]` in [0, 1].
        missing: `[H, W]`, True at pixels to be replaced, whose values are never read while there is a known one.
        key: randomness of the noise.
        noise: standard deviation of the noise added to imputed values, in units of `scale`. Nothing is clamped.
        scale: one number or one a channel. 1 is the pixel space of Rong et al.; the standard deviation of the network's
            normalisation gives the normalised space of the `grad-cam` package.
        tolerance: largest error of an imputed value before the last step, in units of the image, as the preconditioner
            estimates it. The default stays within 1e-5 of a sparse direct solver for anything from 1 % to 99 % missing.
        max_iterations: conjugate gradient steps after which the status is `not converged`.

    Returns:
        Imputed image, status, iterations, relative residual.

    Raises:
        OptionError: for `missing` of numbers, of which nobody knows from which on a pixel is missing.

    Example:
        >>> keys = jax.random.split(jax.random.key(0), len(images))
        >>> result = jax.vmap(impute)(images, missing, keys)
    """
    if jnp.asarray(missing).dtype != bool:
        raise OptionError(f"impute: missing is {jnp.asarray(missing).dtype}; expected booleans, such as mask > 0.")
    planes = image.transpose(2, 0, 1)
    one = (planes, missing, jnp.asarray(tolerance, image.dtype), jnp.asarray(max_iterations))
    solution, *outcome = (result[0] for result in _solutions(*(value[None] for value in one)))
    # Drawn as a matrix: a cube of the same random bits takes three times as long on CPU.
    field = jax.random.normal(key, (image.shape[0], image[0].size), image.dtype).reshape(image.shape)
    strength = jnp.broadcast_to(noise * jnp.asarray(scale, image.dtype), image.shape)
    noisy = solution.transpose(1, 2, 0) + strength * field
    return Imputation(jnp.where(missing[..., None], noisy, image), *outcome)


@jax.custom_batching.custom_vmap
def _solutions(*batch: Array) -> tuple[Array, ...]:
    """`_solution` of a batch; on CPU at most one a core at a time, so that they stay in the cache."""
    size, cores = len(batch[0]), os.cpu_count() or 1
    at_a_time = max(n for n in range(1, cores + 1) if size % n == 0)

    def few(*batch: Array) -> tuple[Array, ...]:
        return jax.lax.map(lambda one: _solution(*one), batch, batch_size=at_a_time)

    return jax.lax.platform_dependent(*batch, cpu=few, default=jax.vmap(_solution))


@_solutions.def_vmap
def _batches_are_one(size: int, batched: Sequence[bool], *batches: Array) -> tuple[tuple[Array, ...], tuple[bool, ...]]:
    """A batch of batches is one batch, whose members again are solved a few at a time."""
    full = (
        a if is_batched else jnp.broadcast_to(a, (size, *a.shape))
        for a, is_batched in zip(batches, batched, strict=True)
    )
    results = _solutions(*(a.reshape(-1, *a.shape[2:]) for a in full))
    return tuple(a.reshape(size, -1, *a.shape[1:]) for a in results), (True,) * len(results)


def _solution(
    planes: Planes, missing: Bool[Array, "height width"], tolerance: Scalar, max_iterations: Scalar
) -> tuple[Planes, Scalar, Scalar, Scalar]:
    """The planes before the noise, and status, iterations and relative residual of `Imputation`."""
    nothing_known = jnp.all(missing)
    colour = _mean(planes, ~missing | nothing_known)
    start = jnp.where(missing, colour, planes)
    plane = missing[None].astype(planes.dtype)
    right_side = -plane * laplacian(start)
    change, iterations, converged = solved(right_side, plane, tolerance, max_iterations)

    size = jnp.linalg.norm(right_side)
    relative_residual = jnp.linalg.norm(right_side - plane * laplacian(change)) / jnp.where(size > 0, size, 1)
    status = jnp.select(
        [~jnp.isfinite(relative_residual), nothing_known, ~converged],
        [ImputationStatus.NOT_FINITE, ImputationStatus.NOTHING_KNOWN, ImputationStatus.NOT_CONVERGED],
        ImputationStatus.OK,
    )
    return start + change, status.astype(jnp.int32), iterations, relative_residual


def _mean(planes: Planes, counted: Bool[Array, "height width"]) -> Float[Array, "channels 1 1"]:
    total = jnp.sum(jnp.where(counted, planes, 0), axis=(1, 2), keepdims=True)
    return total / jnp.sum(counted, dtype=planes.dtype)
