"""ONNX files as networks with a card, which says what no such file does: the pixels that it expects."""

import hashlib
import os
import pathlib
from dataclasses import replace
from typing import Any

from fame_jax import onnx as reader
from fame_jax.architectures import Precision
from fame_jax.architectures.precision import precision_of
from fame_jax.models.card import Card
from fame_jax.models.describe import describe
from fame_jax.models.load import Loaded
from fame_jax.onnx import tensors
from weight_conversion import CheckpointError

Path = str | os.PathLike[str]


def network(path: Path, card: Card, precision: Precision = "float32") -> reader.OnnxNetwork:
    """The graph in a file, as its card has it.

    Raises:
        GraphError: see `fame_jax.onnx.read`; also for several outputs of which the card names none (a detector may).
    """
    pixels = reader.Photometry(card.mean, card.std, reverse_channels=card.reverse_channels)
    size: tuple[int, int] = (card.size, card.size)
    tokens: dict[str, Any] = {"grid": card.grid, "class_tokens": card.class_tokens}
    found = reader.read(
        path, photometry=pixels, features=card.layer or None, output=_outputs(path, card), size=size, **tokens
    )
    if len(found.plan.outputs) > 1 and card.task != "detect":
        names = ", ".join(form.name for form in found.plan.outputs)
        raise reader.GraphError(f"{path}: the outputs are {names}; name one: --output, or output= of the card.")
    _, dtype, products = precision_of(precision)
    return found.in_precision(dtype, products.name.lower())


def _outputs(path: Path, card: Card) -> list[str] | None:
    """The tensors that are returned, a detector's anchors among them; None for those that the file declares."""
    from fame_jax.onnx.graph import parse  # Not above: it imports onnx.

    names = card.output.split(",") if card.task == "detect" else [card.output]
    names = [name.strip() for name in names if name.strip()]
    if card.anchors is None or not card.anchors.tensor:
        return names or None
    declared = [tensor.name for tensor in parse(path)[0].outputs]
    return list(dict.fromkeys([*(names or declared), card.anchors.tensor]))


def loaded(path: Path, card: Card | None, precision: Precision = "float32") -> Loaded:
    """The graph in a file as a network, and its card with the file's hash and the layer that was found.

    Raises:
        CheckpointError: without a card.
        GraphError: see `network`.
        OutputError: for a graph that does not return one vector, or as many outputs as the card has labels.
    """
    if card is None:
        raise CheckpointError(
            f"{path}: no ONNX file says which pixels it expects: fame inspect shows what has to be told by flags, in "
            "Python by card=Card(...)."
        )
    found = network(path, card, precision)
    form, digest = found.plan.features, hashlib.sha256(content(path)).hexdigest()
    count = sum(value.size for value in found.parameters.values())
    layer = "" if form is None else form.name
    card = replace(card, architecture="onnx", layer=layer, sha256=digest, parameters=count)
    if card.task != "detect":
        describe(found, card)
    return Loaded(card, found)


def content(path: Path) -> bytes:
    """A file's bytes, with the tensors that it keeps in other files of its folder moved in.

    Raises:
        GraphError: for one that leads out of the folder or is not there.
    """
    import onnx  # Not above: where it is missing, the reader says how to get it.

    file = pathlib.Path(path)
    whole = file.read_bytes()
    model = onnx.load_model_from_string(whole)
    outside = [tensor for tensor in model.graph.initializer if tensor.data_location == onnx.TensorProto.EXTERNAL]
    for tensor in outside:
        tensor.CopyFrom(onnx.numpy_helper.from_array(tensors.array(tensor, file.parent), tensor.name))
    return model.SerializeToString(deterministic=True) if outside else whole


def told(path: Path) -> tuple[Any, tuple[str, ...]]:
    """The input that takes the image, and the arithmetic that the graph begins with; see `fame_jax.onnx.inspect`."""
    from fame_jax.onnx.graph import parse
    from fame_jax.onnx.inspection import image_input, normalisation

    graph, parameters = parse(path)
    return image_input(graph), normalisation(graph, parameters)
