"""ResNet 18, 34, 50, 101 and 152, with torchvision's attribute names.

References:
    He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition", 2016; torchvision's variant, whose
    bottleneck has its stride on the 3x3 convolution.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

import jax.numpy as jnp
from flax import nnx

from fame_jax._types import FeatureMap, Image, Logits
from fame_jax.architectures.layers import batch_norm, conv, linear, max_pool, relu_of_sum


class BasicBlock(nnx.Module):
    """Two 3x3 convolutions and a shortcut."""

    expansion: ClassVar[int] = 1

    def __init__(self, inputs: int, width: int, stride: int, *, dtype: Any, rngs: nnx.Rngs):
        """A block from `inputs` to `width` channels."""
        self.conv1 = conv(inputs, width, 3, stride=stride, padding=1, dtype=dtype, rngs=rngs)
        self.bn1 = batch_norm(width, dtype=dtype, rngs=rngs)
        self.conv2 = conv(width, width, 3, padding=1, dtype=dtype, rngs=rngs)
        self.bn2 = batch_norm(width, dtype=dtype, rngs=rngs)
        self.downsample = _downsample(inputs, width, stride, dtype=dtype, rngs=rngs)

    def __call__(self, x: FeatureMap) -> FeatureMap:
        """The block's output after the addition and its ReLU."""
        y = nnx.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return relu_of_sum(y, _shortcut(self.downsample, x))


class Bottleneck(nnx.Module):
    """1x1, 3x3 (with the stride) and 1x1 convolutions and a shortcut."""

    expansion: ClassVar[int] = 4

    def __init__(self, inputs: int, width: int, stride: int, *, dtype: Any, rngs: nnx.Rngs):
        """A block from `inputs` to `4 * width` channels."""
        outputs = width * self.expansion
        self.conv1 = conv(inputs, width, 1, dtype=dtype, rngs=rngs)
        self.bn1 = batch_norm(width, dtype=dtype, rngs=rngs)
        self.conv2 = conv(width, width, 3, stride=stride, padding=1, dtype=dtype, rngs=rngs)
        self.bn2 = batch_norm(width, dtype=dtype, rngs=rngs)
        self.conv3 = conv(width, outputs, 1, dtype=dtype, rngs=rngs)
        self.bn3 = batch_norm(outputs, dtype=dtype, rngs=rngs)
        self.downsample = _downsample(inputs, outputs, stride, dtype=dtype, rngs=rngs)

    def __call__(self, x: FeatureMap) -> FeatureMap:
        """The block's output after the addition and its ReLU."""
        y = nnx.relu(self.bn1(self.conv1(x)))
        y = nnx.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return relu_of_sum(y, _shortcut(self.downsample, x))


class ResNet(nnx.Module):
    """A ResNet for one image; `features` is the output of `layer4[-1]`, after its ReLU."""

    def __init__(
        self,
        block: type[BasicBlock] | type[Bottleneck],
        depths: Sequence[int],
        *,
        classes: int = 1000,
        dtype: Any = jnp.float32,
        rngs: nnx.Rngs,
    ):
        """A network of `sum(depths)` blocks with freshly initialised weights.

        Args:
            block: `BasicBlock` or `Bottleneck`.
            depths: blocks in each of the four stages.
            classes: number of logits.
            dtype: of the weights.
            rngs: for the initial weights.
        """
        self.conv1 = conv(3, 64, 7, stride=2, padding=3, dtype=dtype, rngs=rngs)
        self.bn1 = batch_norm(64, dtype=dtype, rngs=rngs)
        widths = [64 * 2**stage for stage in range(4)]
        inputs = [64, *(width * block.expansion for width in widths)]
        self.layer1, self.layer2, self.layer3, self.layer4 = (
            _stage(block, inputs[i], widths[i], depths[i], 1 if i == 0 else 2, dtype=dtype, rngs=rngs) for i in range(4)
        )
        self.fc = linear(inputs[4], classes, dtype=dtype, rngs=rngs)

    def features(self, image: Image) -> FeatureMap:
        """`[H/32, W/32, 512]`, times four for bottlenecks, of a normalised image `[H, W, 3]`."""
        x = nnx.relu(self.bn1(self.conv1(image)))
        x = max_pool(x, 3, 2, padding=1)
        for blocks in (self.layer1, self.layer2, self.layer3, self.layer4):
            for block in blocks:
                x = block(x)
        return x

    def head(self, features: FeatureMap) -> Logits:
        """Mean over the locations, then the linear classifier."""
        return self.fc(jnp.mean(features, axis=(0, 1)))

    def __call__(self, image: Image) -> Logits:
        """Logits of a normalised image `[H, W, 3]`."""
        return self.head(self.features(image))


def resnet18(**options: Any) -> ResNet:
    """ResNet-18; options as in `ResNet`."""
    return ResNet(BasicBlock, (2, 2, 2, 2), **options)


def resnet34(**options: Any) -> ResNet:
    """ResNet-34; options as in `ResNet`."""
    return ResNet(BasicBlock, (3, 4, 6, 3), **options)


def resnet50(**options: Any) -> ResNet:
    """ResNet-50; options as in `ResNet`."""
    return ResNet(Bottleneck, (3, 4, 6, 3), **options)


def resnet101(**options: Any) -> ResNet:
    """ResNet-101; options as in `ResNet`."""
    return ResNet(Bottleneck, (3, 4, 23, 3), **options)


def resnet152(**options: Any) -> ResNet:
    """ResNet-152; options as in `ResNet`."""
    return ResNet(Bottleneck, (3, 8, 36, 3), **options)


def _stage(
    block: type[BasicBlock] | type[Bottleneck],
    inputs: int,
    width: int,
    depth: int,
    stride: int,
    *,
    dtype: Any,
    rngs: nnx.Rngs,
) -> Any:
    """An `nnx.List` of blocks, of which the first has the stride."""
    blocks = [block(inputs, width, stride, dtype=dtype, rngs=rngs)]
    for _ in range(depth - 1):
        blocks.append(block(width * block.expansion, width, 1, dtype=dtype, rngs=rngs))
    return nnx.List(blocks)


def _downsample(inputs: int, outputs: int, stride: int, *, dtype: Any, rngs: nnx.Rngs) -> Any:
    """An `nnx.List` that projects the shortcut where the shape changes, else None."""
    if stride == 1 and inputs == outputs:
        return None
    return nnx.List(
        [conv(inputs, outputs, 1, stride=stride, dtype=dtype, rngs=rngs), batch_norm(outputs, dtype=dtype, rngs=rngs)]
    )


def _shortcut(downsample: Any, x: FeatureMap) -> FeatureMap:
    for layer in downsample or ():
        x = layer(x)
    return x
