"""ROAD: how much a score falls when the pixels of a map are removed, and removed means replaced by a guess from their
neighbours that shows neither the pixel nor the shape of the mask.

The guess is noisy linear imputation: every missing pixel is the weighted mean of its neighbours, 1/6 for one beside it
and 1/12 for one at a corner, missing neighbours included, plus a little noise. That is one sparse, symmetric, positive
definite system an image, here solved on the device without a matrix: conjugate gradients, preconditioned by a multigrid
V-cycle, which needs 6 to 15 iterations whatever the mask; all fractions of all images under `vmap` run in one loop.

References:
    Rong, Leemann, Borisov, Kasneci and Kasneci, "A Consistent and Efficient Evaluation Strategy for Attribution
    Methods", ICML 2022, Sec. 4.
    Briggs, Henson and McCormick, "A Multigrid Tutorial", 2000, Ch. 3.
"""

import enum
import functools
from collections.abc import Sequence
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Key, UInt32

from fame_jax._types import Attribution, Image, Output, Scalar
from fame_jax.metrics.deletion import Classifier
from fame_jax.metrics.masks import Method, Order, count, ranks
from fame_jax.network import traceable

Planes = Float[Array, "channels height width"]
"""An image with its channels first, so that neighbours in a row are neighbours in memory."""

Plane = Float[Array, "1 height width"]
"""1 at a missing pixel, 0 at a known one."""

Pyramid = list[Float[Array, "1 _ _"]]
"""Such planes of ever smaller sides."""

Fill = Literal["linear", "zero"]
"""What stands in for a removed pixel: noisy `linear` imputation, or `zero`, black before normalisation."""

Score = Literal["logit", "probability", "accuracy"]
"""What is read for a class: its `logit`, its softmax `probability`, or 1 if it is the predicted one (`accuracy`)."""

RandomKey = Key[Array, ""] | UInt32[Array, "2"]

PERCENTS = (0.1, 0.3, 0.5)
"""The shares of the pixels that the FAME paper removes (Tab. 1)."""

DECILES = tuple(tenth / 10 for tenth in range(1, 10))
"""10 %, 20 %, ..., 90 % of the pixels, over which the combined score is averaged."""


class Status(enum.IntEnum):
    """How an imputation ended."""

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
        status: a `Status` as an integer; `Status(int(status)).message` is it in words.
        iterations: conjugate gradient steps, `int32`.
        relative_residual: `|b - A u| / |b|`, computed anew from the solution u before the noise. Both sides are taken
            with the mean known colour as the origin, so that it does not depend on the brightness of the image.
    """

    imputed: Image
    status: Scalar
    iterations: Scalar
    relative_residual: Scalar


class Road(NamedTuple):
    """The result of `road_delete` and `road_insert`, for one image; arrays of one more axis under `vmap`.

    Attributes:
        fractions: shares of the pixels removed or shown, `[k]`.
        scores: score of the class at every share, `[k]`.
        drops: score of the clean image minus `scores`, `[k]`; positive where removal hurts.
        status: `Status` of every imputation, `[k]`.
        relative_residual: of every imputation, `[k]`.
    """

    fractions: Float[Array, " k"]
    scores: Float[Array, " k"]
    drops: Float[Array, " k"]
    status: Array
    relative_residual: Float[Array, " k"]


@jax.jit
def impute(
    image: Image,
    missing: Bool[Array, "height width"],
    key: RandomKey,
    *,
    noise: ArrayLike = 0.01,
    scale: ArrayLike = 1.0,
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

    Example:
        >>> keys = jax.random.split(jax.random.key(0), len(images))
        >>> result = jax.vmap(impute)(images, missing, keys)
    """
    known = ~missing[..., None]
    colour = jnp.where(jnp.any(known), _mean(image, known), _mean(image, jnp.ones_like(known)))
    start = jnp.where(known, image, colour).transpose(2, 0, 1)
    plane = missing[None].astype(image.dtype)
    right_side = -plane * laplacian(start)
    change, iterations, converged = _solved(right_side, plane, tolerance, max_iterations)

    solution = start + change
    size = jnp.linalg.norm(right_side)
    relative_residual = jnp.linalg.norm(plane * laplacian(solution)) / jnp.where(size > 0, size, 1)
    status = jnp.select(
        [~jnp.isfinite(relative_residual), ~jnp.any(known), ~converged],
        [Status.NOT_FINITE, Status.NOTHING_KNOWN, Status.NOT_CONVERGED],
        Status.OK,
    ).astype(jnp.int32)
    deviation = jnp.broadcast_to(jnp.asarray(noise * scale, image.dtype), image.shape)
    field = deviation * jax.random.normal(key, image.shape, image.dtype)
    imputed = jnp.where(known, image, solution.transpose(1, 2, 0) + field)
    return Imputation(imputed, status, iterations, relative_residual)


