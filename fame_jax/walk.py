"""The walk: Eq. (3) as an optax transformation, and the only loop.

Code is static, data is traced: `loss` and `optimizer` are part of the compiled program, everything else is an argument
of it. A new label, reference, weight, step count or step size compiles nothing. A loss or optimizer *created anew* (a
lambda or a closure in a loop) is new code and compiles again: define it once.

References:
    Zhang and Günther, "Feature Activation Map Explanation on Image Classification and Face Recognition", Sec. 3.3.
    Rozsa, Günther and Boult, "LOTS about Attacking Deep Features", 2017.
"""

import enum
import functools
import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from fame_jax._types import Attribution, Image, PerChannel, Scalar
from fame_jax.hoist import hoisted
from fame_jax.image import gaussian_blur, grey, max_normalise
from fame_jax.network import arguments, code_and_arguments
from fame_jax.options import OptionError, check_image, check_options
from fame_jax.varying import varying_as

Loss = Callable[..., Scalar]
Evaluation = Callable[[Image], tuple[Scalar, Image]]
"""Loss and gradient at an image, with all other arguments of the loss fixed."""

Optimizer = Callable[[Any], optax.GradientTransformation] | optax.GradientTransformation


class Status(enum.IntEnum):
    """How a map came about. Anything but OK says why it may be blank, incomplete or missing."""

    NO_MAP = -1
    OK = 0
    ZERO_GRADIENT = 1
    NOT_FINITE = 2
    STOPPED_BEFORE_FIRST_STEP = 3
    STEP_WITHOUT_EFFECT = 4
    BLANK = 100
    CONSTANT_SCORE = 101

    @property
    def message(self) -> str:
        """The status in words."""
        return _MESSAGES[self]


_MESSAGES = {
    Status.NO_MAP: "the method has no such map",
    Status.OK: "ok",
    Status.ZERO_GRADIENT: "zero gradient",
    Status.NOT_FINITE: "not finite",
    Status.STOPPED_BEFORE_FIRST_STEP: "stopped before the first step",
    Status.STEP_WITHOUT_EFFECT: "step without effect",
    Status.BLANK: "blank map",
    Status.CONSTANT_SCORE: "the score did not vary",
}


class Perturbation(NamedTuple):
    """The result of `perturb`, for one image; arrays of one more axis under `vmap`.

    Attributes:
        perturbed: the last image, `[H, W, C]`; it may leave [0, 1] unless `clip` was given.
        steps: number of steps taken, `int32`.
        first_loss: loss of the image.
        last_loss: loss of `perturbed`.
        status: a `Status` as an integer; `Status(int(status)).message` is the reason in words.
    """

    perturbed: Image
    steps: Scalar
    first_loss: Scalar
    last_loss: Scalar
    status: Scalar


class Rules(NamedTuple):
    """The traced options of `perturb`, by the same names; `rules_from` fills in the defaults."""

    iterations: ArrayLike
    step_size: ArrayLike
    scale: PerChannel
    clip: tuple[ArrayLike, ArrayLike] | None
    stop_loss: ArrayLike | None
    stop_change: ArrayLike | None
    window: ArrayLike


class Walk(NamedTuple):
    """A walk under way: what it has come to, and what the next step needs.

    Attributes:
        result: as if the walk ended here.
        moving: False once it has ended.
        optimizer_state: the optax transformation's own state.
        ending: True once `stop_change` is satisfied: the next evaluation measures the last image, and no step follows.
        earlier: the change at the last comparison for `stop_change`, `[H, W]` with sum one; None without that option.
    """

    result: Perturbation
    moving: Scalar
    optimizer_state: Any
    ending: Scalar
    earlier: Attribution | None


def lots(step_size: ArrayLike) -> optax.GradientTransformation:
    """A LOTS step: the gradient divided by its largest magnitude, times the step size (Eq. 3).

    Args:
        step_size: the largest change of any pixel in one step; 1/255 is one grey level.

    Returns:
        An optax transformation; a zero gradient gives a step of exactly zero.
    """

    def step(gradient: Any, _: Any) -> jax.Array:
        return -jnp.asarray(step_size, gradient.dtype) * max_normalise(gradient)

    return optax.stateless_with_tree_map(step)


