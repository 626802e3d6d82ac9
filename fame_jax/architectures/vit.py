"""Vision transformer ViT-B/16, with torchvision's layers: the step to transformers that the paper leaves open.

References:
    Dosovitskiy et al., "An Image is Worth 16x16 Words: Transformers for Image Recognition at Scale", 2021.
    Kobayashi, Kuribayashi, Yokoi and Inui, "Attention is Not Only a Weight: Analyzing Transformers with Vector Norms",
    2020 (what a token hands to another, and that its norm is the measure of it).
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from fame_jax._types import FeatureMap, Image, Logits
from fame_jax.architectures.layers import chain, conv, gelu, initial, layer_norm, linear

Tokens = Float[Array, "tokens values"]
"""The class token, then the patch tokens in row-major order."""


class SelfAttention(nnx.Module):
    """Multi-head self-attention; queries, keys and values come from one linear layer, as in PyTorch."""

    def __init__(self, width: int, heads: int, *, dtype: Any, rngs: nnx.Rngs):
        """Attention of `heads` heads over tokens of `width` values."""
        self.heads = heads
        self.in_proj = linear(width, 3 * width, dtype=dtype, rngs=rngs)
        self.out_proj = linear(width, width, dtype=dtype, rngs=rngs)
        self.precision: jax.lax.PrecisionLike = None

    def __call__(self, tokens: Tokens) -> Tokens:
        """What each token receives."""
        queries, keys, values = self._projections(tokens)
        mixed = jnp.einsum("hqk,khd->qhd", self._weights(queries, keys), values, precision=self.precision)
        return self.out_proj(mixed.reshape(tokens.shape))

    def to_class_token(self, tokens: Tokens) -> Tokens:
        """What the class token receives from each token; the bias of `out_proj` is counted with what is its own."""
        queries, keys, values = self._projections(tokens)
        weights = self._weights(queries[:1], keys)[:, 0]
        weighted = (weights.T[..., None] * values).reshape(tokens.shape)
        patches = jnp.matmul(weighted[1:], self.out_proj.kernel[...], precision=self.precision)
        return jnp.concatenate([self.out_proj(weighted[:1]), patches])

    def _projections(self, tokens: Tokens) -> list[Float[Array, "tokens heads size"]]:
        parts = jnp.split(self.in_proj(tokens), 3, axis=-1)
        return [part.reshape(len(tokens), self.heads, -1) for part in parts]

    def _weights(
        self, queries: Float[Array, "queries heads size"], keys: Float[Array, "tokens heads size"]
    ) -> Float[Array, "heads queries tokens"]:
        scores = jnp.einsum("qhd,khd->hqk", queries, keys, precision=self.precision)
        return jax.nn.softmax(scores / math.sqrt(keys.shape[-1]), axis=-1)


class Grid(nnx.Module):
    """Does nothing; its path names the place where the patch tokens pass as a map `[rows, columns, width]`."""

    def __call__(self, patches: FeatureMap) -> FeatureMap:
        """The patch tokens."""
        return patches


class EncoderBlock(nnx.Module):
    """Attention and a two-layer perceptron, each with a layer norm before and a shortcut around; dropout is off."""

    def __init__(self, width: int, heads: int, hidden: int, *, dtype: Any, rngs: nnx.Rngs):
        """A block of `hidden` units in its perceptron."""
        self.patches = Grid()
        self.ln_1 = layer_norm(width, dtype=dtype, rngs=rngs)
        self.self_attention = SelfAttention(width, heads, dtype=dtype, rngs=rngs)
        self.ln_2 = layer_norm(width, dtype=dtype, rngs=rngs)
        self.mlp = nnx.List(
            [
                linear(width, hidden, dtype=dtype, rngs=rngs),
                gelu,
                jax.nn.identity,
                linear(hidden, width, dtype=dtype, rngs=rngs),
            ]
        )

    def __call__(self, tokens: Tokens) -> Tokens:
        """The block's output."""
        tokens = self.named(tokens)
        return self.after_attention(tokens + self.self_attention(self.ln_1(tokens)))

    def named(self, tokens: Tokens) -> Tokens:
        """The block's input, its patch tokens sent through `patches`."""
        side = math.isqrt(len(tokens) - 1)
        patches = self.patches(tokens[1:].reshape(side, side, -1))
        return jnp.concatenate([tokens[:1], patches.reshape(side * side, -1)])

    def after_attention(self, tokens: Float[Array, "*rest values"]) -> Float[Array, "*rest values"]:
        """The second half of the block, which treats each token alone."""
        return tokens + chain(self.mlp, self.ln_2(tokens))


