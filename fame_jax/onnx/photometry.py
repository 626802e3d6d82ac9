"""What a graph expects of its pixels. No file says it; it is told, by name or in numbers."""

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType

import jax
import jax.numpy as jnp

from fame_jax._types import Image
from fame_jax.image import IMAGENET_MEAN, IMAGENET_STD
from fame_jax.onnx.errors import GraphError


@dataclasses.dataclass(frozen=True)
class Photometry:
    """`(scale * image - mean) / std` of RGB in [0, 1], then the channels in reverse if the graph wants BGR.

    Attributes:
        mean: of red, green and blue, or one for all, in units of `scale`.
        std: likewise.
        scale: 255 for a graph that takes grey levels.
        reverse_channels: the graph takes BGR.
    """

    mean: float | tuple[float, ...] = 0.0
    std: float | tuple[float, ...] = 1.0
    scale: float = 1.0
    reverse_channels: bool = False

    @property
    def channels(self) -> set[int]:
        """How many channels it speaks of; 1 for all alike."""
        return {len(value) if isinstance(value, tuple) else 1 for value in (self.mean, self.std)}

    def __call__(self, image: Image) -> jax.Array:
        """What the graph is given, `[H, W, 3]`."""
        mean, std = (jnp.asarray(v, image.dtype).reshape(1, 1, -1) for v in (self.mean, self.std))
        x = (image * self.scale - mean) / std
        return x[..., ::-1] if self.reverse_channels else x


PHOTOMETRY: Mapping[str, Photometry] = MappingProxyType(
    {
        "unit": Photometry(),
        "levels": Photometry(scale=255.0),
        "levels_bgr": Photometry(scale=255.0, reverse_channels=True),
        "torchvision": Photometry(IMAGENET_MEAN, IMAGENET_STD),
        "timm": Photometry(IMAGENET_MEAN, IMAGENET_STD),
        "timm_half": Photometry(0.5, 0.5),
        "insightface": Photometry(127.5, 127.5, 255.0),
        "opencv_sface": Photometry(scale=255.0),
        "opencv_yunet": Photometry(scale=255.0, reverse_channels=True),
    }
)
"""By family. `unit` is RGB in [0, 1], `levels` RGB from 0 to 255: for graphs that normalise by themselves.

timm's networks have ImageNet's mean and standard deviation, or 0.5 and 0.5 (`timm_half`: ViT, MobileNetV3 and others);
their `config.json` says which. InsightFace's packs (`buffalo_l`) take RGB by (levels - 127.5) / 127.5. In OpenCV's zoo
SFace takes RGB and YuNet BGR levels, as OpenCV's own `FaceRecognizerSF` and `FaceDetectorYN` give them.
"""

FACES = ("insightface", "opencv_sface")
"""Those of networks for faces."""

_ARITHMETIC = ("Sub", "Add", "Mul", "Div", "BatchNormalization")


def told(photometry: str | Photometry | None, normalises: tuple[str, ...] = ()) -> Photometry:
    """What was told, by name or as it is.

    Args:
        photometry: a name of `PHOTOMETRY`, or a `Photometry`.
        normalises: nodes by which the graph seems to normalise by itself, for the message.

    Raises:
        GraphError: if nothing was told, or a name is unknown.
    """
    if isinstance(photometry, Photometry):
        return photometry
    if photometry is None or photometry not in PHOTOMETRY:
        raise GraphError(
            f"photometry={photometry!r}; no ONNX file says which pixels it expects: expected one of "
            f"{', '.join(PHOTOMETRY)}, or Photometry(mean, std, scale, reverse_channels).{hint(normalises)}"
        )
    return PHOTOMETRY[photometry]


def hint(normalises: tuple[str, ...]) -> str:
    """A sentence on a graph whose first nodes are arithmetic with constants; empty for any other."""
    each = (text.split() for text in normalises)
    operator, *numbers = next((words for words in each if words[0] in _ARITHMETIC), ("",))
    if not numbers:
        return ""
    sizes = [abs(float(number)) for number in numbers]
    of_levels = {"Sub": max(sizes) > 2, "Add": max(sizes) > 2, "Div": max(sizes) > 50, "Mul": min(sizes) < 0.02}
    expected = {True: "levels or levels_bgr", False: "unit", None: "unit or levels"}[of_levels.get(operator)]
    return f" The graph begins with {', '.join(normalises)}: it seems to normalise by itself, from {expected}."
