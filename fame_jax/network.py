"""The one contract a network fulfils, and a way to make one from any two functions."""

import functools
import types
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp

from fame_jax._types import FeatureMap, Image, Output
from fame_jax.held import Coded, as_code, is_array
from fame_jax.options import OptionError, check_integers


class NetworkError(ValueError):
    """A network that cannot be explained as it is; the message says what was expected and what to do."""


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

    A callable that is a pytree (an NNX or Equinox module, a `jax.tree_util.Partial` over parameters), or a method of
    one, is traced: new weights do not recompile. A plain function is static, and arrays it closes over become constants
    of the program, which is compiled anew for others.

    Args:
        features: image `[H, W, C]` to feature map `[h, w, c]`.
        head: feature map to logits or embedding `[o]`.
        head_of: image `[H, W, C]` to the head that holds for it, see `fame_jax.network.head_of`.
        extent: rows and columns of pixels that the feature map is of, see `fame_jax.network.extent`.
        whole: image to logits or embedding, where a network says it by itself; None for the head of the features.

    Example:
        >>> from jax.tree_util import Partial
        >>> network = Split(Partial(backbone.apply, parameters), Partial(classifier.apply, other_parameters))
    """

    def __init__(
        self,
        features: Callable[[Image], FeatureMap],
        head: Callable[[FeatureMap], Output],
        head_of: Callable[[Image], Callable[[FeatureMap], Output]] | None = None,
        *,
        extent: tuple[int, int] | None = None,
        whole: Callable[[Image], Output] | None = None,
    ):
        self.features, self.head, self.head_of, self.whole = map(_unbound, (features, head, head_of, whole))
        self.extent = extent

    def __call__(self, image: Image) -> Any:
        """Logits or embedding `[o]` of one image; what is no vector is refused where it is used."""
        return head_of(self, image)(self.features(image)) if self.whole is None else self.whole(image)

    def tree_flatten(self) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """Pytree callables are children; plain functions are part of the structure."""
        parts = (self.features, self.head, self.head_of, self.whole)
        static = tuple(as_code(f) if f is not None and jax.tree_util.all_leaves([f]) else None for f in parts)
        children = tuple(None if s is not None else f for s, f in zip(static, parts, strict=True))
        return children, (static, self.extent)

    @classmethod
    def tree_unflatten(cls, code: tuple[Any, ...], children: tuple[Any, ...]) -> "Split":
        """The inverse of `tree_flatten`."""
        static, extent = code
        *parts, whole = (c if s is None else s for s, c in zip(static, children, strict=True))
        return cls(*parts, extent=extent, whole=whole)


@jax.tree_util.register_pytree_node_class
class Picked:
    """A network of which one output is taken: from a dict, a tuple, a batch of one, a map of the image.

    Args:
        network: anything with `__call__`; `features`, `head`, `head_of` and `extent` are passed on where it has them.
        pick: a key of a dictionary, an index of a tuple or of the leading axis of an array (0 for `[1, n]`), or a
            function of the outputs to one vector `[o]`, which is code, hence static.

    Example:
        >>> network = Picked(detector, "logits")
        >>> network = Picked(segmenter, lambda outputs: outputs.mean((0, 1)))
    """

    def __init__(self, network: Any, pick: Any):
        self.network = traceable(network)
        self.pick = pick

    def __getattr__(self, name: str) -> Any:
        """`features` and what goes with them, if the network has them."""
        if name not in ("features", "head", "head_of", "extent") or "network" not in self.__dict__:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        part = getattr(self.network, name)
        match name:
            case "head":
                return lambda features: self._picked(part(features))
            case "head_of" if part is not None:
                return lambda image: lambda features: self._picked(part(image)(features))
        return part

    def __call__(self, image: Image) -> Output:
        """What is picked of the network's outputs."""
        return self._picked(self.network(image))

    def _picked(self, outputs: Any) -> Any:
        return self.pick(outputs) if callable(self.pick) else outputs[self.pick]

    def tree_flatten(self) -> tuple[tuple[Any], Any]:
        """The network is traced, `pick` is part of the structure."""
        return (self.network,), self.pick

    @classmethod
    def tree_unflatten(cls, pick: Any, children: tuple[Any]) -> "Picked":
        """The inverse of `tree_flatten`."""
        new = cls.__new__(cls)
        (new.network,), new.pick = children, pick
        return new


