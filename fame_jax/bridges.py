"""To other libraries and from them: networks of PyTorch and Keras in; explainers of NumPy arrays out.

Quantus, Captum and XAITK hold images in batches, mostly with channels first; here one image is `[H, W, C]` and a batch
is `vmap`.
A bridge turns the one into the other and nothing else: same map, same logits.
"""

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from jaxtyping import Float32
from numpy.typing import ArrayLike

from fame_jax._types import Image, Output
from fame_jax.batching import map_many
from fame_jax.batching.devices import usual_batch
from fame_jax.engine import Engine, explained
from fame_jax.explainers.explainer import Explainer
from fame_jax.network import Split, vector
from fame_jax.questions import Question
from fame_jax.words import did_you_mean

Channels = Literal["first", "last"]

Maps = Float32[np.ndarray, "images height width"]
"""In [0, 1], 0 is irrelevant."""

Outputs = Float32[np.ndarray, "images outputs"]
"""Logits or embeddings."""

_MOST = 8
"""Images at once where nobody has said how many: what is missing is filled up, and one program serves any number."""


def numpy_explainer(
    network: Any,
    method: str | Explainer | Callable[..., Any] = "fame",
    *,
    channels: Channels = "first",
    batch_size: int | None = None,
    seed: int = 0,
    **options: Any,
) -> Callable[[ArrayLike, ArrayLike], Maps]:
    """A method for a network, as a function of NumPy arrays.

    It compiles once for each image size, whatever the number of images. The map of an image does not depend on the
    others, nor on its place among them.

    Args:
        network: image `[H, W, C]` in [0, 1] to logits; normalisation belongs to it. Methods that need `features` and
            `head` need them here too: `EXPLAINERS[method].needs`.
        method: one that explains classes, of `EXPLAINERS` or your own.
        channels: `first` for images `[N, C, H, W]`, `last` for `[N, H, W, C]`; C is 3 for RGB, or any number.
        batch_size: images on the device at once; None for 1 on a CPU, 8 elsewhere.
        seed: of the methods that draw random numbers; an image draws with `fame_jax.explainers.image_key(seed, image)`.
        **options: those of the method, by name: `EXPLAINERS[method].options("class")`.

    Returns:
        `f(images, labels) -> maps`: floating-point pixels in [0, 1], or 8 bits, which are divided by 255; class indices
        `[N]`; maps `[N, H, W]` in [0, 1], `float32`.

    Raises:
        MethodError: for a name that is not in the table, a method that does not explain classes, or an option that it
            does not have.
        ValueError: the function returned, for images of another layout or type, a number of labels other than of
            images, or a label that the network has no output for.
        NetworkError: the function returned, for a network of several outputs, see `fame_jax.Picked`.

    Example:
        >>> explain = numpy_explainer(network, "grad_cam")
        >>> maps = explain(images, labels)
    """
    engine = Engine(network, batch_size=batch_size or min(_MOST, usual_batch()), seed=seed)
    ready = engine.method(method, options)

    def explain(images: ArrayLike, labels: ArrayLike) -> Maps:
        pixels, targets = _channels_last(images, channels), np.asarray(labels)
        if targets.shape != (len(pixels),) or targets.dtype.kind not in "iu":
            raise ValueError(
                f"labels: {targets.dtype} {targets.shape}; expected one class index an image, ({len(pixels)},)."
            )
        questions = [Question((image,), int(label)) for image, label in zip(pixels, targets, strict=True)]
        if reasons := [reason for question in questions if (reason := engine.refusal(question))]:
            raise ValueError(f"labels: {reasons[0]}.")
        found = [results[0].attribution for _, (results,) in explained(engine, [ready], questions) if results[0]]
        return np.stack(found).astype(np.float32)

    return explain


