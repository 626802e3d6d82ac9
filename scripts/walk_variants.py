"""Variants of the walk: what could do with fewer steps, or be less sensitive to rounding.

Each is a function of loss, image and arguments of the loss to maps, named by the number of gradients they take. To try
another, add a row to `VARIANTS`.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import Array

from fame_jax.core import attribution, explain
from fame_jax.image import gaussian_blur, grey, max_normalise
from fame_jax.walk import Loss, advance, begin, evaluation, lots, perturb, rules_from

GREY_LEVEL = 1 / 255
SHORT = (10, 25)
LONG = (5, 10, 25, 50, 100, 200, 500)
EVERY = 5

Maps = dict[str, Array]
Variant = Callable[..., Maps]


def map_of(change: Array) -> Array:
    """Eq. (4) of an absolute change."""
    return max_normalise(gaussian_blur(grey(jnp.abs(change))))


def walk(loss: Loss, image: Array, *args: Any, at=SHORT, averages=(), optimizer=lots, step_size=GREY_LEVEL) -> Maps:
    """One walk, looked at after some numbers of steps, multiples of 5.

    `averages` are the numbers of steps for which two more maps are made: of the mean of all images on the path
    (`mean image`), and of the mean of all absolute changes on it (`mean change`).
    """
    rules, evaluate = rules_from(iterations=at[-1], step_size=step_size), evaluation(loss, image, args)

    def step(_: Any, carry: Any) -> Any:
        walk, change, size = carry
        walk = advance(evaluate, optimizer, rules, walk, 1)
        moved = walk.result.perturbed - image
        return walk, change + moved, size + jnp.abs(moved)

    def look(carry: Any, _: Any) -> Any:
        carry = jax.lax.fori_loop(0, EVERY, step, carry)
        last = map_of(carry[0].result.perturbed - image)
        return carry, (last, map_of(carry[1]), map_of(carry[2])) if averages else (last,)

    start = begin(optimizer, image, rules), jnp.zeros_like(image), jnp.zeros_like(image)
    kinds = jax.lax.scan(look, start, length=at[-1] // EVERY)[1]
    maps = {str(steps): kinds[0][steps // EVERY - 1] for steps in at}
    for kind, name in zip(kinds[1:], ("mean image", "mean change"), strict=False):
        maps |= {f"{steps}, {name}": kind[steps // EVERY - 1] for steps in averages}
    if averages:
        # What the stopping rule sees, every 5 steps; half precision is ample for it.
        maps["trace"] = kinds[0].astype(jnp.float16)
    return maps


def smaller_last_steps(loss: Loss, image: Array, *args: Any) -> Maps:
    """Steps that shrink linearly from two grey levels to nothing."""
    shrinking = optax.scale_by_schedule(optax.linear_schedule(2.0, 0.0, 25))
    result = perturb(loss, image, *args, optimizer=optax.chain(lots(GREY_LEVEL), shrinking), iterations=25)
    return {"25": attribution(image, result.perturbed)}


def jittered_starts(loss: Loss, image: Array, *args: Any, noise: float = 0.05) -> Maps:
    """The mean absolute change of several walks that start a little beside the image."""
    # Drawn in float32 whatever the precision, so that all precisions start from the same images.
    jitter = noise * jax.random.normal(jax.random.key(0), (5, *image.shape), jnp.float32)
    begun = image[None] + jitter.astype(image.dtype)
    ended = jax.lax.map(lambda start: perturb(loss, start, *args, iterations=5).perturbed, begun)
    return {"25, 5 starts": map_of(jnp.mean(jnp.abs(ended - begun), axis=0))}


def coarse_to_fine(loss: Loss, image: Array, *args: Any) -> Maps:
    """Half of the steps on the image at half its size, where a step costs a quarter, the rest on the whole image."""
    height, width, channels = image.shape
    half = image.reshape(height // 2, 2, width // 2, 2, channels).mean(axis=(1, 3))
    coarse = perturb(loss, half, *args, iterations=13).perturbed - half
    start = image + jnp.repeat(jnp.repeat(coarse, 2, axis=0), 2, axis=1)
    return {"25": attribution(image, perturb(loss, start, *args, iterations=12).perturbed)}


def smooth(step_size: Any) -> optax.GradientTransformation:
    """LOTS steps along the gradient blurred by 13 taps, 2.3 pixels."""
    blur = jax.vmap(functools.partial(gaussian_blur, kernel_size=13), 2, 2)
    return optax.chain(optax.stateless(lambda gradient, _: jax.tree.map(blur, gradient)), lots(step_size))


def with_momentum(step_size: Any) -> optax.GradientTransformation:
    """LOTS steps of which a tenth is new and nine tenths are the last step's."""
    return optax.chain(lots(step_size), optax.trace(decay=0.9))


VARIANTS: Mapping[str, Variant] = {
    "plain": functools.partial(walk, at=LONG, averages=(100, 500)),
    "gradient": lambda loss, image, *args: {"1": explain(loss, image, *args, iterations=1).attribution},
    "plain to 25": functools.partial(walk, at=(10, 25)),
    "steps of 2 grey levels": functools.partial(walk, step_size=2 * GREY_LEVEL),
    "steps of 4 grey levels": functools.partial(walk, step_size=4 * GREY_LEVEL),
    "steps of 8 grey levels": functools.partial(walk, step_size=8 * GREY_LEVEL),
    "momentum": functools.partial(walk, optimizer=with_momentum),
    "Adam": functools.partial(walk, optimizer=optax.adam),
    "sign": functools.partial(walk, optimizer=optax.sign_sgd),
    "blurred gradient": functools.partial(walk, optimizer=smooth),
    "smaller last steps": smaller_last_steps,
    "jittered starts": jittered_starts,
    "coarse to fine": coarse_to_fine,
}
