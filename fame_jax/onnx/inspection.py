"""What an ONNX file holds, found out by tracing it for one image size; nothing is computed."""

import dataclasses
import math
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import jax
import numpy as np

from fame_jax.onnx.errors import GraphError
from fame_jax.onnx.evaluation import Value, as_written, evaluate, missing, needed
from fame_jax.onnx.graph import Graph, Node, Tensor, parse
from fame_jax.onnx.operators import ChannelsLast

USUAL_SIZE = 224
"""Side of the image where neither the file nor the caller says one."""


@dataclasses.dataclass(frozen=True)
class Candidate:
    """A tensor that the network can be split at: everything from the image to the outputs passes through it.

    Attributes:
        name: of the tensor, for `features`.
        shape: in the graph's order of axes.
        channels: `first` where operators on maps tell so, so that it can be a feature map; else None.
    """

    name: str
    shape: tuple[int, ...]
    channels: str | None


@dataclasses.dataclass(frozen=True)
class Inspection:
    """What `inspect` finds.

    Attributes:
        inputs: what has to be given, with sizes as the file states them.
        outputs: what the file declares as such.
        opset: its version.
        producer: the program that wrote the file.
        operators: how often each is used.
        missing: operators without an implementation, with their nodes.
        parameters: floating-point numbers that are trained, or could be.
        size: rows and columns of the image that shapes were found out for; None if the graph takes no image.
        candidates: for `features`, from input to output; those after a missing operator are not among them.
        normalises: the graph's first nodes, if they are arithmetic with constants: it seems to normalise by itself.
        problem: why shapes could not be found out, in one line; None if they could.
    """

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    opset: int
    producer: str
    operators: Mapping[str, int]
    missing: Mapping[str, Sequence[str]]
    parameters: int
    size: tuple[int, int] | None
    candidates: tuple[Candidate, ...]
    normalises: tuple[str, ...]
    problem: str | None


def inspect(source: str | os.PathLike[str] | bytes, *, size: tuple[int, int] | None = None) -> Inspection:
    """What an ONNX file holds, and what has to be told to read it.

    Args:
        source: a file, or its bytes.
        size: rows and columns of the image, where the file leaves them open; 224 a side if it is not given.

    Raises:
        GraphError: for a file that is damaged or unsafe. What is only not supported is in the result.
    """
    graph, parameters = parse(source)
    rows_columns, candidates, problem = None, (), None
    try:
        layout = image_input(graph)
        rows_columns = image_size(layout, size)
        candidates = _candidates(graph, parameters, layout, rows_columns)
    except GraphError as error:
        problem = str(error)
    return Inspection(
        inputs=graph.inputs,
        outputs=graph.outputs,
        opset=graph.opset,
        producer=graph.producer,
        operators=dict(Counter(node.operator for node in graph.nodes)),
        missing=missing(graph.nodes),
        parameters=sum(value.size for value in parameters.values()),
        size=rows_columns,
        candidates=candidates,
        normalises=normalisation(graph, parameters),
        problem=problem,
    )


@dataclasses.dataclass(frozen=True)
class ImageInput:
    """The input that takes the image.

    Attributes:
        name: of the tensor.
        channels: how many, or None if the file leaves it open.
        size: rows and columns likewise.
        channels_first: whether it is `[N, C, H, W]`.
    """

    name: str
    channels: int | None
    size: tuple[int | None, int | None]
    channels_first: bool


def image_input(graph: Graph) -> ImageInput:
    """The one input of a graph, which takes an image.

    Raises:
        GraphError: for more inputs, or one of another shape.
    """
    if len(graph.inputs) != 1:
        names = ", ".join(tensor.name for tensor in graph.inputs) or "none"
        raise GraphError(f"{graph.source}: inputs {names}; expected one, an image.")
    (tensor,) = graph.inputs
    shape = tensor.shape or ("?",) * 4
    # 0 is how some exporters write a size that may vary.
    fixed = [n if isinstance(n, int) and n > 0 else None for n in shape]
    first = _channels_first(fixed[1:]) if len(shape) == 4 and fixed[0] in (None, 1) else None
    if first is None:
        raise GraphError(
            f"{graph.source}: input {tensor.name!r} is {list(shape)}; expected one image, [1, 3, H, W] or [1, H, W, 3]."
        )
    size = (fixed[2], fixed[3]) if first else (fixed[1], fixed[2])
    return ImageInput(tensor.name, fixed[1 if first else 3], size, first)


def _channels_first(shape: Sequence[int | None]) -> bool | None:
    """Where the three axes of an image have its channels; None if it is no image.

    One or three are channels wherever they stand; any other number is if both sides are larger.
    """
    before, middle, behind = shape
    if 3 in (before, behind) or 1 in (before, behind):
        return before in (1, 3)
    if before is None:
        return behind is None or middle is not None
    if before < min(middle or math.inf, behind or math.inf):
        return True
    return False if behind is not None and behind < min(before, middle or math.inf) else None


