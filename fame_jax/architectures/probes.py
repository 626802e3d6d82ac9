"""Looking inside a network without hooks: another layer's output, and a probe added to every layer's output.

Inside the traced function a copy of the network gets some of its layers replaced by callables that do what is asked;
from outside everything is a pure function of image and network.

A layer is named by its path, `"layer3.5"` or `"blocks.17.conv.2"`; an unambiguous end of the path will do.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.tree_util import register_dataclass
from jaxtyping import Array, Float

from fame_jax._types import FeatureMap, Image, Output
from fame_jax.network import NetworkError, Split
from fame_jax.words import did_you_mean

Values = Float[Array, "..."]
Path = tuple[Any, ...]
Around = Callable[..., Values]
"""A layer and its arguments to what is to stand for its output."""


@register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class LayerOutput:
    """Image to the output `[h, w, c]` of one layer of a network."""

    network: nnx.Module
    path: Path = dataclasses.field(metadata={"static": True})

    def __call__(self, image: Image) -> FeatureMap:
        """What the layer returns for the image."""
        outputs = []

        def record(layer: Callable[..., Values], *args: Any, **options: Any) -> Values:
            outputs.append(layer(*args, **options))
            return outputs[-1]

        _intercepted(self.network, [self.path], record)(image)
        if len(outputs) != 1 or outputs[0].ndim != 3:
            raise ValueError(
                f"layer {_name(self.path)!r}: expected one output [h, w, c] per image, "
                f"got {[output.shape for output in outputs]}."
            )
        return outputs[0]


@register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class Rest:
    """A layer's output to the network's, with everything that bypasses the layer as it is for one image."""

    network: nnx.Module
    image: Image
    path: Path = dataclasses.field(metadata={"static": True})

    def __call__(self, features: FeatureMap) -> Output:
        """What the network returns if the layer returns `features`."""

        def replace(layer: Callable[..., Values], *args: Any, **options: Any) -> Values:
            return features

        return _intercepted(self.network, [self.path], replace)(self.image)


@register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class Rests:
    """Image to the `Rest` that holds for it."""

    network: nnx.Module
    path: Path = dataclasses.field(metadata={"static": True})

    def __call__(self, image: Image) -> Rest:
        """The rest of the network for an image."""
        return Rest(self.network, image, self.path)


def split_at(network: nnx.Module, layer: str, image: Image | None = None) -> Split:
    """The network split at any layer, so that its CAMs and locations can be explained.

    What bypasses the layer (the shortcut of a residual block, say) is no function of the layer's output: the head is
    that of an image, `head_of(image)`, which explainers take.

    Args:
        network: an NNX module.
        layer: path of a layer that returns `[h, w, c]`, or its end if only one layer's path ends so.
        image: `[H, W, C]` in [0, 1], for which `head` holds; None for no such head.

    Returns:
        `features`, the layer's output; `head_of`, the rest of the network for an image, and `head`, that for this one.

    Raises:
        ValueError: if there is no such layer, with the nearest names, or if more than one is meant.

    Example:
        >>> maps = jax.vmap(functools.partial(grad_cam, split_at(network, "layer3.5")))(images, labels)
    """
    path = _find(network, layer)
    rests = Rests(network, path)
    return Split(LayerOutput(network, path), _no_head if image is None else rests(image), rests, whole=network)


def _no_head(features: FeatureMap) -> Output:
    raise NetworkError("a network that is split at a layer has a head for an image: network.head_of(image)(features).")


def layer_outputs(network: nnx.Module, image: Image) -> tuple[Output, dict[str, Values]]:
    """The network's output, and by its path that of every layer that is called, at its first call."""
    copy, outputs = nnx.clone(network), {}

    def record(name: str, layer: Callable[..., Values], *args: Any, **options: Any) -> Values:
        output = layer(*args, **options)
        outputs.setdefault(name, output)
        return output

    called = [path for path, layer in _layers(network).items() if callable(layer)]
    # What is inside a layer before the layer, which is then called with it.
    for path in sorted(called, key=len, reverse=True):
        put(copy, path, _Intercepted(layer_at(copy, path), functools.partial(record, _name(path))))
    return copy(image), outputs


def probed(network: Any) -> Any:
    """The network as FullGrad takes it: an NNX module in `Probed`, whatever else as it is."""
    tells = hasattr(network, "probed") or not isinstance(network, nnx.Module)
    return network if tells else Probed(network)


