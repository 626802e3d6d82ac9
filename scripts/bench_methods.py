"""Each baseline and metric, batched on the device, against a loop over its images, masks or dimensions.

The loop is what a program without batching does: one call of the network a time, compiled and warm, so that the ratio
is of batching alone; FGGB's is one backward pass a dimension, CorrRISE's one pair of forward passes a mask. Compare
`bench_road.py` for ROAD's solver against SciPy's, and `table_3.py` for FAME's own time, which early stopping decides.
"""

import itertools
import pathlib
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import tyro

from fame_jax import bench, explainers, files, models
from fame_jax.architectures.probes import Probed
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
    print("\n" + markdown(pair_rows(found)))


def pair_rows(found: dict[str, dict[str, float]]) -> list[tuple[str, ...]]:
    """Tab. 3(b): 700 pairs, and how many times Grad-CAM's time that is, here and in the paper, whose masks are 500."""
    ours = {name.removesuffix(FOUR): found[name]["batched"] / count for name, count in PAIRS.items()}
    rows: list[tuple[str, ...]] = [("pairs", "700, s", "the paper's, s", "of Grad-CAM's", "the paper's")]
    for name, seconds in ours.items():
        paper = numbers.TABLE_3_PAIRS
        relative, theirs = seconds / ours["grad_cam"], paper[name] / paper["grad_cam"]
        rows.append((name, f"{700 * seconds:.0f}", f"{paper[name]}", f"{relative:.1f}", f"{theirs:.1f}"))
    return rows


def of_classes(name: str, precision: Any, count: int) -> Any:
    network = models.with_precision(models.build(name), precision)
    size, dtype = models.card(name).size, models.image_dtype(precision)
    images = jax.random.uniform(jax.random.key(0), (count, size, size, 3), dtype)
    labels, keys = jnp.arange(count), jax.random.split(jax.random.key(1), count)
    maps = jax.random.uniform(jax.random.key(2), (count, size, size), dtype)
    for method in CAMS:
        row = explainers.EXPLAINERS[method]
        target = Probed(network) if "probes" in row.needs else network
        yield method, batch_and_loop(lambda n, x, y, row=row: row.explain(n, x, y), target, images, labels)
    yield (
        "road_delete",
        batch_and_loop(
            lambda n, x, map, y, key: road_delete(n, x, map, y, key).drops, network, images, maps, labels, keys
        ),
    )
    masked = jax.jit(lambda x, map, fraction: x * (deletion_mask(map, fraction)[..., None]))
    score = jax.jit(lambda n, x, y: jax.nn.softmax(n(x))[y])
    fractions = [i / 10 for i in range(11)]
    curves = jax.jit(jax.vmap(lambda n, x, map, y: deletion(n, x, map, y).scores, (None, 0, 0, 0)))

    def each_image_and_fraction() -> Any:
        triples = zip(images, maps, labels, strict=True)
        return [score(network, masked(x, map, f), y) for x, map, y in triples for f in fractions]

    yield "deletion", (lambda: curves(network, images, maps, labels), each_image_and_fraction)


def batch_and_loop(function: Callable[..., Any], network: Any, *arrays: Any) -> Sides:
    """All images in one call, and one call an image."""
    many = jax.jit(jax.vmap(function, (None, *(0 for _ in arrays))))
    one = jax.jit(function)
    return lambda: many(network, *arrays), lambda: [one(network, *args) for args in zip(*arrays, strict=True)]


def of_pairs(name: str, precision: Any, masks: int) -> Any:
    network = models.with_precision(models.build(name), precision)
    size, dtype = models.card(name).size, models.image_dtype(precision)
    probe, gallery = jax.random.uniform(jax.random.key(0), (2, size, size, 3), dtype)
    embed = jax.jit(lambda n, x: n(x))
    pull = jax.jit(lambda n, x, i: jax.grad(lambda x: n(x)[i])(x))
    dimensions = embed(network, probe).shape[0]

    def corrrise() -> Any:
        return explainers.EXPLAINERS["corrrise"].explain_pair(
            network, probe, gallery, key=jax.random.key(3), masks=masks, patches=10
        )

    yield "corrrise", (corrrise, lambda: [embed(network, face) for _ in range(masks) for face in (probe, gallery)])
    yield (
        "fggb",
        (
            lambda: explainers.EXPLAINERS["fggb"].explain_pair(network, probe, gallery),
            lambda: [pull(network, face, i) for face in (probe, gallery) for i in range(dimensions)],
        ),
    )
    for method in ("grad_cam", "grad_cam_ew"):
        row = explainers.EXPLAINERS[method]
        pair = jax.jit(lambda n, p, g, row=row: row.explain_pair(n, p, g))
        faces = jnp.stack([probe, gallery] * 2)
        many = jax.jit(jax.vmap(lambda n, p, g, row=row: row.explain_pair(n, p, g), (None, 0, 0)))
        yield (
            method + FOUR,
            (
                lambda many=many, faces=faces: many(network, faces, faces[::-1]),
                lambda pair=pair, faces=faces: [pair(network, *two) for two in zip(faces, faces[::-1], strict=True)],
            ),
        )


if __name__ == "__main__":
    tyro.cli(main)
