"""One set of weights in many libraries, one map; NumPy on both sides; a metric of Quantus on our maps."""

import functools
import os

os.environ.setdefault("KERAS_BACKEND", "jax")

import equinox as eqx
import flax.linen as nn
import haiku as hk
import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest
from flax import nnx
from jax.tree_util import Partial

from fame_jax import Split, class_logit, explain
from fame_jax.bridges import from_keras, numpy_explainer, numpy_network
from fame_jax.explainers import EXPLAINERS, grad_cam, image_key
from fame_jax.many import explain_many
from fame_jax.metrics import deletion
from fame_jax.network import NetworkError

SIDE, CLASSES, LABEL = 12, 5, 2
QUICK = {"iterations": 3, "kernel_size": 9}
WEIGHTS = {
    "conv": np.random.default_rng(0).normal(0, 0.3, (3, 3, 3, 4)).astype("float32"),
    "conv_bias": np.random.default_rng(1).normal(0, 0.1, 4).astype("float32"),
    "out": np.random.default_rng(2).normal(0, 0.3, (4, CLASSES)).astype("float32"),
    "out_bias": np.random.default_rng(3).normal(0, 0.1, CLASSES).astype("float32"),
}
IMAGES = np.random.default_rng(4).uniform(0, 1, (5, 3, SIDE, SIDE)).astype("float32")
LABELS = np.array([0, 1, 2, 3, 4])


def features(weights, image):
    dimensions = ("NHWC", "HWIO", "NHWC")
    x = jax.lax.conv_general_dilated(image[None], weights["conv"], (2, 2), "SAME", dimension_numbers=dimensions)[0]
    return jax.nn.relu(x + weights["conv_bias"][None, None])


def head(weights, features):
    return jnp.mean(features, axis=(0, 1)) @ weights["out"] + weights["out_bias"]


def plain():
    weights = jax.tree.map(jnp.asarray, WEIGHTS)
    return Split(Partial(features, weights), Partial(head, weights))


def of_nnx():
    class Classifier(nnx.Module):
        def __init__(self, rngs):
            self.conv = nnx.Conv(3, 4, (3, 3), strides=2, rngs=rngs)
            self.out = nnx.Linear(4, CLASSES, rngs=rngs)

        def features(self, image):
            return nnx.relu(self.conv(image))

        def head(self, features):
            return self.out(jnp.mean(features, axis=(0, 1)))

        def __call__(self, image):
            return self.head(self.features(image))

    network = Classifier(nnx.Rngs(0))
    network.conv.kernel[...], network.conv.bias[...] = jnp.asarray(WEIGHTS["conv"]), jnp.asarray(WEIGHTS["conv_bias"])
    network.out.kernel[...], network.out.bias[...] = jnp.asarray(WEIGHTS["out"]), jnp.asarray(WEIGHTS["out_bias"])
    return network


def of_linen():
    convolution, classifier = nn.Conv(4, (3, 3), strides=2), nn.Dense(CLASSES)
    of_convolution = {"params": {"kernel": WEIGHTS["conv"], "bias": WEIGHTS["conv_bias"]}}
    of_classifier = {"params": {"kernel": WEIGHTS["out"], "bias": WEIGHTS["out_bias"]}}
    return Split(
        Partial(lambda p, image: nn.relu(convolution.apply(p, image)), of_convolution),
        Partial(lambda p, features: classifier.apply(p, features.mean(axis=(0, 1))), of_classifier),
    )


