"""Figures 5 and 6: one map as the blur, the number of steps or the step size is swept."""

import itertools
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

from fame_jax import plots
from fame_jax.core import attribution
from fame_jax.data.records import Record
from fame_jax.inputs import Geometry, images
from fame_jax.losses import class_logit, similarity
from fame_jax.metrics import pearson
from fame_jax.paper.numbers import TABLE_3_STEPS
from fame_jax.walk import Loss, perturb

Option = Literal["blur", "steps", "step_size"]

KERNELS = (5, 11, 21, 31, 49, 75)
"""Odd kernel sizes; the paper prints pictures (a) to (f) of which (e) is 49, the others are guesses."""

STEP_SIZES = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
"""In grey levels; the paper does not print its own."""


class Case(NamedTuple):
    """What walks: an image `[H, W, 3]`, a loss, and the loss's arguments behind image and network."""

    image: Any
    loss: Loss
    arguments: tuple[Any, ...]

    def walked(self, network: Any, steps: int, size: float = 1.0, start: Any = None) -> Any:
        """The image after so many steps of `size` grey levels; from `start`, since a walk has no memory."""
        begun = self.image if start is None else start
        options: dict[str, Any] = {"iterations": steps, "step_size": size / 255}
        return perturb(self.loss, begun, network, *self.arguments, **options).perturbed


class Swept(NamedTuple):
    """Maps `[images, values, H, W]`, and the values in words."""

    values: list[str]
    maps: np.ndarray

    def figure(self, option: Option, shown: Sequence[Any], colours: str = "jet") -> Figure:
        """A row an image, a column a value."""
        name = {"blur": "kernel", "steps": "T =", "step_size": "η ="}[option]
        return plots.sweep(shown, list(self.maps), self.values, name=name, colours=colours)

    def agreement(self) -> str:
        """Correlation of every value's map with the next one's, mean over the images, in words."""
        neighbours = enumerate(itertools.pairwise(self.values))
        means = ((a, b, np.mean([pearson(of[i], of[i + 1]) for of in self.maps])) for i, (a, b) in neighbours)
        return ", ".join(f"{a} to {b} {mean:.3f}" for a, b, mean in means)


def case(network: Any, record: Record, geometry: Geometry) -> Case:
    """Away from the record's class, or the predicted one; or from the other face."""
    first, *other = (jnp.asarray(image) for image in images(record, geometry))
    if other:
        return Case(first, similarity, (network(other[0]), 1.0))
    label = getattr(record, "label", None)
    return Case(first, class_logit, (int(jnp.argmax(network(first))) if label is None else label,))


def walks(option: Option, iterations: int = 500) -> int:
    """How many walks, or parts of one, a sweep takes an image; see `sweep`."""
    return {"blur": 1, "step_size": len(STEP_SIZES), "steps": len(_counts(iterations))}[option]


def _counts(iterations: int) -> list[int]:
    return sorted({min(count, iterations) for count in TABLE_3_STEPS})


def sweep(
    option: Option,
    network: Any,
    cases: Sequence[Case],
    iterations: int = 500,
    progress: Callable[[int], object] = lambda walks: None,
) -> Swept:
    """Maps of every image along an option.

    Args:
        option: `blur` (the paper's Fig. 5), `steps` or `step_size` (Fig. 6).
        network: see `fame_jax.perturb`.
        cases: at least one, of images of one size.
        iterations: steps for `blur`, and the most for `steps`. The step size is swept at a fifth of it.
        progress: called with 1 after every one of `walks`.
    """

    def done(image: Any) -> Any:
        jax.block_until_ready(image)
        progress(1)
        return image

    if option == "blur":
        sizes = [k for k in KERNELS if 2 * min(cases[0].image.shape[:2]) > k]
        ends = [(c.image, done(c.walked(network, iterations))) for c in cases]
        return _swept(map(str, sizes), [[attribution(image, end, kernel_size=k) for k in sizes] for image, end in ends])
    if option == "step_size":
        steps = max(1, iterations // 5)
        maps = [[attribution(c.image, done(c.walked(network, steps, size))) for size in STEP_SIZES] for c in cases]
        return _swept((f"{size:g}/255" for size in STEP_SIZES), maps)
    counts = _counts(iterations)
    return _swept(map(str, counts), [_along(c, network, counts, done) for c in cases])


def _swept(values: Any, maps: Any) -> Swept:
    return Swept(list(values), np.asarray(maps, np.float32))


def _along(case: Case, network: Any, counts: Sequence[int], done: Callable[[Any], Any]) -> list[Any]:
    """Maps at ascending numbers of steps of one walk."""
    maps, there = [], case.image
    for before, count in itertools.pairwise([0, *counts]):
        there = done(case.walked(network, count - before, start=there))
        maps.append(attribution(case.image, there))
    return maps
