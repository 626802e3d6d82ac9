"""An ONNX file as nodes in order, constants and parameters, checked before anything runs."""

import dataclasses
import graphlib
import hashlib
import os
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import onnx

from fame_jax.onnx import tensors
from fame_jax.onnx.errors import GraphError

OLDEST = 7
"""Opset from which broadcasting is NumPy's."""

_MOST_NODES = 50_000
_MOST_BYTES = 2**31
_WITHOUT_DOMAIN = ("", "ai.onnx")

SHAPE_INPUTS: Mapping[str, tuple[int, ...]] = {
    "ConstantOfShape": (0,),
    "CumSum": (1,),
    "Dropout": (1, 2),
    "Expand": (1,),
    "OneHot": (1,),
    "Pad": (1, 2, 3),
    "Range": (0, 1, 2),
    "Reshape": (1,),
    "Resize": (1, 2, 3),
    "Slice": (1, 2, 3, 4),
    "Split": (1,),
    "Squeeze": (1,),
    "Tile": (1,),
    "TopK": (1,),
    "Trilu": (1,),
    "Unsqueeze": (1,),
    "Upsample": (1,),
} | dict.fromkeys(
    (
        *("ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax"),
        *("ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum", "ReduceSumSquare"),
    ),
    (1,),
)
"""Inputs that have to be known without the pixels, by operator: what they come from is NumPy while tracing."""


@dataclasses.dataclass(frozen=True)
class Node:
    """One operation.

    Attributes:
        operator: its name, with the domain before it if that is not ONNX's own.
        name: as in the file, or its place there.
        inputs: names of tensors; "" for one that is left out.
        outputs: likewise.
        attributes: numbers, strings, tuples and arrays by name.
        version: the opset.
    """

    operator: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]
    version: int

    def __str__(self) -> str:
        return f"node {self.name!r} ({self.operator})"


@dataclasses.dataclass(frozen=True)
class Tensor:
    """An input or output.

    Attributes:
        name: as in the file.
        shape: an integer, or a name for a size that may vary, an axis; None if the file does not say.
        dtype: such as `float32`.
    """

    name: str
    shape: tuple[int | str, ...] | None
    dtype: str


@dataclasses.dataclass(frozen=True, eq=False)
class Graph:
    """What is static of a network; equal if made of equal nodes and constants, so that a file read twice compiles once.

    Attributes:
        source: the file.
        nodes: each after those that it needs.
        constants: shapes, indices, and numbers of rank 0.
        inputs: what has to be given.
        outputs: what the file declares as such.
        opset: its version.
        producer: the program that wrote the file.
        digest: SHA-256 of all of that.
    """

    source: str
    nodes: tuple[Node, ...]
    constants: Mapping[str, np.ndarray]
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    opset: int
    producer: str
    digest: str

    def __hash__(self) -> int:
        return hash(self.digest)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Graph) and self.digest == other.digest


def parse(source: str | os.PathLike[str] | bytes | onnx.ModelProto) -> tuple[Graph, dict[str, np.ndarray]]:
    """A graph and its parameters: every floating-point constant of rank 1 or more that no shape depends on.

    Args:
        source: a file, its bytes, or what the `onnx` package made of them.

    Raises:
        GraphError: for a file that is damaged, too large, cyclic, or reads files elsewhere.
        OSError: for one that cannot be read.
    """
    model, name, folder = _model(source)
    try:
        return _parsed(model, name, folder)
    except Exception as error:
        # A damaged file can trip the reader anywhere, so every exception counts.
        found = str(error) if isinstance(error, GraphError) else f"damaged: {type(error).__name__}: {error}"
        raise GraphError(f"{name}: {' '.join(found.split())[:500]}") from error


def _model(source: Any) -> tuple[onnx.ModelProto, str, pathlib.Path | None]:
    if isinstance(source, onnx.ModelProto):
        return source, "ONNX model", None
    name, folder, content = "ONNX bytes", None, source
    if not isinstance(source, bytes):
        path = pathlib.Path(source)
        if not path.is_file():
            raise GraphError(f"{path}: expected an ONNX file; there is no regular file of this name.")
        if path.stat().st_size > _MOST_BYTES:
            raise GraphError(f"{path}: {path.stat().st_size} bytes; an ONNX file has at most {_MOST_BYTES}.")
        name, folder, content = str(path), path.parent, path.read_bytes()
    try:
        return onnx.load_model_from_string(content), name, folder
    except Exception as error:
        raise GraphError(f"{name}: damaged, or no ONNX file: {' '.join(str(error).split())[:200]}.") from error


def _parsed(model: onnx.ModelProto, source: str, folder: pathlib.Path | None) -> tuple[Graph, dict[str, np.ndarray]]:
    graph, opset = model.graph, _opset(model)
    if not graph.node or len(graph.node) > _MOST_NODES:
        raise GraphError(f"{len(graph.node)} nodes; expected 1 to {_MOST_NODES}.")
    if graph.sparse_initializer:
        raise GraphError("sparse tensors are not read; store them densely.")
    constants = {text(tensor.name): tensors.array(tensor, folder) for tensor in graph.initializer}
    nodes = []
    for i, proto in enumerate(graph.node):
        node = _node(proto, i, opset, folder)
        if node.operator == "Constant":
            constants[node.outputs[0]] = _constant(node)
        else:
            nodes.append(node)
    inputs = tuple(_tensor(value) for value in graph.input if value.name not in constants)
    outputs = tuple(_tensor(value) for value in graph.output)
    ordered = _ordered(nodes, {*constants, *(tensor.name for tensor in inputs)})
    shapes = _needed_for_shapes(ordered, constants)
    parameters = {
        key: value
        for key, value in constants.items()
        if value.ndim and np.issubdtype(_as_float(value), np.floating) and key not in shapes
    }
    static = {key: value for key, value in constants.items() if key not in parameters}
    producer = f"{text(model.producer_name)} {text(model.producer_version)}".strip()
    digest = _digest(graph, static, opset)
    return Graph(source, ordered, static, inputs, outputs, opset, producer, digest), parameters


