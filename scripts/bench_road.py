"""ROAD's imputation: all images at once on the device against SciPy's sparse direct solver, image by image.

Both sides solve the same systems, in turn, in one process. SciPy has to build a matrix for every mask and to solve it;
both times are shown, and the ratio is that of their sum to `impute`'s, from image and mask to noisy image. The last
line of a mask is ROAD-Delete as the paper reports it: 10, 30 and 50 % removed.

Run it with OPENBLAS_NUM_THREADS=1: SciPy's solver gains nothing from more, and threads that wait for work spin, which
slows the other side.
"""

import platform
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy
import tyro
from scipy import sparse
from scipy.sparse.linalg import spsolve

from fame_jax.image import gaussian_blur
from fame_jax.metrics.imputation import impute
from fame_jax.metrics.masks import deletion_mask
from fame_jax.metrics.road import PERCENTS


def seconds(work: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    result = jax.block_until_ready(work())
    return time.perf_counter() - start, result


def stencil(size: int) -> sparse.csr_array:
    """The matrix of the whole image: weights 1/6 and 1/12 to the neighbours inside it, their sum on the diagonal."""
    taps = sparse.csr_array(2 * np.eye(size) + np.eye(size, k=1) + np.eye(size, k=-1))
    weights = (sparse.kron(taps, taps) - 4 * sparse.eye_array(size * size)) / 12
    return (sparse.diags_array(weights.sum(axis=1)) - weights).tocsr()


def system(whole: sparse.csr_array, image: np.ndarray, missing: np.ndarray) -> tuple[sparse.csc_array, np.ndarray]:
    rows = whole[np.flatnonzero(missing)]
    known = np.flatnonzero(~missing)
    return rows[:, np.flatnonzero(missing)].tocsc(), -(rows[:, known] @ image.reshape(-1, image.shape[-1])[known])


def main(images: int = 8, size: int = 224, repeats: int = 5, seed: int = 0) -> None:
    """Prints milliseconds an image and the ratio at 10, 30, 50 and 90 % removed, and over the first three.

    Args:
        images: number of images in the batch.
        size: side in pixels.
        repeats: measurements, of which the median counts.
        seed: of images and masks.
    """
    image_key, mask_key, noise_key = jax.random.split(jax.random.key(seed), 3)
    smooth = jax.vmap(jax.vmap(gaussian_blur, in_axes=2, out_axes=2))
    batch = jax.random.uniform(image_key, (images, size, size, 3))
    batch = jnp.clip(0.5 + 4 * (smooth(batch) - 0.5) + 0.1 * (batch - 0.5), 0, 1)
    scattered = jax.random.uniform(mask_key, (images, size, size))
    maps = {"like a map": jax.vmap(gaussian_blur)(scattered), "scattered": scattered}
    keys = jax.random.split(noise_key, images)
    whole, solve = stencil(size), jax.vmap(lambda *one: impute(*one, noise=0.0))

    device = jax.devices()[0]
    print(
        f"{device.platform} {device.device_kind} ({platform.machine()}), jax {jax.__version__}, scipy"
        f" {scipy.__version__}, numpy {np.__version__}, float32, {images} images of {size}x{size}, ms an image,"
        f" median of {repeats}"
    )
    print(f"{'mask':12}{'removed':>8}{'build':>9}{'spsolve':>9}{'impute':>9}{'ratio':>8}{'steps':>7}{'difference':>12}")
    for name, map in maps.items():
        paper = np.zeros(2)
        for fraction in (0.1, 0.3, 0.5, 0.9):
            missing = ~jax.vmap(deletion_mask, (0, None))(map, fraction)
            host = list(zip(np.asarray(batch, np.float64), np.asarray(missing), strict=True))
            building, systems = seconds(lambda: [system(whole, *one) for one in host])  # noqa: B023
            jax.block_until_ready(solve(batch, missing, keys))
            times = [
                (seconds(lambda: [spsolve(*one) for one in systems]), seconds(lambda: solve(batch, missing, keys)))  # noqa: B023
                for _ in range(repeats)
            ]
            solving, ours = (statistics.median(side[0] for side in sides) for sides in zip(*times, strict=True))
            build, spsolve_, impute_ = (1e3 * time / images for time in (building, solving, ours))
            if fraction in PERCENTS:
                paper += build + spsolve_, impute_
            expected, result = times[-1][0][1], times[-1][1][1]
            difference = max(
                np.abs(np.asarray(imputed)[gone] - solution).max()
                for imputed, (_, gone), solution in zip(result.imputed, host, expected, strict=True)
            )
            print(
                f"{name:12}{fraction:8.0%}{build:9.1f}{spsolve_:9.1f}{impute_:9.1f}{(build + spsolve_) / impute_:8.1f}"
                f"{int(result.iterations.max()):7}{difference:12.1e}",
                flush=True,
            )
        print(f"{name:12}{'10-50%':>8}{paper[0]:18.1f}{paper[1]:9.1f}{paper[0] / paper[1]:8.1f}", flush=True)


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