@register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class Probed:
    """A network that also tells the bias of each of its layers: what `fame_jax.explainers.fullgrad` asks for.

    Two sets of layers and biases:

    * Stated: exactly `nnx.Conv` and `nnx.BatchNorm` that have a bias and return a map `[h, w, c]`. The bias is read
      from the parameters, a batch norm's being `beta - mean gamma / sqrt(variance + epsilon)`.
    * Complete: every module without submodules, and the output. The bias is found by sending the image through the
      derivative J of the network along with itself. At each layer the derivative falls short of the value by the bias
      of what was computed since the layers before it, `b_l = y_l - y'_l`; that is booked to the layer and added to the
      derivative, which so goes on level with the value. Hence, with G_l the gradient at the layer's output,

          f(x) = <df/dx, x> + sum_l <b_l, G_l>

      for any network. Nothing has to be piecewise linear, and what happens between layers (an activation, a softmax, a
      class token, the subtraction of the mean) is booked to the next one. A convolution or batch norm gets its stated
      bias, plus that.

    Layers are in order of execution.
    """

    network: Any

    def features(self, image: Image) -> FeatureMap:
        """The network's own."""
        return self.network.features(image)

    def head(self, features: FeatureMap) -> Output:
        """The network's own."""
        return self.network.head(features)

    def __call__(self, image: Image) -> Output:
        """The network's own."""
        return self.network(image)

    def biases(self, image: Image, *, complete: bool = False) -> list[Values]:
        """The bias of each layer, of the shape of its output.

        Args:
            image: `[H, W, C]` in [0, 1].
            complete: see the class. What a layer has beyond its stated bias is set to zero below a hundred units of
                rounding of its largest value: it is rounding, and a convolution without bias must not have any.

        Raises:
            NetworkError: for a network that is no module of Flax NNX, or all biases of one without layers.
        """
        if not isinstance(self.network, nnx.Module) or (complete and not _leaves(self.network)):
            raise NetworkError(
                f"no layer was found in the network: Probed looks into Flax NNX modules, and this is a "
                f"{type(self.network).__name__}."
            )
        return self._complete_biases(image) if complete else self._stated_biases(image)

    def with_probes(self, image: Image, probes: list[Values], *, complete: bool = False) -> Output:
        """The output if `probes[i]` is added to the output of the layer of `biases(image)[i]`."""
        remaining = iter(probes)

        def add(layer: Callable[..., Values], *args: Any, **options: Any) -> Values:
            output = layer(*args, **options)
            return output + next(remaining) if complete or _is_map(output) else output

        if complete:
            return _intercepted(self.network, _leaves(self.network), add)(image) + next(remaining)
        return _intercepted(self.network, _stating(self.network), add)(image)

    def _stated_biases(self, image: Image) -> list[Values]:
        biases = []

        def record(layer: Callable[..., Values], *args: Any, **options: Any) -> Values:
            output = layer(*args, **options)
            if _is_map(output):
                biases.append(_stated_bias(layer, output))
            return output

        _intercepted(self.network, _stating(self.network), record)(image)
        return biases

    def _complete_biases(self, image: Image) -> list[Values]:
        def run(image: Image) -> tuple[list[Values], list[Values]]:
            outputs, stated = [], []

            def settle(layer: Callable[..., Values], *args: Any, **options: Any) -> Values:
                level, output = settled(functools.partial(layer, **options))(*args)
                outputs.append(output)
                stated.append(_stated_bias(layer, output))
                return level

            output = _intercepted(self.network, _leaves(self.network), settle)(image)
            return [*outputs, output], [*stated, jnp.zeros_like(output)]

        (outputs, stated), (slopes, _) = jax.jvp(run, (image,), (image,))
        return [bias + above_rounding(y - s - bias, y) for bias, y, s in zip(stated, outputs, slopes, strict=True)]


def _is_map(output: Values) -> bool:
    """`[h, w, c]`, or that in a batch of one."""
    return output.ndim == 3 or (output.ndim == 4 and output.shape[0] == 1)


