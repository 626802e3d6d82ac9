"""The networks by name: how to build each, where its official weights are, and how its input is prepared.

The registry is data. Hash prefixes of torchvision's files are part of their names; the photometry (`mean`, `std`) goes
into `Standardized`, the geometry (`resize`, `size`) into `fame_jax.data.images`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import jax
from flax import nnx

from fame_jax.architectures import convnext, iresnet, mobilenet_v2, resnet, sface, vgg, vit
from fame_jax.architectures.standardized import Standardized
from fame_jax.image import IMAGENET_MEAN, IMAGENET_STD
from fame_jax.words import did_you_mean

TORCHVISION = "https://download.pytorch.org/models/"


class UnknownNetworkError(ValueError):
    """A name that is not in the registry."""


@dataclass(frozen=True)
class Entry:
    """One network.

    Attributes:
        name: in this registry.
        build: makes the network of normalised images with fresh weights; takes `dtype` and `rngs`.
        task: `class` (logits) or `face` (embedding before L2 normalisation).
        file: official name of the weights, or None where nobody publishes any.
        sha256_prefix: leading digits of the file's SHA-256.
        licence: of the weights.
        address: folder the file is fetched from, or None where the publisher has no stable address.
        source: who publishes the weights, in words.
        parameters: number of trained values.
        size: side of the square input in pixels.
        resize: short side before the centre crop, the weights' own rule; equal to `size` for faces, which are aligned.
        mean: of red, green and blue in [0, 1].
        std: of red, green and blue.
        reverse_channels: the network takes BGR.
        layer: the torch name of the layer that `features` returns.
    """

    name: str
    build: Callable[..., nnx.Module]
    task: Literal["class", "face"]
    file: str | None
    sha256_prefix: str
    licence: str
    address: str | None
    source: str
    parameters: int
    size: int
    resize: int
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    reverse_channels: bool = False
    layer: str = ""


def _torchvision(name: str, build: Callable[..., nnx.Module], file: str, parameters: int, resize: int, layer: str):
    prefix = file.removesuffix(".pth").rsplit("-", 1)[1]
    return Entry(
        name=name,
        build=build,
        task="class",
        file=file,
        sha256_prefix=prefix,
        licence="BSD-3-Clause",
        address=TORCHVISION,
        source="torchvision",
        parameters=parameters,
        size=224,
        resize=resize,
        layer=layer,
    )


def _adaface(name: str, build: Callable[..., nnx.Module], file: str | None, parameters: int):
    return Entry(
        name=name,
        build=build,
        task="face",
        file=file,
        sha256_prefix="",
        licence="MIT",
        address=None,
        source="AdaFace (github.com/mk-minchul/AdaFace)",
        parameters=parameters,
        size=112,
        resize=112,
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        reverse_channels=True,
        layer="body[-1]",
    )


_ENTRIES = (
    _torchvision("resnet18", resnet.resnet18, "resnet18-f37072fd.pth", 11_689_512, 256, "layer4[-1]"),
    _torchvision("resnet34", resnet.resnet34, "resnet34-b627a593.pth", 21_797_672, 256, "layer4[-1]"),
    _torchvision("resnet50", resnet.resnet50, "resnet50-11ad3fa6.pth", 25_557_032, 232, "layer4[-1]"),
    _torchvision("resnet101", resnet.resnet101, "resnet101-cd907fc2.pth", 44_549_160, 232, "layer4[-1]"),
    _torchvision("resnet152", resnet.resnet152, "resnet152-f82ba261.pth", 60_192_808, 232, "layer4[-1]"),
    _torchvision("mobilenet_v2", mobilenet_v2.MobileNetV2, "mobilenet_v2-b0353104.pth", 3_504_872, 256, "features[-1]"),
    _torchvision("vgg19", vgg.vgg19, "vgg19-dcbb9e9d.pth", 143_667_240, 256, "features[35]"),
    _torchvision(
        "convnext_tiny", convnext.convnext_tiny, "convnext_tiny-983f1562.pth", 28_589_128, 236, "features[-1][-1]"
    ),
    _torchvision(
        "convnext_small", convnext.convnext_small, "convnext_small-0c510722.pth", 50_223_688, 230, "features[-1][-1]"
    ),
    _torchvision(
        "convnext_base", convnext.convnext_base, "convnext_base-6075fbad.pth", 88_591_464, 232, "features[-1][-1]"
    ),
    _torchvision(
        "vit_b_16", vit.vit_b_16, "vit_b_16-c867db91.pth", 86_567_656, 256, "encoder.layers[-1].self_attention"
    ),
    _adaface("iresnet18", iresnet.iresnet18, "adaface_ir18_webface4m.ckpt", 24_020_352),
    # AdaFace has the architecture, but no weights of it.
    _adaface("iresnet34", iresnet.iresnet34, None, 34_134_080),
    _adaface("iresnet50", iresnet.iresnet50, "adaface_ir50_webface4m.ckpt", 43_585_600),
    _adaface("iresnet101", iresnet.iresnet101, "adaface_ir101_webface12m.ckpt", 65_150_912),
    Entry(
        name="sface",
        build=sface.sface,
        task="face",
        file="face_recognition_sface_2021dec.onnx",
        sha256_prefix="0ba9fbfa",
        licence="Apache-2.0",
        address="https://github.com/opencv/opencv_zoo/raw/main/models/face_recognition_sface/",
        source="OpenCV Zoo",
        parameters=9_642_880,
        size=112,
        resize=112,
        mean=sface.MEAN,
        std=sface.STD,
        layer="conv_14_relu",
    ),
)

REGISTRY: dict[str, Entry] = {entry.name: entry for entry in _ENTRIES}


def entry(name: str) -> Entry:
    """The registry's entry of a name.

    Raises:
        UnknownNetworkError: with the nearest names.
    """
    if name in REGISTRY:
        return REGISTRY[name]
    raise UnknownNetworkError(f"unknown network {name!r}; {did_you_mean(name, REGISTRY)} `fame models` lists them all.")


def build(name: str, *, seed: int = 0, dtype: Any = "float32") -> Standardized:
    """A network with freshly initialised weights, which takes RGB in [0, 1].

    Args:
        name: in the registry.
        seed: of the weights.
        dtype: of the weights.
    """
    card = entry(name)
    network = card.build(dtype=dtype, rngs=nnx.Rngs(seed))
    return Standardized(network, card.mean, card.std, reverse_channels=card.reverse_channels)


def abstract(name: str) -> Standardized:
    """The network with shapes in place of weights: nothing is computed or allocated."""
    return nnx.eval_shape(lambda: build(name))


def parameter_count(network: nnx.Module) -> int:
    """Number of trained values; running statistics are not trained."""
    return sum(leaf.size for leaf in jax.tree.leaves(nnx.state(network, nnx.Param)))
