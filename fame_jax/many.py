"""Any method over a stream of images of one's own: `fame_jax.explain_many`."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sized
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fame_jax.core import Explanation
from fame_jax.engine import Engine, explained
from fame_jax.explainers.explainer import Explainer
from fame_jax.options import OptionError, check_image, target_index
from fame_jax.questions import Question


def explain_many(
    network: Any,
    images: Iterable[Any],
    method: str | Explainer | Callable[..., Any] = "fame",
    targets: Iterable[Any] = itertools.repeat(None),
    *,
    preset: str = "paper",
    batch_size: int | None = None,
    seed: int = 0,
    dtype: Any = None,
    **options: Any,
) -> Iterator[Explanation]:
    """Any method over a stream of images, on all devices and in bounded memory.

    Args:
        network: image `[H, W, C]` in [0, 1] to logits.
        images: `[H, W, C]` in [0, 1], all of one size.
        method: a name of `EXPLAINERS`, or one of your own, see `fame_jax.explainers.explainer`.
        targets: a class for each image; None for the top one.
        preset: `paper` or `official`.
        batch_size: images at once; None for one a device on CPU, and as many as fit elsewhere.
        seed: of methods that draw random numbers; an image draws with `image_key(seed, image)`.
        dtype: of images and walks; None for float64 where JAX computes in 64 bits and the first image has them, as
            `explain` does, and float32 elsewhere.
        **options: of the method.

    Returns:
        Iterator over results, in the order of the images, as NumPy arrays.

    Raises:
        MethodError: for an unknown method or option.
        OptionError: for targets that are no list, an image of whole numbers, or a target that is no index.
        ValueError: for more targets than images; for images of several sizes, or fewer targets, once what comes before
            is yielded.
    """
    if not isinstance(targets, Iterable):
        raise OptionError(f"targets={targets!r}: expected a class for each image, such as [{targets!r}] for one.")
    if isinstance(images, Sized) and isinstance(targets, Sized) and len(targets) > len(images):
        raise ValueError(f"explain_many: {len(targets)} targets and {len(images)} images; expected one for each.")
    images = iter(images)
    if dtype is None:
        first = list(itertools.islice(images, 1))
        images = itertools.chain(first, images)
        dtype = jnp.float64 if jax.config.read("jax_enable_x64") and any(map(_is_wide, first)) else jnp.float32
    engine = Engine(network, dtype=dtype, batch_size=batch_size, seed=seed)
    found = explained(engine, [engine.method(method, options, preset)], _asked(images, targets))
    return (results[0][0] for _, results in found)  # type: ignore[misc]


def _is_wide(image: Any) -> bool:
    return np.dtype(getattr(image, "dtype", np.float32)) == np.float64


def _asked(images: Iterable[Any], targets: Iterable[Any]) -> Iterator[Question]:
    rest, shape = iter(targets), None
    for number, image in enumerate(images):
        try:
            target = next(rest)
        except StopIteration:
            raise ValueError(f"explain_many: {number} targets and more images; expected one for each.") from None
        # A copy: whoever reads frames into one buffer overwrites it before a batch is full.
        image = np.array(image)
        shape = image.shape if shape is None else shape
        if image.shape != shape:
            raise ValueError(
                f"explain_many: image {number} is {list(image.shape)}; expected {list(shape)}, as image 0: all of one "
                "size."
            )
        try:
            check_image(image)
            yield Question((image,), None if target is None else target_index(target, ()))
        except OptionError as error:
            raise OptionError(f"explain_many, image {number}: {error}") from None