def settled(layer: Callable[..., Values]) -> Callable[..., tuple[Values, Values]]:
    """The layer's output twice: with its value for a derivative, whatever reached it, and with its true one."""

    @jax.custom_jvp
    def settled(*args: Values) -> tuple[Values, Values]:
        output = layer(*args)
        return output, output

    @settled.defjvp
    def derivative(args: tuple[Values, ...], slopes: tuple[Values, ...]):
        # Pulled back twice rather than pushed forward: the fast convolutions have a rule for the former only.
        output, pull = jax.vjp(layer, *args)
        (slope,) = jax.vjp(pull, jnp.zeros_like(output))[1](slopes)
        return (output, output), (output, slope)

    return settled


def above_rounding(bias: Values, output: Values) -> Values:
    """The bias, but 0 where it is no more than rounding of the output."""
    floor = 100 * jnp.finfo(output.dtype).eps * jnp.max(jnp.abs(output))
    return jnp.where(jnp.abs(bias) > floor, bias, 0)


def _stated_bias(layer: Any, output: Values) -> Values:
    """The bias of an affine layer by its parameters, of the shape of its output; zero for all other layers."""
    if not isinstance(layer, nnx.Conv | nnx.Linear | nnx.BatchNorm):
        return jnp.zeros_like(output)
    bias = jnp.zeros(output.shape[-1], output.dtype) if layer.bias is None else layer.bias[...]
    if isinstance(layer, nnx.BatchNorm):
        scale = jax.lax.rsqrt(layer.var[...] + layer.epsilon)
        bias -= layer.mean[...] * (scale if layer.scale is None else scale * layer.scale[...])
    return jnp.broadcast_to(bias, output.shape)


def _stating(network: nnx.Module) -> list[Path]:
    """Layers of exactly these types, and with a bias: a batch norm without one is none of the common FullGrad's."""
    return [
        path
        for path, layer in _layers(network).items()
        if type(layer) in (nnx.Conv, nnx.BatchNorm) and layer.bias is not None
    ]


def _leaves(network: nnx.Module) -> list[Path]:
    layers = _layers(network)
    composed = {path[:depth] for path in layers for depth in range(len(path))}
    return [path for path, layer in layers.items() if path not in composed and callable(layer)]


def _layers(network: nnx.Module) -> dict[Path, Any]:
    """All modules inside the network by path."""
    return {path: layer for path, layer in nnx.iter_modules(network) if path}


def _functions(network: nnx.Module) -> list[Path]:
    """Plain functions among the layers, such as an activation in a list of layers."""
    return [
        (*path, i)
        for path, layers in _layers(network).items()
        if isinstance(layers, nnx.List)
        for i, layer in enumerate(layers)
        if callable(layer) and not isinstance(layer, nnx.Module)
    ]


class _Intercepted:
    """Stands in for a layer: calling it calls `around`; everything else is the layer's own."""

    def __init__(self, layer: Callable[..., Values], around: Around):
        self._layer = layer
        self._around = around

    def __call__(self, *args: Any, **options: Any) -> Values:
        return self._around(self._layer, *args, **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._layer, name)


def _intercepted(network: nnx.Module, paths: Iterable[Path], around: Around) -> Any:
    """A copy of the network in which `around` is called in place of the layers at `paths`."""
    copy = nnx.clone(network)
    for path in paths:
        put(copy, path, _Intercepted(layer_at(copy, path), around))
    return copy


def layer_at(network: Any, path: Path) -> Any:
    """The layer at a path."""
    return functools.reduce(_child, path, network)


def put(network: Any, path: Path, layer: Any) -> None:
    """Replaces the layer at a path, in place."""
    *way, last = path
    parent = functools.reduce(_child, way, network)
    if isinstance(last, int):
        parent[last] = layer
    else:
        setattr(parent, last, layer)


def _child(parent: Any, name: str | int) -> Any:
    return parent[name] if isinstance(name, int) else getattr(parent, name)


def _find(network: nnx.Module, layer: str) -> Path:
    paths = {_name(path): path for path in (*_layers(network), *_functions(network))}
    if layer in paths:
        return paths[layer]
    meant = [name for name in paths if name.endswith(f".{layer}")]
    if len(meant) == 1:
        return paths[meant[0]]
    kind = "ambiguous" if meant else "unknown"
    raise ValueError(f"layer {layer!r} is {kind}; {did_you_mean(layer, meant or paths)}")


def _name(path: Path) -> str:
    return ".".join(map(str, path))
