"""Maps that know nothing of the network: what every other method has to beat.

Metrics that replace pixels reward smooth maps and, with photographs, maps of the centre; so there is white noise,
blurred noise and a blob.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import PRNGKeyArray

from fame_jax._types import Attribution, Image
from fame_jax.explainers.pairs import PairMaps
from fame_jax.image import blurred, blurs_whole, max_normalise, minmax_normalise


def random_map(image: Image, key: PRNGKeyArray) -> Attribution:
    """Uniform noise `[H, W]` in [0, 1]: what a map without any information scores."""
    return jax.random.uniform(key, image.shape[:2], jnp.float32).astype(image.dtype)


@blurs_whole
def random_blurred_map(
    image: Image, key: PRNGKeyArray, *, kernel_size: int | None = 49, sigma: ArrayLike | None = None
) -> Attribution:
    """Uniform noise, blurred as FAME's maps are and stretched to [0, 1], `[H, W]`.

    Args:
        image: `[H, W, C]`, of which only the shape counts.
        key: of the noise.
        kernel_size: see `fame_jax.attribution`.
        sigma: see `fame_jax.attribution`.
    """
    return minmax_normalise(blurred(random_map(image, key), kernel_size, sigma))


def blob_map(image: Image) -> Attribution:
    """A Gaussian blob in the centre, `[H, W]` in [0, 1]; its standard deviation is a quarter of the shorter side."""
    height, width, _ = image.shape
    rows, columns = (jnp.arange(size, dtype=image.dtype) - (size - 1) / 2 for size in (height, width))
    return max_normalise(jnp.exp(-8 * (rows[:, None] ** 2 + columns[None, :] ** 2) / min(height, width) ** 2))


def of_class(floor: Callable[..., Attribution]) -> Callable[..., Attribution]:
    """A map of an image, with or without a key, as a method of classes."""

    @functools.wraps(floor)
    def explain(network: Any, image: Image, label: ArrayLike, **options: Any) -> Attribution:
        return floor(image, **options)

    return explain


def of_pair(floor: Callable[..., Attribution]) -> Callable[..., PairMaps]:
    """The same as a method of pairs: four maps, of four keys."""

    @functools.wraps(floor)
    def explain(
        network: Any, probe: Image, gallery: Image, *, key: PRNGKeyArray | None = None, **options: Any
    ) -> PairMaps:
        keys = [{}] * 4 if key is None else [{"key": each} for each in jax.random.split(key, 4)]
        faces = probe, probe, gallery, gallery
        return PairMaps(*(floor(face, **options, **of_one) for face, of_one in zip(faces, keys, strict=True)))

    return explain