def perturb(
    loss: Loss,
    image: Image,
    *args: Any,
    optimizer: Optimizer = lots,
    iterations: ArrayLike = 500,
    step_size: ArrayLike = 1 / 255,
    scale: PerChannel = 1.0,
    clip: tuple[ArrayLike, ArrayLike] | None = None,
    stop_loss: ArrayLike | None = None,
    stop_change: ArrayLike | None = None,
    window: ArrayLike = 25,
) -> Perturbation:
    """Walks one image downhill on a loss (Eq. 3); `vmap` it for many.

    Args:
        loss: `loss(image, *args) -> scalar`, static but for the arrays of a module, a method of one or a `Partial`.
            See `fame_jax.losses`.
        image: `[H, W, C]` in [0, 1]; its dtype is that of the walk.
        *args: traced arguments of the loss: the network, a label, a location, a reference embedding. A plain function
            among them is code, hence static.
        optimizer: makes an optax transformation from the step size (`lots`, `optax.adam`, ...), static; or a
            ready-made transformation, which then has its own step size and compiles anew for each instance.
        iterations: largest number of steps.
        step_size: step size of `optimizer`, in units of `scale`.
        scale: units of the space in which steps are taken, one number or one a channel. 1 is pixel space; the standard
            deviation of the network's normalisation gives the normalised space.
        clip: lowest and highest pixel value, applied after every step; None for no clipping.
        stop_loss: stop as soon as the loss is below this, tested before every step.
        stop_change: stop once less than this share of the map's mass, in [0, 1], has moved during the last `window`
            steps (total variation distance of the blurred grey change, each summing to one).
        window: number of steps between two comparisons for `stop_change`.

    Returns:
        Perturbed image, steps taken, first and last loss, status.

    Raises:
        OptionError: for an option whose value cannot be meant, or an image of whole numbers, before anything is traced;
            for a loss that is not one number.
        NetworkError: for a network in training mode.

    Example:
        >>> result = perturb(class_logit, image, network, 285)
        >>> float(result.first_loss), float(result.last_loss), Status(int(result.status)).message
    """
    check_image(image)
    rules = rules_from(
        iterations=iterations,
        step_size=step_size,
        scale=scale,
        clip=clip,
        stop_loss=stop_loss,
        stop_change=stop_change,
        window=window,
    )
    loss, args = code_and_arguments(loss, args)
    return _perturb(loss, optimizer, image, args, rules)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _perturb(loss: Loss, optimizer: Optimizer, image: Image, args: tuple[Any, ...], rules: Rules) -> Perturbation:
    image = varying_as(image, args, rules)
    walk, evaluate = begin(optimizer, image, rules), evaluation(loss, image, args)
    if rules.stop_change is None:
        # One evaluation more than steps: the last one measures the loss of the final image.
        return advance(evaluate, optimizer, rules, walk, jnp.maximum(jnp.asarray(rules.iterations), 0) + 1).result

    def one_window(walk: Walk) -> Walk:
        return compare(image, rules, advance(evaluate, optimizer, rules, walk, rules.window))

    return jax.lax.while_loop(lambda walk: walk.moving, one_window, walk).result


def begin(optimizer: Optimizer, image: Image, rules: Rules) -> Walk:
    """The walk before its first step.

    Raises:
        OptionError: for a scale of another number of channels.
    """
    shape = jnp.asarray(rules.scale).shape
    if shape not in ((), (1,), image.shape[-1:]):
        raise OptionError(f"scale is of shape {list(shape)}; expected one number, or {image.shape[-1]} of channels.")
    zero = jnp.zeros((), image.dtype)
    result = Perturbation(image, jnp.int32(0), zero, zero, jnp.int32(Status.OK))
    earlier = None if rules.stop_change is None else jnp.zeros(image.shape[:2], image.dtype)
    state = _transformation(optimizer, rules).init(image)
    return varying_as(Walk(result, jnp.bool_(True), state, jnp.bool_(False), earlier), image)


def evaluation(loss: Loss, image: Image, args: tuple[Any, ...]) -> Evaluation:
    """Loss and gradient at images like this one; call it before a loop, so that what `args` decide is done once."""

    def one_number(image: Image, *args: Any) -> Scalar:
        value = loss(image, *args)
        if jnp.shape(value) or not jnp.issubdtype(jnp.result_type(value), jnp.floating):
            raise OptionError(
                f"the loss returned {jnp.result_type(value)}{list(jnp.shape(value))}; expected one floating-point "
                "number: pick one, as in lambda image, network, label: network(image)[label]."
            )
        return value

    return hoisted(jax.value_and_grad(one_number), image, *arguments(args))


