"""Batch norm folded into the layer before it, where that is exact."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.ad_checkpoint import checkpoint_name

from fame_jax.architectures.probes import Path, Values, layer_at, put


class Folding(NamedTuple):
    """The result of `fold_batch_norm`.

    Attributes:
        network: a new network, whose convolutions have taken up the batch norms after them.
        folded: path of each batch norm that is gone, and of the layer that does its work.
        refused: path of each batch norm that is still there, and why.
    """

    network: Any
    folded: dict[str, str]
    refused: dict[str, str]


class Folded(nnx.Module):
    """Stands where a batch norm was: does nothing."""

    def __call__(self, x: Values) -> Values:
        """The same."""
        return x


def fold_batch_norm(network: Any, image_size: int | None = None) -> Folding:
    """Folds every batch norm into the convolution or linear layer before it, where that changes nothing.

    It changes nothing if the batch norm takes the layer's output as it is, nothing else takes it, and each is called
    once. That is read off the network's trace rather than its names, and so holds for any NNX network. A batch norm
    that stands *before* a convolution, as in IResNet's blocks, stays: the convolution pads with zeros, which would have
    to be the value of the batch norm at zero.

    Args:
        network: takes an image `[size, size, 3]`; not changed. Its batch norms use their stored statistics.
        image_size: side of the image that the network is traced with; None for the `image_size` of a network that
            takes one size only, else 224.

    Returns:
        The new network, and what was folded and what was not. Outputs and gradients are those of the old one; FullGrad
        is not, since it is about the biases.
    """
    modules: dict[Path, Any] = {path: module for path, module in nnx.iter_modules(network) if path}
    linear = [path for path, module in modules.items() if isinstance(module, nnx.Conv | nnx.Linear)]
    norms = [path for path, module in modules.items() if isinstance(module, nnx.BatchNorm)]
    calls = _calls(network, [*linear, *norms], _size(network) if image_size is None else image_size)

    new, folded, refused = nnx.clone(network), {}, {}
    for norm in norms:
        before = next((path for path in linear if calls.leads(path, norm)), ())
        if reason := _objection(calls, before, norm, modules, linear):
            refused[_name(norm)] = reason
        else:
            folded[_name(norm)] = _name(before)
            _take_up(layer_at(new, before), modules[norm])
            put(new, norm, Folded())
    return Folding(new, folded, refused)


class _Calls(NamedTuple):
    """A network's trace: the variables that go into and come out of its layers, and every use of any variable."""

    inputs: dict[str, list[Any]]
    outputs: dict[str, list[Any]]
    used: list[Any]

    def leads(self, one: Path, other: Path) -> bool:
        """Whether the output of one layer is, as it is, the input of another."""
        inputs = self.inputs.get(_name(other), [])
        return any(output is taken for output in self.outputs.get(_name(one), []) for taken in inputs)

    def count(self, layer: Path) -> int:
        return len(self.inputs.get(_name(layer), []))

    def uses(self, layer: Path) -> int:
        (output,) = self.outputs[_name(layer)]
        return sum(variable is output for variable in self.used)


def _calls(network: Any, layers: list[Path], size: int) -> _Calls:
    """Traces the network with the input and the output of each layer marked by its name."""
    marked = nnx.clone(network)
    for path in layers:
        put(marked, path, functools.partial(_marked, layer_at(marked, path), _name(path)))
    jaxpr = jax.make_jaxpr(marked)(jax.ShapeDtypeStruct((size, size, 3), jnp.float32)).jaxpr
    found = _Calls({}, {}, [variable for equation in jaxpr.eqns for variable in equation.invars] + list(jaxpr.outvars))
    for equation in jaxpr.eqns:
        kind, _, name = str(equation.params.get("name", "")).partition(" ")
        if equation.primitive.name == "name" and kind == "input":
            found.inputs.setdefault(name, []).append(equation.invars[0])
        elif equation.primitive.name == "name" and kind == "output":
            found.outputs.setdefault(name, []).append(equation.outvars[0])
    return found


def _marked(layer: Any, name: str, x: Values) -> Values:
    return checkpoint_name(layer(checkpoint_name(x, f"input {name}")), f"output {name}")


def _objection(calls: _Calls, before: Path, norm: Path, modules: dict[Path, Any], linear: list[Path]) -> str | None:
    """Why a batch norm cannot be folded into the layer before it; None if it can."""
    if not modules[norm].use_running_average:
        return "it uses the statistics of the batch"
    if calls.count(norm) != 1:
        return f"it is called {calls.count(norm)} times"
    if not before:
        padded = [path for path in linear if calls.leads(norm, path) and _pads(modules[path])]
        more = f", and {_name(padded[0])} after it would pad with zeros where it has other values" if padded else ""
        return f"its input is not the output of a convolution or linear layer{more}"
    if calls.count(before) != 1:
        return f"{_name(before)} is called {calls.count(before)} times"
    if calls.uses(before) != 1:
        return f"the output of {_name(before)} is used elsewhere, too"
    return None


def _pads(layer: nnx.Conv | nnx.Linear) -> bool:
    return isinstance(layer, nnx.Conv) and layer.padding != "VALID" and bool(np.any(np.asarray(layer.padding) != 0))


def _take_up(layer: nnx.Conv | nnx.Linear, norm: nnx.BatchNorm) -> None:
    """`gamma (W x + b - mean) / sqrt(variance + epsilon) + beta` as a layer of its own weights."""
    slope = jax.lax.rsqrt(norm.var[...] + norm.epsilon)
    if norm.scale is not None:
        slope = slope * norm.scale[...]
    offset = -norm.mean[...] * slope if norm.bias is None else norm.bias[...] - norm.mean[...] * slope
    if layer.bias is not None:
        offset = offset + layer.bias[...] * slope
    kernel = layer.kernel[...]
    layer.kernel = nnx.Param(kernel * jnp.broadcast_to(slope, kernel.shape))
    layer.bias = nnx.Param(offset)
    layer.use_bias = True


def _size(network: Any) -> int:
    sizes = (getattr(module, "image_size", None) for _, module in nnx.iter_modules(network))
    return next((size for size in sizes if size is not None), 224)


def _name(path: Path) -> str:
    return ".".join(map(str, path))