class VisionTransformer(nnx.Module):
    """ViT for one image; `features` is what the class token receives from each patch token in the last block.

    The logits are a function of the class token alone, and after the first block no function of the patch tokens: a
    split `network(image) == head(features(image))` at a grid of deep tokens would have to carry the class token along,
    as channels that every CAM and every location would then be about. But in the last block the class token becomes a
    sum over the patches, and there the split is exact with a grid and nothing else: location k holds

        a[k] = sum over heads of attention[class, k] * W_out value[k]  +  (the rest) / (number of patches),

    the rest being what belongs to no patch (the class token itself, what it hands to itself, and a bias). The class
    token is the sum of `a` over the locations, and `head` goes on from there: sums over the map, then a function of the
    channels, as in a ResNet. So the activation at a location (Eq. 5) is what that patch contributes to the output.

    The patch tokens as they are before block i can be explained through
    `fame_jax.architectures.probes.split_at(network, "layers.i.patches")`, which holds the class token as it is
    for that image.
    """

    def __init__(
        self,
        *,
        image_size: int = 224,
        patch: int = 16,
        depth: int = 12,
        heads: int = 12,
        width: int = 768,
        hidden: int = 3072,
        classes: int = 1000,
        dtype: Any = jnp.float32,
        rngs: nnx.Rngs,
    ):
        """A network with freshly initialised weights; the defaults are ViT-B/16.

        Args:
            image_size: side of the input: the position embedding fixes it.
            patch: side of a patch in pixels.
            depth: number of encoder blocks.
            heads: heads of each attention.
            width: values of a token.
            hidden: units in the perceptrons.
            classes: number of logits.
            dtype: of the weights.
            rngs: for the initial weights.
        """
        self.image_size = image_size
        self.conv_proj = conv(3, width, patch, stride=patch, bias=True, dtype=dtype, rngs=rngs)
        self.class_token = nnx.Param(jnp.zeros((1, width), dtype))
        count = (image_size // patch) ** 2
        self.pos_embedding = nnx.Param(initial(rngs.params(), (1 + count, width), dtype, nnx.initializers.normal(0.02)))
        self.layers = nnx.List([EncoderBlock(width, heads, hidden, dtype=dtype, rngs=rngs) for _ in range(depth)])
        self.ln = layer_norm(width, dtype=dtype, rngs=rngs)
        self.heads = linear(width, classes, dtype=dtype, rngs=rngs)

    def features(self, image: Image) -> FeatureMap:
        """`[14, 14, 768]` of a normalised image `[224, 224, 3]`; see the class.

        Raises:
            ValueError: if the image is not of the size that the network was made for.
        """
        if image.shape[:2] != (self.image_size, self.image_size):
            raise ValueError(
                f"VisionTransformer: the image is {image.shape[0]}x{image.shape[1]}, expected "
                f"{self.image_size}x{self.image_size}: there is one position embedding for each patch."
            )
        last = self.layers[-1]
        tokens = last.named(chain(self.layers[:-1], self._embedded(image)))
        received = last.self_attention.to_class_token(last.ln_1(tokens))
        patches = received[1:] + (tokens[:1] + received[:1]) / (len(tokens) - 1)
        side = math.isqrt(len(patches))
        return patches.reshape(side, side, -1)

    def head(self, features: FeatureMap) -> Logits:
        """Sum over the locations, which is the class token; the rest of its block, layer norm, linear classifier."""
        class_token = jnp.sum(features, axis=(0, 1))
        return self.heads(self.ln(self.layers[-1].after_attention(class_token)))

    def __call__(self, image: Image) -> Logits:
        """Logits of a normalised image `[224, 224, 3]`."""
        return self.head(self.features(image))

    def _embedded(self, image: Image) -> Tokens:
        patches = self.conv_proj(image)
        patches = patches.reshape(-1, patches.shape[-1])
        return jnp.concatenate([self.class_token[...], patches]) + self.pos_embedding[...]


def vit_b_16(**options: Any) -> VisionTransformer:
    """ViT-B/16; options as in `VisionTransformer`."""
    return VisionTransformer(**options)