def road_delete(
    network: Classifier,
    image: Image,
    map: Attribution,
    label: ArrayLike,
    key: RandomKey,
    *,
    fractions_removed: Sequence[float] | ArrayLike = PERCENTS,
    order: Order = "most",
    fill: Fill = "linear",
    score: Score = "logit",
    method: Method = "rank",
    noise: ArrayLike = 0.01,
    scale: ArrayLike = 1.0,
    batch_size: int = 32,
) -> Road:
    """ROAD-Delete: the drop of a class's score as pixels are removed in the order of a map.

    Higher drops are better with the most relevant pixels first (MoRF), lower ones with the least (LeRF).

    Args:
        network: image to logits. A pytree is traced; a plain function is code and compiles anew when created anew.
        image: `[H, W, C]` in [0, 1].
        map: `[H, W]`.
        label: the class; traced. A number above the last class gives NaN.
        key: randomness of the noise, which is drawn anew for every share.
        fractions_removed: shares of the pixels removed, `[k]`, in [0, 1]; traced.
        order: `most` or `least` relevant first.
        fill: `linear` imputation, or `zero`, which needs no key but takes one.
        score: `logit`, `probability`, or `accuracy`, whose mean over images is the accuracy.
        method: `rank` or `percentile`, see `masks.selected`. Rong et al. break ties at random, `rank` row by row.
        noise: see `impute`.
        scale: see `impute`.
        batch_size: imputed images in one pass through the network; bounds memory.

    Returns:
        Scores, drops against the clean image, and how every imputation ended.

    Example:
        >>> keys = jax.random.split(jax.random.key(0), len(images))
        >>> result = jax.vmap(lambda *one: road_delete(network, *one))(images, maps, labels, keys)
        >>> result.drops.mean(axis=0)
    """
    fractions = jnp.asarray(fractions_removed, map.dtype)
    removed = _first(map, fractions, method, order)
    return _road(
        traceable(network), image, removed, fractions, label, key, noise, scale, fill, score, batch_size=batch_size
    )


def road_insert(
    network: Classifier,
    image: Image,
    map: Attribution,
    label: ArrayLike,
    key: RandomKey,
    *,
    fractions_inserted: Sequence[float] | ArrayLike = PERCENTS,
    order: Order = "most",
    fill: Fill = "linear",
    score: Score = "logit",
    method: Method = "rank",
    noise: ArrayLike = 0.01,
    scale: ArrayLike = 1.0,
    batch_size: int = 32,
) -> Road:
    """ROAD-Insert: the score of a class when only the pixels that a map ranks first are known. Higher is better.

    Args:
        network: see `road_delete`.
        image: `[H, W, C]` in [0, 1].
        map: `[H, W]`.
        label: the class; traced.
        key: randomness of the noise.
        fractions_inserted: shares of the pixels shown, `[k]`; all others are imputed from them. At 0 nothing is known
            and the image is one colour, see `impute`.
        order: `most` or `least` relevant first.
        fill: see `road_delete`.
        score: see `road_delete`.
        method: see `road_delete`.
        noise: see `impute`.
        scale: see `impute`.
        batch_size: see `road_delete`.

    Returns:
        Scores, drops against the clean image, and how every imputation ended.
    """
    fractions = jnp.asarray(fractions_inserted, map.dtype)
    removed = ~_first(map, fractions, method, order)
    return _road(
        traceable(network), image, removed, fractions, label, key, noise, scale, fill, score, batch_size=batch_size
    )


