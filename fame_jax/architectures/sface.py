"""SFace as OpenCV's model zoo publishes it: a MobileNet with PReLU, with the published graph's names.

`fame_jax.onnx` reads the published file as well, at the same speed. This port is what lets `fame verify` run from 18 MB
of bundled float16 weights and without the package onnx, has layers to split at and to randomise by name, and is the
network that the reader's maps are compared with.

References:
    Zhong, Deng, Hu, Zhao, Li and Wen, "SFace: Sigmoid-Constrained Hypersphere Loss for Robust Face Recognition", 2021.
    The layers are those of Howard et al., "MobileNets: Efficient Convolutional Neural Networks for Mobile Vision
    Applications", 2017.
"""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from flax import nnx

from fame_jax._types import Embedding, FeatureMap, Image
from fame_jax.architectures.layers import Map, PReLU, batch_norm, chain, conv, linear

STAGES = (
    (64, 1),
    (128, 2),
    (128, 1),
    (256, 2),
    (256, 1),
    (512, 2),
    (512, 1),
    (512, 1),
    (512, 1),
    (512, 1),
    (512, 1),
    (1024, 2),
    (1024, 1),
)
"""Output channels and stride of each pair of a depthwise 3x3 and a pointwise convolution."""

MEAN = (0.5, 0.5, 0.5)
STD = (128 / 255, 128 / 255, 128 / 255)
"""`(x - MEAN) / STD` of an image in [0, 1] is the graph's own `(255 x - 127.5) / 128`."""


class Unit(nnx.Module):
    """Convolution without bias, batch norm, PReLU."""

    def __init__(
        self, inputs: int, width: int, size: int, *, stride: int = 1, groups: int = 1, dtype: Any, rngs: nnx.Rngs
    ):
        """A unit from `inputs` to `width` channels."""
        self.conv2d = conv(inputs, width, size, stride=stride, padding=size // 2, groups=groups, dtype=dtype, rngs=rngs)
        self.batchnorm = batch_norm(width, epsilon=1e-3, dtype=dtype, rngs=rngs)
        self.relu = PReLU(width, dtype=dtype)

    def __call__(self, x: Map) -> Map:
        """The unit's output."""
        return self.relu(self.batchnorm(self.conv2d(x)))


class SFace(nnx.Module):
    """SFace for one aligned face; `features` is the output of the last PReLU, before the batch norm `bn1`.

    The embedding is that of the last batch norm, `fc1`, before L2 normalisation. Dropout does not exist here.
    """

    def __init__(
        self,
        stages: Sequence[tuple[int, int]] = STAGES,
        *,
        stem: int = 32,
        embedding: int = 128,
        image_size: int = 112,
        dtype: Any = jnp.float32,
        rngs: nnx.Rngs,
    ):
        """A network with freshly initialised weights.

        Args:
            stages: channels and stride of each pair of convolutions.
            stem: channels of the first convolution.
            embedding: length of the embedding.
            image_size: side of the input: the linear layer fixes it.
            dtype: of the weights.
            rngs: for the initial weights.
        """
        self.image_size = image_size
        self.conv_1 = Unit(3, stem, 3, dtype=dtype, rngs=rngs)
        self.units = ("conv_1",)
        inputs, side = stem, image_size
        for i, (width, stride) in enumerate(stages, start=2):
            depthwise = Unit(inputs, inputs, 3, stride=stride, groups=inputs, dtype=dtype, rngs=rngs)
            setattr(self, f"conv_{i}_dw", depthwise)
            setattr(self, f"conv_{i}", Unit(inputs, width, 1, dtype=dtype, rngs=rngs))
            self.units += (f"conv_{i}_dw", f"conv_{i}")
            inputs, side = width, -(-side // stride)
        self.bn1 = batch_norm(inputs, epsilon=2e-5, dtype=dtype, rngs=rngs)
        self.pre_fc1 = linear(side**2 * inputs, embedding, dtype=dtype, rngs=rngs)
        self.fc1 = batch_norm(embedding, epsilon=2e-5, dtype=dtype, rngs=rngs)

    def features(self, image: Image) -> FeatureMap:
        """`[7, 7, 1024]` of a normalised face `[112, 112, 3]`, RGB.

        Raises:
            ValueError: if the image is not of the size that the network was made for.
        """
        if image.shape[:2] != (self.image_size, self.image_size):
            raise ValueError(
                f"SFace: the image is {image.shape[0]}x{image.shape[1]}, expected an aligned face of "
                f"{self.image_size}x{self.image_size}."
            )
        return chain((getattr(self, unit) for unit in self.units), image)

    def head(self, features: FeatureMap) -> Embedding:
        """The embedding before L2 normalisation: batch norm, a linear layer over all values, batch norm."""
        return chain((self.bn1, jnp.ravel, self.pre_fc1, self.fc1), features)

    def __call__(self, image: Image) -> Embedding:
        """The embedding of a normalised face `[112, 112, 3]`, RGB."""
        return self.head(self.features(image))


def sface(**options: Any) -> SFace:
    """SFace as published; options as in `SFace`."""
    return SFace(**options)
