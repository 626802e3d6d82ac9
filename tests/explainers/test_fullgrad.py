"""FullGrad's summands add up to the logit, and its maps are what the two published programs make of them."""

import functools
import inspect

import equinox
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from fame_jax import NetworkError
from fame_jax.architectures import convnext, vit
from fame_jax.architectures.probes import Probed
from fame_jax.explainers import full_gradients, fullgrad
from fame_jax.image import minmax_normalise, resize
from fame_jax.models import Standardized, load

LABEL = 2


@functools.partial(jax.jit, static_argnames="complete")
def sum_and_logit(network, image, *, complete):
    """All summands added up, and what they should add up to."""
    shares = jax.tree.leaves(full_gradients(Probed(network), image, LABEL, complete=complete))
    return sum(jnp.sum(share) for share in shares), network(image)[LABEL]


ZOO = {
    "convnext": lambda: convnext.ConvNeXt((1,), (4,), classes=5, rngs=nnx.Rngs(0)),
    "vit": lambda: vit.VisionTransformer(
        image_size=32, patch=8, depth=2, heads=2, width=8, hidden=12, classes=5, rngs=nnx.Rngs(0)
    ),
}


@pytest.mark.parametrize("name", ["classifier", "flat_classifier", *ZOO])
def test_complete_summands_add_up_to_the_logit_in_double_precision(name, request, randomised, images):
    if name in ZOO:
        network = Standardized(randomised(ZOO[name]), (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    else:
        network = request.getfixturevalue(name)
    with jax.enable_x64(True):
        network, image = jax.tree.map(lambda x: np.asarray(x, np.float64), (network, images[0]))
        np.testing.assert_allclose(*sum_and_logit(network, image, complete=True), rtol=1e-10)


@pytest.mark.slow
def test_complete_summands_of_the_real_mobilenet_add_up_to_the_logit():
    network, image = load("mobilenet_v2"), jax.random.uniform(jax.random.key(0), (64, 64, 3))
    # Thousands of summands that cancel, in float32.
    np.testing.assert_allclose(*sum_and_logit(network, image, complete=True), atol=1e-3)
    stated, logit = sum_and_logit(network, image, complete=False)
    assert abs(stated - logit) > 0.1


def test_stated_summands_and_the_last_bias_add_up_without_standardisation(classifier, images):
    network = classifier.network
    stated, logit = sum_and_logit(network, images[0], complete=False)
    np.testing.assert_allclose(stated + network.fc.bias[LABEL], logit, atol=1e-5)


def test_complete_biases_are_the_stated_ones_and_what_lies_between_layers(classifier, images):
    probed = Probed(classifier)
    stated, complete = jax.jit(lambda image: (probed.biases(image), probed.biases(image, complete=True)))(images[0])
    conv1, bn1, conv, bn, prelu, conv2, fc, output = complete
    # The mean is subtracted before the first layer; every pixel away from the border sees all of it.
    kernel = classifier.network.conv1.kernel[...]
    shift = -jnp.asarray(classifier.mean) / jnp.asarray(classifier.std)
    whole = classifier.network.conv1.bias[...] + jnp.einsum("hwio,i->o", kernel, shift)
    np.testing.assert_allclose(conv1[5, 5], whole, rtol=1e-4)
    for found, expected in ((bn1, stated[1]), (bn, stated[2]), (conv2, stated[3])):
        np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(fc, classifier.network.fc.bias[...])
    for nothing in (conv, prelu, output):
        assert not nothing.any()


def test_idiap_form_scales_a_layer_jointly_and_aligns_corners(classifier, images):
    torch = pytest.importorskip("torch")
    of_image, of_layers = full_gradients(Probed(classifier), images[0], LABEL)
    expected = np.zeros((32, 32))
    for share in (of_image, *of_layers):
        magnitude = torch.from_numpy(np.abs(np.array(share))).permute(2, 0, 1)[None]
        scaled = magnitude - magnitude.min()
        scaled = scaled / (scaled.max() + 1e-6)
        enlarged = torch.nn.functional.interpolate(scaled, (32, 32), mode="bilinear", align_corners=True)
        expected += enlarged.sum(1)[0].numpy()
    expected = (expected - expected.min()) / (expected.max() - expected.min())
    found = fullgrad(Probed(classifier), images[0], LABEL, form="idiap")
    np.testing.assert_allclose(found, expected, atol=1e-5)


class OneBias:
    """A network of one layer whose bias is given and whose logit is the sum of its probe."""

    def __init__(self, bias):
        self.bias = bias

    def features(self, image):
        return jnp.zeros((4, 4, 1))

    def biases(self, image, *, complete=False):
        return [self.bias]

    def with_probes(self, image, probes, *, complete=False):
        return jnp.sum(probes[0]).reshape(1)


jax.tree_util.register_pytree_node(OneBias, lambda n: ((n.bias,), None), lambda _, children: OneBias(*children))


@pytest.mark.parametrize("shape", [(17, 3), (17, 2, 3)])
def test_tokens_are_put_back_on_the_grid(shape):
    row, column = 2, 1
    bias = jnp.zeros(shape).at[1 + 4 * row + column].set(1.0)
    map = fullgrad(OneBias(bias), jnp.ones((32, 32, 3)), 0, form="complete")
    inside = map[8 * row : 8 * row + 8, 8 * column : 8 * column + 8]
    assert inside.max() == pytest.approx(1, abs=1e-5)
    assert map[:8].max() == map[:, 24:].max() == 0


@pytest.mark.parametrize("bias", [jnp.zeros((17, 3)).at[0].set(1.0), jnp.arange(5.0)], ids=["class token", "vector"])
def test_what_has_no_place_in_the_image_is_left_out(bias):
    assert not fullgrad(OneBias(bias), jnp.ones((32, 32, 3)), 0, form="complete").any()


def test_unknown_form_is_refused(classifier, images):
    with pytest.raises(ValueError, match="'complete'"):
        inspect.unwrap(fullgrad)(Probed(classifier), images[0], LABEL, form="simple")


class Affine(equinox.Module):
    """Equinox: its layers cannot be found."""

    conv: equinox.nn.Conv2d

    def features(self, image):
        return jnp.moveaxis(jax.nn.relu(self.conv(jnp.moveaxis(image, -1, 0))), 0, -1)

    def head(self, features):
        return features.mean((0, 1))

    def __call__(self, image):
        return self.head(self.features(image))


@pytest.mark.parametrize("form", ["paper", "complete", "idiap"])
@pytest.mark.parametrize("wrap", [lambda network: network, Probed], ids=["as it is", "probed"])
def test_networks_whose_biases_cannot_be_found_are_refused(form, wrap, images):
    network = Affine(equinox.nn.Conv2d(3, 8, 2, stride=2, key=jax.random.key(0)))
    with pytest.raises(NetworkError, match="NNX module"):
        fullgrad(wrap(network), images[0], LABEL, form=form)


def test_network_without_a_bias_is_no_case_for_the_biases_of_parameters(images):
    network = nnx.Conv(3, 8, (2, 2), strides=2, use_bias=False, rngs=nnx.Rngs(0))
    with pytest.raises(NetworkError, match="no layer with a bias"):
        full_gradients(Probed(nnx.Sequential(network, lambda f: f.mean((0, 1)))), images[0], LABEL)


def test_ported_networks_tell_their_biases_themselves(classifier, images):
    expected = fullgrad(Probed(classifier), images[0], LABEL)
    np.testing.assert_allclose(fullgrad(classifier, images[0], LABEL), expected, atol=1e-6)


@pytest.mark.parametrize("form", ["paper", "complete"])
def test_layers_that_are_called_with_a_batch_axis_count_as_others(form):
    class Plain(nnx.Module):
        def __init__(self):
            self.layer = nnx.Conv(3, 4, (3, 3), rngs=nnx.Rngs(0), bias_init=nnx.initializers.normal(0.5))

        def features(self, image):
            return nnx.relu(self.layer(image))

        def head(self, features):
            return features.mean((0, 1))

        def __call__(self, image):
            return self.head(self.features(image))

    class Batched(Plain):
        def features(self, image):
            return nnx.relu(self.layer(image[None]))[0]

    image = jax.random.uniform(jax.random.key(0), (12, 12, 3))
    maps = [fullgrad(Probed(kind()), image, 1, form=form) for kind in (Plain, Batched)]
    assert float(maps[0].max()) > 0
    np.testing.assert_allclose(*maps, atol=1e-5)


def test_layers_that_cut_the_border_off_count_on_photographs_that_are_no_squares():
    """Two convolutions without padding on 32x64 pixels, whose maps have other proportions."""

    class Cutting(nnx.Module):
        def __init__(self):
            self.layers = nnx.List(
                [
                    nnx.Conv(i, 4, (3, 3), padding="VALID", bias_init=nnx.initializers.constant(b), rngs=nnx.Rngs(0))
                    for i, b in ((3, 1.0), (4, 1.0))
                ]
            )

        def features(self, image):
            for layer in self.layers:
                image = layer(image)
            return image

        def head(self, features):
            return (features**2).mean((0, 1))

        def __call__(self, image):
            return self.head(self.features(image))

    image, network = jax.random.uniform(jax.random.key(0), (32, 64, 3)), Probed(Cutting())
    of_image, of_layers = full_gradients(network, image, 1)
    total = 0
    for share in (of_image, *of_layers):
        channels = jax.vmap(functools.partial(minmax_normalise, epsilon=1e-7), 2, 2)(jnp.abs(share))
        total += resize(channels.sum(axis=-1), 32, 64)
    expected = minmax_normalise(total, 1e-7)
    np.testing.assert_allclose(fullgrad(network, image, 1), expected, atol=1e-5)
