"""Each operator alone against ONNX Runtime: on a map that is held with channels last, and on one that is not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fame_jax import onnx as reader
from fame_jax.onnx.operators import OPERATORS
from tests.onnx.graphs import model, node, pixels, planes, relative, runtime

RNG = np.random.default_rng(5)
HEIGHT, WIDTH, CHANNELS = 6, 8, 4


def draw(*shape, scale=1.0):
    return (scale * RNG.standard_normal(shape)).astype(np.float32)


def ints(*values):
    return np.array(values, np.int64)


# Operator: inputs beside the map `m` `[1, 4, 6, 8]`, attributes, opset. Names twice in a row are cases of one operator.
UNARY = "Abs Atan Ceil Cos Cosh Elu Erf Exp Floor Gelu HardSigmoid HardSwish Identity IsInf IsNaN LeakyRelu Mish Neg"
UNARY += " Reciprocal Relu Round Selu Sigmoid Sign Sin Sinh Softplus Softsign Tan Tanh ThresholdedRelu Celu"
UNARY += " GlobalAveragePool GlobalMaxPool Softmax LogSoftmax Dropout Flatten"
BINARY = "Add Sub Mul Div Max Min Sum Mean"
SHAPED = {"s": ints(1, 4, 48)}
POOL = {"kernel_shape": [3, 2], "strides": [2, 1], "pads": [1, 0, 1, 1]}
CASES = [
    *((name, {}, {}, 20) for name in UNARY.split()),
    *((name, {"b": draw(1, CHANNELS, 1, 1) + 3}, {}, 20) for name in BINARY.split()),
    *((name, {"b": draw(WIDTH) + 3}, {}, 20) for name in BINARY.split()),
    ("Gelu", {}, {"approximate": "tanh"}, 20),
    ("Softmax", {}, {"axis": 1}, 20),
    ("Softmax", {}, {"axis": 2}, 11),
    ("Flatten", {}, {"axis": 2}, 20),
    ("Clip", {"low": np.float32(-0.3), "high": np.float32(0.4)}, {}, 20),
    ("Clip", {"-": None, "high": np.float32(0.4)}, {}, 20),
    ("Clip", {}, {"min": -0.2, "max": 0.3}, 7),
    ("Pow", {"p": np.float32(3)}, {}, 20),
    ("PRelu", {"a": draw(CHANNELS, 1, 1)}, {}, 20),
    ("Conv", {"w": draw(5, CHANNELS, 3, 2), "b": draw(5)}, {"pads": [1, 0, 2, 1], "strides": [2, 1]}, 20),
    ("Conv", {"w": draw(8, 1, 3, 3)}, {"group": CHANNELS, "pads": [1, 1, 1, 1]}, 20),
    ("Conv", {"w": draw(6, 2, 3, 3)}, {"group": 2, "dilations": [2, 2]}, 20),
    ("Conv", {"w": draw(4, 4, 3, 3)}, {"auto_pad": "SAME_UPPER", "strides": [2, 2]}, 20),
    ("Conv", {"w": draw(4, 4, 2, 2)}, {"auto_pad": "SAME_LOWER"}, 20),
    ("ConvTranspose", {"w": draw(CHANNELS, 3, 3, 2), "b": draw(3)}, {"strides": [2, 3], "pads": [1, 0, 0, 1]}, 20),
    ("ConvTranspose", {"w": draw(CHANNELS, 3, 2, 2)}, {"group": 2, "output_padding": [1, 0], "strides": [2, 2]}, 20),
    ("ConvTranspose", {"w": draw(CHANNELS, 3, 3, 3)}, {"output_shape": [12, 15], "strides": [2, 2]}, 20),
    ("MaxPool", {}, POOL, 20),
    ("MaxPool", {}, {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1, "dilations": [1, 2]}, 20),
    ("AveragePool", {}, POOL, 20),
    ("AveragePool", {}, POOL | {"count_include_pad": 1}, 20),
    ("AveragePool", {}, {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1}, 20),
    ("BatchNormalization", {n: draw(CHANNELS) for n in "abc"} | {"v": 1 + draw(CHANNELS) ** 2}, {"epsilon": 1e-3}, 20),
    ("InstanceNormalization", {"a": draw(CHANNELS), "b": draw(CHANNELS)}, {}, 20),
    ("GroupNormalization", {"a": draw(CHANNELS), "b": draw(CHANNELS)}, {"num_groups": 2}, 21),
    ("LayerNormalization", {"a": draw(WIDTH), "b": draw(WIDTH)}, {}, 20),
    ("LayerNormalization", {"a": draw(HEIGHT, WIDTH)}, {"axis": -2}, 20),
    ("LpNormalization", {}, {"axis": 1, "p": 2}, 20),
    ("LRN", {}, {"size": 3, "alpha": 0.1, "beta": 0.5, "bias": 1.5}, 20),
    ("MatMul", {"b": draw(WIDTH, 5)}, {}, 20),
    ("Einsum", {"b": draw(CHANNELS, 5)}, {"equation": "nchw,ck->nkhw"}, 20),
    *((f"Reduce{kind}", {"a": ints(2, 3)}, {"keepdims": 1}, 18) for kind in ("Mean", "Max", "Min", "Sum", "L2", "L1")),
    *((f"Reduce{kind}", {"a": ints(1)}, {"keepdims": 0}, 18) for kind in ("Mean", "Prod", "SumSquare", "LogSumExp")),
    *((f"Reduce{kind}", {"a": ints()}, {"noop_with_empty_axes": 1}, 18) for kind in ("Sum", "SumSquare", "L1", "L2")),
    ("ReduceMean", {}, {"axes": [-1], "keepdims": 0}, 13),
    ("ReduceSum", {}, {}, 13),
    ("ArgMax", {}, {"axis": 1}, 20),
    ("ArgMin", {}, {"axis": -1, "keepdims": 0}, 20),
    ("TopK", {"k": ints(2)}, {"axis": 1}, 20),
    ("Reshape", {"s": ints(0, -1, 8)}, {}, 20),
    ("Transpose", {}, {"perm": [0, 2, 3, 1]}, 20),
    ("Transpose", {}, {"perm": [0, 3, 1, 2]}, 20),
    ("Transpose", {}, {}, 20),
    ("Squeeze", {"a": ints(0)}, {}, 20),
    ("Unsqueeze", {"a": ints(0, 3)}, {}, 20),
    ("Concat", {"b": draw(1, 2, HEIGHT, WIDTH)}, {"axis": 1}, 20),
    ("Concat", {"b": draw(1, CHANNELS, 2, WIDTH)}, {"axis": -2}, 20),
    ("Slice", {"s": ints(1, 5), "e": ints(2**63 - 1, -(2**63)), "a": ints(1, 3), "t": ints(2, -2)}, {}, 20),
    ("Slice", {}, {"starts": [1], "ends": [3], "axes": [2]}, 7),
    ("Gather", {"i": ints(2, -1)}, {"axis": 1}, 20),
    ("Gather", {"i": np.array(3)}, {"axis": 3}, 20),
    ("GatherElements", {"i": RNG.integers(0, 4, (1, 2, HEIGHT, WIDTH))}, {"axis": 1}, 20),
    ("GatherElements", {"i": RNG.integers(0, 6, (1, 3, 2, WIDTH))}, {"axis": 2}, 20),
    ("GatherElements", {"i": RNG.integers(0, 4, (1, 4, 1, WIDTH))}, {"axis": 1}, 20),
    ("GatherND", {"i": ints(0, 1, 0, 3).reshape(2, 2)}, {}, 20),
    ("ScatterND", {"i": ints(0, 1, 0, 3).reshape(2, 2), "u": draw(2, HEIGHT, WIDTH)}, {}, 20),
    ("ScatterElements", {"i": ints(1).reshape(1, 1, 1, 1), "u": draw(1, 1, 1, 1)}, {"axis": 3}, 20),
    ("Expand", {"s": ints(2, 1, 1, 1, 1)}, {}, 20),
    ("Tile", {"r": ints(1, 2, 1, 3)}, {}, 20),
    ("Pad", {"p": ints(0, 1, 2, 0, 0, 0, 1, 3), "v": np.float32(0.5)}, {}, 20),
    ("Pad", {"p": ints(0, 0, 2, 1, 0, 0, 1, 3)}, {"mode": "reflect"}, 20),
    ("Pad", {"p": ints(0, 0, -2, 1, 0, 0, 1, 3)}, {"mode": "edge"}, 20),
    ("Pad", {}, {"pads": [0, 0, 1, 1, 0, 0, 0, 2], "value": 1.5}, 7),
    ("Trilu", {"k": np.array(1)}, {"upper": 0}, 20),
    ("CumSum", {"a": np.array(2)}, {"reverse": 1}, 20),
    ("DepthToSpace", {}, {"blocksize": 2}, 20),
    ("DepthToSpace", {}, {"blocksize": 2, "mode": "CRD"}, 20),
    ("SpaceToDepth", {}, {"blocksize": 2}, 20),
    ("Cast", {}, {"to": 7}, 20),
    ("Greater", {"b": np.float32(0.1)}, {}, 20),
    ("LessOrEqual", {"b": np.float32(0.1)}, {}, 20),
    ("Upsample", {"s": np.array([1, 1, 2, 3], np.float32)}, {}, 9),
    ("Resize", {"s": np.array([1, 1, 2, 2], np.float32)}, {}, 10),
    # In 64 bits six times this is a little below five.
    ("Resize", {"-": None, "s": np.array([1, 1, 5 / 6, 1.75], np.float32)}, {"mode": "linear"}, 20),
    ("Resize", {"-": None, "s": np.ones(4, np.float32)}, {"mode": "linear", "antialias": 1}, 20),
    ("Upsample", {"s": np.array([1, 1, 7 / 6, 2], np.float32)}, {}, 9),
    ("Resize", {"r": np.zeros(0, np.float32), "s": np.array([1, 1, 2, 0.5], np.float32)}, {"mode": "nearest"}, 20),
    ("Resize", {"-": None, "- ": None, "z": ints(1, 4, 9, 5)}, {"mode": "linear"}, 20),
    ("Resize", {"-": None, "- ": None, "z": ints(1, 4, 9, 5)}, {"mode": "cubic"}, 20),
    (
        "Resize",
        {"-": None, "- ": None, "z": ints(1, 4, 3, 4)},
        {"mode": "linear", "antialias": 1},
        20,
    ),
    (
        "Resize",
        {"-": None, "- ": None, "z": ints(1, 4, 11, 13)},
        {"mode": "linear", "coordinate_transformation_mode": "align_corners"},
        20,
    ),
    (
        "Resize",
        {"-": None, "- ": None, "z": ints(1, 4, 12, 16)},
        {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"},
        20,
    ),
]


def described(case):
    name, constants, attributes, opset = case
    parts = [*(f"{k}{np.shape(v)}" for k, v in constants.items()), *(f"{k}={v}" for k, v in attributes.items())]
    return f"{name} {' '.join(parts)} opset {opset}"


@pytest.mark.parametrize("case", CASES, ids=map(described, CASES))
def test_operator_is_onnx_runtimes(case):
    name, constants, attributes, opset = case
    others = " ".join(key.strip() for key in constants)
    rest = " places{}" if name == "TopK" else ""
    made = model(
        [
            node("Conv", "x w0", "m"),
            node(name, f"m {others}", "last" + rest.format(1), **attributes),
            node("Reshape", "m s0", "n"),
            node(name, f"n {others}", "written" + rest.format(2), **attributes),
        ],
        inputs={"x": (1, 3, HEIGHT, WIDTH)},
        outputs=("last", "written"),
        constants={
            "w0": np.random.default_rng(1).standard_normal((CHANNELS, 3, 1, 1)).astype(np.float32),
            "s0": ints(1, CHANNELS, HEIGHT, WIDTH),
            **{key: value for key, value in constants.items() if value is not None},
        },
        opset=opset,
    )
    integers = {"ArgMax": 7, "ArgMin": 7, "Cast": 7, "Greater": 9, "LessOrEqual": 9, "IsInf": 9, "IsNaN": 9}
    for value in made.graph.output:
        value.type.tensor_type.elem_type = integers.get(name, 1)
    picture = pixels((HEIGHT, WIDTH))
    network = reader.read(made, photometry="unit")
    found = _quickly(network, jnp.asarray(picture))
    for form, expected in zip(network.plan.outputs, runtime(made, x=planes(picture)), strict=True):
        ours = np.asarray(found[form.name], float)
        ours = np.moveaxis(ours, -1, 0) if form.channels else ours
        expected = expected[0] if expected.ndim > 1 and expected.shape[0] == 1 else expected
        assert relative(ours, expected.astype(float)) <= 3e-6


def _quickly(network, image):
    """Compiled in a hurry: the program runs once."""
    program = jax.jit(lambda network, image: network(image)).lower(network, image)
    return program.compile({"xla_backend_optimization_level": 0})(network, image)


def test_every_operator_of_the_table_is_tested_here_or_by_the_backend_tests():
    alone = {case[0] for case in CASES}
    backend = {
        *("Acos", "Asin", "And", "Attention", "CastLike", "ConstantOfShape", "Equal", "EyeLike"),
        *("Gemm", "GreaterOrEqual", "Less", "Log", "Mod", "Not", "NonZero", "OneHot"),
        *("Or", "Range", "RMSNormalization", "ReduceLogSum", "Scatter", "Shape", "Size", "Split"),
        *("Sqrt", "Swish", "Where", "Xor"),
    }
    assert set(OPERATORS) - {"Relu of Add"} == alone | backend


def test_relu_and_clip_have_no_gradient_where_they_are_flat_and_at_their_limits():
    picture = jnp.asarray(np.array([-1.0, 0, 0.5, 1, 2, 3], np.float32).reshape(1, 2, 3))
    for name, constants, expected in (
        ("Relu", {}, [0, 0, 1, 1, 1, 1]),
        ("Clip", {"low": np.float32(0), "high": np.float32(2)}, [0, 0, 1, 1, 0, 0]),
    ):
        made = model([node(name, " ".join(["x", *constants]))], constants=constants)
        network = reader.read(made, photometry="unit")
        slopes = jax.grad(lambda image, network=network: network(image).sum())(picture)
        np.testing.assert_array_equal(np.ravel(slopes), expected)


@pytest.mark.parametrize(("exponent", "expected"), [(0.5, [3, 2]), (1.5, [27, 8]), (2.0, [81, 16])])
def test_a_power_of_integers_is_cut_after_it_is_taken(exponent, expected):
    made = model(
        [node("Pow", "n p", "q"), node("Cast", "q", "r", to=1), node("Add", "x r", "y")],
        constants={"n": np.array([9, 4, 1], np.int64).reshape(3, 1, 1), "p": np.float32(exponent)},
    )
    network = reader.read(made, photometry="unit")
    np.testing.assert_array_equal(network(jnp.zeros((1, 1, 3), jnp.float32))[0, 0], [*expected, 1])


def test_a_maximum_keeps_what_is_no_number_wherever_it_is():
    made = model([node("MaxPool", "x", kernel_shape=[2, 2])])
    network = reader.read(made, photometry="unit")
    for row, column in np.ndindex(2, 2):
        picture = np.zeros((2, 2, 3), np.float32)
        picture[row, column] = np.nan
        assert np.isnan(network(jnp.asarray(picture))).all()


@pytest.mark.parametrize(
    ("name", "attributes"), [("ReduceL2", {"axes": [2, 3]}), ("LpNormalization", {"axis": 2, "p": 2})]
)
def test_the_gradient_of_a_norm_of_zero_is_zero(name, attributes):
    made = model([node(name, "x", **attributes)], opset=13)
    network = reader.read(made, photometry="unit")
    picture = jnp.asarray(np.stack([np.zeros((3, 3)), np.ones((3, 3)), np.ones((3, 3))], axis=-1), jnp.float32)
    slopes = jax.grad(lambda image: jnp.sum(network(image)))(picture)
    assert np.isfinite(slopes).all()
    assert not np.any(slopes[..., 0])
    assert np.any(slopes[..., 1]) or name == "LpNormalization"


def test_a_graph_of_16_bits_is_read_into_32_where_its_own_casts_are_no_loss():
    nodes = [
        node("Cast", "x", "h", to=10),
        node("Mul", "h k", "big"),
        node("Cast", "big", "wide", to=1),
        node("Pow", "wide two", "squares"),
        node("ReduceMean", "squares", "mean", axes=[1, 2, 3]),
        node("Sqrt", "mean", "root"),
        node("Div", "wide root", "y"),
    ]
    made = model(nodes, constants={"k": np.full((1, 3, 1, 1), 500, np.float16), "two": np.float32(2)}, opset=13)
    network = reader.read(made, photometry="unit")
    picture = pixels(4)
    expected = runtime(made, x=planes(picture))[0]
    assert relative(np.moveaxis(np.asarray(network(jnp.asarray(picture)))[None], -1, 1), expected) <= 2e-3