def advance(evaluate: Evaluation, optimizer: Optimizer, rules: Rules, walk: Walk, count: ArrayLike) -> Walk:
    """Up to `count` more evaluations of the loss, each followed by a step unless the walk ends there."""

    def unfinished(carry: tuple[Scalar, Walk]) -> Scalar:
        return (carry[0] < count) & carry[1].moving

    def next_step(carry: tuple[Scalar, Walk]) -> tuple[Scalar, Walk]:
        return carry[0] + 1, step(evaluate, optimizer, rules, carry[1])

    return jax.lax.while_loop(unfinished, next_step, varying_as((jnp.int32(0), walk), walk))[1]


def compare(image: Image, rules: Rules, walk: Walk) -> Walk:
    """Lets the walk end, at the next evaluation, if its map has hardly changed since the last comparison.

    `stop_change` must be given. The first comparison has nothing to compare with.
    """
    assert walk.earlier is not None
    assert rules.stop_change is not None
    change = grey(jnp.abs(walk.result.perturbed - image))
    change = gaussian_blur(change, min(49, 2 * min(change.shape) - 1))
    total = jnp.sum(change)
    change = change / jnp.where(total > 0, total, 1)
    moved = jnp.where(jnp.any(walk.earlier != 0), jnp.sum(jnp.abs(change - walk.earlier)) / 2, jnp.inf)
    return walk._replace(ending=moved < rules.stop_change, earlier=change)


def step(evaluate: Evaluation, optimizer: Optimizer, rules: Rules, walk: Walk) -> Walk:
    """Evaluates loss and gradient of the image, decides whether the walk ends here, and if not takes one step."""
    here, steps = walk.result.perturbed, walk.result.steps
    value, gradient = evaluate(here)
    value, scale = value.astype(here.dtype), jnp.broadcast_to(jnp.asarray(rules.scale, here.dtype), here.shape)
    updates, state = _transformation(optimizer, rules).update(scale * gradient, walk.optimizer_state, here)
    there = here + scale * jnp.asarray(updates)
    if rules.clip is not None:
        low, high = rules.clip
        there = jnp.clip(there, jnp.asarray(low, here.dtype), jnp.asarray(high, here.dtype))

    stop = (steps >= rules.iterations) | walk.ending
    if rules.stop_loss is not None:
        stop |= value < rules.stop_loss
    stuck = jnp.all(there == here)
    # The image as well: XLA's ReLU on CPU takes a pixel that is no number for 0.
    finite = jnp.isfinite(value) & jnp.all(jnp.isfinite(gradient)) & jnp.all(jnp.isfinite(here))
    # No `jnp.select`, which under `vmap` refuses arrays that are sharded explicitly.
    status = jnp.where(jnp.all(gradient == 0), Status.ZERO_GRADIENT, Status.STEP_WITHOUT_EFFECT)
    status = jnp.where(stop | ~stuck, Status.OK, status)
    status = jnp.where(stop & (steps == 0), Status.STOPPED_BEFORE_FIRST_STEP, status)
    status = jnp.where(finite, status, Status.NOT_FINITE).astype(jnp.int32)
    moving = (status == Status.OK) & ~stop
    result = Perturbation(
        perturbed=jnp.where(moving, there, here),
        steps=steps + moving.astype(steps.dtype),
        first_loss=jnp.where(steps == 0, value, walk.result.first_loss),
        last_loss=value,
        status=status,
    )
    return walk._replace(result=result, moving=moving, optimizer_state=state)


def _transformation(optimizer: Optimizer, rules: Rules) -> optax.GradientTransformation:
    return optimizer if isinstance(optimizer, optax.GradientTransformation) else optimizer(rules.step_size)


def rules_from(**options: Any) -> Rules:
    """Rules with the defaults of `perturb` for what is not given.

    Raises:
        OptionError: for a value that cannot be meant.
        TypeError: for an option that `perturb` does not have.
    """
    check_options(**options)
    return Rules(**{name: options.pop(name, _DEFAULTS[name]) for name in Rules._fields}, **options)


_DEFAULTS = {name: p.default for name, p in inspect.signature(perturb).parameters.items()}
