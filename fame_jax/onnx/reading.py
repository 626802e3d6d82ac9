"""From an ONNX file to a network."""

import dataclasses
import os
from collections.abc import Sequence
from typing import Literal

import jax
import jax.numpy as jnp
import onnx

from fame_jax.onnx.errors import GraphError
from fame_jax.onnx.evaluation import needed
from fame_jax.onnx.graph import parse
from fame_jax.onnx.inspection import cuts, image_input, image_size, normalisation
from fame_jax.onnx.network import Form, OnnxNetwork, Plan, forms
from fame_jax.onnx.photometry import Photometry, told


def read(
    source: str | os.PathLike[str] | bytes | onnx.ModelProto,
    *,
    photometry: str | Photometry | None = None,
    features: str | None = None,
    output: str | Sequence[str] | None = None,
    size: tuple[int, int] | None = None,
    channels: Literal["first", "last"] | None = None,
    grid: tuple[int, int] | None = None,
    class_tokens: int = 0,
) -> OnnxNetwork:
    """An ONNX file as a differentiable network of one image.

    Args:
        source: a file, its bytes, or a model of the `onnx` package.
        photometry: what the graph expects of its pixels: a name of `PHOTOMETRY`, or a `Photometry`. No file says it.
        features: the tensor of `features` and `head`; None for the last map that everything passes through.
        output: the tensor that is returned, or several; None for all that the file declares. What only others need
            is not read: a detector with operators that choose boxes is read up to its scores.
        size: rows and columns of the image; None for the file's, or any if it leaves them open. A graph of another size
            than its own works where its shapes are computed.
        channels: where the tensor `features` has its channels, if it is a map and the graph does not tell.
        grid: rows and columns, to put the tokens `[n, c]` of the tensor `features` on a map `[rows, columns, c]`.
        class_tokens: how many tokens stand in front of those (a class token, registers), which are no part of the map.

    Returns:
        The network, in float32 if the file has 16 bits; feature maps and outputs that are maps have channels last.

    Raises:
        GraphError: for a file that is damaged or unsafe, a tensor that does not exist, an operator that fails; in one
            line, which names the node.
        MissingOperatorsError: for operators that are not implemented, all at once, before anything runs.

    Example:
        >>> network = read("w600k_r50.onnx", photometry="insightface")
        >>> embedding = jax.jit(lambda network, image: network(image))(network, image)
    """
    graph, constants = parse(source)
    pixels = told(photometry, normalisation(graph, constants))
    image = image_input(graph)
    if image.channels and (wrong := pixels.channels - {1, image.channels}):
        raise GraphError(
            f"{graph.source}: it takes images of {image.channels} channels, and the photometry is of {max(wrong)}: "
            "expected Photometry(mean, std) with one number for all, or one a channel."
        )
    wanted = (output,) if isinstance(output, str) else tuple(output or (tensor.name for tensor in graph.outputs))
    if not wanted:
        raise GraphError(f"{graph.source}: it has no outputs.")
    between = cuts(graph, wanted)
    names = [*wanted, *((name for name in between if name not in wanted) if features is None else [features])]
    traced = forms(graph, constants, image, image_size(image, size), names)
    outputs, rest = traced[: len(wanted)], traced[len(wanted) :]
    if features is None:
        chosen = next((form for form in reversed(rest) if form.channels and max(form.shape[2:]) > 1), None)
        names = [*wanted, *([] if chosen is None else [chosen.name])]
    else:
        chosen = _told(rest[0], channels, grid, class_tokens)
    nodes, _ = needed(graph, names)
    used = {name for node in nodes for name in node.inputs}.union(names)
    parameters = {name: _single(jnp.asarray(value)) for name, value in constants.items() if name in used}
    return OnnxNetwork(parameters, Plan(graph, image, size or image.size, pixels, chosen, tuple(outputs)))


def _single(values: jax.Array) -> jax.Array:
    """16 bits as 32: a graph that computes in 16 bits goes back to 32 by casts where those overflow."""
    return values.astype(jnp.float32) if values.dtype.itemsize == 2 else values


def _told(
    form: Form, channels: Literal["first", "last"] | None, grid: tuple[int, int] | None, class_tokens: int
) -> Form:
    """The form of the features, with what only the caller knows."""
    shape = list(form.shape)
    if grid is not None and (len(shape) != 3 or shape[1] != class_tokens + grid[0] * grid[1]):
        tokens = f"{class_tokens} + " * bool(class_tokens) + f"{grid[0]} x {grid[1]}"
        raise GraphError(f"grid={grid}: {form.name!r} is {shape}; expected [1, {tokens}, c], a token each.")
    if channels is not None and len(shape) != 4:
        raise GraphError(f"channels={channels!r}: {form.name!r} is {shape}; expected a map of four axes.")
    if len(shape) == 4 and not (channels or form.channels):
        raise GraphError(
            f"{form.name!r} is {shape} and the graph does not tell its channels: channels='first' or 'last'."
        )
    return dataclasses.replace(form, channels=channels or form.channels, grid=grid, class_tokens=class_tokens)
