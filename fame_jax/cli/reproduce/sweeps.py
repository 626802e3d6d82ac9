"""Figures 5 and 6: one map as the blur, the number of steps or the step size is swept."""

import itertools
import pathlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from fame_jax import models, plots
from fame_jax.cli import output
from fame_jax.cli.console import at_least, say
from fame_jax.cli.reproduce.methods import photographs
from fame_jax.cli.reproduce.pairs import pairs
from fame_jax.cli.reproduce.program import available
from fame_jax.core import attribution
from fame_jax.data.records import Record
from fame_jax.experiments.inputs import geometry, images
from fame_jax.losses import class_logit, similarity
from fame_jax.metrics import pearson
from fame_jax.walk import perturb

KERNELS = (5, 11, 21, 31, 49, 75)
"""Odd kernel sizes; the paper prints pictures (a) to (f) of which (e) is 49, the others are guesses."""

STEPS = (1, 25, 50, 75, 100, 200, 300, 400, 500)
"""Of the paper."""

STEP_SIZES = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
"""In grey levels; the paper does not print its own."""


@dataclass(frozen=True)
class Sweep:
    """A row an image, a column a value of the option that is swept."""

    inputs: Annotated[tuple[pathlib.Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="[IMAGE ...]")] = ()
    """Photographs; for a face network PROBE GALLERY. Omitted: the packaged cat, or the portrait behind sunglasses."""
    options: tuple[Literal["blur", "steps", "step_size"], ...] = ("steps", "step_size")
    """What is swept, a sheet each."""
    networks: tuple[str, ...] = ("resnet50",)
    """The first that is installed is used."""
    iterations: int = 500
    """Number of steps: for blur, and the most for steps. The sweep of the step size takes a fifth of it."""
    colours: str = "jet"
    """Name of a Matplotlib colour map; jet is the paper's, inferno suits colour-blind people."""
    out: pathlib.Path = pathlib.Path("fame-out")
    """Folder for the sheets (.png) and the arrays (.npz)."""

    def __call__(self) -> int:
        """Walks, then draws one sheet an option, and prints how much the map still changes along it."""
        at_least(1, iterations=self.iterations)
        plots.check_colours(self.colours)
        task = models.card(self.networks[0]).task
        name = available(self.networks, task)[0]
        folder = output.output_folder(self.out)
        records = (photographs(self.inputs) if task == "class" else pairs(self.inputs, folder)).records
        network = models.load(name)
        walks = [_walk(network, record, geometry(models.card(name))) for record in records]
        for option in self.options:
            values, found = self._swept(option, walks)
            stacked = np.asarray(found, np.float32)
            shown = [np.asarray(image) for image, _ in walks]
            title = {"blur": "kernel", "steps": "T =", "step_size": "η ="}[option]
            figure = plots.sweep(shown, list(stacked), values, name=title, colours=self.colours)
            output.write_figure(folder / f"{option}.png", figure)
            output.write_arrays(folder / f"{option}.npz", images=np.stack(shown), maps=stacked, values=values)
            say(
                f"{name}, {option}: correlation with the next value, mean over {len(walks)}: "
                + _agreement(stacked, values)
            )
            say(f"wrote {folder / option}.png")
        return 0

    def _swept(self, option: str, walks: Sequence[tuple[Any, "Walk"]]) -> tuple[list[str], list[list[Any]]]:
        """Values in words, and for every image a map a value."""
        if option == "blur":
            ends = [(image, walk(image, self.iterations, 1.0)) for image, walk in walks]
            sizes = [k for k in KERNELS if 2 * min(image.shape[0] for image, _ in walks) > k]
            return list(map(str, sizes)), [[attribution(x, end, kernel_size=k) for k in sizes] for x, end in ends]
        if option == "step_size":
            steps = max(1, self.iterations // 5)
            maps = [[attribution(x, walk(x, steps, size)) for size in STEP_SIZES] for x, walk in walks]
            return [f"{size:g}/255" for size in STEP_SIZES], maps
        counts = sorted({min(count, self.iterations) for count in STEPS})
        return list(map(str, counts)), [_along(image, walk, counts) for image, walk in walks]


Walk = Callable[[Any, int, float], Any]
"""An image, a number of steps and a step size in grey levels to the image at the end."""


def _walk(network: Any, record: Record, how: Any) -> tuple[jax.Array, Walk]:
    """The image of a record, and its walk: away from the predicted class, or from the other face."""
    first, *other = (jnp.asarray(image) for image in images(record, how))
    if other:
        reference = network(other[0])

        def apart(image: Any, steps: int, size: float) -> Any:
            return perturb(similarity, image, network, reference, 1.0, iterations=steps, step_size=size / 255).perturbed

        return first, apart
    label = getattr(record, "label", None)
    label = int(jnp.argmax(network(first))) if label is None else label

    def away(image: Any, steps: int, size: float) -> Any:
        return perturb(class_logit, image, network, label, iterations=steps, step_size=size / 255).perturbed

    return first, away


def _along(image: jax.Array, walk: Walk, counts: Sequence[int]) -> list[Any]:
    """Maps at ascending numbers of steps of one walk, which has no memory and goes on from where it was."""
    maps, there = [], image
    for done, count in zip([0, *counts], counts, strict=False):
        there = walk(there, count - done, 1.0)
        maps.append(attribution(image, there))
    return maps


def _agreement(maps: np.ndarray, values: Sequence[str]) -> str:
    pairs_of_values = itertools.pairwise(values)
    means = (float(np.mean([pearson(of[i], of[i + 1]) for of in maps])) for i in range(maps.shape[1] - 1))
    return ", ".join(f"{a} to {b} {mean:.3f}" for (a, b), mean in zip(pairs_of_values, means, strict=True))
