"""MobileNetV2, with torchvision's attribute names.

References:
    Sandler, Howard, Zhu, Zhmoginov and Chen, "MobileNetV2: Inverted Residuals and Linear Bottlenecks", 2018.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from fame_jax._types import FeatureMap, Image, Logits
from fame_jax.architectures.layers import batch_norm, conv, linear

# Expansion, output channels, repeats, stride of the first (Table 2 of the paper).
STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


class InvertedResidual(nnx.Module):
    """Expand (1x1), filter (depthwise 3x3), project (1x1, linear), with a shortcut where the shape allows."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int, *, dtype: Any, rngs: nnx.Rngs):
        """A block from `inputs` to `outputs` channels through `inputs * expansion`."""
        hidden = inputs * expansion
        self.residual = stride == 1 and inputs == outputs
        layers: list[nnx.Module] = []
        if expansion != 1:
            layers.append(_conv_bn(inputs, hidden, 1, dtype=dtype, rngs=rngs))
        layers += [
            _conv_bn(hidden, hidden, 3, stride=stride, groups=hidden, dtype=dtype, rngs=rngs),
            conv(hidden, outputs, 1, dtype=dtype, rngs=rngs),
            batch_norm(outputs, dtype=dtype, rngs=rngs),
        ]
        self.conv = nnx.List(layers)

    def __call__(self, x: FeatureMap) -> FeatureMap:
        """The block's output; no activation after the projection."""
        y = x
        for layer in self.conv:
            y = applied(layer, y)
        return x + y if self.residual else y


class MobileNetV2(nnx.Module):
    """MobileNetV2 for one image; `features` is the output of `features[-1]`, 1280 channels after ReLU6.

    torchvision calls the convolutional part `features`, which here is the method; the layers are in `blocks`.
    """

    def __init__(self, *, classes: int = 1000, dtype: Any = jnp.float32, rngs: nnx.Rngs):
        """A network with freshly initialised weights.

        Args:
            classes: number of logits.
            dtype: of the weights.
            rngs: for the initial weights.
        """
        inputs = 32
        blocks: list[nnx.Module] = [_conv_bn(3, inputs, 3, stride=2, dtype=dtype, rngs=rngs)]
        for expansion, outputs, repeats, stride in STAGES:
            for i in range(repeats):
                blocks.append(
                    InvertedResidual(inputs, outputs, stride if i == 0 else 1, expansion, dtype=dtype, rngs=rngs)
                )
                inputs = outputs
        blocks.append(_conv_bn(inputs, 1280, 1, dtype=dtype, rngs=rngs))
        self.blocks = nnx.List(blocks)
        self.classifier = linear(1280, classes, dtype=dtype, rngs=rngs)

    def features(self, image: Image) -> FeatureMap:
        """`[H/32, W/32, 1280]` of a normalised image `[H, W, 3]`."""
        x = image
        for block in self.blocks:
            x = applied(block, x)
        return x

    def head(self, features: FeatureMap) -> Logits:
        """Mean over the locations, then the linear classifier; dropout is off."""
        return self.classifier(jnp.mean(features, axis=(0, 1)))

    def __call__(self, image: Image) -> Logits:
        """Logits of a normalised image `[H, W, 3]`."""
        return self.head(self.features(image))


def _conv_bn(
    inputs: int, outputs: int, size: int, *, stride: int = 1, groups: int = 1, dtype: Any, rngs: nnx.Rngs
) -> Any:
    """An `nnx.List` of convolution and batch norm, which `applied` follows by ReLU6."""
    return nnx.List(
        [
            conv(inputs, outputs, size, stride=stride, padding=size // 2, groups=groups, dtype=dtype, rngs=rngs),
            batch_norm(outputs, dtype=dtype, rngs=rngs),
        ]
    )


def applied(layer: Any, x: FeatureMap) -> FeatureMap:
    """One of the network's `blocks`, with the ReLU6 that follows a plain convolution."""
    if isinstance(layer, nnx.List):
        convolution, norm = layer
        return _relu6(norm(convolution(x)))
    return layer(x)


@jax.jit
def _relu6(x: jax.Array) -> jax.Array:
    """`min(max(x, 0), 6)` with gradient 0 at both ends, as in PyTorch."""
    return jnp.where((x > 0) & (x < 6), x, jax.lax.stop_gradient(jnp.clip(x, 0, 6)))
