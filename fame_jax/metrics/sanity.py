"""Sanity checks: does a map still look the same once the network has forgotten what it learned? It should not.

A network is any pytree of parameters and a layer is the part of it under one path, so that nothing here knows a model
class. The same network, newly initialised, says what a layer is without training, running statistics included:

    fresh = resnet50(rngs=nnx.Rngs(1))                            # or any library's initialiser
    for layer, forgetful in cascading(network, fresh, ("conv1", "layers", "fc")):
        map_similarity(map, explain(class_logit, image, forgetful, label).attribution)

References:
    Adebayo, Gilmer, Muelly, Goodfellow, Hardt and Kim, "Sanity Checks for Saliency Maps", NeurIPS 2018, Sec. 4.
    Dalal and Triggs, "Histograms of Oriented Gradients for Human Detection", CVPR 2005.
    Wang, Bovik, Sheikh and Simoncelli, "Image Quality Assessment", IEEE TIP 2004 (SSIM).
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypeVar

import jax
import numpy as np
from jaxtyping import Array, Float
from skimage.feature import hog
from skimage.metrics import structural_similarity

from fame_jax.metrics.statistics import pearson, spearman

Tree = TypeVar("Tree")

Map = Float[Array | np.ndarray, "height width"]
"""A map of any sign and scale."""

OtherMap = Float[Array | np.ndarray, "other_height other_width"]
"""The map it is compared with; that the sizes agree is checked where it is used."""

CELL = 16
"""Side in pixels of a cell of the HOG descriptor, of which 3x3 make a block."""

SMALLEST = 3 * CELL
"""Side in pixels of the smallest maps that are compared."""


class MapSimilarity(NamedTuple):
    """How alike two maps are: 1 for equal ones. NaN where a map is constant and has nothing to correlate,
    or has pixels that are no finite numbers.

    Attributes:
        spearman: rank correlation of the maps as they are, in [-1, 1].
        spearman_absolute: rank correlation of their magnitudes.
        ssim: structural similarity of the maps scaled to [0, 1], scikit-image's defaults (7x7 windows).
        hog: Pearson's correlation of their histograms of oriented gradients (9 directions, cells of 16x16 pixels).
    """

    spearman: float
    spearman_absolute: float
    ssim: float
    hog: float


def cascading(network: Tree, fresh: Tree, layers: Sequence[str]) -> Iterator[tuple[str, Tree]]:
    """Randomises from the last layer down to the first and keeps what is randomised (cascading randomisation).

    Args:
        network: the trained network, a pytree.
        fresh: the same network newly initialised, as training would begin.
        layers: paths of the layers, from input to output; see `randomised`.

    Yields:
        The path of the layer that was randomised last, and the network with it and all later ones randomised.
    """
    for first in range(len(layers) - 1, -1, -1):
        yield layers[first], randomised(network, fresh, layers[first:])


def independent(network: Tree, fresh: Tree, layers: Sequence[str]) -> Iterator[tuple[str, Tree]]:
    """Randomises one layer at a time and leaves all others as they were trained (independent randomisation).

    Args:
        network: the trained network, a pytree.
        fresh: the same network newly initialised.
        layers: paths of the layers, in any order; see `randomised`.

    Yields:
        The path of a layer, and the network with that layer randomised.
    """
    for layer in layers:
        yield layer, randomised(network, fresh, [layer])


def randomised(network: Tree, fresh: Tree, layers: Sequence[str]) -> Tree:
    """The network with every leaf of some layers taken from a newly initialised one.

    Args:
        network: the trained network, a pytree.
        fresh: the same network newly initialised: the same paths and shapes. What is no array, such as the precision of
            products, stays as in `network`.
        layers: paths of layers, parts joined by `/`, each for everything below it: `fc` or `layers/3/conv1`.

    Returns:
        A network of the same structure; `network` itself is left as it is.

    Raises:
        ValueError: for networks of different structure or shapes, or a path under which there is nothing.
    """
    leaves, structure = jax.tree_util.tree_flatten_with_path(network)
    fresh_leaves, _ = jax.tree_util.tree_flatten_with_path(fresh)
    if [path for path, _ in leaves] != [path for path, _ in fresh_leaves]:
        raise ValueError("randomised: the networks differ in structure; expected the same one, newly initialised.")
    paths = ["/" + jax.tree_util.keystr(path, simple=True, separator="/") + "/" for path, _ in leaves]
    for layer in layers:
        if not any(path.startswith(f"/{layer}/") for path in paths):
            known = dict.fromkeys("/".join(path.split("/")[1:3]).rstrip("/") for path in paths)
            raise ValueError(f"randomised: nothing under {layer!r}; paths begin with {', '.join(known)}.")

    def chosen(path: str, leaf: Array, fresh_leaf: Array) -> Array:
        if np.shape(leaf) != np.shape(fresh_leaf):
            raise ValueError(f"randomised: {path[1:-1]} is {np.shape(leaf)}, newly initialised {np.shape(fresh_leaf)}.")
        return fresh_leaf if any(path.startswith(f"/{layer}/") for layer in layers) else leaf

    both = zip(leaves, fresh_leaves, strict=True)
    return jax.tree.unflatten(
        structure, [chosen(path, leaf, new) for path, ((_, leaf), (_, new)) in zip(paths, both, strict=True)]
    )


def map_similarity(attribution: Map, other: OtherMap) -> MapSimilarity:
    """How alike two maps of one image are, by the measures of Adebayo et al. On the host.

    Args:
        attribution: `[H, W]`, of the trained network, at least 48 pixels a side.
        other: `[H, W]`, of the randomised one.

    Returns:
        Rank correlations, SSIM and the correlation of HOG descriptors.

    Raises:
        ValueError: for maps of different or too small size.
    """
    attribution, other = (np.asarray(array, np.float64) for array in (attribution, other))
    if attribution.shape != other.shape or min(attribution.shape) < SMALLEST:
        raise ValueError(
            f"map_similarity: maps of {attribution.shape} and {other.shape}; expected one size, {SMALLEST} pixels or"
            " more."
        )
    if not (np.isfinite(attribution).all() and np.isfinite(other).all()):
        return MapSimilarity(*[float("nan")] * 4)
    scaled = _scaled(attribution), _scaled(other)
    descriptors = (np.asarray(hog(a, orientations=9, pixels_per_cell=(CELL, CELL))) for a in scaled)
    return MapSimilarity(
        spearman(attribution, other),
        spearman(np.abs(attribution), np.abs(other)),
        np.asarray(structural_similarity(*scaled, data_range=1.0)).item(),
        pearson(*descriptors),
    )


def _scaled(attribution: np.ndarray) -> np.ndarray:
    """To [0, 1]; a constant map becomes zeros."""
    span = attribution.max() - attribution.min()
    return (attribution - attribution.min()) / (span if span > 0 else 1)
