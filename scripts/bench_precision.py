"""What each precision costs and how far its map is from float64's, on one photograph."""

import pathlib
from typing import Annotated

import jax
import jax.numpy as jnp
import tyro

from fame_jax import bench, class_logit, explain, models
from fame_jax.data.images import sample_path
from fame_jax.data.records import Picture
from fame_jax.inputs import geometry, read
from fame_jax.metrics import pearson
from fame_jax.words import markdown


def main(
    photograph: Annotated[pathlib.Path | None, tyro.conf.Positional] = None,
    model: str = "mobilenet_v2",
    weights: pathlib.Path | None = None,
    iterations: int = 500,
) -> None:
    """Prints a table.

    Args:
        photograph: whose top class is explained; omitted: the packaged cat.
        model: a classifier.
        weights: of the model, if they are not installed.
        iterations: number of steps.
    """
    jax.config.update("jax_enable_x64", True)
    photograph = photograph or sample_path("cat")
    print(f"{model}, {photograph.name}, {iterations} steps, JAX {jax.__version__}, {jax.devices()[0].device_kind}\n")
    rows, reference, label = [("precision", "ms a step", "last logit", "correlation")], None, None
    program = jax.jit(lambda network, x, label, steps: explain(class_logit, x, network, label, iterations=steps))
    for precision in ("float64", "float32", "tf32", "bfloat16"):
        loaded = models.find(model, weights, precision=precision)
        network = loaded.network
        pixels = jnp.asarray(read(Picture(photograph), geometry(loaded.card)).image, models.image_dtype(precision))
        label = int(jnp.argmax(network(pixels))) if label is None else label
        program(network, pixels, label, 1)
        found = []
        seconds = bench.seconds(lambda: found.append(program(network, pixels, label, iterations)) or found)  # noqa: B023
        reference = found[0].attribution if reference is None else reference
        agreement = pearson(found[0].attribution, reference)
        milliseconds = 1e3 * seconds / (iterations + 1)
        rows.append((precision, f"{milliseconds:.1f}", f"{float(found[0].last_loss):.2f}", f"{float(agreement):.4f}"))
    print(markdown(rows))


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
