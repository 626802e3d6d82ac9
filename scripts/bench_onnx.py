"""A FAME step of an ONNX graph against the hand-made port of the same network, and against the loop in PyTorch.

    python scripts/bench_onnx.py --sface face_recognition_sface_2021dec.onnx

Weights are random but SFace's, which is read from the publisher's file; of SFace there is no PyTorch form.
"""

import os
import pathlib
import statistics
from typing import Any

import jax
import numpy as np
import torch
import torch_walk
import tyro

from fame_jax import bench, files, models, onnx
from fame_jax.words import markdown

NETWORKS = "resnet50,mobilenet_v2,convnext_tiny,vit_b_16"


def main(
    network: str = NETWORKS,
    sface: pathlib.Path | None = None,
    batch_size: int = 1,
    iterations: int = 5,
    repeats: int = 7,
    out: pathlib.Path = pathlib.Path("bench-onnx"),
) -> None:
    """Prints a table, and writes it as JSON.

    Args:
        network: names in the registry with commas between them.
        sface: SFace's ONNX file.
        batch_size: images at once.
        iterations: steps of a turn.
        repeats: turns of all sides, of which the median counts.
        out: folder for the results.
    """
    print(f"{os.cpu_count()} cores, JAX {jax.__version__}, PyTorch {torch.__version__}, load {os.getloadavg()[0]:.1f}")
    out.mkdir(parents=True, exist_ok=True)
    found = [measured(name, None, batch_size, iterations, repeats) for name in network.split(",") if name]
    if sface is not None:
        found.append(measured("sface", sface, batch_size, iterations, repeats))
    files.write_json(out / "bench_onnx.json", {**files.environment(), "measured": found})
    header = ("network", "reader, ms a step", "port, ms", "PyTorch eager, ms", "reader / port", "reader / PyTorch")
    print(markdown([header, *map(row, found)]))


def measured(name: str, file: pathlib.Path | None, batch_size: int, iterations: int, repeats: int) -> dict[str, Any]:
    """Times of all sides in one run."""
    card, evaluations = models.card(name), iterations + 1
    port = bench.program(models.build(name), name, "float32", batch_size)
    module = None if file is not None else torch_walk.network(name, "float32")
    if file is not None:
        graph = onnx.read(file, photometry="opencv_sface")
    else:
        graph = onnx.from_torch(module, size=card.size, photometry="torchvision")
    read = bench.program(graph, name, "float32", batch_size)
    sides: dict[str, Any] = {
        "reader": lambda: bench.completed(read.run(evaluations), evaluations),
        "port": lambda: bench.completed(port.run(evaluations), evaluations),
    }
    if module is not None:
        steps = torch_walk.walk(module, np.asarray(port.images), "float32", "eager")
        sides["eager"] = lambda: steps(evaluations)
    for run in sides.values():
        run()
    times = bench.alternating(sides, repeats)
    return {
        "network": name,
        "milliseconds": {side: 1e3 * statistics.median(turns) / evaluations for side, turns in times.items()},
        "ratio": {side: bench.ratio(times, "reader", side) for side in times if side != "reader"},
    }


def row(entry: dict[str, Any]) -> tuple[str, ...]:
    """A line of the table."""
    spent, ratio = entry["milliseconds"], entry["ratio"]
    times = (f"{spent[side]:.1f}" if side in spent else "" for side in ("reader", "port", "eager"))
    return (entry["network"], *times, *(f"{ratio[side]:.2f}" if side in ratio else "" for side in ("port", "eager")))


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
