"""What each precision costs and how far its map is from float64's, on one photograph.

Usage: python scripts/bench_precision.py [PHOTO] [--model mobilenet_v2] [--iterations 500]
"""

import argparse
import pathlib
import time

import jax

jax.config.update("jax_enable_x64", True)

import jax.numpy as jnp  # noqa: E402 - after the switch to 64 bits
import numpy as np  # noqa: E402

from fame_jax import (  # noqa: E402
    attribution,
    class_logit,
    models,
    perturb,
)
from fame_jax.data.images import load as load_image  # noqa: E402
from fame_jax.data.images import sample_path  # noqa: E402

PRECISIONS = ("float64", "float32", "tf32", "bfloat16")


def measured(name: str, path: pathlib.Path, precision, steps: int, weights: pathlib.Path | None):
    """The map, the final logit, and seconds a step without compilation."""
    card, network = models.card(name), models.load(name, weights, precision=precision)
    image = jnp.asarray(load_image(path, card.resize, card.size), models.image_dtype(precision))
    label = int(jnp.argmax(models.load(name, weights)(image.astype(jnp.float32))))
    perturb(class_logit, image, network, label, iterations=1).perturbed.block_until_ready()
    start = time.perf_counter()
    walk = jax.block_until_ready(perturb(class_logit, image, network, label, iterations=steps))
    seconds = (time.perf_counter() - start) / (steps + 1)
    return np.asarray(attribution(image, walk.perturbed), np.float64), float(walk.last_loss), seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photo", nargs="?", type=pathlib.Path, default=sample_path("cat"))
    parser.add_argument("--model", default="mobilenet_v2")
    parser.add_argument("--weights", type=pathlib.Path)
    parser.add_argument("--iterations", type=int, default=500)
    options = parser.parse_args()
    print(
        f"{options.model}, {options.photo.name}, {options.iterations} steps, JAX {jax.__version__}, {jax.devices()[0]}"
    )
    reference = None
    for precision in PRECISIONS:
        map, logit, seconds = measured(options.model, options.photo, precision, options.iterations, options.weights)
        reference = map if reference is None else reference
        correlation = np.corrcoef(reference.ravel(), map.ravel())[0, 1]
        print(f"{precision:9}  {1e3 * seconds:7.1f} ms a step  last logit {logit:8.2f}  correlation {correlation:.4f}")


if __name__ == "__main__":
    main()
