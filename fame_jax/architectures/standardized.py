"""A network with its photometry: what every ported network is wrapped in, so that it takes RGB in [0, 1]."""

from typing import Any

import jax.numpy as jnp
from flax import nnx

from fame_jax._types import FeatureMap, Image, Output


class Standardized(nnx.Module):
    """`network((image - mean) / std)`, with outputs in the image's dtype whatever the network computes in."""

    def __init__(
        self,
        network: Any,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        *,
        reverse_channels: bool = False,
    ):
        """Wraps a network of normalised images.

        Args:
            network: has `features` and `head`.
            mean: of red, green and blue, in [0, 1].
            std: of red, green and blue; also the size of a step in the normalised space (`scale` of `perturb`).
            reverse_channels: the network takes BGR.
        """
        self.network = network
        self.mean = mean
        self.std = std
        self.reverse_channels = reverse_channels
        self.dtype = None

    def features(self, image: Image) -> FeatureMap:
        """The feature map `[h, w, c]` of an RGB image `[H, W, 3]` in [0, 1]."""
        mean, std = (jnp.asarray(v, image.dtype)[None, None] for v in (self.mean, self.std))
        x = (image - mean) / std
        if self.reverse_channels:
            x = x[..., ::-1]
        return self.network.features(x if self.dtype is None else x.astype(self.dtype)).astype(image.dtype)

    def head(self, features: FeatureMap) -> Output:
        """Logits or embedding `[o]`."""
        x = features if self.dtype is None else features.astype(self.dtype)
        return self.network.head(x).astype(features.dtype)

    def __call__(self, image: Image) -> Output:
        """Logits or embedding `[o]` of an RGB image `[H, W, 3]` in [0, 1]."""
        return self.head(self.features(image))

    def probed(self) -> Any:
        """The network as one that tells its biases: what FullGrad asks for."""
        from fame_jax.architectures.probes import Probed

        return Probed(self)
