"""Whatever an ONNX file holds, reading it ends in a network or in one line: no hang, no traceback, bounded memory."""

import itertools
import resource

import jax
import jax.numpy as jnp
import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import helper, numpy_helper

from fame_jax import onnx as reader
from tests.onnx.graphs import content, convolutional, model, node, pixels

FEW = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
WHOLE = content(convolutional())


def refused(source, match, **options):
    """Reading it ends in one line."""
    with pytest.raises(reader.GraphError, match=match) as caught:
        reader.read(source, **{"photometry": "unit", **options})
    assert "\n" not in str(caught.value)
    return str(caught.value)


def read_or_refused(source):
    """Read and traced, or refused in one line."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        network = reader.read(source, photometry="unit", size=(16, 16))
        jax.eval_shape(network, jax.ShapeDtypeStruct((16, 16, 3), jnp.float32))
        reader.inspect(source)
    except reader.GraphError as error:
        assert "\n" not in str(error)  # noqa: PT017 - either is right.
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 3 * 2**20, f"{grown} KiB more"


@FEW
@given(st.lists(st.tuples(st.integers(0, len(WHOLE) - 1), st.integers(0, 255)), min_size=1, max_size=8))
def test_changed_bytes(changes):
    changed = bytearray(WHOLE)
    for place, value in changes:
        changed[place] = value
    read_or_refused(bytes(changed))


@FEW
@given(st.integers(0, len(WHOLE) - 1))
def test_cut_files(length):
    read_or_refused(WHOLE[:length])


NUMBERS = st.one_of(st.integers(-3, 9), st.sampled_from([2**31, 2**40, 2**62, -(2**62), 10**9]))


@FEW
@given(
    st.sampled_from(
        [
            *("Conv", "ConvTranspose", "MaxPool", "AveragePool", "BatchNormalization", "Resize", "Reshape", "Tile"),
            *("Expand", "Pad", "Slice", "Gather", "Concat", "Split", "Softmax", "ReduceMean", "LRN", "Transpose"),
            *("DepthToSpace", "Range", "ConstantOfShape", "OneHot", "Unsqueeze", "Gemm", "MatMul", "TopK", "CumSum"),
        ]
    ),
    st.lists(st.sampled_from(["x", "w", "i", "f", "s"]), min_size=1, max_size=5),
    st.dictionaries(
        st.sampled_from(
            [
                *("axis", "axes", "pads", "strides", "dilations", "kernel_shape", "group", "perm", "blocksize", "size"),
                *("output_padding", "output_shape", "keepdims", "num_outputs", "transB", "ceil_mode", "starts", "ends"),
            ]
        ),
        st.one_of(NUMBERS, st.lists(NUMBERS, min_size=1, max_size=4)),
        max_size=5,
    ),
    st.lists(NUMBERS, min_size=1, max_size=4),
)
def test_operators_with_any_inputs_and_attributes(operator, inputs, attributes, numbers):
    constants = {
        "w": np.ones((4, 3, 3, 3), np.float32),
        "i": np.array(numbers, np.int64),
        "f": np.array([1, 1, 2, 2], np.float32),
        "s": np.array(numbers[0], np.int64),
    }
    read_or_refused(content(model([node(operator, " ".join(inputs), **attributes)], constants=constants)))


@pytest.mark.parametrize(
    ("nodes", "constants", "why"),
    [
        ([node("ConstantOfShape", "n")], {"n": np.array([10**6, 10**6])}, "ConstantOfShape.*at most"),
        ([node("Expand", "x n")], {"n": np.array([10**6, 10**6, 1, 1, 1])}, "Expand.*at most"),
        ([node("Tile", "x n")], {"n": np.array([10**6, 10**6, 1, 1])}, "Tile.*at most"),
        ([node("Range", "a b c")], {"a": np.int64(0), "b": np.int64(2**62), "c": np.int64(1)}, "Range.*at most"),
        ([node("Pad", "x n")], {"n": np.array([0, 0, 10**9, 0, 0, 0, 0, 0])}, "Pad.*at most"),
        ([node("Resize", "x - f")], {"f": np.array([1, 1, 1e6, 1e6], np.float32)}, "Resize.*at most"),
        ([node("Resize", "x - - n")], {"n": np.array([1, 0, 2**33, 8])}, "Resize.*at most"),
        (
            [node("ConstantOfShape", "n", "a"), node("Transpose", "a", "b"), node("Add", "a b")],
            {"n": np.array([10**5, 1])},
            "Add.*at most",
        ),
        (
            [node("ConstantOfShape", "n", "a"), node("Cast", "a", "b", to=7), node("Gather", "a b")],
            {"n": np.array([10**4, 200])},
            "Gather.*at most",
        ),
        ([node("MaxPool", "x", kernel_shape=[10**6, 1], pads=[10**6, 0, 10**6, 0])], {}, "MaxPool.*at most"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_claimed_size_allocates_nothing(nodes, constants, why):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused(model(nodes, constants=constants, inputs={"x": (1, 3, 8, 8)}), why)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**20


def test_cycles_unknown_tensors_and_names_used_twice_name_the_node():
    refused(
        model([node("Add", "x b", "a"), node("Relu", "a", "b")], outputs=["b"]), r"cycle: node 'Add a'|node 'Relu b'"
    )
    refused(model([node("Add", "x nowhere")]), "node 'Add y'.*'nowhere'")
    refused(model([node("Relu", "x"), node("Tanh", "x")]), "node 'Tanh y'.*second tensor")
    refused(model([node("Relu", "x", "a")]), "no node makes a tensor 'y'")


def test_a_deep_graph_is_read_without_recursion():
    names = ["x", *(f"t{i}" for i in range(1200))]
    made = model([node("Relu", a, b) for a, b in itertools.pairwise(names)], outputs=[names[-1]])
    assert jax.eval_shape(
        reader.read(made, photometry="unit", size=(2, 2)), jax.ShapeDtypeStruct((2, 2, 3), jnp.float32)
    ).shape == (2, 2, 3)


def test_missing_operators_are_named_all_at_once_before_anything_runs():
    nodes = [
        node("Conv", "x broken", "a"),
        node("Loop", "a", "b"),
        node("NonMaxSuppression", "b", "c"),
        node("Loop", "c", "y"),
    ]
    made = model(nodes, constants={"broken": np.zeros((1, 7, 1, 1), np.float32)})
    with pytest.raises(reader.MissingOperatorsError) as caught:
        reader.read(made, photometry="unit")
    assert dict(caught.value.missing) == {"Loop": ["Loop b", "Loop y"], "NonMaxSuppression": ["NonMaxSuppression c"]}
    assert "Loop (Loop b, Loop y); NonMaxSuppression (NonMaxSuppression c)" in str(caught.value)
    found = reader.inspect(content(made))
    assert found.missing == caught.value.missing
    # What comes before them can be read.
    made = model([node("Relu", "x", "a"), node("NonMaxSuppression", "a", "y")], outputs=["y"])
    assert reader.read(made, photometry="unit", output="a")(jnp.asarray(pixels(4))).shape == (4, 4, 3)


def test_an_operator_of_another_domain_or_attribute_is_not_taken_for_the_known_one():
    other = helper.make_node("Gelu", ["x"], ["y"], name="theirs", domain="com.microsoft")
    refused(model([other]), r"com.microsoft.Gelu \(theirs\)")
    refused(model([node("SpaceToDepth", "x", blocksize=2, mode="CRD")]), "attribute mode='CRD' is not supported")


@pytest.mark.parametrize("location", ["/etc/passwd", "../outside.bin", "link.bin", "folder/../../outside.bin", "", "."])
def test_external_data_stays_in_the_models_folder(tmp_path, location):
    (tmp_path / "outside.bin").write_bytes(bytes(1000))
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "folder").mkdir()
    (folder / "link.bin").symlink_to(tmp_path / "outside.bin")
    path = folder / "model.onnx"
    path.write_bytes(content(_external(location)))
    refused(path, "external data .*regular file in or below the model's folder")


def test_external_data_is_read_from_beside_the_file_and_checked(tmp_path):
    values = np.random.default_rng(0).standard_normal((2, 3, 1, 1)).astype("<f4")
    (tmp_path / "weights.bin").write_bytes(bytes(16) + values.tobytes())
    path = tmp_path / "model.onnx"
    path.write_bytes(content(_external("weights.bin", offset=16, length=24)))
    network = reader.read(path, photometry="unit")
    np.testing.assert_array_equal(network.parameters["w"], values)
    refused(path.read_bytes(), "give the path of the file")
    for places in ({"offset": 17}, {"offset": -8}, {"length": 12}, {"offset": 2**40}):
        path.write_bytes(content(_external("weights.bin", **{"offset": 16, "length": 24, **places})))
        refused(path, "expected 24 bytes")


def _external(location, **places):
    made = model([node("Conv", "x w")], constants={"w": np.zeros((2, 3, 1, 1), np.float32)})
    tensor = made.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in {"location": location, **places}.items():
        tensor.external_data.add(key=key, value=str(value))
    return made


def test_what_is_no_graph_of_an_image_is_refused(tmp_path):
    refused(tmp_path / "absent.onnx", "no regular file")
    refused(tmp_path, "no regular file")
    refused(b"not a graph", "damaged, or no ONNX file")
    refused(b"", "nodes|opset")
    refused(convolutional(6), "opset .6.; expected one from 7")
    refused(model([node("Relu", "x")], inputs={"x": (1, 7, 4, 4)}), "expected one image")
    refused(model([node("Relu", "x")], inputs={"x": (8, 3, 4, 4)}), "expected one image")
    refused(model([node("Add", "x z")], inputs={"x": (1, 3, 4, 4), "z": (1,)}), "inputs x, z; expected one")
    strings = model([node("Relu", "x")])
    strings.graph.initializer.append(numpy_helper.from_array(np.array(["a"], object), "words"))
    refused(strings, "'words'.*STRING")


def test_shapes_that_depend_on_pixels_are_refused():
    nodes = [node("ReduceMax", "x", "a", keepdims=0), node("Cast", "a", "b", to=7), node("Reshape", "x b")]
    refused(model(nodes), r"node 'Reshape y'.*shape depends on the pixels")


def test_an_unknown_operator_of_several_lines_is_told_in_one():
    refused(content(model([node("Con\nv", "x")])), "Con v")
