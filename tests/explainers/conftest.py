"""Small networks with random weights: every part of each matters to its output."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from fame_jax.architectures.layers import PReLU, batch_norm, conv, layer_norm, max_pool
from fame_jax.architectures.standardized import Standardized

SIZE = 32


class ConvNet(nnx.Module):
    """Convolutions with and without bias, batch norms, a shortcut, and a pooled or a flattening head."""

    def __init__(self, outputs: int, *, pooled: bool, rngs: nnx.Rngs):
        self.conv1 = conv(3, 8, 3, stride=2, padding=1, bias=True, rngs=rngs)
        self.bn1 = batch_norm(8, rngs=rngs)
        self.block = nnx.List([conv(8, 8, 3, padding=1, rngs=rngs), batch_norm(8, rngs=rngs), PReLU(8)])
        self.conv2 = conv(8, 12, 1, bias=True, rngs=rngs)
        self.fc = nnx.Linear(12 if pooled else 768, outputs, rngs=rngs)
        self.pooled = pooled

    def features(self, image):
        x = max_pool(nnx.relu(self.bn1(self.conv1(image))), 2, 2)
        y = x
        for layer in self.block:
            y = layer(y)
        return nnx.relu(self.conv2(x + y))

    def head(self, features):
        return self.fc(jnp.mean(features, axis=(0, 1)) if self.pooled else features.reshape(-1))

    def __call__(self, image):
        return self.head(self.features(image))


class Transformer(nnx.Module):
    """A vision transformer of one block: class token, position embedding, attention, GELU."""

    def __init__(self, outputs: int, *, rngs: nnx.Rngs):
        self.patches = conv(3, 16, 8, stride=8, bias=True, rngs=rngs)
        self.token = nnx.Param(jax.random.normal(rngs.params(), (1, 16)))
        self.position = nnx.Param(jax.random.normal(rngs.params(), (17, 16)))
        self.norm1 = layer_norm(16, rngs=rngs)
        self.attention = nnx.MultiHeadAttention(4, 16, decode=False, rngs=rngs)
        self.norm2 = layer_norm(16, rngs=rngs)
        self.mlp = nnx.List([nnx.Linear(16, 32, rngs=rngs), jax.nn.gelu, nnx.Linear(32, 16, rngs=rngs)])
        self.norm3 = layer_norm(16, rngs=rngs)
        self.fc = nnx.Linear(16, outputs, rngs=rngs)

    def _tokens(self, image):
        x = jnp.concatenate([self.token[...], self.patches(image).reshape(16, 16)]) + self.position[...]
        x = x + self.attention(self.norm1(x))
        y = self.norm2(x)
        for layer in self.mlp:
            y = layer(y)
        return self.norm3(x + y)

    def features(self, image):
        return self._tokens(image)[1:].reshape(4, 4, 16)

    def head(self, features):
        return self.fc(jnp.mean(features, axis=(0, 1)))

    def __call__(self, image):
        return self.head(self.features(image))


def randomise(network: nnx.Module, seed: int) -> nnx.Module:
    """Moves all weights, so that no bias is zero, no batch norm does nothing and all variances stay positive."""
    numbers = np.random.default_rng(seed)
    state = nnx.state(network)
    moved = jax.tree.map(lambda x: x * numbers.uniform(0.7, 1.3, x.shape).astype("float32"), state)
    biases = nnx.state(network, lambda path, _: path[-1] in ("bias", "mean"))
    nnx.update(network, moved)
    nnx.update(network, jax.tree.map(lambda x: numbers.normal(0, 0.3, x.shape).astype("float32"), biases))
    return network


@pytest.fixture(scope="session")
def randomised() -> Callable[[Callable[[], nnx.Module]], nnx.Module]:
    """Builds a network in one program and moves its weights."""
    return lambda build: randomise(jax.jit(build)(), 0)


def wrapped(build: Callable[[nnx.Rngs], nnx.Module], seed: int) -> Standardized:
    network = jax.jit(lambda: build(nnx.Rngs(seed)))()
    return Standardized(randomise(network, seed), (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@pytest.fixture(scope="session")
def classifier() -> Standardized:
    """Seven classes, pooled head."""
    return wrapped(lambda rngs: ConvNet(7, pooled=True, rngs=rngs), 0)


@pytest.fixture(scope="session")
def flat_classifier() -> Standardized:
    """Seven classes, a head that knows the locations."""
    return wrapped(lambda rngs: ConvNet(7, pooled=False, rngs=rngs), 1)


@pytest.fixture(scope="session")
def face_network() -> Standardized:
    """An embedding of 12 dimensions."""
    return wrapped(lambda rngs: ConvNet(12, pooled=False, rngs=rngs), 2)


@pytest.fixture(scope="session")
def transformer() -> Standardized:
    """Seven classes, tokens."""
    return wrapped(lambda rngs: Transformer(7, rngs=rngs), 3)


@pytest.fixture(scope="session")
def images() -> jax.Array:
    """Three smooth random images `[3, 32, 32, 3]` in [0, 1]."""
    coarse = jax.random.uniform(jax.random.key(0), (3, 8, 8, 3))
    return jnp.clip(jax.image.resize(coarse, (3, SIZE, SIZE, 3), "cubic"), 0, 1)