def traceable(network: Any) -> Any:
    """What `jit` takes as an argument: a pytree as it is; anything else as a pytree without leaves around its code.

    So a plain function is part of the compiled program, and a pytree (an NNX module, a `Partial` over parameters, an
    array) is an argument of it.

    Raises:
        NetworkError: for a network in training mode, as far as that shows.
    """
    wrapped = _argument(network)
    refuse_training((network, wrapped))
    return wrapped


def arguments(args: tuple[Any, ...]) -> tuple[Any, ...]:
    """Arguments of a loss as `jit` takes them: a plain function among them is part of the program. See `traceable`.

    Raises:
        OptionError: for text, and whole numbers of more bits than JAX has.
    """
    refuse_training(args)
    check_integers(*args)
    wrapped = tuple(map(_argument, args))
    if texts := [leaf for leaf in jax.tree.leaves(wrapped) if isinstance(leaf, str)]:
        raise OptionError(f"argument {texts[0][:40]!r}: expected a number, an array, a network or a function.")
    return wrapped


def code_and_arguments(
    function: Callable[..., Any], args: tuple[Any, ...]
) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """A loss as code and its arguments after the image, see `arguments`; a loss that holds arrays is one of them.

    Such are a module, one of its methods, or a `Partial` over parameters: other weights compile nothing. For others
    that a closure or an object has got hold of it is compiled anew, see `fame_jax.held`.
    """
    held = _unbound(function)
    if not any(map(is_array, jax.tree.leaves(held))):
        return as_code(function), arguments(args)
    return _of_held, arguments((_around_code(held), *args))


def _of_held(image: Image, function: Callable[..., Any], *args: Any) -> Any:
    return function(image, *args)


def _around_code(function: Any) -> Any:
    return function if all(map(is_array, jax.tree.leaves(function))) else Coded(function)


def _argument(arg: Any) -> Any:
    # Equinox means what is no array to be code, numbers as well.
    held = callable(arg) and not jax.tree_util.all_leaves([arg])
    if held and (_is_equinox(arg) or any(map(_is_code, jax.tree.leaves(arg)))):
        return _around_code(arg)
    return jax.tree.map(_without_code, arg)


def _is_code(leaf: Any) -> bool:
    return not is_array(leaf) and (isinstance(leaf, bool) or not isinstance(leaf, int | float | complex))


def _is_equinox(module: Any) -> bool:
    return any(base.__module__.split(".")[0] == "equinox" for base in type(module).__mro__)


def _unbound(function: Any) -> Any:
    """A method of a pytree as a function of it: to `jit`, methods are equal whose object has other weights by now.

    So are `functools.partial`s over a pytree, which is not one itself.
    """
    if isinstance(function, types.MethodType) and not jax.tree_util.all_leaves([function.__self__]):
        return jax.tree_util.Partial(function.__func__, function.__self__)
    if type(function) is functools.partial:
        inner = _unbound(function.func)
        parts = (*function.args, *function.keywords.values())
        if inner is not function.func or not jax.tree_util.all_leaves(parts):
            plain = jax.tree_util.all_leaves([inner])
            first = (as_code(inner),) if plain else (_called, inner)
            return _around_code(jax.tree_util.Partial(*first, *function.args, **function.keywords))
    return function


def _called(function: Callable[..., Any], *args: Any, **options: Any) -> Any:
    return function(*args, **options)


