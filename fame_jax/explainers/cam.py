"""Class activation maps: one derivative at the feature map and five ways to weigh it.

With A the feature map and G the gradient of the explained scalar with respect to it:

| method | raw map | source |
|---|---|---|
| Grad-CAM | `sum_c mean(G_c) A_c` | Selvaraju et al., ICCV 2017 |
| Grad-CAM element-wise | `sum_c max(G_c A_c, 0)` | the `grad-cam` package |
| HiResCAM | `sum_c G_c A_c` | Draelos and Carin, 2020 |
| Grad-CAM++ | `sum_c w_c A_c`, `w_c = sum max(G_c, 0) alpha_c` | Chattopadhyay et al., WACV 2018, Eq. (19) |
| LayerCAM | `sum_c max(G_c, 0) A_c` | Jiang et al., TIP 2021 |

The scalar is a raw logit, or for two faces the dot product of their unnormalised embeddings with the other one held
constant (Zhu et al., TIP 2021). Another layer than the network's own feature map is a network split elsewhere:
`fame_jax.architectures.probes.split_at`.
"""

from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from fame_jax._types import Attribution, Embedding, FeatureMap, Image, Output, Scalar
from fame_jax.explainers.compiled import compiled, known
from fame_jax.explainers.pairs import PairMaps
from fame_jax.image import max_normalise, minmax_normalise, resize
from fame_jax.network import Network, extent, feature_map, head_of, vector
from fame_jax.options import OptionError
from fame_jax.scores import output_of

Weighting = Callable[[FeatureMap, FeatureMap], Float[Array, "rows columns"]]
"""Feature map and gradient, `[h, w, c]` each, to the raw map `[h, w]`."""

Normalisation = Literal["minmax", "max"]


def mean_gradient(features: FeatureMap, gradient: FeatureMap) -> Float[Array, "rows columns"]:
    """Grad-CAM: channels weighted by their mean gradient."""
    return jnp.matmul(features, jnp.mean(gradient, axis=(0, 1)), precision="highest")


def positive_products(features: FeatureMap, gradient: FeatureMap) -> Float[Array, "rows columns"]:
    """Grad-CAM element-wise: the positive products of feature and gradient."""
    return jnp.sum(jnp.maximum(gradient * features, 0), axis=-1)


def products(features: FeatureMap, gradient: FeatureMap) -> Float[Array, "rows columns"]:
    """HiResCAM: all products of feature and gradient; equals Grad-CAM where the gradient is constant over space."""
    return jnp.sum(gradient * features, axis=-1)


def positive_gradients(features: FeatureMap, gradient: FeatureMap) -> Float[Array, "rows columns"]:
    """LayerCAM: every feature weighted by its own gradient where that is positive."""
    return jnp.sum(jnp.maximum(gradient, 0) * features, axis=-1)


def second_order(features: FeatureMap, gradient: FeatureMap) -> Float[Array, "rows columns"]:
    """Grad-CAM++: channels weighted by their positive gradients, those by a closed form of higher derivatives."""
    square, cube = gradient**2, gradient**3
    total = jnp.sum(features, axis=(0, 1), keepdims=True)
    share = jnp.where(gradient != 0, square / (2 * square + total * cube + 1e-6), 0)
    weights = jnp.sum(jnp.maximum(gradient, 0) * share, axis=(0, 1))
    return jnp.matmul(features, weights, precision="highest")


@compiled("weighting", "normalise")
def class_cam(
    network: Network,
    image: Image,
    label: ArrayLike,
    *,
    weighting: Weighting,
    normalise: Normalisation = "minmax",
) -> Attribution:
    """The map of one class's logit, for any weighting.

    Args:
        network: anything with `features` and `head`.
        image: `[H, W, C]` in [0, 1].
        label: index of the class; one outside the classes gives a map of NaN.
        weighting: one of this module's five, or your own.
        normalise: `minmax` as the `grad-cam` package does, before and after enlarging; `max` divides by the largest
            value and then enlarges (the text of the FAME paper, Sec. 3.1, and Zhu et al.'s code).

    Returns:
        `[H, W]` in [0, 1]; blank where no location speaks for the class.

    Raises:
        NetworkError: for features that are no map of the image, or outputs that are no vector.
    """
    features, head = feature_map(network, image), head_of(network, image)
    logit, gradient = jax.value_and_grad(lambda features: output_of(head(features), label))(features)
    features, gradient = _wide(features, image), _wide(gradient, image)
    return known(_enlarged(weighting(features, gradient), image, normalise, extent(network, image)), logit)


