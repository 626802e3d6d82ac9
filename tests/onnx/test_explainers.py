"""Every method of the table on an ONNX network, and on the same network written by hand: equal maps."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from fame_jax import onnx as reader
from fame_jax.architectures.probes import Probed
from fame_jax.architectures.sface import SFace
from fame_jax.explainers import EXPLAINERS
from tests.explainers.test_contract import QUICK
from tests.marks import slow
from tests.onnx.graphs import model, node, pixels

SIZE = 16
QUICK_ROWS = ("grad_cam", "fullgrad", "gradient")
"""The others take a minute of compiling."""


@pytest.fixture(scope="module")
def networks():
    """By hand with random weights and statistics, and from a graph of the same."""
    by_hand = SFace(((8, 1), (12, 2)), stem=6, embedding=6, image_size=SIZE, rngs=nnx.Rngs(0))
    rng = np.random.default_rng(1)
    nnx.update(by_hand, jax.tree.map(lambda x: _drawn(rng, x), nnx.state(by_hand)))
    return by_hand, reader.read(_graph(by_hand), photometry="unit", features="conv_3_relu")


def _drawn(rng, x):
    """Kernels have both signs; scales and variances, one."""
    sign = rng.choice([-0.5, 0.5], x.shape) if x.ndim > 1 else 1
    return jnp.asarray(sign * rng.uniform(0.1, 1, x.shape), x.dtype)


def _graph(network):
    nodes, constants, tensor = [], {}, "x"
    for unit in network.units:
        layer = getattr(network, unit)
        groups = layer.conv2d.feature_group_count
        constants[f"{unit}_w"] = np.asarray(layer.conv2d.kernel[...]).transpose(3, 2, 0, 1)
        pads, strides = (
            [n for pair in zip(*layer.conv2d.padding, strict=True) for n in pair],
            list(layer.conv2d.strides),
        )
        nodes.append(node("Conv", f"{tensor} {unit}_w", f"{unit}_c", group=groups, pads=pads, strides=strides))
        nodes.append(_norm(f"{unit}_c", layer.batchnorm, f"{unit}_n", constants))
        constants[f"{unit}_s"] = np.asarray(layer.relu.slope[...])[:, None, None]
        nodes.append(node("PRelu", f"{unit}_n {unit}_s", tensor := f"{unit}_relu"))
    nodes.append(_norm(tensor, network.bn1, "bn1", constants))
    side = SIZE // 2
    kernel = np.asarray(network.pre_fc1.kernel[...]).reshape(side, side, 12, -1).transpose(3, 2, 0, 1).reshape(6, -1)
    constants |= {"fc": kernel, "fc_b": np.asarray(network.pre_fc1.bias[...])}
    nodes += [node("Flatten", "bn1", "flat"), node("Gemm", "flat fc fc_b", "pre", transB=1)]
    nodes.append(_norm("pre", network.fc1, "y", constants))
    return model(nodes, constants=constants, inputs={"x": (1, 3, SIZE, SIZE)})


def _norm(tensor, layer, output, constants):
    values = {"g": layer.scale, "b": layer.bias, "m": layer.mean, "v": layer.var}
    constants |= {f"{output}_{key}": np.asarray(value[...]) for key, value in values.items()}
    names = " ".join([tensor, *(f"{output}_{key}" for key in values)])
    return node("BatchNormalization", names, output, epsilon=layer.epsilon)


@pytest.mark.parametrize("name", [*QUICK_ROWS, *slow(*(name for name in EXPLAINERS if name not in QUICK_ROWS))])
def test_maps_are_those_of_the_network_by_hand(name, networks):
    row, options, key = EXPLAINERS[name], QUICK.get(name, {}), jax.random.key(0)
    images = [jnp.asarray(pixels(SIZE, seed=seed)) for seed in (0, 1)]
    by_hand, read = networks
    pairs = [(Probed(by_hand) if "probes" in row.needs else by_hand), read]
    if row.of_class is not None:
        maps = [row.explain(network, images[0], 2, key=key, **options).attribution for network in pairs]
        assert np.abs(maps[0]).max() > 0
        np.testing.assert_allclose(*maps, atol=2e-4)
    if row.of_pair is not None:
        both = [row.explain_pair(network, *images, key=key, **options)[1:] for network in pairs]
        for ours, theirs in zip(*both, strict=True):
            assert (ours is None) == (theirs is None)
            if ours is not None:
                np.testing.assert_allclose(ours.attribution, theirs.attribution, atol=2e-4)
