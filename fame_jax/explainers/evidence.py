"""FAME on the evidence in place of the logit, from several starts, and times a class activation map.

Nothing here is in the paper, whose walk lowers the logit itself: these are this project's, and what they are worth has
to be measured.
"""

import functools
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import PRNGKeyArray

from fame_jax._types import Attribution, Image, Scalar
from fame_jax.core import Explanation, after_walk, explain, split_options
from fame_jax.explainers.cam import grad_cam
from fame_jax.explainers.chunks import sum_over
from fame_jax.explainers.compiled import compiled
from fame_jax.explainers.fame import PairExplanation, of_pair
from fame_jax.explainers.gradients import LossName, class_loss, expected_gradients
from fame_jax.image import max_normalise
from fame_jax.losses import class_evidence, class_logit, pair_evidence, similarity
from fame_jax.network import Network
from fame_jax.options import OptionError
from fame_jax.paths import path_sums
from fame_jax.walk import Loss, Perturbation, perturb

_STATIC = ("starts", "chunk", "loss", "optimizer", "kernel_size", "grey_of", "grey_weights", "normalise")

PairLossName = Literal["similarity", "evidence"]
"""`fame_jax.similarity` or `fame_jax.losses.pair_evidence`."""


def class_evidence_map(
    network: Network, image: Image, label: ArrayLike, *, iterations: ArrayLike = 25, **options: Any
) -> Explanation:
    """Which pixels would have to change for what speaks for a class to vanish? See `class_evidence`.

    Args:
        network: anything with `features` and `head`, which returns logits.
        image: `[H, W, C]` in [0, 1].
        label: index of the class.
        iterations: largest number of steps.
        **options: the others of `fame_jax.explain`.
    """
    return explain(class_evidence, image, network, label, iterations=iterations, **options)


def pair_evidence_maps(
    network: Network, probe: Image, gallery: Image, *, iterations: ArrayLike = 25, **options: Any
) -> PairExplanation:
    """Which pixels would have to change for what speaks for (e+), or against (e-), a similarity to vanish?

    Args:
        network: anything with `features` and `head`, which returns an embedding.
        probe: aligned face `[H, W, C]` in [0, 1].
        gallery: aligned face of the same size.
        iterations: largest number of steps of each of the four walks.
        **options: the others of `fame_jax.explain`.
    """
    return of_pair(functools.partial(explain, pair_evidence), network, probe, gallery, iterations=iterations, **options)


@compiled(*_STATIC)
def class_starts(
    network: Any,
    image: Image,
    label: ArrayLike,
    *,
    key: PRNGKeyArray,
    loss: LossName = "evidence",
    starts: int = 5,
    iterations: ArrayLike = 5,
    noise: ArrayLike = 0.05,
    chunk: int = 5,
    **options: Any,
) -> Explanation:
    """FAME of a class from several noisy copies of the image: the mean of what the walks have changed.

    Args:
        network: image to logits; for `evidence` with `features` and `head`.
        image: `[H, W, C]` in [0, 1].
        label: index of the class.
        key: of the noise.
        loss: what the walks lower.
        starts: number of walks.
        iterations: largest number of steps of each.
        noise: standard deviation in units of the pixels.
        chunk: walks in memory at once.
        **options: the others of `fame_jax.explain`, but for `average`.

    Returns:
        The map; steps of all walks together, the mean of their first and of their last losses, and the status of the
        walk that came furthest. There is no one perturbed image.
    """
    how = {"key": key, "starts": starts, "iterations": iterations, "noise": noise, "chunk": chunk}
    return _from_starts(class_loss(loss), image, network, label, **how, **options)


@compiled(*_STATIC)
def pair_starts(
    network: Any,
    probe: Image,
    gallery: Image,
    *,
    key: PRNGKeyArray,
    loss: PairLossName = "evidence",
    starts: int = 5,
    iterations: ArrayLike = 5,
    noise: ArrayLike = 0.05,
    chunk: int = 5,
    **options: Any,
) -> PairExplanation:
    """The same of e+ and e- of two faces, all from the same noise; see `class_starts`."""
    explain_one = functools.partial(_from_starts, pair_loss(loss))
    how = {"key": key, "starts": starts, "iterations": iterations, "noise": noise, "chunk": chunk}
    return of_pair(explain_one, network, probe, gallery, **how, **options)


def evidence_cam(network: Network, image: Image, label: ArrayLike, *, key: PRNGKeyArray, **options: Any) -> Attribution:
    """The map of `class_starts` times Grad-CAM's, pixel by pixel: fine where the class is, nothing elsewhere.

    Args:
        network: anything with `features` and `head`.
        image: `[H, W, C]` in [0, 1].
        label: index of the class; one outside the classes gives NaN.
        key: of the noise.
        **options: of `class_starts`.

    Returns:
        `[H, W]` in [0, 1]; blank where Grad-CAM is.
    """
    walked = class_starts(network, image, label, key=key, **options).attribution
    return max_normalise(walked * grad_cam(network, image, label))


