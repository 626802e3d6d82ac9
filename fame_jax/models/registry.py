"""The published networks by name: a card each, and where its official file is."""

import re
from dataclasses import dataclass, replace
from typing import Any

import jax
from flax import nnx

from fame_jax import architectures
from fame_jax.architectures import ARCHITECTURES, Standardized, sface
from fame_jax.data.classes import class_names
from fame_jax.models.card import Card
from fame_jax.words import did_you_mean

TORCHVISION = "https://download.pytorch.org/models/"


class UnknownNetworkError(ValueError):
    """A name that is neither in the registry nor installed."""


class OwnNameError(ValueError):
    """A name that a network of one's own cannot have."""


@dataclass(frozen=True)
class Published:
    """A published network.

    Attributes:
        card: of the network; its `sha256` is empty where only `sha256` here, a beginning, is known.
        file: official name of the weights, or None where nobody publishes any.
        sha256: of the file, or as many leading digits as are known; torchvision has eight in each name.
        address: folder the file is fetched from, or None where the publisher has no stable address.
        hub: repository on the Hugging Face hub with the weights, `OWNER/NAME`, or None.
    """

    card: Card
    file: str | None
    sha256: str = ""
    address: str | None = None
    hub: str | None = None

    @property
    def is_pinned(self) -> bool:
        """Whether the whole hash is known."""
        return len(self.sha256) == 64


def _torchvision(name: str, file: str, parameters: int, resize: int, sha256: str = "") -> Published:
    sha256 = sha256 or file.removesuffix(".pth").rsplit("-", 1)[1]
    card = Card(
        name=name,
        task="class",
        size=224,
        resize=resize,
        labels=class_names(),
        architecture=name,
        layer=ARCHITECTURES[name].layer,
        source="torchvision",
        licence="BSD-3-Clause",
        sha256=sha256 if len(sha256) == 64 else "",
        parameters=parameters,
    )
    return Published(card, file, sha256, TORCHVISION)


def _adaface(name: str, file: str | None, parameters: int, hub: str | None) -> Published:
    card = Card(
        name=name,
        task="face",
        size=112,
        resize=112,
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        reverse_channels=True,
        score="logit",
        architecture=name,
        layer=ARCHITECTURES[name].layer,
        source="AdaFace (github.com/mk-minchul/AdaFace)",
        licence="MIT",
        parameters=parameters,
    )
    return Published(card, file, hub=hub)


def _sface() -> Published:
    digest = "0ba9fbfa01b5270c96627c4ef784da859931e02f04419c829e83484087c34e79"
    card = Card(
        name="sface",
        task="face",
        size=112,
        resize=112,
        mean=sface.MEAN,
        std=sface.STD,
        score="logit",
        architecture="sface",
        layer=ARCHITECTURES["sface"].layer,
        source="OpenCV Zoo",
        licence="Apache-2.0",
        sha256=digest,
        parameters=9_642_880,
    )
    address = "https://github.com/opencv/opencv_zoo/raw/main/models/face_recognition_sface/"
    return Published(card, "face_recognition_sface_2021dec.onnx", digest, address)


_MOBILENET_V2 = "b03531047ffacf1e2488318dcd2aba1126cde36e3bfe1aa5cb07700aeeee9889"

_PUBLISHED = (
    _torchvision("resnet18", "resnet18-f37072fd.pth", 11_689_512, 256),
    _torchvision("resnet34", "resnet34-b627a593.pth", 21_797_672, 256),
    _torchvision("resnet50", "resnet50-11ad3fa6.pth", 25_557_032, 232),
    _torchvision("resnet101", "resnet101-cd907fc2.pth", 44_549_160, 232),
    _torchvision("resnet152", "resnet152-f82ba261.pth", 60_192_808, 232),
    _torchvision("mobilenet_v2", "mobilenet_v2-b0353104.pth", 3_504_872, 256, _MOBILENET_V2),
    _torchvision("vgg19", "vgg19-dcbb9e9d.pth", 143_667_240, 256),
    _torchvision("convnext_tiny", "convnext_tiny-983f1562.pth", 28_589_128, 236),
    _torchvision("convnext_small", "convnext_small-0c510722.pth", 50_223_688, 230),
    _torchvision("convnext_base", "convnext_base-6075fbad.pth", 88_591_464, 232),
    _torchvision("vit_b_16", "vit_b_16-c867db91.pth", 86_567_656, 256),
    _adaface("iresnet18", "adaface_ir18_webface4m.ckpt", 24_020_352, "minchul/cvlface_adaface_ir18_webface4m"),
    # AdaFace has the architecture, but no weights of it.
    _adaface("iresnet34", None, 34_134_080, None),
    _adaface("iresnet50", "adaface_ir50_webface4m.ckpt", 43_585_600, "minchul/cvlface_adaface_ir50_webface4m"),
    _adaface("iresnet101", "adaface_ir101_webface12m.ckpt", 65_150_912, "minchul/cvlface_adaface_ir101_webface12m"),
    _sface(),
)

REGISTRY: dict[str, Published] = {published.card.name: published for published in _PUBLISHED}


def published(name: str) -> Published:
    """The registry's record of a name.

    Raises:
        UnknownNetworkError: with the nearest names.
    """
    if name in REGISTRY:
        return REGISTRY[name]
    raise UnknownNetworkError(f"unknown network {name!r}; {did_you_mean(name, REGISTRY)} `fame models` lists them all.")


def card(name: str) -> Card:
    """The card of a published network; see `published` for errors."""
    return published(name).card


def check_own_name(name: str) -> None:
    """Keeps a network of one's own from the place of a published one, and in its folder.

    Raises:
        OwnNameError: for a published network's name, and for one that is no plain name of a folder.
    """
    if name in REGISTRY or not re.fullmatch(r"[\w.+-]+", name) or name.startswith("."):
        raise OwnNameError(
            f"--name {name}: expected letters, digits and '_-.+', no published network's name. Give another --name."
        )


def card_of_format_1(name: str, sha256: str, licence: str) -> Card:
    """The card of a network that was converted before folders held cards."""
    return replace(card(name), sha256=sha256, licence=licence)


def build(
    name: str | Card, *, outputs: int | None = None, seed: int | None = 0, dtype: Any = "float32"
) -> Standardized:
    """A network with freshly initialised weights, which takes RGB in [0, 1].

    Args:
        name: in the registry, or the card of a network of a known architecture.
        outputs: number of classes, or length of the embedding; None for one for each label, or else the published
            networks' number.
        seed: of the weights; None for zeros in place of random ones.
        dtype: of the weights.

    Raises:
        UnknownNetworkError, UnknownArchitectureError: with the nearest names.
    """
    made_of = name if isinstance(name, Card) else card(name)
    count = len(made_of.labels) if outputs is None and made_of.labels else outputs
    network = architectures.build(made_of.architecture, outputs=count, seed=seed, dtype=dtype)
    return Standardized(network, made_of.mean, made_of.std, reverse_channels=made_of.reverse_channels)


def abstract(name: str | Card, *, outputs: int | None = None) -> Standardized:
    """The network with shapes in place of weights: nothing is computed or allocated; see `build`."""
    return nnx.eval_shape(lambda: build(name, outputs=outputs, seed=None))


def parameter_count(network: Any) -> int:
    """Number of trained values; running statistics are not trained."""
    return sum(leaf.size for leaf in jax.tree.leaves(nnx.state(network, nnx.Param)))
