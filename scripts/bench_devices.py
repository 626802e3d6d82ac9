"""Images a second over one, two, four ... devices: as many slots on each, as many images for each, full walks.

On a CPU virtual devices share the cores, of which one device uses all it can; so compare with a run on one core, too:

    XLA_FLAGS=--xla_force_host_platform_device_count=2 python scripts/bench_devices.py
    taskset -c 0 python scripts/bench_devices.py
"""

import pathlib
import statistics

import jax
import numpy as np
import tyro
from jax.sharding import Mesh
from matplotlib.figure import Figure

from fame_jax import bench, class_logit, files, models, similarity
from fame_jax.batching import perturb_many
from fame_jax.batching.examples import Example
from fame_jax.words import markdown


def main(
    network: str = "mobilenet_v2",
    precision: models.Precision = "float32",
    slots: int = 4,
    batches: int = 2,
    iterations: int = 20,
    repeats: int = 3,
    out: pathlib.Path = pathlib.Path("bench-devices"),
) -> None:
    """Prints a table; writes it as JSON and as a picture, too.

    Args:
        network: name in the registry; random weights.
        precision: of the network.
        slots: images at once on each device.
        batches: of so many images each device walks in one turn.
        iterations: steps of each image.
        repeats: turns of every number of devices, of which the median counts.
        out: folder for the results.
    """
    jax.config.update("jax_enable_x64", precision == "float64")
    model = models.with_precision(models.build(network), precision)
    devices = jax.devices()
    numbers = [2**i for i in range(len(devices).bit_length()) if 2**i <= len(devices)]
    out.mkdir(parents=True, exist_ok=True)

    def walk(number: int) -> None:
        mesh = Mesh(np.array(devices[:number]), ("batch",))
        stream = examples(network, precision, number * slots * batches)
        loss = similarity if models.card(network).task == "face" else class_logit
        for _ in perturb_many(loss, stream, model, batch_size=number * slots, mesh=mesh, iterations=iterations):
            pass

    sides = {str(number): (lambda number=number: walk(number)) for number in numbers}
    bench.alternating(sides, 1)
    seconds = {side: statistics.median(turns) for side, turns in bench.alternating(sides, repeats).items()}
    rate = {number: number * slots * batches / seconds[str(number)] for number in numbers}
    print(f"{network}, {precision}, {devices[0].device_kind}, JAX {jax.__version__}, {slots} slots a device")
    rows = [("devices", f"images of {iterations} steps a second", "of one device's", "of the ideal")]
    rows += [
        (f"{number}", f"{rate[number]:.2f}", f"{rate[number] / rate[1]:.2f}", f"{rate[number] / rate[1] / number:.0%}")
        for number in numbers
    ]
    print(markdown(rows))
    record = {
        "network": network,
        "precision": precision,
        "slots": slots,
        "iterations": iterations,
        "images_a_second": rate,
    }
    files.write_json(out / "bench_devices.json", {**files.environment(), **record})
    picture(rate).savefig(out / "bench_devices.png", dpi=120)
    print(f"\nWrote {out}/bench_devices.json and .png")


def examples(network: str, precision: models.Precision, count: int) -> list[Example]:
    """Random images, with a label or a random reference each."""
    card, random = models.card(network), np.random.default_rng(0)
    dtype = models.image_dtype(precision)
    images = random.random((count, card.size, card.size, 3)).astype(dtype)
    if card.task == "class":
        return [(image, (np.int32(i),)) for i, image in enumerate(images)]
    length = jax.eval_shape(models.build(network), images[0]).shape[0]
    return [(image, (random.normal(size=length).astype(dtype),)) for image in images]


def picture(rate: dict[int, float]) -> Figure:
    """Throughput by number of devices, and the straight line through that of one."""
    figure = Figure(figsize=(5, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot(list(rate), list(rate.values()), marker="o")
    axes.plot([0, max(rate)], [0, max(rate) * rate[1]], linestyle="--", color="grey")
    axes.set(xlabel="devices", ylabel="images a second", xlim=(0, None), ylim=(0, None))
    return figure


if __name__ == "__main__":
    tyro.cli(main)
