"""What refilling finished slots gains over fixed batches that wait for their slowest member.

The walks stop early by one of two rules: MobileNetV2 on photographs once the map hardly changes any more, SFace on
pairs of faces once the loss is below 0.01 (the authors' published code). Both ways see the same examples, in turn, in
one process; the ratio is the result. Without `--photos`, the packaged pictures are cropped and mirrored.

Usage: python scripts/bench_refill.py [--network mobilenet_v2] [--batch-size 4] [--count 24] [--photos FOLDER]
"""

import itertools
import pathlib
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from fame_jax import class_logit, models, perturb, similarity_free_norm
from fame_jax.batching import perturb_many
from fame_jax.data.faces import sample_face
from fame_jax.data.images import load as load_image
from fame_jax.data.images import sample_path

Example = tuple[np.ndarray, tuple[Any, ...]]


def crops(image: np.ndarray, size: int, count: int) -> list[np.ndarray]:
    """Different pictures from one: windows at random places, every other one mirrored."""
    random = np.random.default_rng(0)
    corners = random.integers(0, np.asarray(image.shape[:2]) - size + 1, (count, 2))
    windows = [image[top : top + size, left : left + size] for top, left in corners]
    return [np.ascontiguousarray(w[:, ::-1] if i % 2 else w) for i, w in enumerate(windows)]


def photographs(network: Any, folder: pathlib.Path | None, count: int) -> list[Example]:
    """Photographs and the classes that the network sees in them."""
    card = models.card("mobilenet_v2")
    if folder is None:
        images = crops(load_image(sample_path("cat"), 320, 320), card.size, count)
    else:
        paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in (".jpg", ".jpeg", ".png"))[:count]
        images = [load_image(path, card.resize, card.size) for path in paths]
    label = jax.jit(lambda network, image: jnp.argmax(network(image)))
    return [(image, (np.int32(label(network, image)),)) for image in images]


def faces(network: Any, count: int) -> list[Example]:
    """A face, what it is compared with, and whether similarity or dissimilarity is descended."""
    face = sample_face().image
    padded = np.pad(face, ((8, 8), (8, 8), (0, 0)), mode="edge")
    embed = jax.jit(lambda network, image: network(image))
    reference = np.asarray(embed(network, face))
    images = crops(padded, face.shape[0], count)
    return [(image, (reference, np.float32(1 - 2 * (i // 2 % 2)))) for i, image in enumerate(images)]


def in_fixed_batches(loss: Callable, examples: list[Example], network: Any, size: int, **options: Any) -> Iterator[int]:
    """Steps of each walk; a batch ends with its slowest member, and the last one is padded."""
    for start in range(0, len(examples), size):
        members = examples[start : start + size]
        padded = members + members[-1:] * (size - len(members))
        images, args = jax.tree.map(lambda *leaves: np.stack(leaves), *padded)
        yield from np.asarray(_batch(loss, network, images, args, options))[: len(members)].tolist()


@jax.jit(static_argnums=0)
def _batch(loss: Callable, network: Any, images: Any, args: tuple[Any, ...], options: dict[str, Any]) -> jax.Array:
    walks = jax.vmap(lambda image, args: perturb(loss, image, network, *args, **options))(images, args)
    return walks.steps


def refilled(loss: Callable, examples: list[Example], network: Any, size: int, **options: Any) -> Iterator[int]:
    walks = perturb_many(loss, examples, network, batch_size=size, **options)
    return (int(walk.steps) for _, walk in walks)


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


def evaluations(run: Callable, loss: Callable, *args: Any, **options: Any) -> int:
    counted = Counted(loss)
    list(run(counted, *args, **options))
    jax.effects_barrier()
    return counted.times


def report(unit: str, figures: Mapping[str, float]) -> None:
    fixed, refill = figures.values()
    cells = " | ".join(f"{name} {figure:.5g}" for name, figure in figures.items())
    print(f"{unit}: {cells} | ratio {refill / fixed:.2f}", flush=True)


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
    model = models.load(network)
    if network == "sface":
        loss, examples = similarity_free_norm, faces(model, count)
        options = {"iterations": iterations, "window": window, "stop_loss": 0.01}
    else:
        loss, examples = class_logit, photographs(model, photos, count)
        options = {"iterations": iterations, "window": window, "stop_change": stop_change}
    ways = {"fixed batches": in_fixed_batches, "refilled slots": refilled}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    of_processor: dict[str, list[float]] = {name: [] for name in ways}
    steps: list[int] = []
    for name, run in itertools.chain(*[ways.items()] * (repeats + 1)):
        start, busy = time.perf_counter(), time.process_time()
        steps = list(run(loss, examples, model, batch_size, **options))
        seconds[name].append(time.perf_counter() - start)
        of_processor[name].append(time.process_time() - busy)
    device = jax.devices()[0].device_kind
    print(f"{network}, {device}, JAX {jax.__version__}, {len(steps)} walks, {batch_size} at a time")
    print(f"steps taken: {min(steps)} to {max(steps)}, median {statistics.median(steps):.0f}, {sum(steps)} in all\n")
    # The first round compiles.
    report("time, s", {name: statistics.median(times[1:]) for name, times in seconds.items()})
    # On CPU, what a machine shared with others leaves comparable.
    report("processor time, s", {name: statistics.median(times[1:]) for name, times in of_processor.items()})
    counts = {name: evaluations(run, loss, examples, model, batch_size, **options) for name, run in ways.items()}
    report("evaluations of loss and gradient", counts)


if __name__ == "__main__":
    tyro.cli(main)
