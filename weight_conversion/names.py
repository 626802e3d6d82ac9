"""What each network's layers are called in its publisher's checkpoint."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from re import Match

from weight_conversion.layouts import CHANNELS, ONE_IMAGE, SAME, Layout, convolved, flattened

Replacement = str | Callable[[Match[str]], str]

COUNTERS = (
    (r"(^|\.)num_batches_tracked$", "number of training steps, which inference does not use"),
    (r"(^|\.)n_averaged$", "number of networks that an averaged one is the mean of"),
)


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
        older: (pattern, replacement) from a key to what it was called before, which is taken if the checkpoint has it.
        constants: (key, value) of numbers that are no weights but part of how the network is run here; the checkpoint
            has to have exactly these.
    """

    renames: tuple[tuple[str, Replacement], ...] = ()
    leaves: tuple[tuple[str, str, Layout], ...] = ()
    ignored: tuple[tuple[str, str], ...] = COUNTERS
    older: tuple[tuple[str, str], ...] = ()
    constants: tuple[tuple[str, float], ...] = ()

    def theirs(self, ours: str) -> str:
        """The checkpoint's name of what is called `ours` here, by `renames`."""
        for pattern, replacement in self.renames:
            ours = re.sub(pattern, replacement, ours)
        return ours


_MOBILENET_V2 = Names(
    renames=(
        (r"^blocks\.", "features."),
        (r"^classifier\.", "classifier.1."),
    )
)

_VGG = Names(
    renames=((r"^layers\.", "features."),),
    leaves=((r"^classifier\.0\.kernel$", "weight", flattened(7, 7)),),
)

_CONVNEXT = Names(
    renames=((r"^stages\.", "features."),),
    leaves=((r"\.layer_scale$", "layer_scale", CHANNELS),),
)

_IRESNET = Names(
    leaves=((r"^output_layer\.3\.kernel$", "weight", flattened(7, 7)),),
    ignored=(*COUNTERS, (r"(^|\.)head\.", "AdaFace's margin over the identities of its training set")),
)

_SFACE = Names(
    renames=((r"\.", "_"),),
    leaves=(
        (r"(\.batchnorm|^bn1|^fc1)\.scale$", "gamma", SAME),
        (r"(\.batchnorm|^bn1|^fc1)\.bias$", "beta", SAME),
        (r"(\.batchnorm|^bn1|^fc1)\.mean$", "moving_mean", SAME),
        (r"(\.batchnorm|^bn1|^fc1)\.var$", "moving_var", SAME),
        (r"\.relu\.slope$", "gamma", CHANNELS),
        (r"^pre_fc1\.kernel$", "weight", flattened(7, 7)),
    ),
    ignored=(),
    # (pixel - 127.5) * 0.0078125, which `Standardized` does with the registry's mean and std.
    constants=(("scalar_op1", 127.5), ("scalar_op2", 1 / 128)),
)

_VIT = Names(
    renames=(
        (r"^layers\.(\d+)\.", r"encoder.layers.encoder_layer_\1."),
        (r"^(ln\.|pos_embedding)", r"encoder.\1"),
        (r"^heads\.", "heads.head."),
        (r"\.in_proj\.", ".in_proj_"),
    ),
    leaves=((r"^class_token$", "class_token", ONE_IMAGE), (r"^pos_embedding$", "pos_embedding", ONE_IMAGE)),
    older=((r"\.mlp\.0\.", ".mlp.linear_1."), (r"\.mlp\.3\.", ".mlp.linear_2.")),
)

NAMES: dict[str, Names] = {
    "resnet18": Names(),
    "resnet34": Names(),
    "resnet50": Names(),
    "resnet101": Names(),
    "resnet152": Names(),
    "mobilenet_v2": _MOBILENET_V2,
    "vgg19": _VGG,
    "convnext_tiny": _CONVNEXT,
    "convnext_small": _CONVNEXT,
    "convnext_base": _CONVNEXT,
    "vit_b_16": _VIT,
    "iresnet18": _IRESNET,
    "iresnet34": _IRESNET,
    "iresnet50": _IRESNET,
    "iresnet101": _IRESNET,
    "sface": _SFACE,
}
"""By the registry's names; ResNet's layers have torchvision's names."""


