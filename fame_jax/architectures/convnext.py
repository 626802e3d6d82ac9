"""ConvNeXt Tiny, Small and Base, with torchvision's indices.

References:
    Liu, Mao, Wu, Feichtenhofer, Darrell and Xie, "A ConvNet for the 2020s", 2022.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from fame_jax._types import FeatureMap, Image, Logits
from fame_jax.architectures.layers import Map, chain, conv, gelu, layer_norm, linear


class Block(nnx.Module):
    """`x + layer_scale * block(x)`; stochastic depth does not exist here.

    `block[5]` is the branch before it is scaled, the alternative target layer; torchvision's indices 1 and 6 permute
    axes, which channels-last maps do not need.
    """

    def __init__(self, width: int, *, dtype: Any, rngs: nnx.Rngs):
        """A block of `width` channels."""
        self.block = nnx.List(
            [
                conv(width, width, 7, padding=3, groups=width, bias=True, dtype=dtype, rngs=rngs),
                jax.nn.identity,
                layer_norm(width, dtype=dtype, rngs=rngs),
                linear(width, 4 * width, dtype=dtype, rngs=rngs),
                gelu,
                linear(4 * width, width, dtype=dtype, rngs=rngs),
            ]
        )
        self.layer_scale = nnx.Param(jnp.full(width, 1e-6, dtype))

    def __call__(self, x: Map) -> Map:
        """The block's output, the residual included."""
        return x + jnp.broadcast_to(self.layer_scale[...], x.shape) * chain(self.block, x)


class ConvNeXt(nnx.Module):
    """ConvNeXt for one image; `features` is the output of the last block, the residual included.

    torchvision calls the convolutional part `features`, which here is the method; `stages[i]` is its `features[i]`:
    the stem, then stages with a downsampling between each two.
    """

    def __init__(
        self,
        depths: Sequence[int],
        widths: Sequence[int],
        *,
        classes: int = 1000,
        dtype: Any = jnp.float32,
        rngs: nnx.Rngs,
    ):
        """A network with freshly initialised weights.

        Args:
            depths: blocks in each stage.
            widths: channels of each stage.
            classes: number of logits.
            dtype: of the weights.
            rngs: for the initial weights.
        """
        options = {"dtype": dtype, "rngs": rngs}
        stages: list[list[Any]] = [
            [conv(3, widths[0], 4, stride=4, bias=True, **options), layer_norm(widths[0], **options)]
        ]
        for i, (depth, width) in enumerate(zip(depths, widths, strict=True)):
            if i > 0:
                before = widths[i - 1]
                stages.append([layer_norm(before, **options), conv(before, width, 2, stride=2, bias=True, **options)])
            stages.append([Block(width, **options) for _ in range(depth)])
        self.stages = nnx.List([nnx.List(stage) for stage in stages])
        self.classifier = nnx.List(
            [
                layer_norm(widths[-1], **options),
                jax.nn.identity,
                linear(widths[-1], classes, dtype=dtype, rngs=rngs),
            ]
        )

    def features(self, image: Image) -> FeatureMap:
        """`[H/32, W/32, widths[-1]]` of a normalised image `[H, W, 3]`."""
        x = image
        for stage in self.stages:
            x = chain(stage, x)
        return x

    def head(self, features: FeatureMap) -> Logits:
        """Mean over the locations, layer norm, and the linear classifier."""
        return chain(self.classifier, jnp.mean(features, axis=(0, 1)))

    def __call__(self, image: Image) -> Logits:
        """Logits of a normalised image `[H, W, 3]`."""
        return self.head(self.features(image))


def convnext_tiny(**options: Any) -> ConvNeXt:
    """ConvNeXt-Tiny; options as in `ConvNeXt`."""
    return ConvNeXt((3, 3, 9, 3), (96, 192, 384, 768), **options)


def convnext_small(**options: Any) -> ConvNeXt:
    """ConvNeXt-Small; options as in `ConvNeXt`."""
    return ConvNeXt((3, 3, 27, 3), (96, 192, 384, 768), **options)


def convnext_base(**options: Any) -> ConvNeXt:
    """ConvNeXt-Base; options as in `ConvNeXt`."""
    return ConvNeXt((3, 3, 27, 3), (128, 256, 512, 1024), **options)
