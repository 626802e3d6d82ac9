"""Small ONNX graphs, written for the tests, and what ONNX Runtime makes of them."""

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

onnxruntime.set_default_logger_severity(4)

OPSET = 20


def model(nodes, *, inputs=None, outputs=("y",), constants=None, opset=OPSET, kind=np.float32):
    """A model of nodes; an input is `x` `[1, 3, H, W]` unless told."""
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(kind))
    inputs = {"x": (1, 3, "H", "W")} if inputs is None else inputs
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info(name, kind, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, TensorProto.UNDEFINED, None) for name in outputs],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in (constants or {}).items()],
    )
    for value in graph.output:
        value.type.tensor_type.elem_type = kind
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    made.ir_version = 8
    return made


def node(operator, inputs, output="y", **attributes):
    """One node; inputs and outputs are names with spaces between, `-` for one that is left out."""
    names = ["" if name == "-" else name for name in inputs.split()]
    return helper.make_node(operator, names, output.split(), name=f"{operator} {output}", **attributes)


def runtime(made, **inputs):
    """ONNX Runtime's outputs, without its fusions."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    content = made if isinstance(made, str | bytes) else made.SerializeToString()
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"]).run(None, inputs)


def relative(found, reference):
    """Largest difference over the largest reference value."""
    found, reference = np.asarray(found), np.asarray(reference)
    assert found.shape == reference.shape, f"shape {found.shape}, expected {reference.shape}"
    return float(np.abs(found - reference).max() / max(np.abs(reference).max(), 1e-30))


def pixels(size, kind=np.float32, seed=0):
    """An image in [0, 1]."""
    rows, columns = (size, size) if isinstance(size, int) else size
    return np.random.default_rng(seed).random((rows, columns, 3)).astype(kind)


def planes(image):
    """An image as a graph takes it."""
    return np.ascontiguousarray(image.transpose(2, 0, 1)[None])


def convolutional(opset=OPSET, *, classes=5):
    """Convolution, batch norm, a shortcut over two convolutions, mean, a linear layer; all of it matters."""
    rng = np.random.default_rng(3)

    def draw(*shape, scale=0.4):
        return (scale * rng.standard_normal(shape)).astype(np.float32)

    constants = {
        "w1": draw(8, 3, 3, 3),
        "b1": draw(8),
        "scale": 1 + draw(8),
        "shift": draw(8),
        "mean": draw(8),
        "variance": 1 + np.abs(draw(8)),
        "w2": draw(8, 8, 3, 3),
        "w3": draw(8, 8, 1, 1),
        "b3": draw(8),
        "w4": draw(classes, 8),
        "b4": draw(classes),
    }
    nodes = [
        node("Conv", "x w1 b1", "conv1", pads=[1, 1, 1, 1], strides=[2, 2]),
        node("BatchNormalization", "conv1 scale shift mean variance", "norm1", epsilon=1e-3),
        node("Relu", "norm1", "relu1"),
        node("Conv", "relu1 w2", "conv2", pads=[1, 1, 1, 1]),
        node("Conv", "conv2 w3 b3", "conv3"),
        node("Add", "conv3 relu1", "sum"),
        node("Relu", "sum", "map"),
        node("GlobalAveragePool", "map", "pooled"),
        node("Flatten", "pooled", "flat"),
        node("Gemm", "flat w4 b4", "y", transB=1),
    ]
    return model(nodes, constants=constants, opset=opset)


def initialisers(made):
    """The constants of a model by name."""
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in made.graph.initializer}


def content(made):
    """The bytes of a model's file."""
    return made.SerializeToString()
