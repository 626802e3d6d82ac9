"""The one contract a network fulfils, and a way to make one from any two functions."""

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import jax

from fame_jax._types import FeatureMap, Image, Output


@runtime_checkable
class Network(Protocol):
    """`network(image) == head(features(image))`, for one image at a time.

    Normalisation by mean and standard deviation, channel order and so on belong to the network: it takes RGB in [0, 1].
    The split takes the place of hooks: Grad-CAM is the gradient of `head` at `features(image)`.
    """

    def features(self, image: Image) -> FeatureMap:
        """The feature map `[h, w, c]` whose locations can be explained."""
        ...

    def head(self, features: FeatureMap) -> Output:
        """Logits or embedding `[o]` from the feature map."""
        ...

    def __call__(self, image: Image) -> Output:
        """Logits or embedding `[o]`."""
        ...


@jax.tree_util.register_pytree_node_class
class Split:
    """A network made of two callables, of whatever library.

    A callable that is a pytree (an NNX or Equinox module, a `jax.tree_util.Partial` over parameters) is traced: new
    weights do not recompile. A plain function is static, and arrays it closes over become constants of the program.

    Args:
        features: image `[H, W, C]` to feature map `[h, w, c]`.
        head: feature map to logits or embedding `[o]`.

    Example:
        >>> from jax.tree_util import Partial
        >>> network = Split(Partial(backbone.apply, parameters), Partial(classifier.apply, other_parameters))
    """

    def __init__(self, features: Callable[[Image], FeatureMap], head: Callable[[FeatureMap], Output]):
        self.features = features
        self.head = head

    def __call__(self, image: Image) -> Output:
        """Logits or embedding `[o]` of one image."""
        return self.head(self.features(image))

    def tree_flatten(self) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """Pytree callables are children; plain functions are part of the structure."""
        static = tuple(f if jax.tree_util.all_leaves([f]) else None for f in (self.features, self.head))
        children = tuple(None if s is not None else f for s, f in zip(static, (self.features, self.head), strict=True))
        return children, static

    @classmethod
    def tree_unflatten(cls, static: tuple[Any, ...], children: tuple[Any, ...]) -> "Split":
        """The inverse of `tree_flatten`."""
        return cls(*(c if s is None else s for s, c in zip(static, children, strict=True)))


@jax.tree_util.register_pytree_node_class
class _Picked:
    """A network with one of its outputs picked: the network is traced, what is picked is code."""

    def __init__(self, network: Any, which: Any):
        self.network, self.which = network, which

    def _pick(self, outputs: Any) -> Any:
        return self.which(outputs) if callable(self.which) else outputs[self.which]

    def __call__(self, image: Image) -> Output:
        return self._pick(self.network(image))

    def tree_flatten(self) -> tuple[tuple[Any, ...], Any]:
        return (self.network,), self.which

    @classmethod
    def tree_unflatten(cls, which: Any, children: tuple[Any]) -> "_Picked":
        return cls(children[0], which)


@jax.tree_util.register_pytree_node_class
class _PickedSplit(_Picked):
    def __call__(self, image: Image) -> Output:
        return self.head(self.features(image))

    def features(self, image: Image) -> FeatureMap:
        return self.network.features(image)

    def head(self, features: FeatureMap) -> Output:
        return self._pick(self.network.head(features))


def pick_output(network: Any, which: Any) -> Any:
    """A network that returns one output `[o]` of another, which returns several or keeps axes that are not wanted.

    Args:
        network: any callable of one image `[H, W, C]`; with `features` and `head`, the result has them too.
        which: a key of a dictionary; an index of a tuple or of the leading axes of an array (0 for `[1, n]`); or a
            function of the outputs, `lambda maps: maps.mean((0, 1))` for `[h, w, n]`. A function is code: define it
            once.

    Example:
        >>> logits = pick_output(network, "logits")
    """
    whole = all(callable(getattr(network, name, None)) for name in ("features", "head"))
    return (_PickedSplit if whole else _Picked)(traceable(network), which)


def traceable(network: Any) -> Any:
    """What `jit` takes as an argument: a pytree as it is; anything else as a pytree without leaves around its code.

    So a plain function is part of the compiled program, and a pytree (an NNX module, a `Partial` over parameters, an
    array) is an argument of it.
    """
    if not (callable(network) and jax.tree_util.all_leaves([network])):
        return network
    features, head = getattr(network, "features", None), getattr(network, "head", None)
    return jax.tree_util.Partial(network) if features is None or head is None else Split(features, head)
