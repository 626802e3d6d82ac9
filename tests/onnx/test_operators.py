"""Each operator alone against ONNX Runtime: on a map that is held with channels last, and on one that is not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fame_jax import onnx as reader
from fame_jax.onnx import GraphError
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
    ("TopK", {}, {"axis": 1, "k": 2}, 9),
    ("Reshape", {"s": ints(0, -1, 8)}, {}, 20),
    ("Transpose", {}, {"perm": [0, 2, 3, 1]}, 20),
    ("Transpose", {}, {"perm": [0, 3, 1, 2]}, 20),
    ("Transpose", {}, {}, 20),
    ("Squeeze", {"a": ints(0)}, {}, 20),
    ("Unsqueeze", {"a": ints(0, 3)}, {}, 20),
    ("Concat", {"b": draw(1, 2, HEIGHT, WIDTH)}, {"axis": 1}, 20),
    ("Concat", {"b": draw(1, CHANNELS, 2, WIDTH)}, {"axis": -2}, 20),
    ("Slice", {"s": ints(1, 5), "e": ints(2**63 - 1, -(2**63)), "a": ints(1, 3), "t": ints(2, -2)}, {}, 20),
    ("Slice", {"s": ints(-100), "e": ints(-200), "a": ints(3), "t": ints(-1)}, {}, 20),
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
    ("Pad", {"p": ints(0, 0, 9, 1, 0, 0, -1, 20)}, {"mode": "wrap"}, 20),
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
    ("Resize", {"s": np.array([1, 1, 0.6, 1.6], np.float32)}, {}, 10),
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


@pytest.mark.parametrize("factor", [1 / 3, 0.3, 2.3])
@pytest.mark.parametrize("mode", ["asymmetric", "half_pixel"])
def test_the_nearest_pixel_is_that_of_32_bits(factor, mode):
    options = {"mode": "nearest", "coordinate_transformation_mode": mode, "nearest_mode": "floor"}
    made = model(
        [node("Resize", "x - s", **options)],
        inputs={"x": (1, 3, 1, 73)},
        constants={"s": np.array([1, 1, 1, factor], np.float32)},
    )
    picture = pixels((1, 73))
    found = reader.read(made, photometry="unit")(jnp.asarray(picture))
    np.testing.assert_array_equal(np.moveaxis(found, -1, 0), runtime(made, x=planes(picture))[0][0])


@pytest.mark.parametrize(
    ("name", "inputs", "constant"),
    [
        ("Min", "n c", 2**63 - 1),
        ("Min", "n c", 2**40),
        ("Max", "n c", -(2**63)),
        ("Clip", "n o c", 2**63 - 1),
        ("Where", "t n c", 2**63 - 1),
    ],
)
def test_integers_beyond_32_bits_bound_as_they_do_in_64(name, inputs, constant):
    made = model(
        [
            node("Mul", "x f", "m"),
            node("Cast", "m", "n", to=7),
            node("Greater", "n o", "t"),
            node(name, inputs, "b"),
            node("ReduceMin" if name == "Where" else "Identity", "b", "r"),
            node("Cast", "r", "y", to=1),
        ],
        inputs={"x": (1, 3, 4, 5)},
        constants={"f": np.float32(40), "o": np.int64(3), "c": np.int64(constant)},
    )
    picture = pixels((4, 5))
    found = np.asarray(reader.read(made, photometry="unit")(jnp.asarray(picture)))
    expected = runtime(made, x=planes(picture))[0][0]
    np.testing.assert_array_equal(np.ravel(np.moveaxis(found, -1, 0) if found.ndim == 3 else found), np.ravel(expected))


def test_other_integers_beyond_32_bits_are_refused():
    made = model(
        [node("Cast", "x", "n", to=7), node("Mul", "n c", "m"), node("Cast", "m", "y", to=1)],
        constants={"c": np.int64(2**33)},
    )
    with pytest.raises(GraphError, match="8589934592 does not fit the 32 bits"):
        reader.read(made, photometry="unit")(jnp.zeros((2, 2, 3)))


def test_a_limit_that_depends_on_the_pixels_keeps_its_gradient():
    made = model([node("ReduceMean", "x", "c", keepdims=0), node("Clip", "x c", "y")], opset=17)
    network = reader.read(made, photometry="unit")
    picture = jnp.asarray(pixels((2, 2)))
    slopes = jax.grad(lambda image: network(image).sum())(picture)
    below = picture < picture.mean()
    np.testing.assert_allclose(slopes, ~below + below.sum() / picture.size, atol=1e-6)


def test_a_rectified_sum_with_minus_infinity_is_zero():
    made = model([node("Add", "x c", "s"), node("Relu", "s")], constants={"c": np.full(1, -np.inf, np.float32)})
    np.testing.assert_array_equal(reader.read(made, photometry="unit")(jnp.ones((2, 2, 3))), np.zeros((2, 2, 3)))


def test_places_between_two_classes_count_for_the_lower_one():
    made = model(
        [node("Mul", "x f", "p"), node("OneHot", "p d v")],
        constants={"f": np.float32(4), "d": np.int64(4), "v": np.array([0, 1], np.float32)},
    )
    picture = pixels((3, 4))
    found = np.asarray(reader.read(made, photometry="unit")(jnp.asarray(picture)))
    counts = np.bincount(np.ravel(4 * picture).astype(int), minlength=4)
    np.testing.assert_array_equal(found.reshape(3, 3, 4, 4).sum((0, 1, 2)), counts)


@pytest.mark.parametrize(
    ("nodes", "constants", "opset", "why"),
    [
        ([node("GatherND", "x i")], {"i": ints(0, 0, 9).reshape(1, 3)}, 20, "index 9 or 9 into"),
        ([node("GatherElements", "x i", axis=3)], {"i": ints(7).reshape(1, 1, 1, 1)}, 20, "index 7 or 7 into"),
        ([node("ScatterND", "x i u")], {"i": ints(0, 9).reshape(1, 2), "u": draw(1, 4, 4)}, 20, "index 9 or 9 into 3"),
        ([node("ScatterND", "x i u")], {"i": ints(0, 1).reshape(1, 2), "u": draw(4)}, 20, r"updates \[4\]"),
        ([node("ScatterElements", "x i u")], {"i": ints(0).reshape(1, 1, 1, 1), "u": draw(1)}, 20, r"updates \[1\]"),
        ([node("Conv", "x w b")], {"w": draw(1, 3, 1, 1), "b": draw(4)}, 20, "for 1 channels"),
        ([node("Pad", "x p")], {"p": ints(*[0] * 12)}, 20, "12 pads for 4 axes"),
        ([node("Pad", "x p", mode="reflect")], {"p": ints(0, 0, 0, 50_000, 0, 0, 0, 0)}, 20, "reflect more than there"),
        (
            [node("Resize", "x - s", mode="linear", antialias=1)],
            {"s": np.float32([1, 1, 1e-8, 1])},
            20,
            "none would be left",
        ),
        ([node("Split", "x", "y z", axis=1)], {}, 11, "3 values into 2 equal"),
        ([node("BatchNormalization", "x a a a a", spatial=0)], {"a": draw(3, 4, 4)}, 7, "each place"),
        ([node("Relu of Add", "x x")], {}, 20, "Relu of Add"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_does_not_fit_is_refused(nodes, constants, opset, why):
    made = model(nodes, inputs={"x": (1, 3, 4, 4)}, constants=constants, opset=opset)
    with pytest.raises(GraphError, match=why):
        reader.read(made, photometry="unit")(jnp.ones((4, 4, 3)))


def test_a_graph_without_outputs_is_refused():
    with pytest.raises(GraphError, match="no outputs"):
        reader.read(model([node("Relu", "x")], outputs=()), photometry="unit")


def test_a_convolution_without_a_bias_has_none_to_tell():
    network = reader.read(
        model([node("Conv", "x w -")], inputs={"x": (1, 3, 4, 4)}, constants={"w": draw(2, 3, 1, 1)}), photometry="unit"
    )
    assert list(network.biases(jnp.ones((4, 4, 3)))) == []


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
