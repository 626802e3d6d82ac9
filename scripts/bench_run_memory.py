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
from fame_jax.experiments.run import run
from fame_jax.experiments.settings import Settings


def main(photographs: int = 2000, model: str = "mobilenet_v2", iterations: int = 1, every: int = 200) -> None:
    """Prints a table of the memory after every so many photographs.

    Args:
        photographs: how many.
        model: a classifier.
        iterations: steps of each walk.
        every: photographs between two lines.
    """
    random, steps, start = np.random.default_rng(0), 0, time.perf_counter()

    def progress(count: int) -> None:
        nonlocal steps
        before, steps = steps, steps + count
        if steps // (every * iterations) > before // (every * iterations):
            pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
            mib = pages * resource.getpagesize() / 2**20
            print(f"| {steps // iterations} | {mib:.0f} | {time.perf_counter() - start:.0f} |", flush=True)

    with tempfile.TemporaryDirectory() as folder:
        pictures = pathlib.Path(folder, "pictures")
        pictures.mkdir()
        for number in range(photographs):
            Image.fromarray(random.integers(0, 256, (256, 320, 3), np.uint8)).save(pictures / f"{number:05}.jpg")
        print(f"{jax.devices()[0].device_kind}, JAX {jax.__version__}, {model}, {iterations} steps\n")
        print("| photographs | resident, MiB | seconds |\n|---|---|---|")
        settings = Settings(options={"iterations": iterations})
        data = read("folder", pictures)
        run(models.find(model), data, "fame", pathlib.Path(folder, "maps"), settings, progress=progress)


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
