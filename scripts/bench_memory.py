"""Memory of FAME by batch size, of FGGB and CorrRISE by chunk size: what a program needs besides weights and images.

The compiler's own plan says so exactly, so nothing has to be run; `--run` also times one pair. With defaults: 512
dimensions for FGGB, 500 masks for CorrRISE.
"""

import functools

import jax
import jax.numpy as jnp
import tyro

from fame_jax import bench, models
from fame_jax.explainers.table import explainer
from fame_jax.words import markdown


def main(
    network: str = "iresnet101",
    chunks: tuple[int, ...] = (1, 8, 32, 64, 128),
    run: bool = False,
    walk: str = "resnet50",
    batches: tuple[int, ...] = (1, 4, 16, 64, 256),
) -> None:
    """Prints two tables.

    Args:
        network: a face network of the registry; its weights do not matter.
        chunks: dimensions or masks in memory at once.
        run: run every program of the face network once, too.
        walk: the network of FAME's walk.
        batches: images that walk at once.
    """
    of_walk(walk, batches)
    of_pairs(network, chunks, run)


def of_walk(network: str, batches: tuple[int, ...]) -> None:
    """Of FAME by batch size."""
    weights, rows = models.build(network), [("batch", "temporary memory, MiB", "an image, MiB")]
    print(f"{jax.devices()[0].device_kind}, JAX {jax.__version__}, FAME, {network}, float32\n")
    for batch in batches:
        needed = bench.program(weights, network, "float32", batch).temporary_bytes
        if needed is None:
            raise SystemExit("This backend does not tell how much memory a program needs.")
        rows.append((f"{batch}", f"{needed / 2**20:.0f}", f"{needed / 2**20 / batch:.0f}"))
    print(markdown(rows))


def of_pairs(network: str, chunks: tuple[int, ...], run: bool) -> None:
    """Of FGGB and CorrRISE by chunk size."""
    size, key = models.card(network).size, jax.random.key(0)
    face = jax.ShapeDtypeStruct((size, size, 3), jnp.float32)
    print(f"{jax.devices()[0].device_kind}, JAX {jax.__version__}, {network}, float32\n")
    rows = [("method", "chunk", "temporary memory, MiB", "a pair, s")]
    for method in ("fggb", "corrrise"):
        for chunk in chunks:
            explain = functools.partial(explainer(method).explain_pair, key=key, chunk=chunk)
            program = jax.jit(explain).lower(models.abstract(network), face, face).compile()
            if (plan := program.memory_analysis()) is None:
                raise SystemExit("This backend does not tell how much memory a program needs.")
            seconds = "-"
            if run:
                weights, faces = models.build(network), jax.random.uniform(key, (2, size, size, 3))
                seconds = f"{bench.seconds(functools.partial(program, weights, *faces)):.1f}"
            rows.append((explainer(method).title, f"{chunk}", f"{plan.temp_size_in_bytes / 2**20:.0f}", seconds))
    print(markdown(rows))


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
