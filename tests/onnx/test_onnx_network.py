"""An ONNX graph is a network like any other: one image in, its parameters passed, split at any tensor."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fame_jax import onnx as reader
from fame_jax.explainers.fullgrad import Probing, full_gradients
from fame_jax.metrics.sanity import randomised
from fame_jax.network import Network
from fame_jax.onnx.graph import parse
from fame_jax.onnx.inspection import image_input
from tests.onnx.graphs import content, convolutional, initialisers, model, node, pixels, planes, relative, runtime


@pytest.fixture(scope="module")
def made():
    return convolutional()


@pytest.fixture(scope="module")
def network(made):
    return reader.read(content(made), photometry="unit")


@pytest.fixture(scope="module")
def image():
    return jnp.asarray(pixels(16))


def test_output_is_onnx_runtimes_also_for_another_size_and_in_a_batch(made, network, image):
    assert isinstance(network, Network)
    for size in (16, (10, 14)):
        picture = pixels(size)
        assert relative(network(jnp.asarray(picture)), runtime(made, x=planes(picture))[0][0]) <= 1e-6
    batch = np.stack([pixels(16, seed=seed) for seed in range(3)])
    expected = np.concatenate([runtime(made, x=planes(picture))[0] for picture in batch])
    assert relative(jax.jit(jax.vmap(network))(batch), expected) <= 1e-6
    assert relative(jax.jit(jax.vmap(network))(batch[:1]), expected[:1]) <= 2e-6


@pytest.mark.parametrize("opset", [7, 9, 11, 13, 17, 20, 23])
def test_every_opset_from_seven_on_is_read(opset):
    made = convolutional(opset)
    picture = pixels(16)
    network = reader.read(made, photometry="unit")
    assert relative(network(jnp.asarray(picture)), runtime(made, x=planes(picture))[0][0]) <= 1e-6


def test_parameters_are_the_files_by_name_and_are_passed_not_baked_in(made, network, image):
    expected = initialisers(made)
    assert set(network.parameters) == set(expected)
    for name, value in network.parameters.items():
        np.testing.assert_array_equal(value, expected[name])
    program = jax.make_jaxpr(lambda network, image: network(image))(network, image)
    assert max([np.size(constant) for constant in program.consts], default=0) <= 12


def test_a_file_read_twice_and_other_weights_compile_once(made, image):
    traces = []

    @jax.jit
    def run(network, image):
        traces.append(1)
        return network(image)

    first = reader.read(content(made), photometry="unit")
    outputs = [
        run(network, image)
        for network in (first, reader.read(content(made), photometry="unit"), jax.tree.map(lambda x: 2 * x, first))
    ]
    assert len(traces) == 1
    np.testing.assert_array_equal(outputs[0], outputs[1])
    assert relative(outputs[2], outputs[0]) > 0.1


@pytest.mark.parametrize("tensor", ["conv1", "norm1", "relu1", "map", "pooled", "flat"])
def test_head_of_features_is_the_network_at_every_tensor_that_all_passes_through(made, network, image, tensor):
    split = reader.read(made, photometry="unit", features=tensor)
    features = split.features(image)
    assert features.shape == {"pooled": (1, 1, 8), "flat": (8,)}.get(tensor, (8, 8, 8))
    assert relative(split.head(features), network(image)) <= 1e-6


def test_the_default_features_are_the_last_map_and_have_channels_last(made, network, image):
    tensors = {name: network.split_at(name, image).features(image) for name in ("map", "relu1")}
    np.testing.assert_array_equal(network.features(image), tensors["map"])
    expected = runtime(model(made.graph.node[:3], outputs=["relu1"], constants=initialisers(made)), x=planes(image))
    assert relative(tensors["relu1"], expected[0][0].transpose(1, 2, 0)) <= 1e-6
    assert [c.name for c in reader.inspect(content(made)).candidates if c.channels] == [
        "conv1",
        "norm1",
        "relu1",
        "sum",
        "map",
        "pooled",
    ]


def test_a_tensor_that_something_bypasses_is_split_for_one_image(made, network, image):
    inside = reader.read(made, photometry="unit", features="conv2")
    assert inside.features(image).shape == (8, 8, 8)
    with pytest.raises(reader.GraphError, match="by other ways than 'conv2'"):
        inside.head(inside.features(image))
    split = network.split_at("conv2", image)
    assert relative(split.head(split.features(image)), network(image)) <= 1e-6
    # What the head does with other features is what the graph does with another kernel.
    doubled = {**network.parameters, "w2": 2 * network.parameters["w2"]}
    other = reader.OnnxNetwork(doubled, network.plan)
    assert relative(jax.jit(lambda s, f: s.head(f))(split, 2 * split.features(image)), other(image)) <= 1e-6


def test_double_precision_is_another_dtype_of_the_parameters(made, network):
    with jax.enable_x64(True):
        double = jax.tree.map(lambda x: x.astype(jnp.float64), network)
        exact = double(jnp.asarray(pixels(16, np.float64)))
        assert exact.dtype == jnp.float64
        assert 0 < relative(network(jnp.asarray(pixels(16))), exact) <= 1e-6
        half = jax.tree.map(lambda x: x.astype(jnp.bfloat16), network)
        assert half(jnp.asarray(pixels(16))).dtype == jnp.float32


def test_photometry_is_applied_and_has_to_be_told(made, image):
    told = reader.read(
        made, photometry=reader.Photometry((1.0, 2.0, 3.0), (2.0, 4.0, 5.0), 255.0, reverse_channels=True)
    )
    plain = reader.read(made, photometry="unit")
    changed = ((255 * image - jnp.array([1, 2, 3.0])[None, None]) / jnp.array([2, 4, 5.0])[None, None])[..., ::-1]
    assert relative(told(image), plain(changed)) <= 1e-6
    with pytest.raises(reader.GraphError, match=r"photometry=None.*insightface"):
        reader.read(made)
    with pytest.raises(reader.GraphError, match="photometry='nonsense'"):
        reader.read(made, photometry="nonsense")


def test_a_graph_that_normalises_by_itself_says_so():
    constants = {"mean": np.float32(127.5), "std": np.float32(128), "w": np.ones((1, 3, 1, 1), np.float32)}
    nodes = [node("Sub", "x mean", "a"), node("Div", "a std", "b"), node("Conv", "b w")]
    made = model(nodes, constants=constants)
    assert reader.inspect(content(made)).normalises == ("Sub 127.5", "Div 128")
    with pytest.raises(reader.GraphError, match=r"begins with Sub 127.5, Div 128"):
        reader.read(made)
    assert reader.inspect(content(convolutional())).normalises == ()


def test_several_outputs_are_returned_by_name(made, image):
    both = reader.read(made, photometry="unit", output=["y", "pooled"])(image)
    assert {name: value.shape for name, value in both.items()} == {"y": (5,), "pooled": (1, 1, 8)}
    pooled = reader.read(made, photometry="unit", output="pooled")
    np.testing.assert_array_equal(pooled(image), both["pooled"])
    assert "w4" not in pooled.parameters


def test_biases_are_the_stated_ones_and_all_of_them_add_up(network, image):
    assert isinstance(network, Probing)
    stated = network.biases(image)
    parameters = network.parameters
    offset = parameters["shift"] - parameters["mean"] * parameters["scale"] / jnp.sqrt(parameters["variance"] + 1e-3)
    expected = [parameters["b1"], offset, parameters["b3"]]
    for found, bias in zip(stated, expected, strict=True):
        assert found.shape == (8, 8, 8)
        assert relative(found, np.broadcast_to(bias, found.shape)) <= 1e-6
    of_image, of_layers = full_gradients(network, image, 2, complete=True)
    total = of_image.sum() + sum(share.sum() for share in of_layers)
    assert abs(total - network(image)[2]) <= 1e-4


def test_layers_can_be_randomised_by_the_names_of_their_parameters(network, image):
    fresh = network.shuffled(jax.random.key(0))
    changed = randomised(network, fresh, ["parameters/w3"])
    assert [n for n in network.parameters if (network.parameters[n] != changed.parameters[n]).any()] == ["w3"]
    assert relative(changed(image), network(image)) > 0.01
    for name, value in network.parameters.items():
        np.testing.assert_array_equal(np.sort(value, axis=None), np.sort(fresh.parameters[name], axis=None))


def test_tokens_are_put_on_a_map_if_asked():
    constants = {
        "w": np.random.default_rng(0).standard_normal((6, 3, 4, 4)).astype(np.float32),
        "s": np.array([1, 6, -1]),
    }
    nodes = [
        node("Conv", "x w", "patches", strides=[4, 4]),
        node("Reshape", "patches s", "rows"),
        node("Transpose", "rows", "tokens", perm=[0, 2, 1]),
        node("ReduceMean", "tokens", "y", axes=[1], keepdims=0),
    ]
    made = model(nodes, constants=constants, opset=17)
    image = jnp.asarray(pixels((16, 24)))
    tokens = reader.read(made, photometry="unit", features="tokens", size=(16, 24))
    maps = reader.read(made, photometry="unit", features="tokens", size=(16, 24), grid=(4, 6))
    patches = reader.read(made, photometry="unit", features="patches", size=(16, 24))
    assert tokens.features(image).shape == (24, 6)
    np.testing.assert_array_equal(maps.features(image), patches.features(image))
    np.testing.assert_allclose(maps.head(maps.features(image)), tokens(image), rtol=1e-6)
    with pytest.raises(reader.GraphError, match=r"grid=\(5, 5\)"):
        reader.read(made, photometry="unit", features="tokens", size=(16, 24), grid=(5, 5))


def test_a_map_of_which_the_graph_does_not_tell_the_channels_has_to_be_told():
    nodes = [node("Transpose", "x", "last", perm=[0, 2, 3, 1]), node("ReduceMean", "last", axes=[1, 2], keepdims=0)]
    made = model(nodes, opset=17)
    image = jnp.asarray(pixels((4, 6)))
    with pytest.raises(reader.GraphError, match="channels='first' or 'last'"):
        reader.read(made, photometry="unit", features="last")
    network = reader.read(made, photometry="unit", features="last", channels="last")
    np.testing.assert_array_equal(network.features(image), image)
    np.testing.assert_allclose(network.head(image), image.mean((0, 1)), rtol=1e-6)


def test_the_product_that_ends_a_mask_head_has_channels_last_as_a_convolution():
    weights = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    product = model([node("Relu", "x", "r"), node("Einsum", "w r", equation="qc,nchw->nqhw")], constants={"w": weights})
    plain = model([node("Relu", "x", "r"), node("Conv", "r w")], constants={"w": weights[..., None, None]})
    for size in (16, (10, 14)):
        image = jnp.asarray(pixels(size))
        found, expected = (
            reader.read(content(made), photometry="unit", size=image.shape[:2])(image) for made in (product, plain)
        )
        assert found.shape == (*image.shape[:2], 5)
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_an_image_of_another_size_and_unknown_tensors_are_refused_in_one_line(made):
    made = convolutional()
    for axis, size in ((2, 16), (3, 20)):
        made.graph.input[0].type.tensor_type.shape.dim[axis].dim_value = size
    network = reader.read(made, photometry="unit")
    with pytest.raises(reader.GraphError, match=r"the image is \[16, 16, 3\], the graph takes \[16, 20, 3\]"):
        network(jnp.asarray(pixels(16)))
    assert reader.read(made, photometry="unit", size=(16, 16))(jnp.asarray(pixels(16))).shape == (5,)
    with pytest.raises(reader.GraphError, match="no node makes a tensor 'mpa'; did you mean map"):
        reader.read(made, photometry="unit", features="mpa")


def test_a_graph_with_channels_last_takes_the_image_as_it_is():
    made = model(
        [node("Transpose", "x", "first", perm=[0, 3, 1, 2]), node("Conv", "first w")],
        inputs={"x": (1, 8, 8, 3)},
        constants={"w": np.random.default_rng(0).standard_normal((4, 3, 3, 3)).astype(np.float32)},
    )
    picture = pixels(8)
    found = reader.read(made, photometry="unit")(jnp.asarray(picture))
    assert relative(found, runtime(made, x=picture[None])[0][0].transpose(1, 2, 0)) <= 1e-6


def test_products_are_exact_unless_another_precision_is_asked_for(network, image):
    def precisions(network):
        return set(re.findall(r"precision *= *\[?([A-Z]+)", jax.jit(lambda n, x: n(x)).lower(network, image).as_text()))

    assert precisions(network) == {"HIGHEST"}
    assert precisions(network.in_precision(jnp.float32, "default")) == {"DEFAULT"}


@pytest.mark.parametrize("graph", ["Abs", "ReduceL1"])
def test_a_magnitude_has_no_slope_at_zero(graph):
    made = model(
        [node("Conv", "x w", "m"), node(graph, "m", "a")],
        inputs={"x": (1, 3, 8, 8)},
        outputs=("a",),
        constants={"w": np.random.default_rng(0).standard_normal((4, 3, 3, 3)).astype(np.float32)},
    )
    network = reader.read(made, photometry="unit")
    slope = jax.grad(lambda image: network(image).sum())
    np.testing.assert_array_equal(slope(jnp.zeros((8, 8, 3))), 0)
    assert np.abs(slope(jnp.asarray(pixels(8)))).max() > 0


@pytest.mark.parametrize(
    ("shape", "size", "channels", "first"),
    [
        ((1, 4, 8, 9), (8, 9), 4, True),
        ((1, 8, 9, 4), (8, 9), 4, False),
        ((1, 4, "h", "w"), (None, None), 4, True),
        ((1, "h", "w", 4), (None, None), 4, False),
        ((1, "c", 8, 9), (8, 9), None, True),
        ((1, 8, 9, 1), (8, 9), 1, False),
        ((1, 12, 16, 16), (16, 16), 12, True),
    ],
)
def test_channels_are_any_number_below_the_sides(shape, size, channels, first):
    found = image_input(parse(model([node("Relu", "x", "y")], inputs={"x": shape}, outputs=("y",)))[0])
    assert (found.size, found.channels, found.channels_first) == (size, channels, first)


def test_pixels_of_another_number_of_channels_are_refused():
    made = model(
        [node("Conv", "x w", "y")],
        inputs={"x": (1, 4, 8, 8)},
        outputs=("y",),
        constants={"w": np.random.default_rng(0).standard_normal((2, 4, 3, 3)).astype(np.float32)},
    )
    with pytest.raises(reader.GraphError, match="images of 4 channels, and the photometry is of 3"):
        reader.read(made, photometry="torchvision")
    image = np.random.default_rng(1).random((8, 8, 4), np.float32)
    found = reader.read(made, photometry=reader.Photometry((0.5, 0.4, 0.3, 0.2), 0.5))(jnp.asarray(image))
    given = ((image - np.float32([0.5, 0.4, 0.3, 0.2])) / np.float32(0.5)).transpose(2, 0, 1)[None]
    assert relative(found, runtime(made, x=given)[0][0].transpose(1, 2, 0)) <= 1e-6