def _as_float(value: np.ndarray) -> Any:
    """Its type, bfloat16 as the floating-point type that NumPy does not take it for."""
    return np.float32 if value.dtype.name == "bfloat16" else value.dtype


def _opset(model: onnx.ModelProto) -> int:
    versions = [entry.version for entry in model.opset_import if entry.domain in _WITHOUT_DOMAIN]
    newest = onnx.defs.onnx_opset_version()
    if len(versions) != 1 or not OLDEST <= versions[0] <= newest:
        raise GraphError(f"opset {versions or 'missing'}; expected one from {OLDEST} to {newest}.")
    return versions[0]


def _node(proto: onnx.NodeProto, place: int, opset: int, folder: pathlib.Path | None) -> Node:
    domain, kind, name = text(proto.domain), text(proto.op_type), text(proto.name) or f"number {place}"
    operator = kind if domain in _WITHOUT_DOMAIN else f"{domain}.{kind}"
    try:
        attributes = {text(attribute.name): _attribute(attribute, folder) for attribute in proto.attribute}
    except Exception as error:
        raise GraphError(f"node {name!r} ({operator}): {error}") from error
    return Node(operator, name, tuple(map(text, proto.input)), tuple(map(text, proto.output)), attributes, opset)


def text(value: str | bytes) -> str:
    """A name; the parser hands out those that are no text as bytes."""
    if isinstance(value, bytes):
        raise GraphError(f"the name {value[:50]!r} is not UTF-8.")
    return value


def _attribute(attribute: onnx.AttributeProto, folder: pathlib.Path | None) -> Any:
    if attribute.type == onnx.AttributeProto.TENSOR:
        return tensors.array(attribute.t, folder)
    if attribute.type in (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS):
        return None  # Of If, Loop and Scan, which are named as missing.
    value = onnx.helper.get_attribute_value(attribute)
    if isinstance(value, bytes):
        return value.decode()
    return tuple(v.decode() if isinstance(v, bytes) else v for v in value) if isinstance(value, Iterable) else value


def _constant(node: Node) -> np.ndarray:
    kinds = {"value": None, "value_float": "f4", "value_floats": "f4", "value_int": "i8", "value_ints": "i8"}
    (key, value), *_ = node.attributes.items() or [("nothing", None)]
    if key not in kinds or len(node.outputs) != 1:
        raise GraphError(f"{node}: {key}; expected one of {', '.join(kinds)}.")
    return np.asarray(value, kinds[key])


def _tensor(value: onnx.ValueInfoProto) -> Tensor:
    kind = value.type.tensor_type
    if not value.type.HasField("tensor_type"):
        raise GraphError(f"{value.name!r} is no tensor.")
    shape = None
    if kind.HasField("shape"):
        shape = tuple(d.dim_value if d.HasField("dim_value") else text(d.dim_param) or "?" for d in kind.shape.dim)
    return Tensor(text(value.name), shape, str(tensors.dtype(kind.elem_type)))


def _ordered(nodes: list[Node], known: set[str]) -> tuple[Node, ...]:
    """Nodes, each after those that it needs; names are checked on the way."""
    maker: dict[str, int] = {}
    for i, node in enumerate(nodes):
        for name in filter(None, node.outputs):
            if name in maker or name in known:
                raise GraphError(f"{node}: a second tensor with the name {name!r}.")
            maker[name] = i
    for node in nodes:
        for name in filter(None, node.inputs):
            if name not in maker and name not in known:
                raise GraphError(f"{node}: no tensor has the name of its input {name!r}.")
    needs = {i: {maker[name] for name in node.inputs if name in maker} for i, node in enumerate(nodes)}
    try:
        return tuple(nodes[i] for i in graphlib.TopologicalSorter(needs).static_order())
    except graphlib.CycleError as error:
        around = " needs ".join(str(nodes[i]) for i in error.args[1][:5])
        raise GraphError(f"the graph has a cycle: {around}.") from error


def _needed_for_shapes(nodes: tuple[Node, ...], constants: Mapping[str, Any]) -> set[str]:
    """Tensors that shapes are computed from; the search ends at `Shape`, which is known while tracing."""
    needed: set[str] = set()
    for node in reversed(nodes):
        if node.operator in ("Shape", "Size"):
            continue
        if needed.intersection(node.outputs):
            needed.update(node.inputs)
        needed.update(node.inputs[i] for i in SHAPE_INPUTS.get(node.operator, ()) if i < len(node.inputs))
        if node.operator in ("Pow", "Clip"):
            # Plain numbers have the better derivative.
            needed.update(name for name in node.inputs[1:] if name in constants and constants[name].size == 1)
    return needed


def _digest(graph: onnx.GraphProto, constants: Mapping[str, np.ndarray], opset: int) -> str:
    total = hashlib.sha256(str(opset).encode())
    for proto in (*graph.node, *graph.input, *graph.output):
        if not (isinstance(proto, onnx.NodeProto) and proto.op_type == "Constant"):
            total.update(proto.SerializeToString(deterministic=True))
    for key in sorted(constants):
        total.update(f"{key} {constants[key].dtype} {constants[key].shape}".encode())
        total.update(constants[key].tobytes())
    return total.hexdigest()