def _without_code(leaf: Any) -> Any:
    leaf = _unbound(leaf)
    if not (callable(leaf) and jax.tree_util.all_leaves([leaf])):
        return leaf
    features, head = getattr(leaf, "features", None), getattr(leaf, "head", None)
    if features is None or head is None:
        return jax.tree_util.Partial(as_code(leaf))
    whole: Any = leaf
    return Split(features, head, getattr(leaf, "head_of", None), extent=getattr(leaf, "extent", None), whole=whole)


def refuse_training(network: Any) -> None:
    """Refuses modules of Flax NNX and Equinox whose dropout or batch statistics are active, at any depth of a pytree.

    Raises:
        NetworkError: names the kind of layer.
    """
    jax.tree.leaves(network, is_leaf=_not_training)


def _not_training(node: Any) -> bool:
    """False, so that a flattening goes on."""
    settings = getattr(node, "__dict__", {})
    rate = next((settings[name] for name in ("rate", "dropout_rate", "p") if name in settings), None)
    active = [name for name in ("use_running_average", "deterministic", "inference") if settings.get(name) is False]
    if active and not (isinstance(rate, int | float) and rate == 0):
        raise NetworkError(
            f"the network is in training mode: a {type(node).__name__} has {active[0]}=False, so that its maps would "
            "depend on chance or on the batch. Call network.eval() first (Equinox: equinox.nn.inference_mode(network))."
        )
    for function in (node.features, node.head) if isinstance(node, Split) else (node,):
        if isinstance(function, types.MethodType):
            refuse_training(function.__self__)
    return False


def vector(outputs: Any) -> Output:
    """The outputs of a network, if they are one vector.

    Raises:
        NetworkError: for anything else, with what it is and how to pick a vector from it.
    """
    if getattr(outputs, "ndim", None) == 1:
        return jnp.asarray(outputs)
    shapes = jax.tree.map(lambda x: list(getattr(x, "shape", ())), outputs)
    if isinstance(outputs, dict):
        pick = f"outputs[{next(iter(outputs), 'logits')!r}]"
    elif isinstance(outputs, tuple | list):
        pick = "outputs[0]"
    else:
        pick = {0: "outputs[None]", 2: "outputs[0]"}.get(getattr(outputs, "ndim", -1), "outputs.mean((0, 1))")
    raise NetworkError(
        f"the network returns {shapes}; expected one vector [o], the logits or the embedding of one image. "
        f"Pick it: fame_jax.Picked(network, lambda outputs: {pick})."
    )


def feature_map(network: Any, image: Image) -> FeatureMap:
    """The feature map of an image, if it is one: `[h, w, c]` of the proportions of `extent`, up to strides' rounding.

    Raises:
        NetworkError: for a network without `features`, or features of another shape.
    """
    if not hasattr(network, "features"):
        raise NetworkError("the network has no feature map: give it features and head, fame_jax.Split(features, head).")
    features, (height, width) = network.features(image), extent(network, image)
    shape = getattr(features, "shape", ())
    if len(shape) != 3 or not _is_of(shape[0], shape[1], height, width):
        raise NetworkError(
            f"the network's features are {list(shape)}; expected [h, w, c], a map of the proportions of the image of "
            f"{height}x{width}: channels last, without a batch axis, tokens put back on their grid."
        )
    return features


def _is_of(rows: int, columns: int, height: int, width: int) -> bool:
    """Whether a map has the proportions of an image, or of an image without a border: networks without padding."""
    if abs(rows / height - columns / width) <= 2 / min(height, width):
        return True
    stride = (width - height) / (columns - rows) if columns != rows else 0
    return stride > 0 and 0 <= height - rows * stride <= min(height, width) / 2


def head_of(network: Any, image: Image) -> Callable[[FeatureMap], Any]:
    """A network's `head` for one image: where something passes the feature map by, it stays as it is for the image."""
    of_image = getattr(network, "head_of", None)
    return network.head if of_image is None else of_image(image)


def extent(network: Any, image: Image) -> tuple[int, int]:
    """Rows and columns of pixels that a feature map is of: the image's, or those a network fills it up to below."""
    height, width, _ = image.shape
    own = getattr(network, "extent", None)
    return (height, width) if own is None else own