def numpy_network(
    network: Callable[[Image], Output], *, channels: Channels = "first", batch_size: int | None = None
) -> Callable[[ArrayLike], Outputs]:
    """A network as a function of NumPy arrays: the prediction function that a metric asks for.

    Args:
        network: image `[H, W, C]` in [0, 1] to logits or an embedding.
        channels: `first` for images `[N, C, H, W]`, `last` for `[N, H, W, C]`; C is 3 for RGB, or any number.
        batch_size: images on the device at once; None for 1 on a CPU, 64 elsewhere.

    Returns:
        `f(images) -> outputs`: images as for `numpy_explainer`; logits (not probabilities) or embeddings `[N, o]`,
        `float32`.

    Raises:
        ValueError: the function returned, for images of another layout or type.
        NetworkError: the function returned, for a network of several outputs, see `fame_jax.Picked`.
    """
    size = batch_size or usual_batch()

    def predict(images: ArrayLike) -> Outputs:
        examples = [(image, ()) for image in _channels_last(images, channels)]
        found = [output for _, output in map_many(_output, examples, network, batch_size=size)]
        return np.stack(found).astype(np.float32)

    return predict


def from_torch(module: Any, *, size: int | tuple[int, int], **options: Any) -> Any:
    """A PyTorch module as a network in JAX: `fame_jax.onnx.from_torch`."""
    from fame_jax import onnx

    return onnx.from_torch(module, size=size, **options)


def from_keras(model: Any, *, features: str | None = None) -> Any:
    """A Keras 3 model, on Keras' JAX backend, as a network of one image; its variables are traced.

    Args:
        model: takes `[N, H, W, 3]`, RGB in [0, 1]. A model of other pixels needs a layer in front that makes them, such
            as `keras.layers.Rescaling(255)`.
        features: the layer whose output is the feature map, if the model is one of Keras' functional or sequential ones
            and everything passes through that layer: class activation maps and locations need it.

    Returns:
        One image `[H, W, 3]` to the model's outputs for it, outside training; with `features` and `head` if a layer is
        named.

    Raises:
        ValueError: for a model on another backend, a layer that does not exist, or one that something bypasses.
    """
    import keras

    from fame_jax.models.adapted import Keras

    if keras.backend.backend() != "jax":
        raise ValueError(f"from_keras: Keras uses {keras.backend.backend()}; set KERAS_BACKEND=jax before its import.")
    if features is None:
        return Keras.of(model)
    names = [layer.name for layer in model.layers]
    if features not in names:
        raise ValueError(f"from_keras: no layer {features!r}; {did_you_mean(features, names)}")
    between = model.get_layer(features).output
    try:
        halves = keras.Model(model.inputs, between), keras.Model(between, model.output)
    except ValueError as error:
        raise ValueError(f"from_keras: something bypasses the layer {features!r}; name another one.") from error
    first, second = map(Keras.of, halves)
    return Split(first, second)


def _output(image: Any, network: Any) -> Any:
    return vector(network(image))


def _channels_last(images: ArrayLike, channels: Channels) -> Float32[np.ndarray, "images height width channels"]:
    """Checked, and as everything else here takes them."""
    if channels not in ("first", "last"):
        raise ValueError(f"channels={channels!r}; expected 'first' for [N, 3, H, W] or 'last' for [N, H, W, 3].")
    images = np.asarray(images)
    if images.dtype != np.uint8 and images.dtype.kind != "f":
        raise ValueError(f"images: {images.dtype}; expected floating-point RGB in [0, 1] or uint8.")
    axis = 1 if channels == "first" else -1
    # Images have fewer channels than rows or columns: what has more is laid out otherwise.
    if images.ndim != 4 or not len(images) or images.shape[axis] > min(images.shape[1:]):
        layout = "[N, 3, H, W]" if channels == "first" else "[N, H, W, 3]"
        raise ValueError(f"images: shape {images.shape}; expected {layout} (channels={channels!r}) with N above 0.")
    ready = np.moveaxis(images, axis, -1).astype(np.float32)
    return ready / np.float32(255) if images.dtype == np.uint8 else ready
