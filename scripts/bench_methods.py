"""Each baseline and metric, batched on the device, against a loop over its images, masks or dimensions.

The loop is what a program without batching does: one call of the network a time, compiled and warm, so that the ratio
is of batching alone; FGGB's is one backward pass a dimension, CorrRISE's one pair of forward passes a mask. Compare
`bench_road.py` for ROAD's solver against SciPy's, and `fame reproduce table_3` for FAME's own time, which early
stopping decides.
"""

import functools
import itertools
import pathlib
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import tyro

from fame_jax import bench, files, models
from fame_jax.architectures.probes import probed
from fame_jax.explainers.table import explainer
from fame_jax.metrics.deletion import deletion
from fame_jax.metrics.masks import deletion_mask
from fame_jax.metrics.road import road_delete
from fame_jax.paper import numbers
from fame_jax.words import markdown

CAMS = ("grad_cam", "grad_cam_ew", "hires_cam", "grad_cam_pp", "fullgrad")
FOUR = " of 4 pairs"
PAIRS = {"grad_cam" + FOUR: 4, "grad_cam_ew" + FOUR: 4, "corrrise": 1, "fggb": 1}
"""Pairs in one call."""

Sides = tuple[Callable[[], Any], Callable[[], Any]]


def main(
    classifier: str = "mobilenet_v2",
    face: str = "sface",
    precision: models.Precision = "float32",
    images: int = 4,
    masks: int = 40,
    repeats: int = 3,
    cpu_time: bool = False,
    out: pathlib.Path = pathlib.Path("bench-methods"),
) -> None:
    """Prints seconds of both sides and their ratio; random weights.

    Args:
        classifier: for the CAMs, FullGrad, ROAD and deletion.
        face: for CorrRISE and FGGB.
        precision: of both networks.
        images: a batch.
        masks: of CorrRISE; 500 in the paper.
        repeats: turns of both sides, of which the median counts.
        cpu_time: count processor time; see `bench_fame.py`.
        out: folder for the JSON.
    """
    jax.config.update("jax_enable_x64", precision == "float64")
    clock = time.process_time if cpu_time else time.perf_counter
    out.mkdir(parents=True, exist_ok=True)
    print(f"{jax.devices()[0].device_kind}, JAX {jax.__version__}, {precision}, {images} images, {masks} masks\n")
    found: dict[str, dict[str, float]] = {}
    rows: list[tuple[str, ...]] = [("method", "batched, s", "loop, s", "loop / batched")]
    cases = itertools.chain(of_classes(classifier, precision, images), of_pairs(face, precision, masks))
    for name, (batched, loop) in cases:
        sides = {"batched": batched, "loop": loop}
        bench.alternating(sides, 1)
        times = bench.alternating(sides, repeats, clock)
        found[name] = {side: statistics.median(turns) for side, turns in times.items()}
        found[name]["ratio"] = bench.ratio(times, "loop", "batched")
        rows.append((name, *(f"{found[name][k]:.3f}" for k in ("batched", "loop")), f"{found[name]['ratio']:.1f}"))
        print(f"{name}: {found[name]['ratio']:.1f}", flush=True)
        files.write_json(out / "bench_methods.json", {**files.environment(), "measured": found})
    print("\n" + markdown(rows))
    print("\n" + markdown(pair_rows(found, masks)))


def pair_rows(found: dict[str, dict[str, float]], masks: int) -> list[tuple[str, ...]]:
    """Tab. 3(b): 700 pairs, and how many times Grad-CAM's time that is, here and in the paper, whose masks are 500."""
    ours = {name.removesuffix(FOUR): found[name]["batched"] / count for name, count in PAIRS.items()}
    rows: list[tuple[str, ...]] = [("pairs", "700, s", "the paper's, s", "of Grad-CAM's", "the paper's")]
    for name, seconds in ours.items():
        paper = numbers.TABLE_3_PAIRS
        relative, theirs = seconds / ours["grad_cam"], paper[name] / paper["grad_cam"]
        title = f"corrrise, {masks} masks" if name == "corrrise" else name
        rows.append((title, f"{700 * seconds:.0f}", f"{paper[name]}", f"{relative:.1f}", f"{theirs:.1f}"))
    return rows


def of_classes(name: str, precision: Any, count: int) -> Any:
    network = models.with_precision(models.build(name), precision)
    size, dtype = models.card(name).size, models.image_dtype(precision)
    images = jax.random.uniform(jax.random.key(0), (count, size, size, 3), dtype)
    labels, keys = jnp.arange(count), jax.random.split(jax.random.key(1), count)
    maps = jax.random.uniform(jax.random.key(2), (count, size, size), dtype)
    for method in CAMS:
        row = explainer(method)
        target = probed(network) if "probes" in row.needs else network
        yield method, batch_and_loop(row.explain, target, images, labels)
    yield "road_delete", batch_and_loop(lambda *of: road_delete(*of).drops, network, images, maps, labels, keys)
    score = jax.jit(lambda n, x, found, y, share: jax.nn.softmax(n(x * deletion_mask(found, share)[..., None]))[y])
    shares, triples = [i / 10 for i in range(11)], list(zip(images, maps, labels, strict=True))
    curves, _ = batch_and_loop(lambda *of: deletion(*of).scores, network, images, maps, labels)
    yield "deletion", (curves, lambda: [score(network, *triple, share) for triple in triples for share in shares])


def of_pairs(name: str, precision: Any, masks: int) -> Any:
    network = models.with_precision(models.build(name), precision)
    size, dtype = models.card(name).size, models.image_dtype(precision)
    both = jax.random.uniform(jax.random.key(0), (2, size, size, 3), dtype)
    embed = jax.jit(lambda n, x: n(x))
    pull = jax.jit(lambda n, x, i: jax.grad(lambda x: n(x)[i])(x))
    dimensions = range(embed(network, both[0]).shape[0])
    rise, fggb = explainer("corrrise").explain_pair, explainer("fggb").explain_pair
    masked = functools.partial(rise, network, *both, key=jax.random.key(3), masks=masks, patches=10)
    yield "corrrise", (masked, lambda: [embed(network, face) for _ in range(masks) for face in both])
    yield "fggb", (lambda: fggb(network, *both), lambda: [pull(network, face, i) for face in both for i in dimensions])
    probes, galleries = jnp.stack([*both, *both]), jnp.stack([*both, *both])[::-1]
    for method in ("grad_cam", "grad_cam_ew"):
        yield method + FOUR, batch_and_loop(explainer(method).explain_pair, network, probes, galleries)


def batch_and_loop(function: Callable[..., Any], network: Any, *arrays: Any) -> Sides:
    """All images in one call, and one call an image."""
    many = jax.jit(jax.vmap(function, (None, *(0 for _ in arrays))))
    one = jax.jit(function)
    return lambda: many(network, *arrays), lambda: [one(network, *args) for args in zip(*arrays, strict=True)]


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
