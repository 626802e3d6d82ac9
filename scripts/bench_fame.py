"""FAME's walk against the same loop in PyTorch, on one machine in one run: a step, an image, a thousand images.

All weights are random, so nothing has to be at hand. On a GPU:

    python scripts/bench_fame.py --network resnet50 --images 50 --iterations 500 --precision tf32,bfloat16,float64
"""

import os

os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # PyTorch is on the same card.

import pathlib
import statistics
import time
from typing import Any

import jax
import numpy as np
import torch
import torch_walk
import tyro

from fame_jax import bench, files, models
from fame_jax.paper import numbers
from fame_jax.words import markdown

NETWORKS = "resnet50,resnet101,vgg19,convnext_tiny,mobilenet_v2,iresnet50"


def main(
    network: str = NETWORKS,
    precision: str = "float32",
    images: int = 4,
    batch_size: int = 0,
    iterations: int = 4,
    repeats: int = 3,
    forms: str = ",".join(torch_walk.FORMS if torch_walk.DEVICE == "cuda" else torch_walk.FORMS[:2]),
    torch_steps: int = 0,
    cpu_time: bool = False,
    profile: pathlib.Path | None = None,
    out: pathlib.Path = pathlib.Path("bench-fame"),
) -> None:
    """Prints a table, and writes it as JSON.

    Args:
        network: names in the registry with commas between them.
        precision: precisions with commas between them.
        images: images that are walked, in batches.
        batch_size: images at once; 0 for all of them.
        iterations: steps that each image is walked.
        repeats: turns of both sides, of which the median counts.
        forms: of PyTorch's loop: eager, channels_last, compile (half a minute more on a CPU); one that fails is
            reported and left out.
        torch_steps: steps of PyTorch's turn, whose time is a step's; 0 for as many as ours.
        cpu_time: count processor time; for a machine that others use, with one thread on either side
            (`OMP_NUM_THREADS=1 XLA_FLAGS=--xla_cpu_multi_thread_eigen=false taskset -c 0 python ...`).
        profile: folder for a trace of what our step consists of.
        out: folder for the results.
    """
    names, precisions = network.split(","), precision.split(",")
    for name in names:
        models.card(name)
    jax.config.update("jax_enable_x64", "float64" in precisions)
    for name in precisions:
        models.image_dtype(name)  # type: ignore[arg-type]
    out.mkdir(parents=True, exist_ok=True)
    device = jax.devices()[0]
    print(
        f"{device.platform} {device.device_kind}, JAX {jax.__version__}, PyTorch {torch.__version__} on"
        f" {torch_walk.DEVICE}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f};"
        f" {images} images, batch {batch_size or images}, {iterations} steps, median of {repeats}"
        f"{', processor time' if cpu_time else ''}",
        flush=True,
    )
    found = []
    for name in names:
        for kind in precisions:
            clock = time.process_time if cpu_time else time.perf_counter
            entry = measured(name, kind, images, batch_size or images, iterations, repeats, forms, torch_steps, clock)
            found.append(entry)
            print(report(entry), flush=True)
            files.write_json(out / "bench_fame.json", {**files.environment(), "measured": found})
            if profile is not None:
                walk = bench.program(models.with_precision(models.build(name), kind), name, kind, batch_size or images)  # type: ignore[arg-type]
                walk.run(1)
                for operation, share in bench.profile(lambda: walk.run(4), profile / f"{name}-{kind}"):  # noqa: B023
                    print(f"  {share:6.1%}  {operation}")
    print(f"\nWrote {out}/bench_fame.json")


def measured(
    name: str,
    precision: Any,
    images: int,
    batch_size: int,
    iterations: int,
    repeats: int,
    forms: str,
    torch_steps: int,
    clock: bench.Clock,
) -> dict[str, Any]:
    """Both sides' times, and what 1000 images come to."""
    ours = bench.program(models.with_precision(models.build(name), precision), name, precision, batch_size)
    evaluations, theirs = iterations + 1, torch_steps or iterations + 1
    batches = -(-images // batch_size)
    ours.run(1)
    sides: dict[str, Any] = {
        "fame_jax": lambda: [bench.completed(ours.run(evaluations), evaluations) for _ in range(batches)]
    }
    module, failed = torch_walk.network(name, precision), {}
    for form in forms.split(",") if forms else ():
        try:
            steps = torch_walk.walk(module, np.asarray(ours.images), precision, form)
            sides[form] = lambda steps=steps: steps(theirs)
        except Exception as error:
            failed[form] = (str(error).strip() or type(error).__name__).splitlines()[0]
    times = bench.alternating(sides, repeats, clock)
    per_step = {
        form: [s / (evaluations * batches if form == "fame_jax" else theirs) for s in turns]
        for form, turns in times.items()
    }
    step = statistics.median(per_step["fame_jax"])
    return {
        "network": name,
        "precision": precision,
        "batch_size": batch_size,
        "images": images,
        "iterations": iterations,
        "compile_seconds": ours.compile_seconds,
        "memory_bytes": (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use", ours.temporary_bytes),
        "step_seconds": {form: statistics.median(turns) for form, turns in per_step.items()},
        "ratio": {form: bench.ratio(per_step, "fame_jax", form) for form in per_step if form != "fame_jax"},
        "failed": failed,
        "linearity": bench.linearity(ours.run, (2, max(3, evaluations // 2), max(4, evaluations)), 1, clock),
        "seconds_of_1000_images": {count: 1000 / batch_size * step * (count + 1) for count in numbers.TABLE_3_STEPS},
    }


def report(entry: dict[str, Any]) -> str:
    """One measurement in words."""
    step, total = entry["step_seconds"], entry["seconds_of_1000_images"]
    memory = entry["memory_bytes"]
    lines = [
        f"\n{entry['network']}, {entry['precision']}: compiled in {entry['compile_seconds']:.1f} s,"
        f" {1e3 * step['fame_jax']:.2f} ms a step of the batch, {step['fame_jax'] / entry['batch_size'] * 1e3:.2f} ms"
        f" an image's, {'-' if memory is None else f'{memory / 2**20:.0f}'} MiB; a step's time varies by"
        f" {entry['linearity']:.0%} with the number of steps"
    ]
    rows = [("PyTorch", "ms a step", "fame_jax / PyTorch")]
    rows += [(form, f"{1e3 * step[form]:.2f}", f"{entry['ratio'][form]:.2f}") for form in entry["ratio"]]
    lines.append(markdown(rows))
    lines += [f"{form} does not work here: {reason}" for form, reason in entry["failed"].items()]
    if entry["network"] == "resnet50":
        goal = bench.GOALS.get(entry["precision"])
        lines.append(
            f"1000 images x 500 steps, extrapolated: {total[500]:.0f} s"
            + (f"; the goal on one H200 is {goal:.0f} s" if goal else "")
        )
        rows = [("steps", "1000 images, s", "the paper's, s", "ratio")]
        rows += [
            (f"{count}", f"{total[count]:.1f}", f"{paper}", f"{total[count] / paper:.4f}")
            for count, paper in numbers.TABLE_3_STEPS.items()
        ]
        lines.append(markdown(rows))
    return "\n".join(lines)


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
