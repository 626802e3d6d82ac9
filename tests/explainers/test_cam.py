"""Class activation maps of networks that are split at a layer, and of weights in 16 bits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from fame_jax import NetworkError, Split, explain_many
from fame_jax.architectures.probes import split_at
from fame_jax.explainers import EXPLAINERS


def test_a_layer_with_a_shortcut_around_it_is_split_for_each_image_of_a_stream():
    class Shortcut(nnx.Module):
        def __init__(self):
            self.before, self.beside = (nnx.Conv(i, 4, (3, 3), rngs=nnx.Rngs(i)) for i in (3, 4))

        def __call__(self, image):
            x = nnx.relu(self.before(image))
            return jnp.mean(jnp.tanh(x + nnx.relu(self.beside(x)) * x), axis=(0, 1))

    network, images = Shortcut(), jax.random.uniform(jax.random.key(0), (2, 16, 16, 3))
    split = split_at(network, "beside")
    for image, found in zip(images, explain_many(split, np.asarray(images), "layer_cam", [3, 3]), strict=True):
        expected = EXPLAINERS["layer_cam"].explain(split_at(network, "beside", image), image, 3)
        np.testing.assert_allclose(found.first_loss, network(image)[3], rtol=1e-5)
        np.testing.assert_allclose(found.attribution, expected.attribution, atol=1e-5)
        whole = split_at(network, "beside", images[0])
        np.testing.assert_allclose(whole(image), network(image), rtol=1e-6)
    with pytest.raises(NetworkError, match="head_of"):
        split.head(split.features(images[0]))


def test_maps_of_weights_in_16_bits_have_the_ranks_of_the_image():
    class Sixteen(nnx.Module):
        def __init__(self):
            self.layer = nnx.Conv(
                3, 4, (3, 3), strides=4, param_dtype=jnp.bfloat16, dtype=jnp.bfloat16, rngs=nnx.Rngs(0)
            )

        def features(self, image):
            return jnp.abs(self.layer(image))

        def head(self, features):
            return (features**2).mean((0, 1))

        def __call__(self, image):
            return self.head(self.features(image))

    image = jax.random.uniform(jax.random.key(0), (64, 64, 3))
    found = EXPLAINERS["layer_cam"].explain(Sixteen(), image, 1).attribution
    assert found.dtype == jnp.float32
    assert len(np.unique(found)) > 2000


@pytest.mark.parametrize("shape", [(32, 96), (96, 32)])
def test_networks_without_padding_are_explained_on_long_photographs(shape):
    def features(image):
        height, width = shape
        seen = sum(image[i : height - 8 + i, i : width - 8 + i] for i in range(9))[::2, ::2]
        return jnp.tile(seen, 4)

    image = jax.random.uniform(jax.random.key(0), (*shape, 3))
    found = EXPLAINERS["layer_cam"].explain(Split(features, lambda map: (map**2).mean((0, 1))), image, 1)
    assert found.attribution.shape == shape
    assert float(found.attribution.max()) > 0.99
    turned = Split(lambda image: features(image).transpose(2, 0, 1), lambda map: (map**2).mean((1, 2)))
    with pytest.raises(NetworkError, match="channels last"):
        EXPLAINERS["layer_cam"].explain(turned, image, 1)