def road_combined(
    network: Classifier,
    image: Image,
    map: Attribution,
    label: ArrayLike,
    key: RandomKey,
    *,
    fractions_removed: Sequence[float] | ArrayLike = DECILES,
    fill: Fill = "linear",
    score: Score = "logit",
    method: Method = "rank",
    noise: ArrayLike = 0.01,
    scale: ArrayLike = 1.0,
    batch_size: int = 32,
) -> Scalar:
    """`(LeRF - MoRF) / 2`: half the distance between both orders of removal, averaged over shares. Higher is better.

    Args:
        network: see `road_delete`.
        image: `[H, W, C]` in [0, 1].
        map: `[H, W]`.
        label: the class; traced.
        key: randomness of the noise, the same for both orders, which takes its share of the variance away.
        fractions_removed: shares of the pixels removed, `[k]`.
        fill: see `road_delete`.
        score: see `road_delete`.
        method: see `road_delete`.
        noise: see `impute`.
        scale: see `impute`.
        batch_size: see `road_delete`.

    Returns:
        One number, in units of the score; 0 for a map that orders pixels no better than chance.
    """
    least, most = (
        road_delete(
            network,
            image,
            map,
            label,
            key,
            fractions_removed=fractions_removed,
            order=order,
            fill=fill,
            score=score,
            method=method,
            noise=noise,
            scale=scale,
            batch_size=batch_size,
        ).scores
        for order in ("least", "most")
    )
    return jnp.mean(least - most) / 2


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


def _solved(
    right_side: Planes, missing: Plane, tolerance: ArrayLike, max_iterations: ArrayLike
) -> tuple[Planes, Scalar, Scalar]:
    """`_conjugate_gradients`; under `vmap` on CPU one system after the other, which stays in the cache."""
    solve = _conjugate_gradients
    if jax.default_backend() == "cpu":
        solve = jax.custom_batching.sequential_vmap(solve)
    return solve(right_side, missing, jnp.asarray(tolerance, right_side.dtype), jnp.asarray(max_iterations))


