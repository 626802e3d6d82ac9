"""AdaFace's IResNet 18, 34, 50 and 101, with AdaFace's attribute names.

References:
    Kim, Jain and Liu, "AdaFace: Quality Adaptive Margin for Face Recognition", 2022; the blocks are those of Deng, Guo,
    Xue and Zafeiriou, "ArcFace: Additive Angular Margin Loss for Deep Face Recognition", 2019.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from fame_jax._types import Embedding, FeatureMap, Image
from fame_jax.architectures.layers import Map, PReLU, batch_norm, chain, conv, linear

WIDTHS = (64, 128, 256, 512)


class Block(nnx.Module):
    """Batch norm, 3x3, batch norm, PReLU, 3x3 with the stride, batch norm; plus the shortcut, and no activation after.

    Where the channels stay the same the shortcut only skips pixels: a max pooling of kernel 1.
    """

    def __init__(self, inputs: int, width: int, stride: int, *, dtype: Any, rngs: nnx.Rngs):
        """A block from `inputs` to `width` channels."""
        self.stride = stride
        self.shortcut_layer = _projection(inputs, width, stride, dtype=dtype, rngs=rngs) if inputs != width else None
        self.res_layer = nnx.List(
            [
                batch_norm(inputs, dtype=dtype, rngs=rngs),
                conv(inputs, width, 3, padding=1, dtype=dtype, rngs=rngs),
                batch_norm(width, dtype=dtype, rngs=rngs),
                PReLU(width, dtype=dtype),
                conv(width, width, 3, stride=stride, padding=1, dtype=dtype, rngs=rngs),
                batch_norm(width, dtype=dtype, rngs=rngs),
            ]
        )

    def __call__(self, x: Map) -> Map:
        """The block's output."""
        skip = x[:: self.stride, :: self.stride] if self.shortcut_layer is None else chain(self.shortcut_layer, x)
        return chain(self.res_layer, x) + skip


class IResNet(nnx.Module):
    """IResNet for one aligned face; `features` is the output of `body[-1]`, before the output layer's batch norm.

    The embedding is that of the last batch norm, before L2 normalisation. Dropout does not exist here.
    """

    def __init__(
        self,
        depths: Sequence[int],
        *,
        widths: Sequence[int] = WIDTHS,
        embedding: int = 512,
        image_size: int = 112,
        dtype: Any = jnp.float32,
        rngs: nnx.Rngs,
    ):
        """A network with freshly initialised weights.

        Args:
            depths: blocks in each stage; the first of every stage has stride 2.
            widths: channels of each stage.
            embedding: length of the embedding.
            image_size: side of the input, a multiple of 16: the linear layer fixes it.
            dtype: of the weights.
            rngs: for the initial weights.
        """
        self.image_size = image_size
        self.input_layer = nnx.List(
            [
                conv(3, widths[0], 3, padding=1, dtype=dtype, rngs=rngs),
                batch_norm(widths[0], dtype=dtype, rngs=rngs),
                PReLU(widths[0], dtype=dtype),
            ]
        )
        self.body = nnx.List()
        inputs = widths[0]
        for depth, width in zip(depths, widths, strict=True):
            for i in range(depth):
                self.body.append(Block(inputs, width, 2 if i == 0 else 1, dtype=dtype, rngs=rngs))
                inputs = width
        self.output_layer = nnx.List(
            [
                batch_norm(inputs, dtype=dtype, rngs=rngs),
                jax.nn.identity,  # dropout in training
                jnp.ravel,
                linear((image_size // 16) ** 2 * inputs, embedding, dtype=dtype, rngs=rngs),
                batch_norm(embedding, affine=False, dtype=dtype, rngs=rngs),
            ]
        )

    def features(self, image: Image) -> FeatureMap:
        """`[7, 7, 512]` of a normalised face `[112, 112, 3]`, BGR.

        Raises:
            ValueError: if the image is not of the size that the network was made for.
        """
        if image.shape[:2] != (self.image_size, self.image_size):
            raise ValueError(
                f"IResNet: the image is {image.shape[0]}x{image.shape[1]}, expected an aligned face of "
                f"{self.image_size}x{self.image_size}."
            )
        return chain(self.body, chain(self.input_layer, image))

    def head(self, features: FeatureMap) -> Embedding:
        """The embedding before L2 normalisation: batch norm, a linear layer over all values, batch norm."""
        return chain(self.output_layer, features)

    def __call__(self, image: Image) -> Embedding:
        """The embedding of a normalised face `[112, 112, 3]`, BGR."""
        return self.head(self.features(image))


def iresnet18(**options: Any) -> IResNet:
    """AdaFace's `ir_18`; options as in `IResNet`."""
    return IResNet((2, 2, 2, 2), **options)


def iresnet34(**options: Any) -> IResNet:
    """AdaFace's `ir_34`; options as in `IResNet`."""
    return IResNet((3, 4, 6, 3), **options)


def iresnet50(**options: Any) -> IResNet:
    """AdaFace's `ir_50`; options as in `IResNet`."""
    return IResNet((3, 4, 14, 3), **options)


def iresnet101(**options: Any) -> IResNet:
    """AdaFace's `ir_101`; options as in `IResNet`."""
    return IResNet((3, 13, 30, 3), **options)


def _projection(inputs: int, width: int, stride: int, *, dtype: Any, rngs: nnx.Rngs) -> Any:
    return nnx.List(
        [conv(inputs, width, 1, stride=stride, dtype=dtype, rngs=rngs), batch_norm(width, dtype=dtype, rngs=rngs)]
    )
