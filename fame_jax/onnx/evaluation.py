"""A graph, evaluated while JAX traces: what depends on the pixels becomes JAX, the rest is NumPy at once."""

import dataclasses
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fame_jax.onnx.errors import GraphError, MissingOperatorsError
from fame_jax.onnx.graph import SHAPE_INPUTS, Graph, Node
from fame_jax.onnx.operators import OPERATORS, Axes, Call, ChannelsLast, bounded

Value = Any
"""A NumPy array, a JAX array, or one with channels last."""

_SUM_AND_RELU = "Relu of Add"
"""Of no file: what two nodes become, see `_merged`."""

_BOUNDS = {"Clip", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Max", "Min", "Where"}
"""Operators in which an integer that is too large for JAX does what the largest one does."""

Around = Callable[[Node, Callable[..., Value], Sequence[Value]], Value]
"""A node, what computes its outputs, and its inputs, to what is to stand for its outputs."""


def needed(graph: Graph, wanted: Collection[str], given: Collection[str] = ()) -> tuple[tuple[Node, ...], set[str]]:
    """The nodes between some tensors and others, and the inputs of the graph that they need besides."""
    names, nodes = set(wanted) - set(given), []
    for node in reversed(graph.nodes):
        if names.intersection(node.outputs):
            nodes.append(node)
            names.update(name for name in node.inputs if name and name not in given)
    return tuple(reversed(nodes)), names.intersection(tensor.name for tensor in graph.inputs) - set(given)


def missing(nodes: Iterable[Node]) -> dict[str, list[str]]:
    """Operators that are not in the table, with the names of their nodes."""
    found: dict[str, list[str]] = {}
    for node in nodes:
        if node.operator not in OPERATORS or node.operator == _SUM_AND_RELU:
            found.setdefault(node.operator, []).append(node.name)
    return found


def evaluate(
    graph: Graph,
    parameters: Mapping[str, jax.Array],
    given: Mapping[str, Value],
    wanted: Sequence[str],
    around: Around | None = None,
) -> list[Value]:
    """Values of tensors.

    Args:
        graph: with constants.
        parameters: the other constants, by name.
        given: tensors to begin with, such as the input.
        wanted: names of tensors.
        around: called in place of each node; none is merged with its neighbours then.

    Raises:
        MissingOperatorsError: before anything runs.
        GraphError: that names the node.
    """
    nodes, absent = needed(graph, wanted, given)
    if unknown := missing(nodes):
        raise MissingOperatorsError(graph.source, unknown)
    if absent:
        raise GraphError(f"{graph.source}: no value for its input {min(absent)!r}.")
    values: dict[str, Value] = {**graph.constants, **parameters, **given}
    dtype = _dtype(parameters, given)
    for node in nodes if around else _merged(nodes, wanted):
        inputs = [_value(graph, values, name) if name else None for name in node.inputs]
        outputs = applied(node, inputs, dtype) if around is None else around(node, _Operation(node, dtype), inputs)
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        values.update(zip(node.outputs, outputs, strict=False))
    return [_value(graph, values, name) for name in wanted]


def _value(graph: Graph, values: Mapping[str, Value], name: str) -> Value:
    if name not in values:
        node = next(node for node in graph.nodes if name in node.outputs)
        raise GraphError(f"{node}: its output {name!r} is not supported, only those before.")
    return values[name]


@dataclasses.dataclass(frozen=True)
class _Operation:
    node: Node
    dtype: Any

    def __call__(self, *inputs: Value) -> Value:
        return applied(self.node, inputs, self.dtype)


def _dtype(parameters: Mapping[str, jax.Array], given: Mapping[str, Value]) -> Any:
    """The parameters' type, or where there are none that of what is given."""
    for value in (*parameters.values(), *(_array(value) for value in given.values())):
        if jnp.issubdtype(value.dtype, jnp.floating):
            return value.dtype
    return jnp.float32


def _merged(nodes: tuple[Node, ...], wanted: Sequence[str]) -> Iterable[Node]:
    """A sum of two results that only a `Relu` reads becomes one node with it, see `layers.relu_of_sum`.

    Of results, as in a residual block: a constant may be minus infinity, of which that form is no number.
    """
    made = {name for node in nodes for name in node.outputs}
    uses = Counter(name for node in nodes for name in node.inputs)
    sums = {
        node.outputs[0]: node
        for node in nodes
        if node.operator == "Add"
        and uses[node.outputs[0]] == 1
        and node.outputs[0] not in wanted
        and made.issuperset(node.inputs)
    }
    merged = {node.inputs[0] for node in nodes if node.operator == "Relu" and node.inputs[0] in sums}
    for node in nodes:
        if node.operator == "Relu" and node.inputs[0] in merged:
            yield dataclasses.replace(node, operator=_SUM_AND_RELU, inputs=sums[node.inputs[0]].inputs)
        elif node.outputs[0] not in merged:
            yield node


def applied(node: Node, inputs: Sequence[Value], dtype: Any) -> Value:
    """The outputs of a node, in one order of axes or another.

    Raises:
        GraphError: for whatever goes wrong, with the node.
    """
    try:
        with np.errstate(all="ignore"):
            outputs = _applied(node, inputs, dtype)
        for output in outputs if isinstance(outputs, tuple) else (outputs,):
            bounded(_array(output).shape)
        return outputs
    except Exception as error:
        # Whatever a damaged graph trips over, this is where the node is known.
        found = " ".join(str(error).split())[:300] or type(error).__name__
        shapes = ", ".join("none" if x is None else str(as_written(x).shape) for x in inputs)
        raise GraphError(f"{node}: {found}; its inputs have the shapes {shapes}.") from error


def _applied(node: Node, inputs: Sequence[Value], dtype: Any) -> Value:
    row = OPERATORS[node.operator]
    present = [x for x in inputs if x is not None]
    static = SHAPE_INPUTS.get(node.operator, ())
    folded = node.operator in ("Shape", "Size") or (row.folds and all(isinstance(x, np.ndarray) for x in present))
    call = Call(node, np if folded else jnp, dtype)
    if folded:
        outputs = row.function(call, *map(as_written, inputs))
    elif row.axes is Axes.CHANNELS_LAST:
        first, *rest = inputs
        outputs = _wrapped(row.function(call, _channels_last(first), *map(as_written, rest)))
    elif row.axes is Axes.AS_WRITTEN:
        arrays = (x if i in static else _ready(as_written(x), call) for i, x in enumerate(inputs))
        outputs = row.function(call, *arrays)
    else:
        outputs = _in_one_order(row.function, call, inputs, static)
    call.refuse_the_rest()
    return outputs


def _in_one_order(function: Callable[..., Any], call: Call, inputs: Sequence[Value], static: Collection[int]) -> Value:
    """With channels last where an input of the highest rank has them; constants are turned to match."""
    arrays = [x for i, x in enumerate(inputs) if i not in static and x is not None]
    rank = max(_array(x).ndim for x in arrays)
    held = [x.array.ndim == rank for x in arrays if isinstance(x, ChannelsLast)]
    last = bool(held) and all(held) and call.get("keepdims", 1) != 0
    ready = [x if i in static or x is None else _ready(_aligned(x, rank, last), call) for i, x in enumerate(inputs)]
    outputs = function(dataclasses.replace(call, channels_last=last), *ready)
    return _wrapped(outputs) if last and call.node.operator != "Transpose" else outputs


def as_written(x: Value) -> Any:
    """An array in the graph's order of axes."""
    return x.as_written if isinstance(x, ChannelsLast) else x


def _array(x: Value) -> Any:
    return x.array if isinstance(x, ChannelsLast) else x


def _ready(x: Any, call: Call) -> Any:
    """Constants in the type of what they meet."""
    if isinstance(x, np.ndarray) and np.issubdtype(x.dtype, np.floating):
        return x.astype(call.dtype)
    return _of_32_bits(x, call.node.operator) if isinstance(x, np.ndarray) and x.dtype.kind in "iu" else x


def _of_32_bits(x: np.ndarray, operator: str) -> np.ndarray:
    """Integers that fit those of JAX, without its 64 bits; what only bounds others is the largest or smallest there."""
    room = np.iinfo(jax.dtypes.canonicalize_dtype(x.dtype))
    if not x.size or room.min <= x.min() <= x.max() <= room.max:
        return x
    if operator not in _BOUNDS:
        raise GraphError(f"a constant of {x.min()} to {x.max()} does not fit the {room.bits} bits that JAX computes in")
    return np.clip(x, room.min, room.max)


def _channels_last(x: Value) -> Any:
    return x.array if isinstance(x, ChannelsLast) else jnp.moveaxis(jnp.asarray(x), 1, -1)


def _aligned(x: Value, rank: int, last: bool) -> Any:
    """Of a rank, with axes of one value before its own, and with channels last if asked for."""
    if last and isinstance(x, ChannelsLast):
        return x.array
    x = as_written(x)
    x = x.reshape((1,) * (rank - x.ndim) + x.shape)
    return (np if isinstance(x, np.ndarray) else jnp).moveaxis(x, 1, -1) if last else x


def _wrapped(outputs: Any) -> Value:
    return tuple(map(ChannelsLast, outputs)) if isinstance(outputs, tuple) else ChannelsLast(outputs)
