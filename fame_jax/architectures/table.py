"""The architectures by name: how to build each with any number of outputs, and where these are."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
from flax import nnx

from fame_jax.architectures import convnext, iresnet, mobilenet_v2, resnet, sface, vgg, vit
from fame_jax.architectures.layers import Keyless
from fame_jax.words import did_you_mean


class UnknownArchitectureError(ValueError):
    """A name that is not in the table."""


@dataclass(frozen=True)
class Architecture:
    """One architecture.

    Attributes:
        make: the network of normalised images with fresh weights; takes `dtype`, `rngs` and the number of outputs.
        argument: what `make` calls the number of outputs: `classes` or `embedding`.
        outputs: their number in the published networks.
        last: our path of the linear layer that gives them.
        layer: the torch name of the layer that `features` returns.
        size: side of the square input of the published networks, pixels.
    """

    make: Callable[..., nnx.Module]
    argument: str
    outputs: int
    last: str
    layer: str
    size: int


def _classifier(make: Callable[..., nnx.Module], last: str, layer: str) -> Architecture:
    return Architecture(make, "classes", 1000, last, layer, 224)


def _iresnet(make: Callable[..., nnx.Module]) -> Architecture:
    return Architecture(make, "embedding", 512, "output_layer.3", "body[-1]", 112)


ARCHITECTURES: dict[str, Architecture] = {
    "resnet18": _classifier(resnet.resnet18, "fc", "layer4[-1]"),
    "resnet34": _classifier(resnet.resnet34, "fc", "layer4[-1]"),
    "resnet50": _classifier(resnet.resnet50, "fc", "layer4[-1]"),
    "resnet101": _classifier(resnet.resnet101, "fc", "layer4[-1]"),
    "resnet152": _classifier(resnet.resnet152, "fc", "layer4[-1]"),
    "mobilenet_v2": _classifier(mobilenet_v2.MobileNetV2, "classifier", "features[-1]"),
    "vgg19": _classifier(vgg.vgg19, "classifier.6", "features[35]"),
    "convnext_tiny": _classifier(convnext.convnext_tiny, "classifier.2", "features[-1][-1]"),
    "convnext_small": _classifier(convnext.convnext_small, "classifier.2", "features[-1][-1]"),
    "convnext_base": _classifier(convnext.convnext_base, "classifier.2", "features[-1][-1]"),
    "vit_b_16": _classifier(vit.vit_b_16, "heads", "encoder.layers[-1].self_attention"),
    "iresnet18": _iresnet(iresnet.iresnet18),
    "iresnet34": _iresnet(iresnet.iresnet34),
    "iresnet50": _iresnet(iresnet.iresnet50),
    "iresnet101": _iresnet(iresnet.iresnet101),
    "sface": Architecture(sface.sface, "embedding", 128, "pre_fc1", "conv_14_relu", 112),
}


def architecture(name: str) -> Architecture:
    """The architecture of a name.

    Raises:
        UnknownArchitectureError: with the nearest names.
    """
    if name in ARCHITECTURES:
        return ARCHITECTURES[name]
    raise UnknownArchitectureError(f"unknown architecture {name!r}; {did_you_mean(name, ARCHITECTURES)}")


def build(name: str, *, outputs: int | None = None, seed: int | None = 0, dtype: Any = jnp.float32) -> Any:
    """A network of normalised images with freshly initialised weights.

    Args:
        name: in `ARCHITECTURES`.
        outputs: number of classes, or length of the embedding; None for the published networks'.
        seed: of the weights; None for zeros in place of random ones.
        dtype: of the weights.

    Raises:
        UnknownArchitectureError: see `architecture`.
    """
    row = architecture(name)
    count = row.outputs if outputs is None else outputs
    return row.make(**{row.argument: count}, dtype=dtype, rngs=Keyless() if seed is None else nnx.Rngs(seed))


def abstract(name: str, *, outputs: int | None = None) -> Any:
    """The network with shapes in place of weights: nothing is computed or allocated; see `build`."""
    return nnx.eval_shape(lambda: build(name, outputs=outputs, seed=None))