def grad_cam(network: Network, image: Image, label: ArrayLike, *, normalise: Normalisation = "minmax") -> Attribution:
    """Grad-CAM of one class; see `class_cam`."""
    return class_cam(network, image, label, weighting=mean_gradient, normalise=normalise)


def grad_cam_ew(
    network: Network, image: Image, label: ArrayLike, *, normalise: Normalisation = "minmax"
) -> Attribution:
    """Grad-CAM element-wise of one class; see `class_cam`."""
    return class_cam(network, image, label, weighting=positive_products, normalise=normalise)


def hires_cam(network: Network, image: Image, label: ArrayLike, *, normalise: Normalisation = "minmax") -> Attribution:
    """HiResCAM of one class; see `class_cam`."""
    return class_cam(network, image, label, weighting=products, normalise=normalise)


def grad_cam_pp(
    network: Network, image: Image, label: ArrayLike, *, normalise: Normalisation = "minmax"
) -> Attribution:
    """Grad-CAM++ of one class; see `class_cam`."""
    return class_cam(network, image, label, weighting=second_order, normalise=normalise)


def layer_cam(network: Network, image: Image, label: ArrayLike, *, normalise: Normalisation = "minmax") -> Attribution:
    """LayerCAM of one class; see `class_cam`."""
    return class_cam(network, image, label, weighting=positive_gradients, normalise=normalise)


@compiled("weighting", "target", "normalise")
def pair_cam(
    network: Network,
    probe: Image,
    gallery: Image,
    *,
    weighting: Weighting = mean_gradient,
    target: Literal["dot", "cosine"] = "dot",
    normalise: Normalisation = "minmax",
) -> PairMaps:
    """The maps of two faces' similarity, for any weighting; there is no e-.

    Args:
        network: anything with `features` and `head`, which returns an embedding.
        probe: `[H, W, C]` in [0, 1].
        gallery: `[H, W, C]` in [0, 1].
        weighting: one of this module's five, or your own.
        target: `dot` is `phi_g . phi_p`; `cosine` divides it by both norms, held constant. The map is the same up to
            rounding except with Grad-CAM++, whose weights depend on the scale of the gradient.
        normalise: see `class_cam`.

    Returns:
        Maps `[H, W]` in [0, 1], often blank with Grad-CAM, whose mean weights assume a pooling head.

    Raises:
        NetworkError: see `class_cam`.
    """
    if target not in ("dot", "cosine"):
        raise OptionError(f"target={target!r}; expected 'dot' or 'cosine'.")
    (a, pull_a, phi_a), (b, pull_b, phi_b) = _split(network, probe), _split(network, gallery)
    scale = 1 if target == "dot" else 1 / _product_of_norms(phi_a, phi_b)
    (gradient_a,), (gradient_b,) = pull_a(scale * phi_b), pull_b(scale * phi_a)
    return PairMaps(
        _enlarged(weighting(_wide(a, probe), _wide(gradient_a, probe)), probe, normalise, extent(network, probe)),
        None,
        _enlarged(
            weighting(_wide(b, gallery), _wide(gradient_b, gallery)), gallery, normalise, extent(network, gallery)
        ),
        None,
    )


def _split(network: Network, image: Image) -> tuple[FeatureMap, Callable[[Output], tuple[FeatureMap]], Output]:
    """The feature map, the gradient at it for any direction of the output, and the output."""
    features, head = feature_map(network, image), head_of(network, image)
    output, pull = jax.vjp(lambda features: vector(head(features)), features)
    return features, pull, output


def _wide(values: FeatureMap, image: Image) -> FeatureMap:
    """In the image's precision, if that is more: a map in 16 bits has a few hundred ranks."""
    return values.astype(image.dtype) if image.dtype.itemsize > values.dtype.itemsize else values


def _product_of_norms(one: Embedding, other: Embedding) -> Scalar:
    product = jnp.linalg.norm(one) * jnp.linalg.norm(other)
    return jnp.where(product > 0, product, 1)


def _enlarged(
    raw: Float[Array, "rows columns"], image: Image, normalise: Normalisation, whole: tuple[int, int] | None = None
) -> Attribution:
    """The map in pixels of the image, which lies at the upper left of the whole that the raw one is of."""
    raw, (height, width) = jnp.maximum(raw, 0), image.shape[:2]
    whole = whole or (height, width)
    if normalise == "max":
        return resize(max_normalise(raw), *whole)[:height, :width]
    if normalise == "minmax":
        enlarged = resize(minmax_normalise(raw, 1e-7), *whole)[:height, :width]
        return jnp.clip(minmax_normalise(enlarged, 1e-7), 0, 1)
    raise OptionError(f"normalise={normalise!r}; expected 'minmax' or 'max'.")
