"""Variants of FAME of a class: fewer steps, other optimizers, other starts. To try another, add a row to `VARIANTS`."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

from fame_jax.core import Explanation, after_walk, attribution, explain
from fame_jax.explainers.explainer import Explainer
from fame_jax.image import gaussian_blur
from fame_jax.losses import class_logit
from fame_jax.presets import AUTO_STOP
from fame_jax.walk import lots, perturb


def with_momentum(step_size: Any) -> optax.GradientTransformation:
    """LOTS steps of which a tenth is new and nine tenths are the last step's."""
    return optax.chain(lots(step_size), optax.trace(decay=0.9))


def smooth(step_size: Any) -> optax.GradientTransformation:
    """LOTS steps along the gradient blurred by 13 taps, 2.3 pixels."""
    blur = jax.vmap(functools.partial(gaussian_blur, kernel_size=13), 2, 2)
    return optax.chain(optax.stateless(lambda gradient, _: jax.tree.map(blur, gradient)), lots(step_size))


def smaller_last_steps(step_size: Any) -> optax.GradientTransformation:
    """Steps that shrink linearly from two to nothing in 25."""
    return optax.chain(lots(step_size), optax.scale_by_schedule(optax.linear_schedule(2.0, 0.0, 25)))


def stepping(optimizer: Callable[..., Any]) -> Callable[..., Explanation]:
    """FAME with another optimizer."""

    def method(network: Any, image: Any, label: Any, *, iterations: int = 25) -> Explanation:
        return explain(class_logit, image, network, label, optimizer=optimizer, iterations=iterations)

    return method


def jittered_starts(network: Any, image: Any, label: Any, *, noise: float = 0.05) -> Any:
    """The mean absolute change of five walks of five steps that start a little beside the image."""
    # Drawn in float32 whatever the precision, so that all precisions start from the same images.
    jitter = noise * jax.random.normal(jax.random.key(0), (5, *image.shape), jnp.float32)
    begun = image[None] + jitter.astype(image.dtype)
    ended = jax.lax.map(lambda x: perturb(class_logit, x, network, label, iterations=5).perturbed, begun)
    return attribution(image, image + jnp.mean(jnp.abs(ended - begun), axis=0))


def coarse_to_fine(network: Any, image: Any, label: Any) -> Explanation:
    """13 steps on the image at half its size, where a step costs a quarter, then 12 on the whole image."""
    height, width, channels = image.shape
    half = image.reshape(height // 2, 2, width // 2, 2, channels).mean(axis=(1, 3))
    coarse = perturb(class_logit, half, network, label, iterations=13).perturbed - half
    start = image + jnp.repeat(jnp.repeat(coarse, 2, axis=0), 2, axis=1)
    return after_walk(image, perturb(class_logit, start, network, label, iterations=12))


def _own(name: str, method: Callable[..., Any], **options: Any) -> tuple[Explainer, dict[str, Any]]:
    return Explainer(name, name, __name__, of_class=method), options


VARIANTS: Mapping[str, tuple[str | Explainer, Mapping[str, Any]]] = {
    **{f"{n} steps": ("fame", {"iterations": n}) for n in (500, 1, 5, 10, 25, 50, 100, 200)},
    "stop at 2 % in 10 steps": ("fame", AUTO_STOP),
    "stop at 1 % in 10 steps": ("fame", {"stop_change": 0.01, "window": 10}),
    "stop at 2 % in 25 steps": ("fame", {"stop_change": 0.02, "window": 25}),
    **{f"mean image of {n} steps": ("fame", {"iterations": n, "average": True}) for n in (100, 500)},
    **{f"25 steps of {k} grey levels": ("fame", {"iterations": 25, "step_size": k / 255}) for k in (2, 4, 8)},
    "momentum": _own("momentum", stepping(with_momentum)),
    "Adam": _own("adam", stepping(optax.adam)),
    "10 steps of Adam": _own("adam", stepping(optax.adam), iterations=10),
    "sign": _own("sign", stepping(optax.sign_sgd)),
    "blurred gradient": _own("blurred_gradient", stepping(smooth)),
    "smaller last steps": _own("smaller_last_steps", stepping(smaller_last_steps)),
    "jittered starts": _own("jittered_starts", jittered_starts),
    "coarse to fine": _own("coarse_to_fine", coarse_to_fine),
}
"""Method and options by name; the first is the paper's, which the others are compared with. 25 gradients if no number
is given."""
