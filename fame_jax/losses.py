"""What is asked of the network: scalars of one image, all of which the walk descends.

Every loss takes the image first and whatever it needs after it, network included, so that `core.perturb` can trace all
of it. A loss of your own needs nothing from here: any `loss(image, *args) -> scalar` will do.

References:
    Zhang and Günther, "Feature Activation Map Explanation on Image Classification and Face Recognition", Eq. (2), (5)
    and (6).
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from fame_jax._types import Embedding, FeatureMap, Image, Location, Output, Scalar
from fame_jax.network import Network, feature_map, head_of, vector
from fame_jax.scores import output_of


def class_logit(image: Image, network: Callable[[Image], Output], label: ArrayLike) -> Scalar:
    """`z_o`, the raw logit of one class (Sec. 3.3); unbounded below, so it keeps falling.

    A label outside the classes, negative ones included, gives NaN (status `not finite`), never a neighbour's logit.
    """
    return output_of(network(image), label)


def class_rather_than(image: Image, network: Callable[[Image], Output], label: ArrayLike, other: ArrayLike) -> Scalar:
    """`z_label - z_other`: why this class, or this box of a `fame_jax.detection.Detected`, rather than the other."""
    return class_logit(image, network, label) - class_logit(image, network, other)


def class_over_region(
    image: Image, network: Callable[[Image], FeatureMap], region: Float[Array, "h w"], label: ArrayLike
) -> Scalar:
    """The mean logit of a class over a region of a segmentation.

    Args:
        image: `[H, W, C]` in [0, 1].
        network: image to logits `[h, w, classes]`.
        region: weights of the places, ones and zeros for a mask, `[h, w]`; all zeros give NaN.
        label: the class; one outside the classes gives NaN.

    Raises:
        ValueError: for a region of another size than the logits.
    """
    logits = network(image).at[..., label].get(mode="fill", fill_value=jnp.nan, wrap_negative_indices=False)
    if jnp.shape(region) != logits.shape:
        raise ValueError(
            f"class_over_region: the region is {list(jnp.shape(region))}; expected {list(logits.shape)}, as the logits."
        )
    return jnp.sum(logits * region) / jnp.sum(region)


def absolute_class_logit(image: Image, network: Callable[[Image], Output], label: ArrayLike) -> Scalar:
    """`|z_o|`, what the authors' first script minimised: falls until the logit is 0 and then dithers around it."""
    return _magnitude(class_logit(image, network, label))


def feature_activation(image: Image, network: Network, location: Location) -> Scalar:
    """`L_a = sum_c |a[row, column, c]|`, the activation at one location of the feature map (Eq. 5).

    Args:
        image: `[H, W, C]` in [0, 1].
        network: anything with `features(image) -> [h, w, c]`.
        location: row and column, `[2]`. One outside the map, negative numbers included, gives NaN (`not finite`).

    Raises:
        NetworkError: for features that are no map of the image.
    """
    row, column = jnp.asarray(location)
    chosen = feature_map(network, image).at[row, column]
    return jnp.sum(_magnitude(chosen.get(mode="fill", fill_value=jnp.nan, wrap_negative_indices=False)))


def similarity(image: Image, network: Callable[[Image], Output], reference: Embedding, sign: ArrayLike = 1) -> Scalar:
    """`L_+ = s` (sign +1) or `L_- = 1 - s` (sign -1), with s the cosine of two embeddings (Eq. 2 and 6).

    The norm of the image's embedding is held constant in the gradient (footnote 4); see `similarity_free_norm`.

    Args:
        image: the face that is changed, `[H, W, C]` in [0, 1].
        network: image to embedding.
        reference: embedding of the other face, `[d]`, of any length above zero; it is normalised here. All zeros give
            s = 0 and a zero gradient.
        sign: +1 descends the similarity (map e+), -1 the dissimilarity (map e-). Traced, so that both run in one batch.
    """
    embedding = vector(network(image))
    return _signed_cosine(embedding, jax.lax.stop_gradient(_norm(embedding)), reference, sign)


