"""Every ported network against a random twin in PyTorch: torchvision's own, or one from the publisher's layout."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import pytest
from flax import nnx

from fame_jax.models import convnext, iresnet, sface, vgg, vit
from weight_conversion import NAMES, Names
from weight_conversion.layouts import flattened

torch = pytest.importorskip("torch")

from tests.reference import iresnet_torch, sface_torch, twins  # noqa: E402

WIDTHS = (4, 6, 8, 10)


class Twin(NamedTuple):
    """A small network, its twin, and what is needed to compare them."""

    network: nnx.Module
    module: Any
    layer: str
    size: int
    names: Names
    as_map: Callable[[Any], Any] = twins.channels_last
    state: dict[str, Any] | None = None


def shapes(build: Callable[..., nnx.Module], *args: Any, **options: Any) -> Any:
    """The network without values: the twin's are put in."""
    return nnx.eval_shape(lambda: build(*args, **options, rngs=nnx.Rngs(0)))


def flattening(name: str, side: int) -> Names:
    """The names of a network whose linear layer sees a map of another side than the published one's."""
    names = NAMES[name]
    leaves = tuple((p, n, flattened(side, side) if n == "weight" else layout) for p, n, layout in names.leaves)
    return dataclasses.replace(names, leaves=leaves)


def small_vgg(torchvision: Any, feature_layer: int | None = None) -> Twin:
    plan = [
        width for width, repeats in zip((4, 6, 8, 10, 12), (2, 2, 4, 4, 4), strict=True) for width in [width] * repeats
    ]
    for position in (2, 5, 10, 15, 20):
        plan.insert(position, "M")
    module = torchvision.models.VGG(torchvision.models.vgg.make_layers(plan))
    module.classifier[0] = torch.nn.Linear(49 * 12, 16)
    module.classifier[3] = torch.nn.Linear(16, 16)
    module.classifier[6] = torch.nn.Linear(16, 5)
    widths = ((4, 2), (6, 2), (8, 4), (10, 4), (12, 4))
    network = shapes(vgg.VGG, widths, feature_layer=feature_layer, hidden=16, classes=5)
    return Twin(network, module, f"features.{feature_layer or 35}", 96, NAMES["vgg19"])


def small_convnext(torchvision: Any) -> Twin:
    depths = (1, 1, 1, 2)
    setting = [
        torchvision.models.convnext.CNBlockConfig(width, after, depth)
        for width, after, depth in zip(WIDTHS, (*WIDTHS[1:], None), depths, strict=True)
    ]
    module = torchvision.models.ConvNeXt(setting, num_classes=5)
    return Twin(
        shapes(convnext.ConvNeXt, depths, WIDTHS, classes=5),
        module,
        "features.7.1",
        64,
        NAMES["convnext_tiny"],
    )


def small_vit(torchvision: Any) -> Twin:
    sizes = {"image_size": 48, "patch_size": 16, "num_layers": 2, "num_heads": 3, "hidden_dim": 12, "mlp_dim": 20}
    module = torchvision.models.VisionTransformer(**sizes, num_classes=5)
    network = shapes(vit.VisionTransformer, image_size=48, patch=16, depth=2, heads=3, width=12, hidden=20, classes=5)
    block = module.encoder.layers[-1]
    return Twin(network, module, "encoder.layers.encoder_layer_1.ln_1", 48, NAMES["vit_b_16"], handed_over(block))


def handed_over(block: Any) -> Callable[[Any], Any]:
    """From the normalised tokens of an encoder block to what its class token receives from each patch."""
    seen = []
    block.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))

    def as_map(normalised: Any) -> Any:
        attention, width = block.self_attention, normalised.shape[-1]
        _, weights = attention(normalised, normalised, normalised, average_attn_weights=False)
        values = torch.nn.functional.linear(
            normalised, attention.in_proj_weight[2 * width :], attention.in_proj_bias[2 * width :]
        )
        repeated = weights[:, :, 0].repeat_interleave(width // attention.num_heads, dim=1).transpose(1, 2)
        received = (repeated * values) @ attention.out_proj.weight.T
        rest = seen[-1][:, 0] + received[:, 0] + attention.out_proj.bias
        patches = received[:, 1:] + rest[:, None] / (normalised.shape[1] - 1)
        side = int((normalised.shape[1] - 1) ** 0.5)
        return patches.unflatten(1, (side, side))

    return as_map


def small_iresnet(_: Any) -> Twin:
    depths = (2, 1, 2, 1)
    sizes = {"widths": WIDTHS, "embedding": 6, "image_size": 32}
    module = iresnet_torch.IResNet(depths, **sizes)
    network = shapes(iresnet.IResNet, depths, **sizes)
    return Twin(network, module, "body.5", 32, flattening("iresnet18", 2))


def small_sface(_: Any) -> Twin:
    stages = ((6, 1), (8, 2), (8, 1), (10, 2))
    sizes = {"stem": 4, "embedding": 6, "image_size": 24}
    module = sface_torch.SFace(stages, **sizes)
    network = shapes(sface.SFace, stages, **sizes)
    return Twin(network, module, "conv_5_relu", 24, flattening("sface", 6))


SMALL = {
    "vgg": small_vgg,
    "vgg_pooled": lambda torchvision: small_vgg(torchvision, feature_layer=36),
    "convnext": small_convnext,
    "vit": small_vit,
    "iresnet": small_iresnet,
    "sface": small_sface,
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", SMALL)
def test_features_output_gradient_and_five_steps_are_the_twins(torchvision, name, dtype):
    with jax.enable_x64(dtype == "float64"):
        twin = SMALL[name](torchvision)
        module = twins.randomise(twin.module.to(getattr(torch, dtype)))
        state = module.graph_initializers() if name == "sface" else None
        network = twins.converted(twin.network, module, twin.names, state)
        twins.compare(network, module, twin.layer, twin.size, as_map=twin.as_map)
