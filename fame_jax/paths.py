"""What is taken from the whole path of a walk, not from its last image: the mean image, and shares of the loss."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from fame_jax._types import Image
from fame_jax.network import code_and_arguments
from fame_jax.options import check_image
from fame_jax.varying import varying_as
from fame_jax.walk import Loss, Optimizer, Perturbation, Rules, Status, Walk, begin, evaluation, lots, rules_from, step


def path_average(loss: Loss, image: Image, *args: Any, optimizer: Optimizer = lots, **options: Any) -> Perturbation:
    """`perturb` with the mean of all images on the path in place of the last one.

    A mean is less sensitive to rounding than where the walk happens to end: `docs/measured.md` has the figures.

    Args:
        loss: see `perturb`.
        image: `[H, W, C]` in [0, 1].
        *args: see `perturb`.
        optimizer: see `perturb`.
        **options: the other named arguments of `perturb`, but for `stop_change` and `window`.

    Returns:
        `perturbed` is the mean of the images after each step, the first one left out, and `last_loss` the loss of that;
        all else is as `perturb` has it.

    Raises:
        OptionError: see `perturb`.
        TypeError: for an option that `perturb` does not have, or the two that would compare maps of single images.
    """
    _refuse_comparisons("path_average", options)
    check_image(image)
    loss, args = code_and_arguments(loss, args)
    total, walk = _summed(_so_far, loss, optimizer, image, args, rules_from(**options))
    mean = image + total / jnp.maximum(walk.steps, 1).astype(image.dtype)
    last_loss = jax.jit(loss)(mean, *args).astype(image.dtype)
    status = jnp.where(jnp.isfinite(last_loss), walk.status, Status.NOT_FINITE).astype(jnp.int32)
    return walk._replace(perturbed=mean, last_loss=last_loss, status=status)


def path_sums(
    loss: Loss, image: Image, *args: Any, optimizer: Optimizer = lots, **options: Any
) -> tuple[Image, Perturbation]:
    """The change of the loss along a walk, shared among the pixels: `sum_t g_t * (x_{t+1} - x_t)`, and the walk itself.

    Args:
        loss: see `perturb`.
        image: `[H, W, C]` in [0, 1].
        *args: see `perturb`.
        optimizer: see `perturb`.
        **options: the other named arguments of `perturb`, but for `stop_change` and `window`.

    Returns:
        The shares `[H, W, C]`, in units of the loss, which add up to `last_loss - first_loss` as steps become small;
        and what `perturb` returns.

    Raises:
        OptionError: see `perturb`.
        TypeError: for an option that `perturb` does not have, or the two that would compare maps of single images.

    References:
        Zhu et al., "MFABA: A More Faithful and Accelerated Boundary-Based Attribution Method", AAAI 2024.
    """
    _refuse_comparisons("path_sums", options)
    check_image(image)
    loss, args = code_and_arguments(loss, args)
    return _summed(_share, loss, optimizer, image, args, rules_from(**options))


def _refuse_comparisons(what: str, options: Mapping[str, Any]) -> None:
    if unable := {"stop_change", "window"} & options.keys():
        raise TypeError(f"{what}: {min(unable)} is not possible with a sum over steps; give iterations or stop_loss.")


def _so_far(image: Image, gradient: Image, here: Image, there: Image) -> Image:
    return there - image


def _share(image: Image, gradient: Image, here: Image, there: Image) -> Image:
    return gradient * (there - here)


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _summed(
    term: Callable[..., Image], loss: Loss, optimizer: Optimizer, image: Image, args: tuple[Any, ...], rules: Rules
) -> tuple[Image, Perturbation]:
    """A walk, and the sum of a term over its steps."""
    image = varying_as(image, args, rules)
    evaluate = evaluation(loss, image, args)

    def next_step(carry: tuple[Image, Walk]) -> tuple[Image, Walk]:
        total, walk = carry
        here = walk.result.perturbed
        value, gradient = evaluate(here)
        walk = step(lambda _: (value, gradient), optimizer, rules, walk)
        # The evaluation that ends a walk takes no step.
        return total + jnp.where(walk.moving, term(image, gradient, here, walk.result.perturbed), 0), walk

    start = varying_as(jnp.zeros_like(image), image), begin(optimizer, image, rules)
    total, walk = jax.lax.while_loop(lambda carry: carry[1].moving, next_step, start)
    return total, walk.result