def similarity_free_norm(
    image: Image, network: Callable[[Image], Output], reference: Embedding, sign: ArrayLike = 1
) -> Scalar:
    """`similarity` differentiated through the norm as well, as the authors' published code does."""
    embedding = vector(network(image))
    return _signed_cosine(embedding, _norm(embedding), reference, sign)


def dissimilarity(image: Image, network: Callable[[Image], Output], reference: Embedding) -> Scalar:
    """`L_- = 1 - s` (Eq. 6)."""
    return similarity(image, network, reference, -1)


def class_evidence(image: Image, network: Network, label: ArrayLike) -> Scalar:
    """`L_ev = sum_k max(sum_c G[k, c] a[k, c], 0)`: what speaks for a class, added over the feature map's locations.

    `G` is the gradient of `z_o` at the feature map `a`, held constant and computed anew in every step: the positive
    part of HiResCAM's map. Unlike `z_o` it does not fall when something is painted that speaks against the class. With
    a pooled linear head, `z_o` is its bias, plus `L_ev`, minus what speaks against the class.

    Args:
        image: `[H, W, C]` in [0, 1].
        network: anything with `features(image) -> [h, w, c]` and `head`, which returns logits.
        label: index of the class; one outside the classes gives NaN.

    Raises:
        NetworkError: for features that are no map of the image, or outputs that are no vector.
    """
    return _evidence(image, network, lambda head, features: output_of(head(features), label))


def pair_evidence(image: Image, network: Network, reference: Embedding, sign: ArrayLike = 1) -> Scalar:
    """`class_evidence` of the cosine `s` in place of `z_o`: what speaks for, or against, the similarity of two faces.

    Args:
        image: the face that is changed, `[H, W, C]` in [0, 1].
        network: anything with `features` and `head`, which returns an embedding.
        reference: see `similarity`; the norm of the image's embedding is held constant as there.
        sign: +1 descends the evidence for similarity (map e+), -1 that against it (map e-). Traced.

    Raises:
        NetworkError: see `class_evidence`.
    """

    def score(head: Callable[[FeatureMap], Embedding], features: FeatureMap) -> Scalar:
        embedding = vector(head(features))
        return _signed_cosine(embedding, jax.lax.stop_gradient(_norm(embedding)), reference, 1)

    return _evidence(image, network, score, sign)


def cosine(embedding: Embedding, reference: Embedding) -> Scalar:
    """`s = a.b / (|a| |b|)` in [-1, 1] (Eq. 2); 0 where an embedding is all zeros."""
    return _signed_cosine(embedding, _norm(embedding), reference, 1)


def _signed_cosine(embedding: Embedding, norm: Scalar, reference: Embedding, sign: ArrayLike) -> Scalar:
    score = jnp.vdot(reference, embedding, precision="highest") / (norm * _norm(reference))
    return (1 - jnp.asarray(sign, score.dtype)) / 2 + sign * score


def _evidence(image: Image, network: Network, score: Callable[..., Scalar], sign: ArrayLike = 1) -> Scalar:
    features = feature_map(network, image)
    head = head_of(network, jax.lax.stop_gradient(image))
    value, gradient = jax.value_and_grad(score, 1)(head, jax.lax.stop_gradient(features))
    evidence = jnp.sum(jax.nn.relu(sign * jnp.sum(gradient * features, axis=-1)))
    return jnp.where(jnp.isfinite(value), evidence, jnp.nan)


def _norm(embedding: Embedding) -> Scalar:
    """The L2 norm, with 1 in place of 0: the product it divides is zero then, and so is its gradient."""
    square = jnp.sum(embedding**2)
    return jnp.sqrt(jnp.where(square > 0, square, 1))


def _magnitude(values: jax.Array) -> jax.Array:
    """`|x|` whose gradient at 0 is 0 as in PyTorch; that of `jnp.abs` is 1."""
    return values * jax.lax.stop_gradient(jnp.sign(values))
