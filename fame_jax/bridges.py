"""NumPy in, NumPy out: explainers and networks in the conventions of Quantus, Captum and XAITK.

Those libraries hold images in batches, mostly with channels first; here one image is `[H, W, 3]` and a batch is `vmap`.
A bridge turns the one into the other and nothing else: same map, same logits.
"""

import functools
from collections.abc import Callable, Iterator
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float32, Int
from numpy.typing import ArrayLike

from fame_jax._types import Image, Output
from fame_jax.explainers.table import explainer
from fame_jax.network import traceable

Channels = Literal["first", "last"]

Maps = Float32[np.ndarray, "images height width"]
"""In [0, 1], 0 is irrelevant."""

Outputs = Float32[np.ndarray, "images outputs"]
"""Logits or embeddings."""


def numpy_explainer(
    network: Any,
    method: str = "fame",
    *,
    channels: Channels = "first",
    batch_size: int = 8,
    seed: int = 0,
    **options: Any,
) -> Callable[[ArrayLike, ArrayLike], Maps]:
    """A method of `EXPLAINERS` for a network, as a function of NumPy arrays.

    It compiles once for each image size. The map of an image does not depend on the others of its batch.

    Args:
        network: image `[H, W, 3]` in [0, 1] to logits; normalisation belongs to it. Methods that need `features` and
            `head`, or probes, need them here too: `EXPLAINERS[method].needs`.
        method: one that explains classes.
        channels: `first` for images `[N, 3, H, W]`, `last` for `[N, H, W, 3]`.
        batch_size: images on the device at once.
        seed: of the methods that draw random numbers; image n draws with `fold_in(key(seed), n)`.
        **options: those of the method, by name: `EXPLAINERS[method].options("class")`.

    Returns:
        `f(images, labels) -> maps`: floating-point RGB in [0, 1], or 8-bit RGB, which is divided by 255; class indices
        `[N]`; maps `[N, H, W]` in [0, 1], `float32`.

    Raises:
        UnknownMethodError: for a name that is not in the table.
        ValueError: for a method that does not explain classes, or an option that it does not have. The function
            returned raises it for images of another layout or type, and for a number of labels other than of images.

    Example:
        >>> explain = numpy_explainer(network, "grad_cam")
        >>> maps = explain(images, labels)
    """
    row = explainer(method)
    if unknown := set(options) - set(row.options("class")):
        raise ValueError(
            f"numpy_explainer: {method} has no option {min(unknown)!r}; expected any of "
            f"{', '.join(sorted(row.options('class'))) or 'none'}."
        )

    @jax.jit
    def maps(network: Any, images: Array, labels: Array, keys: Array) -> Array:
        return jax.vmap(lambda *one: row.explain(network, *one[:2], key=one[2], **options))(images, labels, keys)

    program = functools.partial(maps, traceable(network))

    def explain(images: ArrayLike, labels: ArrayLike) -> Maps:
        ready = _channels_last(images, channels)
        if np.shape(labels) != (len(ready),):
            raise ValueError(f"labels: shape {np.shape(labels)}; expected one class index an image, ({len(ready)},).")
        keys = jax.vmap(functools.partial(jax.random.fold_in, jax.random.key(seed)))(jnp.arange(len(ready)))
        return _in_batches(program, batch_size, ready, np.asarray(labels, np.int32), keys)

    return explain


def numpy_network(
    network: Callable[[Image], Output], *, channels: Channels = "first", batch_size: int = 64
) -> Callable[[ArrayLike], Outputs]:
    """A network as a function of NumPy arrays: the prediction function that a metric asks for.

    Args:
        network: image `[H, W, 3]` in [0, 1] to logits or an embedding.
        channels: `first` for images `[N, 3, H, W]`, `last` for `[N, H, W, 3]`.
        batch_size: images on the device at once.

    Returns:
        `f(images) -> outputs`: images as for `numpy_explainer`; logits (not probabilities) or embeddings `[N, o]`,
        `float32`.

    Raises:
        ValueError: the function returned, for images of another layout or type.
    """
    program = functools.partial(jax.jit(lambda network, images: jax.vmap(network)(images)), traceable(network))

    def predict(images: ArrayLike) -> Outputs:
        return _in_batches(program, batch_size, _channels_last(images, channels))

    return predict


def _channels_last(images: ArrayLike, channels: Channels) -> Float32[np.ndarray, "images height width channels"]:
    """Checked, and as everything else here takes them."""
    if channels not in ("first", "last"):
        raise ValueError(f"channels={channels!r}; expected 'first' for [N, 3, H, W] or 'last' for [N, H, W, 3].")
    images = np.asarray(images)
    if images.dtype != np.uint8 and images.dtype.kind != "f":
        raise ValueError(f"images: {images.dtype}; expected floating-point RGB in [0, 1] or uint8.")
    axis = 1 if channels == "first" else -1
    if images.ndim != 4 or images.shape[axis] not in (1, 3) or not len(images):
        layout = "[N, 3, H, W]" if channels == "first" else "[N, H, W, 3]"
        raise ValueError(f"images: shape {images.shape}; expected {layout} (channels={channels!r}) with N above 0.")
    ready = np.moveaxis(images, axis, -1).astype(np.float32)
    return ready / np.float32(255) if images.dtype == np.uint8 else ready


def _in_batches(program: Callable[..., Array], size: int, *arrays: Any) -> Float32[np.ndarray, "images ..."]:
    """A program of batches over any number of examples; the last batch is filled up, so that one shape is compiled."""
    count = len(arrays[0])
    found = [np.asarray(program(*(array[chosen] for array in arrays))) for chosen in _chosen(count, min(size, count))]
    return np.concatenate(found)[:count].astype(np.float32)


def _chosen(count: int, size: int) -> Iterator[Int[np.ndarray, " size"]]:
    """Indices of equal-sized batches; the last example fills the final one."""
    for start in range(0, count, size):
        yield np.minimum(np.arange(start, start + size), count - 1)
