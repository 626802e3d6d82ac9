"""What refilling finished slots gains over fixed batches that wait for their slowest member.

The walks stop early by one of two rules: MobileNetV2 on photographs once the map hardly changes any more, SFace on
pairs of faces once the loss is below 0.01 (the authors' published code). Both ways see the same examples, in turn, in
one process; the ratio is the result. Without `--photos`, the packaged pictures are cropped and mirrored.
"""

import pathlib
import statistics
import time
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from fame_jax import bench, class_logit, models, perturb, similarity_free_norm
from fame_jax.batching import perturb_many
from fame_jax.batching.examples import Example
from fame_jax.data.faces import sample_face
from fame_jax.data.images import sample
from fame_jax.datasets.catalogue import read
from fame_jax.inputs import geometry, images


def crops(image: np.ndarray, size: int, count: int) -> list[np.ndarray]:
    """Different pictures from one: windows at random places, every other one mirrored."""
    random = np.random.default_rng(0)
    corners = random.integers(0, np.asarray(image.shape[:2]) - size + 1, (count, 2))
    windows = [image[top : top + size, left : left + size] for top, left in corners]
    return [np.ascontiguousarray(w[:, ::-1] if i % 2 else w) for i, w in enumerate(windows)]


def photographs(loaded: models.Loaded, folder: pathlib.Path | None, count: int) -> list[Example]:
    """Photographs and the classes that the network sees in them."""
    network, card = loaded.network, loaded.card
    if folder is None:
        pictures = crops(sample("cat"), card.size, count)
    else:
        records = read("folder", folder, "none").records[:count]
        pictures = [images(record, geometry(card))[0] for record in records]
    label = jax.jit(lambda network, image: jnp.argmax(network(image)))
    return [(image, (np.int32(label(network, image)),)) for image in pictures]


def faces(loaded: models.Loaded, count: int) -> list[Example]:
    """A face, what it is compared with, and whether similarity or dissimilarity is descended."""
    face = sample_face().image
    reference = np.asarray(loaded.network(face))
    pictures = crops(np.pad(face, ((8, 8), (8, 8), (0, 0)), mode="edge"), face.shape[0], count)
    return [(image, (reference, np.float32(1 - 2 * (i // 2 % 2)))) for i, image in enumerate(pictures)]


def in_fixed_batches(loss: Callable, examples: list[Example], network: Any, size: int, **options: Any) -> list[int]:
    """Steps of each walk; a batch ends with its slowest member, and the last one is padded."""
    found = []
    for start in range(0, len(examples), size):
        members = examples[start : start + size]
        padded = members + members[-1:] * (size - len(members))
        stacked, args = jax.tree.map(lambda *leaves: np.stack(leaves), *padded)
        found += np.asarray(_batch(loss, network, stacked, args, options))[: len(members)].tolist()
    return found


@jax.jit(static_argnums=0)
def _batch(loss: Callable, network: Any, images: Any, args: tuple[Any, ...], options: dict[str, Any]) -> jax.Array:
    walks = jax.vmap(lambda image, args: perturb(loss, image, network, *args, **options))(images, args)
    return walks.steps


def refilled(loss: Callable, examples: list[Example], network: Any, size: int, **options: Any) -> list[int]:
    """Steps of each walk; the next one begins as soon as one has ended."""
    return [int(walk.steps) for _, walk in perturb_many(loss, examples, network, batch_size=size, **options)]


WAYS = {"fixed batches": in_fixed_batches, "refilled slots": refilled}


class Counted:
    """A loss that counts its evaluations, wanted or not; every lane of a batch calls it."""

    def __init__(self, loss: Callable):
        self.loss, self.times = loss, 0

    def __call__(self, image: jax.Array, *args: Any) -> jax.Array:
        """The loss of one image, counted."""
        jax.debug.callback(self._count, image[0, 0, 0])
        return self.loss(image, *args)

    def _count(self, _: Any) -> None:
        self.times += 1


def main(
    network: Literal["mobilenet_v2", "sface"] = "mobilenet_v2",
    photos: pathlib.Path | None = None,
    count: int = 24,
    batch_size: int = 4,
    repeats: int = 3,
    iterations: int = 500,
    stop_change: float = 0.05,
    window: int = 10,
) -> None:
    """Prints time and computed steps of both ways.

    Args:
        network: which network, and with it which examples and which rule for stopping.
        photos: folder of photographs for mobilenet_v2; omitted: crops of a packaged one.
        count: number of examples.
        batch_size: slots, or members of a batch.
        repeats: times each way is measured, in turn.
        iterations: largest number of steps.
        stop_change: stop mobilenet_v2's walks by this share of change in a window.
        window: steps in a window.
    """
    loaded = models.find(network)
    if network == "sface":
        loss, examples, rule = similarity_free_norm, faces(loaded, count), {"stop_loss": 0.01}
    else:
        loss, examples, rule = class_logit, photographs(loaded, photos, count), {"stop_change": stop_change}

    def steps(run: Callable[..., list[int]], loss: Callable) -> list[int]:
        return run(loss, examples, loaded.network, batch_size, iterations=iterations, window=window, **rule)

    taken = steps(refilled, loss)
    print(f"{network}, {jax.devices()[0].device_kind}, JAX {jax.__version__}, {len(taken)} walks, {batch_size} at once")
    print(f"steps taken: {min(taken)} to {max(taken)}, median {statistics.median(taken):.0f}, {sum(taken)} in all\n")
    sides = {name: (lambda run=run: steps(run, loss)) for name, run in WAYS.items()}
    bench.alternating(sides, 1)
    # Processor time is what a machine shared with others leaves comparable on CPU.
    for unit, clock in {"time, s": time.perf_counter, "processor time, s": time.process_time}.items():
        report(
            unit, {name: statistics.median(turns) for name, turns in bench.alternating(sides, repeats, clock).items()}
        )
    counts = {}
    for name, run in WAYS.items():
        counted = Counted(loss)
        steps(run, counted)
        jax.effects_barrier()
        counts[name] = counted.times
    report("evaluations of loss and gradient", counts)


def report(unit: str, figures: dict[str, Any]) -> None:
    fixed, refill = figures.values()
    cells = " | ".join(f"{name} {figure:.5g}" for name, figure in figures.items())
    print(f"{unit}: {cells} | ratio {refill / fixed:.2f}", flush=True)


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
