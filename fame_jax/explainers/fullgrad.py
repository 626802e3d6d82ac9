"""FullGrad: the logit split among the pixels and the biases of all layers, and added up as one map.

    f(x) = <df/dx, x> + sum_l <b_l, G_l>

with b_l the bias of layer l and G_l the gradient at its output. `full_gradients` returns the summands,
`fullgrad` the map.

References:
    Srinivas and Fleuret, "Full-Gradient Representation for Neural Network Visualization", NeurIPS 2019.
"""

import functools
from typing import Any, Literal, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from fame_jax._types import Attribution, FeatureMap, Image, Output, Scalar
from fame_jax.explainers.compiled import compiled
from fame_jax.image import minmax_normalise, resize
from fame_jax.losses import class_logit
from fame_jax.network import NetworkError, feature_map
from fame_jax.options import OptionError

Values = Float[Array, "..."]


@runtime_checkable
class Probing(Protocol):
    """A network that tells its biases and takes a probe at each layer: `fame_jax.architectures.probes.Probed`.

    A network with a method `probed()` that returns such a one will do as well; the ported networks have it.
    """

    def features(self, image: Image) -> FeatureMap:
        """The feature map `[h, w, c]`."""
        ...

    def biases(self, image: Image, *, complete: bool = False) -> list[Values]:
        """The bias of each layer, of the shape of its output: those of parameters, or all there is."""
        ...

    def with_probes(self, image: Image, probes: list[Values], *, complete: bool = False) -> Output:
        """The output if `probes[i]` is added to the output of layer i."""
        ...


_ABLE = (
    "FullGrad takes the ported networks, and any Flax NNX module through fame_jax.architectures.probes.Probed(network);"
    " a network of another library has to tell its biases, see fame_jax.explainers.fullgrad.Probing."
)


def probing(network: Any) -> Probing:
    """The network as one that tells its biases.

    Raises:
        NetworkError: if it does not, with the networks that do.
    """
    if isinstance(network, Probing):
        return network
    if not hasattr(network, "probed"):
        raise NetworkError(f"fullgrad: the network does not tell its biases. {_ABLE}")
    return network.probed()


@compiled("complete")
def full_gradients(
    network: Any, image: Image, label: ArrayLike, *, complete: bool = False
) -> tuple[Image, list[Values]]:
    """The summands of one logit.

    Args:
        network: see `Probing`.
        image: `[H, W, C]` in [0, 1].
        label: index of the class.
        complete: all biases, so that the summands add up to the logit whatever the network is made of.

    Returns:
        `x df/dx`, `[H, W, C]`, and for each layer `b_l G_l`, of the shape of its output; NaN for a label outside the
        classes.

    Raises:
        NetworkError: for a network that does not tell its biases, or in which none is found.
    """
    network = probing(network)
    biases = network.biases(image, complete=complete)
    if not biases:
        raise NetworkError(f"fullgrad: no layer with a bias was found in the network. {_ABLE}")

    def logit(image: Image, probes: list[Values]) -> Scalar:
        return class_logit(image, lambda x: network.with_probes(x, probes, complete=complete), label)

    probes = jax.tree.map(jnp.zeros_like, biases)
    value, (of_image, of_layers) = jax.value_and_grad(logit, (0, 1))(image, probes)
    summands = image * of_image, jax.tree.map(jnp.multiply, biases, of_layers)
    return jax.tree.map(lambda share: jnp.where(jnp.isfinite(value), share, jnp.nan), summands)


@compiled("form")
def fullgrad(
    network: Any,
    image: Image,
    label: ArrayLike,
    *,
    form: Literal["paper", "complete", "idiap"] = "paper",
) -> Attribution:
    """The summands' magnitudes, scaled, enlarged and added up.

    Args:
        network: see `Probing`.
        image: `[H, W, C]` in [0, 1].
        label: index of the class.
        form: `paper` is the `grad-cam` package's, which the FAME paper compares with: convolutions and batch norms,
            each channel scaled to [0, 1] by itself. `complete` is the same over all layers that lie on the image's
            grid, with all biases; a transformer's tokens are put back on it. `idiap` is the original authors': the
            layers of `paper`, channels scaled jointly, corners aligned when enlarged.

    Returns:
        `[H, W]` in [0, 1]; no ReLU anywhere.

    Raises:
        NetworkError: see `full_gradients`.
    """
    network = probing(network)
    if form not in ("paper", "complete", "idiap"):
        raise OptionError(f"fullgrad: form={form!r}; expected 'paper', 'complete' or 'idiap'.")
    rows, columns, _ = jax.eval_shape(functools.partial(feature_map, network), image).shape
    of_image, of_layers = full_gradients(network, image, label, complete=form == "complete")
    all_maps = form != "complete"
    maps = [_on_grid(share, image, (rows, columns), all_maps) for share in (of_image, *of_layers)]
    merge = _scaled_jointly if form == "idiap" else _scaled_apart
    merged = [merge(jnp.abs(share), image) for share in maps if share is not None]
    return jnp.clip(minmax_normalise(functools.reduce(jnp.add, merged), 1e-7), 0, 1)


def _scaled_apart(share: FeatureMap, image: Image) -> Attribution:
    # Added up before enlarging, which is linear.
    channels = jax.vmap(functools.partial(minmax_normalise, epsilon=1e-7), 2, 2)(share)
    return resize(jnp.sum(channels, axis=-1), *image.shape[:2])


def _scaled_jointly(share: FeatureMap, image: Image) -> Attribution:
    total = jnp.sum(minmax_normalise(share, 1e-6), axis=-1)
    places = (jnp.linspace(0, n - 1, size) for n, size in zip(total.shape, image.shape, strict=False))
    return jax.scipy.ndimage.map_coordinates(total, jnp.meshgrid(*places, indexing="ij"), order=1, mode="nearest")


def _on_grid(share: Values, image: Image, grid: tuple[int, int], is_map: bool) -> FeatureMap | None:
    """A layer's share as `[h, w, c]`, or None if it has no place in the image.

    Of convolutions and batch norms each is a map. Of other layers a map has the image's proportions, up to the rounding
    of strides; tokens are as many as the feature map has locations, after a class token or the like, which drop out.
    """
    height, width, _ = image.shape
    if share.ndim == 4 and share.shape[0] == 1:
        share = share[0]  # Of a network that adds a batch axis to its image.
    if share.ndim == 3 and (is_map or abs(share.shape[0] / height - share.shape[1] / width) <= 1 / min(height, width)):
        return share
    tokens = grid[0] * grid[1]
    if share.ndim >= 2 and tokens <= share.shape[0] <= tokens + grid[0]:
        return share[share.shape[0] - tokens :].reshape(*grid, -1)
    return None
