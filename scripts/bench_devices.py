"""Images a second over one, two, four ... devices: as many slots on each, as many images for each, full walks.

On a CPU virtual devices share the cores, of which one device uses all it can; so compare with a run on one core, too:

    XLA_FLAGS=--xla_force_host_platform_device_count=2 python scripts/bench_devices.py
    taskset -c 0 python scripts/bench_devices.py
"""

import statistics

import jax
import numpy as np
import tyro
from jax.sharding import Mesh

from fame_jax import bench, class_logit, models, similarity
from fame_jax.batching import perturb_many
from fame_jax.words import markdown


def main(
    network: str = "mobilenet_v2",
    precision: models.Precision = "float32",
    slots: int = 4,
    batches: int = 2,
    iterations: int = 20,
    repeats: int = 3,
) -> None:
    """Prints a table.

    Args:
        network: name in the registry; random weights.
        precision: of the network.
        slots: images at once on each device.
        batches: of so many images each device walks in one turn.
        iterations: steps of each image.
        repeats: turns of every number of devices, of which the median counts.
    """
    jax.config.update("jax_enable_x64", precision == "float64")
    model = models.with_precision(models.build(network), precision)
    card, devices, random = models.card(network), jax.devices(), np.random.default_rng(0)
    dtype, face = models.image_dtype(precision), card.task == "face"
    images = random.random((len(devices) * slots * batches, card.size, card.size, 3)).astype(dtype)
    outputs = jax.eval_shape(model, images[0]).shape
    targets = random.normal(size=(len(images), *outputs)).astype(dtype) if face else np.arange(len(images)) % outputs[0]
    examples = [(image, (target,)) for image, target in zip(images, targets, strict=True)]

    def walk(number: int) -> None:
        options = {"batch_size": number * slots, "mesh": Mesh(np.array(devices[:number]), ("batch",))}
        stream = examples[: number * slots * batches]
        for _ in perturb_many(similarity if face else class_logit, stream, model, iterations=iterations, **options):
            pass

    numbers = [2**i for i in range(len(devices).bit_length()) if 2**i <= len(devices)]
    sides = {str(number): (lambda number=number: walk(number)) for number in numbers}
    bench.alternating(sides, 1)
    seconds = {side: statistics.median(turns) for side, turns in bench.alternating(sides, repeats).items()}
    rate = {number: number * slots * batches / seconds[str(number)] for number in numbers}
    print(f"{network}, {precision}, {devices[0].device_kind}, JAX {jax.__version__}, {slots} slots a device")
    rows = [("devices", f"images of {iterations} steps a second", "of one device's", "of the ideal")]
    rows += [(f"{n}", f"{rate[n]:.2f}", f"{rate[n] / rate[1]:.2f}", f"{rate[n] / rate[1] / n:.0%}") for n in numbers]
    print(markdown(rows))


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
