"""Every ported network against a random twin in PyTorch: torchvision's own, or one from the publisher's layout."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from fame_jax.architectures import convnext, iresnet, sface, vgg, vit
from fame_jax.architectures.probes import split_at
from fame_jax.models import REGISTRY, abstract
from weight_conversion import NAMES, Names
from weight_conversion.layouts import flattened

torch = pytest.importorskip("torch")

from tests.marks import thorough  # noqa: E402
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
    # Without values until the linear layers, which have half a gigabyte, are replaced; `twins.randomise` fills all.
    with torch.device("meta"):
        module = torchvision.models.VGG(torchvision.models.vgg.make_layers(plan))
        module.classifier[0] = torch.nn.Linear(49 * 12, 16)
        module.classifier[3] = torch.nn.Linear(16, 16)
        module.classifier[6] = torch.nn.Linear(16, 5)
    module.to_empty(device="cpu")
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


@pytest.mark.parametrize("dtype", [*thorough("float32"), "float64"])
@pytest.mark.parametrize("name", ["vgg", *thorough("convnext", "vgg_pooled"), "vit", "iresnet", "sface"])
def test_features_output_gradient_and_five_steps_are_the_twins(torchvision, name, dtype):
    with jax.enable_x64(dtype == "float64"):
        twin = SMALL[name](torchvision)
        module = twins.randomise(twin.module.to(getattr(torch, dtype)))
        state = module.graph_initializers() if name == "sface" else None
        network = twins.converted(twin.network, module, twin.names, state)
        twins.compare(network, module, twin.layer, twin.size, as_map=twin.as_map)


@pytest.mark.parametrize("rows", [1, 2, 3, 7, 8, 10])
@pytest.mark.parametrize("columns", [1, 7, 12, 15])
def test_adaptive_average_pool_has_torchs_bins(rows, columns):
    maps = np.random.default_rng(0).standard_normal((rows, columns, 2)).astype(np.float32)
    expected = torch.nn.functional.adaptive_avg_pool2d(torch.from_numpy(maps).permute(2, 0, 1), 7).permute(1, 2, 0)
    np.testing.assert_allclose(vgg.adaptive_average_pool(jnp.asarray(maps), 7), expected, atol=1e-6)


def test_vgg_without_such_a_feature_layer_is_refused():
    with pytest.raises(ValueError, match="feature_layer=37, expected 0 to 36"):
        shapes(vgg.vgg19, feature_layer=37)


@pytest.mark.parametrize("build", [vit.vit_b_16, iresnet.iresnet18, sface.sface])
def test_an_image_of_another_size_is_refused_in_words(build):
    network = shapes(build)
    image = jax.ShapeDtypeStruct((96, 160, 3), jnp.float32)
    with pytest.raises(ValueError, match=f"the image is 96x160, expected .*{network.image_size}x{network.image_size}"):
        jax.eval_shape(lambda network, image: network(image), network, image)


@pytest.mark.parametrize("name", ["vgg19", "convnext_tiny", "vit_b_16", "iresnet18", "sface"])
def test_feature_maps_have_the_published_shape(name):
    expected = {
        "vgg19": (14, 14, 512),
        "convnext_tiny": (7, 7, 768),
        "vit_b_16": (14, 14, 768),
        "iresnet18": (7, 7, 512),
        "sface": (7, 7, 1024),
    }
    size = REGISTRY[name].card.size
    image = jax.ShapeDtypeStruct((size, size, 3), jnp.float32)
    found = jax.eval_shape(lambda network, image: network.features(image), abstract(name), image)
    assert found.shape == expected[name]


def test_patch_tokens_of_a_vision_transformer_can_be_explained_with_the_class_token_held(torchvision):
    twin = small_vit(torchvision)
    module = twins.randomise(twin.module)
    network = twins.converted(twin.network, module, twin.names)
    image = twins.images(48, torch.float32)[0]

    @jax.jit
    def tokens_logits_and_gradient(image):
        split = split_at(network, "layers.1.patches", image)
        tokens = split.features(image)
        return tokens, *jax.value_and_grad(lambda tokens: split.head(tokens)[0])(tokens)

    tokens, logit, gradient = tokens_logits_and_gradient(image)
    seen = []
    module.encoder.layers[1].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    expected = module(torch.from_numpy(image).permute(2, 0, 1)[None])
    np.testing.assert_allclose(tokens, seen[0][0, 1:].unflatten(0, (3, 3)).detach(), atol=1e-5)
    np.testing.assert_allclose(logit, expected[0, 0].detach(), rtol=1e-4)
    (of_tokens,) = torch.autograd.grad(expected[0, 0], seen[0])
    np.testing.assert_allclose(gradient, of_tokens[0, 1:].unflatten(0, (3, 3)), atol=1e-5)
    assert float(jnp.abs(gradient).max(axis=-1).min()) > 1e-4
