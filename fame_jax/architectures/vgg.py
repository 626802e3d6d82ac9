"""VGG19, with torchvision's indices.

References:
    Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", 2015, configuration E.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from fame_jax._types import FeatureMap, Image, Logits
from fame_jax.architectures.layers import Map, chain, conv, linear, max_pool

WIDTHS = ((64, 2), (128, 2), (256, 4), (512, 4), (512, 4))
"""Channels and number of the 3x3 convolutions before each max pooling."""


class VGG(nnx.Module):
    """VGG for one image; `features` is by default the ReLU after the last convolution, before the last max pooling.

    torchvision calls the convolutional part `features`, which here is the method; the layers are in `layers`, and
    `layers[i]` is torchvision's `features[i]`. Dropout does not exist here.
    """

    def __init__(
        self,
        widths: Sequence[tuple[int, int]] = WIDTHS,
        *,
        feature_layer: int | None = None,
        hidden: int = 4096,
        classes: int = 1000,
        dtype: Any = jnp.float32,
        rngs: nnx.Rngs,
    ):
        """A network with freshly initialised weights.

        Args:
            widths: channels and number of convolutions of each stage.
            feature_layer: index of the layer whose output `features` is; None for the last but one, index 35 of VGG19.
                The last, index 36, is the max-pooled map, 7x7 in place of 14x14.
            hidden: units of the two hidden linear layers.
            classes: number of logits.
            dtype: of the weights.
            rngs: for the initial weights.

        Raises:
            ValueError: if there is no layer of that index.
        """
        self.layers = nnx.List()
        channels = 3
        for width, repeats in widths:
            for _ in range(repeats):
                self.layers.append(conv(channels, width, 3, padding=1, bias=True, dtype=dtype, rngs=rngs))
                self.layers.append(nnx.relu)
                channels = width
            self.layers.append(_halve)
        self.feature_layer = len(self.layers) - 2 if feature_layer is None else feature_layer
        if not 0 <= self.feature_layer < len(self.layers):
            raise ValueError(f"VGG: feature_layer={feature_layer}, expected 0 to {len(self.layers) - 1}.")
        layers = [
            linear(*shape, dtype=dtype, rngs=rngs)
            for shape in ((49 * channels, hidden), (hidden, hidden), (hidden, classes))
        ]
        off = jax.nn.identity  # stands where dropout is in training
        self.classifier = nnx.List([layers[0], nnx.relu, off, layers[1], nnx.relu, off, layers[2]])
        self.precision: jax.lax.PrecisionLike = None

    def features(self, image: Image) -> FeatureMap:
        """`[H/16, W/16, 512]` of a normalised image `[H, W, 3]`."""
        return chain(self.layers[: self.feature_layer + 1], image)

    def head(self, features: FeatureMap) -> Logits:
        """The layers after `features`, adaptive average pooling to 7x7, and the linear layers."""
        x = chain(self.layers[self.feature_layer + 1 :], features)
        x = adaptive_average_pool(x, 7, precision=self.precision)
        return chain(self.classifier, x.reshape(-1))

    def __call__(self, image: Image) -> Logits:
        """Logits of a normalised image `[H, W, 3]`."""
        return self.head(self.features(image))


def vgg19(**options: Any) -> VGG:
    """VGG19, configuration E; options as in `VGG`."""
    return VGG(**options)


def adaptive_average_pool(x: Map, size: int, *, precision: jax.lax.PrecisionLike = None) -> Map:
    """Means over `size` x `size` bins, as in PyTorch: bin i of n pixels goes from `floor(i n / size)` to
    `ceil((i + 1) n / size)`, so that the bins of a small map overlap. A map of that size stays as it is.
    """
    rows, columns = (_bins(n, size) for n in x.shape[:2])
    if x.shape[:2] == (size, size):
        return x
    return jnp.einsum("ih,jw,hwc->ijc", rows.astype(x.dtype), columns.astype(x.dtype), x, precision=precision)


def _bins(length: int, size: int) -> np.ndarray:
    """`B[i, j]`: weight of element j in bin i."""
    i, j = np.arange(size)[:, None], np.arange(length)
    inside = (j >= i * length // size) & (j < -(-(i + 1) * length // size))
    return inside / inside.sum(axis=1, keepdims=True)


def _halve(x: Map) -> Map:
    return max_pool(x, 2, 2)
