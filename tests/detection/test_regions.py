"""A class over a region of a segmentation: DeepLab through ONNX, against torch."""

import contextlib
import io

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fame_jax
from fame_jax import onnx as reader
from fame_jax.losses import class_over_region
from tests.onnx.graphs import pixels, planes

torch = pytest.importorskip("torch")
pytest.importorskip("onnxscript")
pytestmark = pytest.mark.filterwarnings("ignore")  # Of torch's exporter.

from tests.reference.twins import randomise  # noqa: E402 - after torch is known to be there.

SIDE, CLASSES = 32, 4


@pytest.fixture(scope="module")
def deeplab(torchvision):
    """torchvision's DeepLabV3 over a small backbone, randomised: the module and the graph of its map."""
    from torchvision.models.segmentation.deeplabv3 import DeepLabHead, DeepLabV3

    class Backbone(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3, 4, 1), torch.nn.ReLU())

        def forward(self, x):
            return {"out": self.layers(x)}

    class Map(torch.nn.Module):
        def __init__(self, network):
            super().__init__()
            self.network = network

        def forward(self, x):
            return self.network(x)["out"]

    module = randomise(Map(DeepLabV3(Backbone(), DeepLabHead(8, CLASSES, (1, 2, 3)))))
    with contextlib.redirect_stdout(io.StringIO()), torch.no_grad():
        graph = torch.onnx.export(module, (torch.zeros(1, 3, SIDE, SIDE),), dynamo=True, verbose=False).model_proto
    return module, reader.read(graph, photometry="unit")


def test_deeplab_from_onnx_gives_the_loss_of_a_region(deeplab):
    module, network = deeplab
    image = pixels(SIDE)
    region = np.zeros((SIDE, SIDE), np.float32)
    region[4:12, 6:20] = 1
    x = torch.from_numpy(planes(image)).requires_grad_()
    expected = (module(x)[0, 2] * torch.from_numpy(region)).sum() / region.sum()
    expected.backward()
    value, slope = jax.jit(jax.value_and_grad(class_over_region))(jnp.asarray(image), network, jnp.asarray(region), 2)
    np.testing.assert_allclose(value, expected.item(), rtol=1e-4)
    theirs = x.grad[0].numpy().transpose(1, 2, 0)
    np.testing.assert_allclose(slope, theirs, atol=1e-4 * np.abs(theirs).max())


def test_a_walk_takes_a_class_from_a_region(deeplab):
    _, network = deeplab
    image, region = jnp.asarray(pixels(SIDE)), jnp.zeros((SIDE, SIDE)).at[:, :10].set(1)
    walk = jax.jit(lambda network: fame_jax.explain(class_over_region, image, network, region, 1, iterations=10))
    result = walk(network)
    assert int(result.steps) == 10
    assert float(result.last_loss) < float(result.first_loss)
    assert result.attribution.shape == (SIDE, SIDE)
