"""The representations everything else is written in; one image at a time, a batch axis is only ever added by `vmap`."""

from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int, Shaped

Image = Float[Array, "height width channels"]
"""RGB in [0, 1]; 1/255 is one grey level everywhere. One channel (greyscale) is allowed."""

Attribution = Float[Array, "height width"]
"""A map on the image's grid in [0, 1]; 0 is irrelevant."""

FeatureMap = Float[Array, "_rows _columns _features"]
"""What the convolutional part of a network returns for one image; a layer may change every axis."""

Embedding = Float[Array, " embedding"]
"""A face embedding before L2 normalisation."""

Logits = Float[Array, " classes"]
"""Class scores before softmax."""

Output = Float[Array, " outputs"]
"""Logits or an embedding."""

Location = Int[Array, "2"] | tuple[ArrayLike, ArrayLike]
"""Row and column of one position in a feature map."""

Scalar = Shaped[Array, ""]
"""One number, of any dtype."""

PerChannel = ArrayLike | tuple[ArrayLike, ...]
"""One number for all channels, or one a channel."""
