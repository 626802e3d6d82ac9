"""The biases of a graph's nodes, and probes added to their outputs, for FullGrad."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from fame_jax._types import Image
from fame_jax.architectures.probes import above_rounding, settled
from fame_jax.onnx.evaluation import Around, Value
from fame_jax.onnx.graph import Node
from fame_jax.onnx.operators import ChannelsLast

Values = Float[Array, "..."]
Run = Callable[[Image, Around], Values]
"""The network with something around each node."""


def stated_biases(run: Run, image: Image) -> list[Values]:
    """Of convolutions and batch norms that have a bias and return a map, in order; each `[h, w, c]`."""
    biases: list[Values] = []

    def record(node: Node, operation: Callable[..., Value], inputs: Sequence[Value]) -> Value:
        output = operation(*inputs)
        if _states(node, output):
            biases.append(jnp.broadcast_to(_stated(node, inputs)[None, None], output.array.shape[1:]))
        return output

    run(image, record)
    return biases


def complete_biases(run: Run, image: Image, depending: set[str]) -> list[Values]:
    """Of every node on the way from the image: what the derivative along the image falls short of the value.

    See `fame_jax.architectures.probes.Probed`; here a layer is a node, and its parameters are no part of the way.
    """

    def values(image: Image) -> tuple[list[Values], list[Values]]:
        outputs, stated = [], []

        def settle(node: Node, operation: Callable[..., Value], inputs: Sequence[Value]) -> Value:
            varying = [i for i, x in enumerate(inputs) if node.inputs[i] in depending and _floats(x)]
            if not (varying and len(node.outputs) == 1):
                return operation(*inputs)

            def function(*arrays: Values) -> Values:
                whole = list(inputs)
                for i, array in zip(varying, arrays, strict=True):
                    whole[i] = _like(inputs[i], array)
                return _array(operation(*whole))

            shape = jax.eval_shape(lambda: operation(*inputs))
            if not _floats(shape):
                return operation(*inputs)
            level, output = settled(function)(*(_array(inputs[i]) for i in varying))
            outputs.append(output)
            bias = _stated(node, inputs) if _states(node, _like(shape, output)) else jnp.zeros((), output.dtype)
            stated.append(jnp.broadcast_to(bias.reshape((1,) * (output.ndim - bias.ndim) + bias.shape), output.shape))
            return _like(shape, level)

        output = run(image, settle)
        return [*outputs, output], [*stated, jnp.zeros_like(output)]

    (outputs, stated), (slopes, _) = jax.jvp(values, (image,), (image,))
    found = [bias + above_rounding(y - s - bias, y) for bias, y, s in zip(stated, outputs, slopes, strict=True)]
    return [_one(bias) for bias in found[:-1]] + found[-1:]


def with_probes(run: Run, image: Image, probes: list[Values], depending: set[str] | None) -> Values:
    """The output with probes added in the order of the biases: complete where `depending` is given."""
    remaining = iter(probes)

    def add(node: Node, operation: Callable[..., Value], inputs: Sequence[Value]) -> Value:
        output = operation(*inputs)
        if depending is None:
            return _plus(output, next(remaining)) if _states(node, output) else output
        varying = any(node.inputs[i] in depending and _floats(x) for i, x in enumerate(inputs))
        if varying and len(node.outputs) == 1 and _floats(output):
            return _plus(output, next(remaining))
        return output

    output = run(image, add)
    return output if depending is None else output + next(remaining)


def _states(node: Node, output: Value) -> bool:
    """Whether a node is a convolution or batch norm with a bias, and its output a map."""
    biased = node.operator == "BatchNormalization" or (node.operator == "Conv" and any(node.inputs[2:]))
    return biased and isinstance(output, ChannelsLast) and output.array.ndim == 4


def _stated(node: Node, inputs: Sequence[Value]) -> Values:
    if node.operator == "Conv":
        return jnp.asarray(inputs[2])
    _, scale, shift, mean, variance = map(jnp.asarray, (0, *inputs[1:5]))
    return shift - mean * scale * jax.lax.rsqrt(variance + node.attributes.get("epsilon", 1e-5))


def _array(x: Value) -> Any:
    return x.array if isinstance(x, ChannelsLast) else x


def _like(x: Value, array: Any) -> Value:
    return ChannelsLast(array) if isinstance(x, ChannelsLast) else array


def _floats(x: Value) -> bool:
    return x is not None and jnp.issubdtype(_array(x).dtype, jnp.floating)


def _one(x: Values) -> Values:
    """Without the batch axis."""
    return x[0] if x.ndim > 1 and x.shape[0] == 1 else x


def _plus(x: Value, probe: Values) -> Value:
    return _like(x, _array(x) + probe.reshape(_array(x).shape))