# Our blocks 1 to 17 of MobileNetV2, as timm numbers them: stage and place in it.
_STAGES = [f"{stage}.{place}" for stage, count in enumerate((1, 2, 3, 4, 3, 3, 1)) for place in range(count)]
_CONVNEXT_TIMM = Names(
    renames=(
        (r"^stages\.0\.", "stem."),
        (r"^stages\.([246])\.", lambda m: f"stages.{int(m[1]) // 2}.downsample."),
        (r"^stages\.([1357])\.(\d+)\.", lambda m: f"stages.{int(m[1]) // 2}.blocks.{m[2]}."),
        (r"\.block\.0\.", ".conv_dw."),
        (r"\.block\.2\.", ".norm."),
        (r"\.block\.3\.", ".mlp.fc1."),
        (r"\.block\.5\.", ".mlp.fc2."),
        (r"^classifier\.0\.", "head.norm."),
        (r"^classifier\.2\.", "head.fc."),
    ),
    leaves=((r"\.layer_scale$", "gamma", SAME),),
)

TIMM: dict[str, Names] = {
    "mobilenet_v2": Names(
        renames=(
            (r"^blocks\.0\.0\.", "conv_stem."),
            (r"^blocks\.0\.1\.", "bn1."),
            (r"^blocks\.18\.0\.", "conv_head."),
            (r"^blocks\.18\.1\.", "bn2."),
            # The first block has no expansion, so that its convolutions count from the second.
            (r"^blocks\.1\.conv\.0\.0\.", "blocks.1.conv_dw."),
            (r"^blocks\.1\.conv\.0\.1\.", "blocks.1.bn1."),
            (r"^blocks\.1\.conv\.1\.", "blocks.1.conv_pw."),
            (r"^blocks\.1\.conv\.2\.", "blocks.1.bn2."),
            (r"\.conv\.0\.0\.", ".conv_pw."),
            (r"\.conv\.0\.1\.", ".bn1."),
            (r"\.conv\.1\.0\.", ".conv_dw."),
            (r"\.conv\.1\.1\.", ".bn2."),
            (r"\.conv\.2\.", ".conv_pwl."),
            (r"\.conv\.3\.", ".bn3."),
            (r"^blocks\.(\d+)\.", lambda m: f"blocks.{_STAGES[int(m[1]) - 1]}."),
        )
    ),
    "vgg19": Names(
        renames=(
            (r"^layers\.", "features."),
            (r"^classifier\.0\.", "pre_logits.fc1."),
            (r"^classifier\.3\.", "pre_logits.fc2."),
            (r"^classifier\.6\.", "head.fc."),
        ),
        leaves=(
            (r"^classifier\.0\.kernel$", "weight", convolved(7)),
            (r"^classifier\.3\.kernel$", "weight", convolved(1)),
        ),
    ),
    "convnext_tiny": _CONVNEXT_TIMM,
    "convnext_small": _CONVNEXT_TIMM,
    "convnext_base": _CONVNEXT_TIMM,
    "vit_b_16": Names(
        renames=(
            (r"^layers\.", "blocks."),
            (r"^conv_proj\.", "patch_embed.proj."),
            (r"^class_token$", "cls_token"),
            (r"^pos_embedding$", "pos_embed"),
            (r"\.ln_(\d)\.", r".norm\1."),
            (r"\.self_attention\.in_proj\.", ".attn.qkv."),
            (r"\.self_attention\.out_proj\.", ".attn.proj."),
            (r"\.mlp\.0\.", ".mlp.fc1."),
            (r"\.mlp\.3\.", ".mlp.fc2."),
            (r"^ln\.", "norm."),
            (r"^heads\.", "head."),
        ),
        leaves=((r"^class_token$", "class_token", ONE_IMAGE), (r"^pos_embedding$", "pos_embedding", ONE_IMAGE)),
    ),
}
"""By the registry's names, timm's names of the same layers; its ResNets have torchvision's."""