def of_equinox():
    convolution = eqx.nn.Conv2d(3, 4, 3, stride=2, padding=((0, 1), (0, 1)), key=jax.random.key(0))
    classifier = eqx.nn.Linear(4, CLASSES, key=jax.random.key(0))
    leaves = WEIGHTS["conv"].transpose(3, 2, 0, 1), WEIGHTS["conv_bias"][:, None, None]
    convolution = eqx.tree_at(lambda m: (m.weight, m.bias), convolution, tuple(map(jnp.asarray, leaves)))
    leaves = WEIGHTS["out"].T, WEIGHTS["out_bias"]
    classifier = eqx.tree_at(lambda m: (m.weight, m.bias), classifier, tuple(map(jnp.asarray, leaves)))

    def activation(arrays, static, image):
        channels_first = eqx.combine(arrays, static)(jnp.moveaxis(image, -1, 0))
        return jnp.moveaxis(jax.nn.relu(channels_first), 0, -1)

    def logits(arrays, static, features):
        return eqx.combine(arrays, static)(features.mean(axis=(0, 1)))

    (conv, conv_code), (out, out_code) = (eqx.partition(m, eqx.is_array) for m in (convolution, classifier))
    return Split(
        Partial(lambda p, image: activation(p, conv_code, image), conv),
        Partial(lambda p, features: logits(p, out_code, features), out),
    )


def of_haiku():
    activation = hk.without_apply_rng(hk.transform(lambda image: jax.nn.relu(hk.Conv2D(4, 3, 2)(image[None])[0])))
    logits = hk.without_apply_rng(hk.transform(lambda features: hk.Linear(CLASSES)(features.mean(axis=(0, 1)))))
    of_activation = {"conv2_d": {"w": WEIGHTS["conv"], "b": WEIGHTS["conv_bias"]}}
    of_logits = {"linear": {"w": WEIGHTS["out"], "b": WEIGHTS["out_bias"]}}
    return Split(Partial(activation.apply, of_activation), Partial(logits.apply, of_logits))


@pytest.fixture(scope="module")
def image():
    return jnp.asarray(IMAGES[0].transpose(1, 2, 0))


@pytest.mark.parametrize("library", [of_nnx, of_linen, of_equinox, of_haiku])
def test_a_model_of_any_library_gives_the_map_of_the_plain_function(library, image):
    # Some libraries promote ranks.
    with jax.numpy_rank_promotion("allow"):
        ours, theirs = (explain(class_logit, image, network, LABEL, **QUICK) for network in (plain(), library()))
        np.testing.assert_allclose(theirs.first_loss, ours.first_loss, rtol=1e-5)
        np.testing.assert_allclose(theirs.attribution, ours.attribution, atol=1e-5)
        cams = [grad_cam(network, image, LABEL) for network in (plain(), library())]
        np.testing.assert_allclose(cams[1], cams[0], atol=1e-5)


@pytest.mark.parametrize("method", ["fame", "grad_cam", "smooth_grad"])
def test_maps_are_those_of_the_explainer(method):
    options = {"fame": QUICK, "grad_cam": {}, "smooth_grad": {"samples": 4}}[method]
    maps = numpy_explainer(plain(), method, batch_size=2, **options)(IMAGES, LABELS)
    assert isinstance(maps, np.ndarray)
    assert (maps.shape, maps.dtype) == ((5, SIDE, SIDE), np.float32)
    for n in (0, 4):
        image = jnp.moveaxis(IMAGES[n], 0, -1)
        one = EXPLAINERS[method].explain(plain(), image, LABELS[n], key=image_key(0, image), **options)
        np.testing.assert_allclose(maps[n], one.attribution, atol=1e-5)


def test_a_method_of_ones_own_and_the_mean_of_a_path_are_methods_too():
    def brightness(network, image, label, *, power=1):
        return jnp.mean(image, axis=-1) ** power

    maps = numpy_explainer(plain(), brightness, power=2)(IMAGES, LABELS)
    np.testing.assert_allclose(maps, IMAGES.mean(axis=1) ** 2, rtol=1e-5)
    averaged = numpy_explainer(plain(), average=True, **QUICK)(IMAGES[:1], LABELS[:1])
    alone = explain(class_logit, jnp.moveaxis(IMAGES[0], 0, -1), plain(), 0, average=True, **QUICK)
    np.testing.assert_allclose(averaged[0], alone.attribution, atol=1e-5)