def image_size(layout: ImageInput, size: tuple[int, int] | None) -> tuple[int, int]:
    """Rows and columns to trace with: those told, else the file's, else the usual."""
    rows, columns = size or (None, None)
    return rows or layout.size[0] or USUAL_SIZE, columns or layout.size[1] or USUAL_SIZE


def fed(layout: ImageInput, x: jax.Array) -> Value:
    """An image as the graph's input, with a batch of one."""
    return ChannelsLast(x[None]) if layout.channels_first else x[None]


def shapes(
    graph: Graph, parameters: Mapping[str, Any], layout: ImageInput, size: tuple[int, int], names: Sequence[str]
) -> dict[str, tuple[tuple[int, ...], bool]]:
    """Shape of every tensor that some need, in the graph's order, and whether it is held with channels last."""
    found: dict[str, tuple[tuple[int, ...], bool]] = {}

    def record(node: Node, operation: Callable[..., Value], inputs: Sequence[Value]) -> Value:
        outputs = operation(*inputs)
        each = outputs if isinstance(outputs, tuple) else (outputs,)
        for name, value in zip(node.outputs, each, strict=False):
            found[name] = (as_written(value).shape, isinstance(value, ChannelsLast))
        return outputs

    def run(parameters: Mapping[str, jax.Array], image: jax.Array) -> tuple[()]:
        evaluate(graph, parameters, {layout.name: fed(layout, image)}, names, record)
        return ()

    dtype = next((value.dtype for value in parameters.values()), np.dtype(np.float32))
    abstract = {
        key: jax.ShapeDtypeStruct(v.shape, jax.dtypes.canonicalize_dtype(v.dtype)) for key, v in parameters.items()
    }
    image = jax.ShapeDtypeStruct((*size, layout.channels or 3), jax.dtypes.canonicalize_dtype(dtype))
    jax.eval_shape(run, abstract, image)
    return found


def _candidates(
    graph: Graph, parameters: Mapping[str, Any], layout: ImageInput, size: tuple[int, int]
) -> tuple[Candidate, ...]:
    outputs = [tensor.name for tensor in graph.outputs]
    reached = _without_missing(graph)
    found = shapes(graph, parameters, layout, size, reached)
    return tuple(
        Candidate(name, found[name][0], map_channels(found[name]))
        for name in cuts(graph, outputs)
        if name in found and name not in outputs
    )


def map_channels(seen: tuple[tuple[int, ...], bool]) -> Literal["first"] | None:
    """`first` for a tensor that is known to be `[N, C, H, W]`."""
    shape, last = seen
    return "first" if last and len(shape) == 4 else None


def _without_missing(graph: Graph) -> list[str]:
    """Every tensor that no missing operator is needed for."""
    unknown: set[str] = set()
    reached = []
    lacking = missing(graph.nodes)
    for node in graph.nodes:
        if node.operator in lacking or unknown.intersection(node.inputs):
            unknown.update(node.outputs)
        else:
            reached.extend(filter(None, node.outputs))
    return reached


def depending(graph: Graph) -> set[str]:
    """Tensors that depend on the image; a shape does not."""
    names = {tensor.name for tensor in graph.inputs}
    for node in graph.nodes:
        if node.operator not in ("Shape", "Size") and names.intersection(node.inputs):
            names.update(node.outputs)
    return names


def cuts(graph: Graph, outputs: Sequence[str]) -> list[str]:
    """Tensors that all ways from the image to some outputs pass through, from the first to the last."""
    nodes, _ = needed(graph, outputs)
    image = depending(graph)
    uses = Counter(name for node in nodes for name in node.inputs if name in image)
    uses.update(outputs)
    live = {tensor.name for tensor in graph.inputs}
    found = []
    for node in nodes:
        made = [name for name in node.outputs if name in image and uses[name]]
        for name in node.inputs:
            uses[name] -= 1
            if not uses[name]:
                live.discard(name)
        live.update(made)
        if made and len(live) == 1:
            found.append(made[0])
    return found


def normalisation(graph: Graph, parameters: Mapping[str, Any]) -> tuple[str, ...]:
    """The arithmetic with constants that a graph begins with, such as `Sub 127.5`."""
    constants = {**graph.constants, **parameters}
    name, found = graph.inputs[0].name if graph.inputs else "", []
    while True:
        readers = [node for node in graph.nodes if name in node.inputs]
        if len(readers) != 1 or readers[0].operator not in _FIRST:
            return tuple(found) if any(_FIRST[text.split()[0]] for text in found) else ()
        node = readers[0]
        others = [constants[other] for other in node.inputs if other in constants]
        if _FIRST[node.operator] and (not others or any(other.size > 4 for other in others)):
            return tuple(found)
        values = " ".join(f"{number:.6g}" for other in others for number in np.ravel(other))
        found.append(f"{node.operator} {values}".strip())
        name = node.outputs[0]


# Whether the operator does arithmetic.
_FIRST = {
    "Sub": True,
    "Add": True,
    "Mul": True,
    "Div": True,
    "BatchNormalization": True,
    "Cast": False,
    "Identity": False,
    "Transpose": False,
    "Unsqueeze": False,
}
