"""How long a walk takes on this machine: compilation, a step, an image, and whether time is linear in steps.

A time means something beside another one of the same run. So sides that are compared take turns (`alternating`), and
of each the median counts; compilation is timed apart from running.
"""

import gzip
import json
import pathlib
import statistics
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from fame_jax import models
from fame_jax.losses import class_logit, similarity
from fame_jax.walk import Perturbation, perturb

GOALS = {"tf32": 60.0, "bfloat16": 25.0, "float64": 300.0}
"""Seconds for 1000 images of 500 steps with ResNet-50 on one H200, by precision."""

Clock = Callable[[], float]


def seconds(work: Callable[[], Any], clock: Clock = time.perf_counter) -> float:
    """Seconds until the result is there."""
    start = clock()
    jax.block_until_ready(work())
    return clock() - start


def alternating(
    sides: Mapping[str, Callable[[], Any]], repeats: int, clock: Clock = time.perf_counter
) -> dict[str, list[float]]:
    """Seconds of each side, the sides taking turns `repeats` times; run each once before.

    Args:
        sides: what to run, by name.
        repeats: number of turns.
        clock: `time.process_time` counts the processor's time alone: fair to both sides on a machine that others use,
            as long as each has one thread (a second one would count its waiting).
    """
    times: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(repeats):
        for name, work in sides.items():
            times[name].append(seconds(work, clock))
    return times


def ratio(times: Mapping[str, list[float]], one: str, other: str) -> float:
    """Median over the turns of one side's time to the other's."""
    return statistics.median(a / b for a, b in zip(times[one], times[other], strict=True))


class Program(NamedTuple):
    """A compiled walk of a batch.

    Attributes:
        run: number of evaluations of loss and gradient to the `Perturbation` of the batch; one more than steps.
        images: the batch, `[B, H, W, 3]`.
        compile_seconds: tracing and compilation.
        temporary_bytes: memory beside weights and images; None where the compiler does not say.
    """

    run: Callable[[int], Perturbation]
    images: jax.Array
    compile_seconds: float
    temporary_bytes: int | None


def program(
    network: Any, name: str | models.Card, precision: models.Precision, batch_size: int, *, seed: int = 0
) -> Program:
    """Compiles the walk of a batch of random images: down a class logit, or away from another face.

    Args:
        network: has the weights and the precision.
        name: in the registry, or the network's card.
        precision: of the network.
        batch_size: number of images.
        seed: of images and reference.
    """
    card = models.card(name) if isinstance(name, str) else name
    of_images, of_references = jax.random.split(jax.random.key(seed))
    dtype = models.image_dtype(precision)
    images = jax.random.uniform(of_images, (batch_size, card.size, card.size, len(card.mean)), dtype)
    outputs = jax.eval_shape(network, images[0]).shape
    face = card.task == "face"
    labels = jnp.arange(batch_size) % outputs[0]
    references = jax.random.normal(of_references, (batch_size, *outputs), dtype) if face else labels
    walk = jax.jit(_face_walks if face else _class_walks)
    start = time.perf_counter()
    compiled = walk.lower(network, images, references, 1).compile()
    compile_seconds = time.perf_counter() - start
    plan = compiled.memory_analysis()
    return Program(
        lambda evaluations: compiled(network, images, references, evaluations - 1),
        images,
        compile_seconds,
        None if plan is None else plan.temp_size_in_bytes,
    )


def _class_walks(network: Any, images: jax.Array, labels: jax.Array, iterations: Any) -> Perturbation:
    return jax.vmap(lambda image, label: perturb(class_logit, image, network, label, iterations=iterations))(
        images, labels
    )


def _face_walks(network: Any, images: jax.Array, references: jax.Array, iterations: Any) -> Perturbation:
    return jax.vmap(lambda image, other: perturb(similarity, image, network, other, iterations=iterations))(
        images, references
    )


class Speed(NamedTuple):
    """Times of one network, precision and batch size.

    Attributes:
        network: its name.
        precision: one of `fame_jax.models.Precision`.
        batch_size: images at once.
        compile_seconds: tracing and compilation.
        step_seconds: a step of the whole batch.
        temporary_bytes: memory beside weights and images, or None.
    """

    network: str
    precision: str
    batch_size: int
    compile_seconds: float
    step_seconds: float
    temporary_bytes: int | None

    def image_seconds(self, iterations: int) -> float:
        """An image of so many steps, its share of a full batch."""
        return self.step_seconds * (iterations + 1) / self.batch_size


def speed(
    network: Any, card: models.Card, precision: models.Precision, batch_size: int, *, evaluations: int, repeats: int
) -> Speed:
    """Times the walk of one network.

    Raises:
        RuntimeError: if a walk ends early, so that the time would be of fewer steps.
    """
    walk = program(network, card, precision, batch_size)
    walk.run(1)
    times = [seconds(lambda: completed(walk.run(evaluations), evaluations)) for _ in range(repeats)]
    step = statistics.median(times) / evaluations
    return Speed(card.name, precision, batch_size, walk.compile_seconds, step, walk.temporary_bytes)


def completed(walks: Perturbation, evaluations: int) -> Perturbation:
    """The same walks, none of which ended early.

    Raises:
        RuntimeError: if one did.
    """
    if int(jnp.min(walks.steps)) != evaluations - 1:
        raise RuntimeError(f"a walk ended after {int(jnp.min(walks.steps))} of {evaluations - 1} steps.")
    return walks


def linearity(
    run: Callable[[int], Any], evaluations: tuple[int, ...], repeats: int, clock: Clock = time.perf_counter
) -> float:
    """Largest relative distance of a step's time at any of these lengths from the median over all lengths."""
    times = alternating({str(n): (lambda n=n: run(n)) for n in evaluations}, repeats, clock)
    steps = [statistics.median(times[str(n)]) / n for n in evaluations]
    middle = statistics.median(steps)
    return max(abs(step / middle - 1) for step in steps)


def profile(work: Callable[[], Any], folder: pathlib.Path, count: int = 12) -> list[tuple[str, float]]:
    """Runs work under the profiler: the operations that took longest, by kind, and their share of the time.

    Args:
        work: returns arrays.
        folder: for the trace, which a profile viewer shows in full.
        count: number of operations.
    """
    with jax.profiler.trace(str(folder)):
        jax.block_until_ready(work())
    spent: Counter[str] = Counter()
    for file in folder.rglob("*.trace.json.gz"):
        for event in json.loads(gzip.decompress(file.read_bytes()))["traceEvents"]:
            operation = (event.get("args") or {}).get("hlo_op", "")
            if operation and not operation.startswith(("while", "call")):
                spent[operation.split(".")[0]] += event["dur"]
    total = sum(spent.values())
    return [(name, duration / total) for name, duration in spent.most_common(count)]