def test_outputs_are_those_of_the_network():
    predicted = numpy_network(plain(), batch_size=2)(IMAGES)
    expected = [plain()(jnp.moveaxis(image, 0, -1)) for image in IMAGES]
    np.testing.assert_allclose(predicted, np.stack(expected), atol=1e-6)


def test_neither_the_place_of_the_channels_nor_eight_bits_make_a_difference():
    bits = (255 * IMAGES).astype(np.uint8)
    first = numpy_network(plain())(bits)
    np.testing.assert_array_equal(numpy_network(plain(), channels="last")(bits.transpose(0, 2, 3, 1)), first)
    np.testing.assert_array_equal(numpy_network(plain())(bits.astype(np.float32) / 255), first)


def test_any_number_of_images_compiles_one_batch():
    traced = []

    def network(image):
        traced.append(image.shape)
        return plain()(image)

    predict = numpy_network(network, batch_size=2)
    for count in (5, 4, 3, 2, 1):
        assert len(predict(IMAGES[:count])) == count
    assert len(traced) == 1


@pytest.mark.parametrize("method", ["fame", "gradient"])
def test_any_number_of_images_compiles_one_explanation(method):
    traced = []

    def network(image):
        traced.append(image.shape)
        return plain()(image)

    explain = numpy_explainer(network, method, batch_size=2, **(QUICK if method == "fame" else {}))
    explain(IMAGES, LABELS)
    once = len(traced)
    for count in (4, 3, 2, 1):
        assert len(explain(IMAGES[:count], LABELS[:count])) == count
    assert len(traced) == once


@pytest.mark.parametrize("channels", [1, 2, 4, 12])
@pytest.mark.parametrize("method", ["fame", "grad_cam", "gradient", "rise"])
def test_images_may_have_any_number_of_channels(method, channels):
    weights = np.random.default_rng(5).normal(size=(channels, CLASSES)).astype("float32")
    network = Split(lambda image: image[::2, ::2], Partial(lambda w, x: jnp.mean(x, (0, 1)) @ w, weights))
    images = np.random.default_rng(6).random((2, channels, 16, 16), np.float32)
    options = {"fame": QUICK, "rise": {"masks": 8}}.get(method, {})
    first = numpy_explainer(network, method, **options)(images, LABELS[:2])
    last = numpy_explainer(network, method, channels="last", **options)(images.transpose(0, 2, 3, 1), LABELS[:2])
    np.testing.assert_array_equal(first, last)
    assert first.shape == (2, 16, 16)
    assert np.isfinite(first).all()
    np.testing.assert_allclose(numpy_network(network)(images), images[:, :, ::2, ::2].mean((2, 3)) @ weights, atol=1e-5)


