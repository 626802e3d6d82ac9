"""What each network's layers are called in its publisher's checkpoint."""

from collections.abc import Callable
from dataclasses import dataclass
from re import Match

from weight_conversion.layouts import Layout

Replacement = str | Callable[[Match[str]], str]

STEPS_SEEN = (r"(^|\.)num_batches_tracked$", "number of training steps, which inference does not use")


@dataclass(frozen=True)
class Names:
    r"""From our names to the checkpoint's.

    A weight's key begins as our layer's path and torch's name of the weight, `blocks.3.conv1.weight`; `renames` then
    turn it into the checkpoint's. A linear layer's `kernel` is torch's `weight`, a batch norm's `var` is `running_var`,
    and so on: `convert.LEAVES` says so for every type of layer.

    Attributes:
        renames: (pattern, replacement) of `re.sub`, applied one after the other: `(r"^blocks\.", "body.")`.
        leaves: (pattern, torch's name, layout) for weights that `LEAVES` does not know or that are laid out otherwise;
            the pattern is searched in our path, `classifier.0.kernel`, and the first that is found counts.
        ignored: (pattern, reason) of keys in the checkpoint that the network has no use for.
        prefix: of every key, if the checkpoint has a key that begins with it.
    """

    renames: tuple[tuple[str, Replacement], ...] = ()
    leaves: tuple[tuple[str, str, Layout], ...] = ()
    ignored: tuple[tuple[str, str], ...] = (STEPS_SEEN,)
    prefix: str = ""


_MOBILENET_V2 = Names(
    renames=(
        (r"^blocks\.", "features."),
        (r"^classifier\.", "classifier.1."),
    )
)

NAMES: dict[str, Names] = {
    "resnet18": Names(),
    "resnet34": Names(),
    "resnet50": Names(),
    "resnet101": Names(),
    "resnet152": Names(),
    "mobilenet_v2": _MOBILENET_V2,
}
"""By the registry's names; ResNet's layers have torchvision's names."""
