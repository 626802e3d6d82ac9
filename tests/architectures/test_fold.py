"""`fold_batch_norm`: the same function with fewer layers, or a reason."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from fame_jax.architectures import iresnet, layers, resnet, sface
from fame_jax.architectures.fold import fold_batch_norm
from fame_jax.models import Standardized
from fame_jax.models.checkpoint import weights, with_weights
from tests.marks import thorough

WIDTHS = (4, 6, 8, 10)


def filled(build, dtype="float32"):
    """A network with random weights and statistics."""
    generator = np.random.default_rng(0)
    network = nnx.eval_shape(build)
    values = {}
    for path, variable in nnx.to_flat_state(nnx.state(network)):
        positive = path[-1] in ("var", "scale")
        value = generator.uniform(0.5, 1.5, variable.shape) if positive else generator.normal(0, 0.2, variable.shape)
        values[".".join(map(str, path))] = jnp.asarray(value, dtype)
    return with_weights(network, values)


class Tower(nnx.Module):
    """Every way in which a batch norm may meet a convolution."""

    image_size = 8

    def __init__(self, rngs):
        self.plain = layers.conv(3, 4, 3, padding=1, bias=True, rngs=rngs)
        self.plain_bn = layers.batch_norm(4, rngs=rngs)
        self.depthwise = layers.conv(4, 4, 3, groups=4, rngs=rngs)
        self.depthwise_bn = layers.batch_norm(4, affine=False, rngs=rngs)
        self.shared = layers.conv(4, 4, 1, rngs=rngs)
        self.shared_bn = layers.batch_norm(4, rngs=rngs)
        self.before_bn = layers.batch_norm(4, rngs=rngs)
        self.after = layers.conv(4, 4, 3, padding=1, rngs=rngs)
        self.between = layers.conv(4, 4, 1, rngs=rngs)
        self.between_bn = layers.batch_norm(4, rngs=rngs)
        self.twice = layers.conv(4, 4, 1, rngs=rngs)
        self.twice_bn = layers.batch_norm(4, rngs=rngs)
        self.linear = nnx.Linear(4, 5, rngs=rngs)
        self.linear_bn = layers.batch_norm(5, rngs=rngs)
        self.training_bn = nnx.BatchNorm(4, use_running_average=False, rngs=rngs)
        self.idle_bn = layers.batch_norm(4, rngs=rngs)

    def __call__(self, x):
        x = nnx.relu(self.plain_bn(self.plain(x)))
        x = self.depthwise_bn(self.depthwise(x))
        y = self.shared(x)
        x = y + self.shared_bn(y)
        x = self.after(self.before_bn(x + 1))
        x = self.between_bn(nnx.relu(self.between(x)))
        x = self.twice_bn(self.twice(nnx.relu(self.twice_bn(self.twice(x)))))
        return self.linear_bn(self.linear(x.mean((0, 1))))


def test_folded_where_exact_and_refused_with_the_reason():
    network = filled(lambda: Tower(nnx.Rngs(0)))
    found = fold_batch_norm(network)
    assert found.folded == {"plain_bn": "plain", "depthwise_bn": "depthwise", "linear_bn": "linear"}
    not_after = "its input is not the output of a convolution or linear layer"
    assert found.refused == {
        "shared_bn": "the output of shared is used elsewhere, too",
        "before_bn": f"{not_after}, and after after it would pad with zeros where it has other values",
        "between_bn": not_after,
        "twice_bn": "it is called 2 times",
        "training_bn": "it uses the statistics of the batch",
        "idle_bn": "it is called 0 times",
    }
    image = jnp.asarray(np.random.default_rng(1).random((8, 8, 3)), jnp.float32)
    np.testing.assert_allclose(found.network(image), network(image), rtol=1e-5, atol=1e-6)


NETWORKS = {
    "resnet": (lambda: resnet.ResNet(resnet.Bottleneck, (1, 1, 1, 1), classes=5, rngs=nnx.Rngs(0)), 17, 0),
    "iresnet": (
        lambda: iresnet.IResNet((1, 1, 1, 1), widths=WIDTHS, embedding=6, image_size=32, rngs=nnx.Rngs(0)),
        1 + 2 * 4 + 3 + 1,
        4 + 1,
    ),
    "sface": (lambda: sface.SFace(((6, 1), (8, 2)), stem=4, embedding=6, image_size=16, rngs=nnx.Rngs(0)), 5 + 1, 1),
}


@pytest.mark.parametrize("dtype", ["float32", *thorough("float64")])
@pytest.mark.parametrize("name", NETWORKS)
def test_outputs_and_gradients_of_a_folded_network_are_the_same(name, dtype):
    tolerance = {"float32": 1e-5, "float64": 1e-12}[dtype]
    build, folds, refusals = NETWORKS[name]
    with jax.enable_x64(dtype == "float64"):
        network = Standardized(filled(build, dtype), (0.5, 0.4, 0.3), (0.2, 0.3, 0.4))
        found = fold_batch_norm(network)
        assert (len(found.folded), len(found.refused)) == (folds, refusals)
        size = getattr(network.network, "image_size", 64)
        image = jnp.asarray(np.random.default_rng(1).random((size, size, 3)), dtype)

        # Compiled in a hurry: the programs run once.
        @functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
        def of(network, image):
            output, gradient = jax.value_and_grad(lambda x: network(x)[0])(image)
            return network.features(image), output, gradient

        for ours, expected in zip(of(found.network, image), of(network, image), strict=True):
            assert float(jnp.abs(ours - expected).max()) <= tolerance * float(jnp.abs(expected).max())


def test_the_given_network_is_not_changed():
    network = filled(NETWORKS["sface"][0])
    before = {name: np.asarray(value) for name, value in weights(network).items()}
    fold_batch_norm(network)
    after = weights(network)
    assert after.keys() == before.keys()
    for name, value in before.items():
        np.testing.assert_array_equal(after[name], value)


def test_batch_norms_before_padded_convolutions_of_iresnet_say_why_they_stay():
    reasons = fold_batch_norm(filled(NETWORKS["iresnet"][0])).refused
    assert "body.0.res_layer.1 after it would pad with zeros" in reasons["body.0.res_layer.0"]
    assert reasons["output_layer.0"] == "its input is not the output of a convolution or linear layer"