@pytest.mark.parametrize(
    "outputs",
    [lambda x: {"logits": x}, lambda x: (x, x), lambda x: x[None], lambda x: x[0], lambda x: jnp.stack([x, x])],
)
def test_a_network_of_several_outputs_is_refused_with_how_to_pick_one(outputs):
    network = Split(lambda image: image, lambda features: outputs(plain()(features)))
    for call in (
        lambda: numpy_network(network)(IMAGES),
        lambda: numpy_network(lambda image: network(image))(IMAGES),
        lambda: numpy_explainer(network, "gradient")(IMAGES, LABELS),
        lambda: list(explain_many(network, IMAGES.transpose(0, 2, 3, 1), "gradient", LABELS)),
        lambda: list(explain_many(network, IMAGES.transpose(0, 2, 3, 1), "gradient")),
    ):
        with pytest.raises(NetworkError, match=r"^the network returns .*; expected one vector .* Pick it: "):
            call()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: numpy_explainer(plain(), "fame", steps=3),
            "fame has no option 'steps'; its options are: .*iterations",
        ),
        (lambda: numpy_explainer(plain())(IMAGES[0], LABELS), r"images: shape \(3, 12, 12\); expected \[N, 3, H, W\]"),
        (lambda: numpy_network(plain(), channels="last")(IMAGES), r"images: .* expected \[N, H, W, 3\]"),
        (lambda: numpy_network(plain())(IMAGES[:0]), "with N above 0"),
        (lambda: numpy_network(plain())((255 * IMAGES).astype(int)), "int64; expected floating-point"),
        (lambda: numpy_explainer(plain())(IMAGES, LABELS[:2]), r"labels: int64 \(2,\); expected one class .* \(5,\)"),
        (lambda: numpy_explainer(plain())(IMAGES, LABELS + 1), "labels: class 5 is outside the network's 5 outputs"),
        (lambda: numpy_explainer(plain())(IMAGES, -LABELS), "labels: class -1 is outside the network's 5 outputs"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_metric_of_quantus_on_our_maps_is_our_deletion():
    """Pixel-Flipping with the darkest value as its baseline: our deletion curve with the same canvas."""
    quantus, torch = pytest.importorskip("quantus"), pytest.importorskip("torch")
    predict, explain = numpy_network(plain()), numpy_explainer(plain(), **QUICK)

    class Network(torch.nn.Module):
        def forward(self, images):
            return torch.from_numpy(predict(images.numpy()))

    steps = 12
    # Quantus ranks every channel of a pixel by itself: of equal channels, 3 n are n pixels.
    metric = quantus.PixelFlipping(
        features_in_step=3 * SIDE * SIDE // steps, disable_warnings=True, normalise=False, abs=False
    )
    call = functools.partial(metric, Network().eval(), IMAGES, LABELS, device="cpu", channel_first=True)
    found = call(explain_func=lambda model, inputs, targets, **_: explain(inputs, targets)[:, None])
    maps = explain(IMAGES, LABELS)
    np.testing.assert_allclose(call(a_batch=maps[:, None]), found, atol=1e-6)
    for image, label, map, flipped in zip(IMAGES, LABELS, maps, found, strict=True):
        curve = deletion(
            plain(),
            jnp.moveaxis(image, 0, -1),
            jnp.asarray(map),
            label,
            canvas=jnp.asarray(image.min()),
            fractions=jnp.arange(1, steps + 1) / steps,
        )
        np.testing.assert_allclose(flipped, curve.scores, atol=1e-5)


def keras_model(*, shortcut=False):
    """The network of this file, and something beside its last map if asked for."""
    pixels = keras.Input((SIDE, SIDE, 3))
    found = keras.layers.Conv2D(4, 3, 2, "same", activation="relu", name="conv")(pixels)
    if shortcut:
        found = keras.layers.Add()([found, keras.layers.Conv2D(4, 1, name="inner")(found)])
    model = keras.Model(pixels, keras.layers.Dense(CLASSES)(keras.layers.GlobalAveragePooling2D()(found)))
    if not shortcut:
        model.set_weights([WEIGHTS[name] for name in ("conv", "conv_bias", "out", "out_bias")])
    return model


@jax.numpy_rank_promotion("allow")
def test_a_model_of_keras_has_its_outputs_and_the_maps_of_the_same_network():
    network, image = from_keras(keras_model(), features="conv"), jnp.asarray(IMAGES[0].transpose(1, 2, 0))
    np.testing.assert_allclose(network(image), plain()(image), rtol=1e-5)
    np.testing.assert_allclose(from_keras(keras_model())(image), plain()(image), rtol=1e-5)
    maps = [EXPLAINERS["grad_cam"].explain(one, image, LABEL).attribution for one in (network, plain())]
    np.testing.assert_allclose(maps[0], maps[1], atol=1e-5)


@pytest.mark.parametrize(
    ("layer", "words"), [("convo", "did you mean conv"), ("inner", "something bypasses the layer 'inner'")]
)
def test_a_layer_of_keras_that_cannot_be_split_at(layer, words):
    with pytest.raises(ValueError, match=words):
        from_keras(keras_model(shortcut=True), features=layer)
