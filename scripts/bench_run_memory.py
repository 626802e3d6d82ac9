"""Memory of `fame run` by the number of photographs that went through it: a data set of any size needs the same.

Photographs are made up in a temporary folder. Resident memory is read from /proc, so this runs on Linux.
"""

import pathlib
import resource
import tempfile
import time

import jax
import numpy as np
import tyro
from PIL import Image

from fame_jax import models
from fame_jax.datasets.catalogue import read
from fame_jax.experiments.run import prepared
from fame_jax.experiments.settings import Settings

MIB = 2**20


def resident() -> float:
    """MiB in use now."""
    return int(pathlib.Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / MIB


def main(photographs: int = 2000, model: str = "mobilenet_v2", iterations: int = 1, every: int = 200) -> None:
    """Prints a table of the memory after every so many photographs.

    Args:
        photographs: how many.
        model: a classifier.
        iterations: steps of each walk.
        every: photographs between two lines.
    """
    random = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        pictures = pathlib.Path(folder, "pictures")
        pictures.mkdir()
        for number in range(photographs):
            Image.fromarray(random.integers(0, 256, (256, 320, 3), np.uint8)).save(pictures / f"{number:05}.jpg")
        network, settings = models.load(model), Settings(options={"iterations": iterations})
        print(
            f"{jax.devices()[0].device_kind}, JAX {jax.__version__}, {model}, {iterations} steps, {photographs} files\n"
        )
        print("| photographs | resident, MiB | seconds |")
        print("|---|---|---|")
        steps, start = 0, time.perf_counter()

        def progress(count: int) -> None:
            nonlocal steps
            before, steps = steps, steps + count
            if steps // (every * iterations) > before // (every * iterations):
                print(f"| {steps // iterations} | {resident():.0f} | {time.perf_counter() - start:.0f} |", flush=True)

        data, card = read("folder", pictures), models.card(model)
        with prepared(data, card, "fame", pathlib.Path(folder, "maps"), settings, weights_sha256="") as job:
            job.finish(network, progress)


if __name__ == "__main__":
    tyro.cli(main)