def _conjugate_gradients(
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
    columns = _interpolation(missing.shape[2], residual.dtype)
    left = residual - missing * _summed_laplacian(residual)
    left = coarser[0] * _halved_rows(jnp.matmul(left, columns, precision="highest"))
    error = _doubled_rows(_v_cycle(left, coarser), missing.shape[1])
    error = residual + missing * jnp.matmul(error, columns.T, precision="highest")
    return error + residual - missing * _summed_laplacian(error)


def _summed_laplacian(planes: Planes) -> Planes:
    """`laplacian` by plain sums, which compile to fewer passes; its digits are enough to precondition."""
    rows, columns = _line_sums(planes)
    padded = jnp.pad(planes, ((0, 0), (1, 1), (1, 1)))
    sums = padded[:, :-2] + 2 * padded[:, 1:-1] + padded[:, 2:]
    sums = sums[:, :, :-2] + 2 * sums[:, :, 1:-1] + sums[:, :, 2:]
    return (planes * (rows * columns) - sums) / 12


def _pyramid(missing: Plane) -> Pyramid:
    """Masks of halved sides, down to two pixels; a coarse pixel is missing where all that it covers are."""
    masks = [missing]
    while max(masks[-1].shape) > 2:
        _, height, width = masks[-1].shape
        even = jnp.pad(masks[-1], ((0, 0), (0, height % 2), (0, width % 2)), constant_values=1)
        masks.append(jnp.min(even.reshape(1, (height + 1) // 2, 2, (width + 1) // 2, 2), axis=(2, 4)))
    return masks


def _interpolation(size: int, dtype: np.dtype) -> np.ndarray:
    """`[size, ceil(size / 2)]`: bilinear, half-pixel centres, ends clamped; its transpose is the restriction.

    A product with it is the fast way along rows of pixels, and `_doubled_rows` the fast way across them.
    """
    coarse = (size + 1) // 2
    centre = np.clip((np.arange(size) + 0.5) / 2 - 0.5, 0, coarse - 1)
    return np.maximum(0, 1 - np.abs(centre[:, None] - np.arange(coarse))).astype(dtype)


def _doubled_rows(planes: Planes, size: int) -> Float[Array, "channels {size} width"]:
    """`_interpolation(size)` times every plane."""
    padded = jnp.pad(planes, ((0, 0), (1, 1), (0, 0)), mode="edge")
    pairs = jnp.stack([3 * planes + padded[:, :-2], 3 * planes + padded[:, 2:]], axis=2) / 4
    return pairs.reshape(planes.shape[0], -1, planes.shape[2])[:, :size]


def _halved_rows(planes: Planes) -> Float[Array, "channels (height+1)//2 width"]:
    """The transpose of `_interpolation(size)` times every plane."""
    even = jnp.pad(planes, ((0, 0), (0, planes.shape[1] % 2), (0, 0)))
    padded = jnp.pad(even, ((0, 0), (1, 1), (0, 0)), mode="edge")
    return (3 * (even[:, ::2] + even[:, 1::2]) + padded[:, :-2:2] + padded[:, 3::2]) / 4


def _mean(image: Image, counted: Bool[Array, "height width 1"]) -> Float[Array, "1 1 channels"]:
    total = jnp.sum(jnp.where(counted, image, 0), axis=(0, 1), keepdims=True)
    return total / jnp.maximum(jnp.sum(counted), 1)


def _first(
    map: Attribution, fractions: Float[Array, " k"], method: Method, order: Order
) -> Bool[Array, "k height width"]:
    """The pixels that come first, for every share."""
    places = ranks(map, method=method, order=order)
    return jax.vmap(lambda reach: places < reach)(count(fractions, map.size, method=method))


@functools.partial(jax.jit, static_argnames=("fill", "score", "batch_size"))
def _road(
    network: Classifier,
    image: Image,
    removed: Bool[Array, "k height width"],
    fractions: Float[Array, " k"],
    label: ArrayLike,
    key: RandomKey,
    noise: ArrayLike,
    scale: ArrayLike,
    fill: Fill,
    score: Score,
    *,
    batch_size: int,
) -> Road:
    """Fills in every mask, and scores the results and the clean image."""
    if fill == "linear":

        def imputation(removed: Bool[Array, "height width"], key: RandomKey) -> Imputation:
            return impute(image, removed, key, noise=noise, scale=scale)

        filled = jax.vmap(imputation)(removed, jax.random.split(key, len(removed)))
    elif fill == "zero":
        done = jnp.full(len(removed), Status.OK, jnp.int32)
        black = jax.vmap(lambda removed: jnp.where(removed[..., None], 0, image))(removed)
        filled = Imputation(black, done, done, done.astype(image.dtype))
    else:
        raise ValueError(f"road: fill={fill!r}; expected 'linear' or 'zero'.")

    def value(image: Image) -> Scalar:
        return _score(network(image), label, score)

    scores = jax.lax.map(value, filled.imputed, batch_size=min(batch_size, len(removed)))
    return Road(fractions, scores, value(image) - scores, filled.status, filled.relative_residual)


def _score(logits: Output, label: ArrayLike, score: Score) -> Scalar:
    if score == "accuracy":
        return (jnp.argmax(logits) == label).astype(logits.dtype)
    if score not in ("logit", "probability"):
        raise ValueError(f"road: score={score!r}; expected 'logit', 'probability' or 'accuracy'.")
    values = jax.nn.softmax(logits) if score == "probability" else logits
    return values.at[label].get(mode="fill", fill_value=jnp.nan)