def expected_gradients_cam(
    network: Network,
    image: Image,
    label: ArrayLike,
    *,
    key: PRNGKeyArray,
    loss: LossName = "evidence",
    **options: Any,
) -> Attribution:
    """Expected gradients, of the evidence, times Grad-CAM's map; see `evidence_cam` and `expected_gradients`."""
    expected = expected_gradients(network, image, label, key=key, loss=loss, **options)
    return max_normalise(expected * grad_cam(network, image, label))


def refined_cam(
    network: Network,
    image: Image,
    label: ArrayLike,
    *,
    key: PRNGKeyArray,
    loss: LossName = "evidence",
    samples: int = 25,
    kernel_size: int | None = None,
    sigma: ArrayLike | None = 12.0,
    **options: Any,
) -> Attribution:
    """Grad-CAM's map plus `expected_gradients_cam`, each with its largest value at 1.

    The product alone has holes within the class: what is shown in its order is a patchwork. There the sum goes on
    in the order of Grad-CAM.

    Args:
        network: anything with `features` and `head`.
        image: `[H, W, C]` in [0, 1].
        label: index of the class; one outside the classes gives NaN.
        key: of the samples.
        loss: see `expected_gradients`.
        samples: likewise.
        kernel_size: of the blur of the expected gradients.
        sigma: likewise, in pixels.
        **options: the others of `expected_gradients`.

    Returns:
        `[H, W]` in [0, 1]; blank where Grad-CAM is.
    """
    options = {"samples": samples, "kernel_size": kernel_size, "sigma": sigma, **options}
    expected = expected_gradients(network, image, label, key=key, loss=loss, **options)
    cam = grad_cam(network, image, label)
    return max_normalise(cam + max_normalise(expected * cam))


@compiled("optimizer", "kernel_size", "grey_of", "grey_weights", "normalise")
def path_sums_map(
    network: Any,
    image: Image,
    label: ArrayLike,
    *,
    iterations: ArrayLike = 25,
    step_size: ArrayLike = 1 / 255,
    stop_loss: ArrayLike | None = None,
    **of_map: Any,
) -> Explanation:
    """How much of the fall of a logit along FAME's walk is due to each pixel; see `fame_jax.paths.path_sums`.

    Args:
        network: image to logits.
        image: `[H, W, C]` in [0, 1].
        label: index of the class.
        iterations: largest number of steps.
        step_size: see `fame_jax.perturb`.
        stop_loss: see `fame_jax.perturb`.
        **of_map: options of `fame_jax.attribution`, which turns the shares into a map as it does a change.
    """
    rules = {"iterations": iterations, "step_size": step_size, "stop_loss": stop_loss}
    shares, walk = path_sums(class_logit, image, network, label, **rules)
    found = after_walk(jnp.zeros_like(image), walk._replace(perturbed=shares), **of_map)
    return found._replace(perturbed=walk.perturbed)


def pair_loss(name: str) -> Loss:
    """The loss of a `PairLossName`.

    Raises:
        OptionError: for another one.
    """
    if name not in ("similarity", "evidence"):
        raise OptionError(f"loss={name!r}; expected 'similarity' or 'evidence'.")
    return similarity if name == "similarity" else pair_evidence


def _from_starts(
    loss: Loss,
    image: Image,
    *args: Any,
    key: PRNGKeyArray,
    starts: int,
    noise: ArrayLike,
    chunk: int,
    **options: Any,
) -> Explanation:
    of_walk, of_map = split_options(options)
    if of_map.get("grey_of", "change") != "change":
        raise OptionError(
            f"grey_of={of_map['grey_of']!r}: of several starts it is the changes that are added; expected 'change'."
        )

    def of_start(index: Scalar) -> Perturbation:
        drawn = jax.random.normal(jax.random.fold_in(key, index), image.shape, jnp.float32)
        start = image + noise * drawn.astype(image.dtype)
        walk = perturb(loss, start, *args, **of_walk)
        status = jnp.zeros(starts, walk.status.dtype).at[index].set(walk.status)
        return walk._replace(perturbed=jnp.abs(walk.perturbed - start), status=status)

    total = sum_over(of_start, starts, chunk)
    walk = total._replace(
        perturbed=total.perturbed / starts,
        first_loss=total.first_loss / starts,
        last_loss=total.last_loss / starts,
        status=jnp.min(total.status),
    )
    # The mean change is the map's, whatever it began from.
    return after_walk(jnp.zeros_like(image), walk, **of_map)._replace(perturbed=None)
