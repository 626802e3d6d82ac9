import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from fame_jax import Network, Split, class_logit, perturb, walk
from fame_jax.batching import perturb_many
from fame_jax.explainers import EXPLAINERS
from fame_jax.metrics import deletion, road_delete
from fame_jax.network import NetworkError, Picked, extent, head_of, traceable
from fame_jax.options import OptionError
from fame_jax.paths import path_sums

IMAGE = jax.random.uniform(jax.random.key(0), (8, 8, 3))


def features(image):
    return jax.nn.relu(image[::4, ::4] - 0.3)


def head(map):
    return map.mean((0, 1))


def test_split_is_a_network():
    network = Split(features, head)
    assert isinstance(network, Network)
    np.testing.assert_array_equal(network(IMAGE), head(features(IMAGE)))


def test_plain_functions_are_static_and_partials_are_traced():
    weights = jnp.ones((3, 5))
    network = Split(features, jax.tree_util.Partial(lambda w, map: head(map) @ w, weights))
    leaves = jax.tree.leaves(network)
    assert len(leaves) == 1
    assert leaves[0] is weights


def test_new_weights_of_a_split_do_not_compile():
    def classify(w, map):
        return head(map) @ w

    walk._perturb.clear_cache()
    for seed in range(3):
        weights = jax.random.normal(jax.random.key(seed), (3, 5))
        perturb(class_logit, IMAGE, Split(features, jax.tree_util.Partial(classify, weights)), 1, iterations=2)
    assert walk._perturb._cache_size() == 1


def test_split_survives_flattening():
    network = Split(features, head)
    leaves, structure = jax.tree.flatten(network)
    again = jax.tree.unflatten(structure, leaves)
    assert again.features is features
    assert again.head is head


class Plain:
    """A network that is no pytree, whose head depends on the image."""

    extent = (16, 12)

    def features(self, image):
        return features(image)

    def head_of(self, image):
        return lambda map: head(map) * image.max()

    def head(self, map):
        raise AssertionError("the head without its image")

    def __call__(self, image):
        return self.head_of(image)(self.features(image))


def test_a_plain_object_keeps_what_its_feature_map_is_of_and_its_head_of_an_image():
    for network in (traceable(Plain()), traceable(Picked(Plain(), slice(None)))):
        np.testing.assert_array_equal(head_of(network, IMAGE)(features(IMAGE)), head(features(IMAGE)) * IMAGE.max())
        assert extent(network, IMAGE) == Plain.extent
        np.testing.assert_array_equal(network(IMAGE), Plain()(IMAGE))
    leaves, structure = jax.tree.flatten(traceable(Plain()))
    assert leaves == []
    assert extent(jax.tree.unflatten(structure, leaves), IMAGE) == Plain.extent


def test_a_split_without_them_has_its_head_and_the_image():
    for network in (Split(features, head), Picked(Split(features, head), slice(None))):
        np.testing.assert_array_equal(head_of(network, IMAGE)(features(IMAGE)), head(features(IMAGE)))
        assert extent(network, IMAGE) == (8, 8)


def test_a_plain_object_is_called_as_it_is_where_it_does_more_than_its_parts():
    class Normalising:
        features, head = staticmethod(features), staticmethod(head)

        def __call__(self, image):
            return head(features((image - 0.5) / 0.25))

    network = traceable(Normalising())
    np.testing.assert_array_equal(network(IMAGE), Normalising()(IMAGE))
    assert not np.array_equal(network(IMAGE), network.head(network.features(IMAGE)))
    leaves, structure = jax.tree.flatten(network)
    np.testing.assert_array_equal(jax.tree.unflatten(structure, leaves)(IMAGE), network(IMAGE))


def test_cams_of_a_class_and_of_a_pair_are_of_the_pixels_that_the_map_is_of():
    """The network fills up 20 rows and columns to 32 and has one location for every four of them."""

    def of_filled(image):
        filled = jnp.pad(image, ((0, 12), (0, 12), (0, 0)))
        return filled.reshape(8, 4, 8, 4, 3).mean((1, 3))

    network = Split(of_filled, lambda map: map.mean((0, 1)), extent=(32, 32))
    image = jnp.zeros((20, 20, 3)).at[12:20].set(1)
    of_class = EXPLAINERS["hires_cam"].explain(network, image, 0).attribution
    of_pair = EXPLAINERS["hires_cam"].explain_pair(network, image, image)
    for found in (of_class, of_pair.probe_similar.attribution, of_pair.gallery_similar.attribution):
        assert found.shape == (20, 20)
        np.testing.assert_allclose(np.average(np.arange(20), weights=found.sum(1)), 15.5, atol=1)


class Module(nnx.Module):
    """Two parts with a weight each."""

    def __init__(self):
        self.of_map, self.of_class = nnx.Param(jnp.ones(3)), nnx.Param(jnp.ones(3))

    def features(self, image):
        return image[::4, ::4] * self.of_map[None, None]

    def head(self, map):
        return map.mean((0, 1)) * self.of_class

    def logits(self, image):
        return self.head(self.features(image))


def test_methods_of_a_module_see_its_new_weights():
    module = Module()
    networks = [Split(module.features, module.head), module.logits, Picked(module.logits, slice(None))]
    before = [float(perturb(class_logit, IMAGE, network, 1, iterations=1).first_loss) for network in networks]
    walks = walk._perturb._cache_size()
    module.of_class[...] = 3 * module.of_class[...]
    for network, earlier in zip(networks, before, strict=True):
        after = perturb(class_logit, IMAGE, network, 1, iterations=1).first_loss
        np.testing.assert_allclose(after, 3 * earlier, rtol=1e-6)
    assert walk._perturb._cache_size() == walks


def test_switches_and_functions_among_the_leaves_of_a_module_are_code():
    eqx = pytest.importorskip("equinox")
    linear = eqx.nn.Linear(3, 4, key=jax.random.key(0))
    parts = [eqx.nn.Lambda(lambda x: x.mean((0, 1))), eqx.nn.Dropout(0.5), linear]
    network = eqx.nn.inference_mode(eqx.nn.Sequential(parts))
    expected = network(IMAGE)[1]
    assert perturb(class_logit, IMAGE, network, 1, iterations=1).first_loss == pytest.approx(float(expected), rel=1e-6)
    assert EXPLAINERS["gradient"].explain(network, IMAGE, 1).first_loss == pytest.approx(float(expected), rel=1e-6)
    with pytest.raises(NetworkError, match="training mode"):
        perturb(class_logit, IMAGE, eqx.nn.Sequential(parts), 1, iterations=1)


class Judge(Module):
    """A loss that is a module."""

    def __call__(self, image):
        return self.logits(image)[1]

    def of_label(self, image, label):
        return self.logits(image)[label]


def judged(scale, judge, image):
    return judge(image) * scale


@pytest.mark.parametrize(
    "loss_of",
    [
        lambda judge: (judge, ()),
        lambda judge: (judge.of_label, (1,)),
        lambda judge: (functools.partial(Judge.of_label, judge, label=1), ()),
        lambda judge: (jax.tree_util.Partial(Judge.__call__, judge), ()),
        # The number is code: it is not traced with the module.
        lambda judge: (functools.partial(judged, 1, judge), ()),
        lambda judge: (class_logit, (functools.partial(Judge.logits, judge), 1)),
    ],
    ids=["module", "method", "partial", "pytree", "number", "network"],
)
def test_a_loss_that_holds_a_module_sees_its_new_weights(loss_of):
    judge = Judge()
    doors = (
        lambda loss, args: perturb(loss, IMAGE, *args, iterations=1).first_loss,
        lambda loss, args: next(perturb_many(loss, [(IMAGE, ())], *args, iterations=1))[1].first_loss,
        lambda loss, args: path_sums(loss, IMAGE, *args, iterations=1)[1].first_loss,
    )
    for door in doors:
        before = float(door(*loss_of(judge)))
        judge.of_map[...] = 3 * judge.of_map[...]
        np.testing.assert_allclose(door(*loss_of(judge)), 3 * before, rtol=1e-6)


def test_numbers_of_an_equinox_module_are_code():
    eqx = pytest.importorskip("equinox")

    class Cropping(eqx.Module):
        weights: jax.Array
        rows: int

        def __call__(self, image):
            return image[: self.rows].mean((0, 1)) @ self.weights

    found = perturb(class_logit, IMAGE, Cropping(jnp.eye(3), 4), 1, iterations=1)
    np.testing.assert_allclose(found.first_loss, IMAGE[:4, :, 1].mean(), rtol=1e-6)


@pytest.mark.parametrize(
    "explained",
    [
        lambda label: perturb(class_logit, IMAGE, Split(features, head), label, iterations=1),
        lambda label: next(perturb_many(class_logit, [(IMAGE, (label,))], Split(features, head), iterations=1)),
        lambda label: EXPLAINERS["grad_cam"].explain(Split(features, head), IMAGE, label),
        lambda label: deletion(Split(features, head), IMAGE, jnp.ones((8, 8)), label),
        lambda label: road_delete(Split(features, head), IMAGE, jnp.ones((8, 8)), label, jax.random.key(0)),
    ],
    ids=["perturb", "perturb_many", "method", "deletion", "road"],
)
def test_a_class_that_would_be_wrapped_is_refused(explained):
    explained(np.int64(1))
    with pytest.raises(OptionError, match="4294967297: expected"):
        explained(np.int64(2**32 + 1))


def _seen(weights, image):
    return jnp.tanh((image**3).mean((0, 1)) @ weights) ** 2


class _Plain:
    def __init__(self, weights):
        self.weights = weights

    def __call__(self, image):
        return _seen(self.weights, image)

    def loss(self, image, label):
        return self(image)[label]


@dataclasses.dataclass
class _WithoutHash(_Plain):
    weights: Any


class _Parts(_Plain):
    def features(self, image):
        return image[::2, ::2]

    def head(self, features):
        return _seen(self.weights, features)


_GLOBAL = {}


def _of_a_global(image):
    return _called_by_it(image)


def _called_by_it(image):
    return _seen(_GLOBAL["weights"], image)


def _walked(loss, *args):
    return perturb(loss, IMAGE, *args, iterations=2).perturbed


def _gradient(network):
    return EXPLAINERS["gradient"].explain(network, IMAGE, 1).attribution


HOLDERS = {
    "object": (_Plain, _gradient),
    "object, walked": (_Plain, lambda o: _walked(class_logit, o, 1)),
    "without hash": (_WithoutHash, _gradient),
    "method of it": (_Plain, lambda o: _walked(o.loss, 1)),
    "parts": (_Parts, lambda o: EXPLAINERS["layer_cam"].explain(o, IMAGE, 1).attribution),
    "parts in a split": (
        _Parts,
        lambda o: EXPLAINERS["layer_cam"].explain(Split(o.features, o.head), IMAGE, 1).attribution,
    ),
    "closure": (_Plain, lambda o: _gradient(_around(o))),
    "metric": (_Plain, lambda o: deletion(o, IMAGE, IMAGE[..., 0], 1).scores),
}


@functools.cache
def _around(held):
    return lambda image: held(image)


@pytest.mark.parametrize("name", HOLDERS)
def test_other_arrays_that_plain_code_has_got_hold_of_are_seen(name):
    make, result = HOLDERS[name]
    one, other = (jax.random.normal(jax.random.key(seed), (3, 4)) for seed in (1, 2))
    holder = make(one)
    if isinstance(holder, _WithoutHash):
        with pytest.raises(TypeError):
            hash(holder)
    before = result(holder)
    np.testing.assert_array_equal(result(holder), before)
    holder.weights = other
    after = result(holder)
    assert np.abs(after - before).max() > 1e-4
    np.testing.assert_allclose(after, result(make(other)), atol=1e-6)


def test_other_arrays_that_functions_name_of_their_module_are_seen():
    maps = []
    for seed in (1, 2):
        _GLOBAL["weights"] = jax.random.normal(jax.random.key(seed), (3, 4))
        maps.append(_walked(class_logit, _of_a_global, 1))
        np.testing.assert_allclose(maps[-1], _walked(class_logit, _Plain(_GLOBAL["weights"]), 1), atol=1e-6)
    assert np.abs(maps[0] - maps[1]).max() > 1e-4


def test_plain_code_that_holds_the_same_arrays_compiles_once():
    traces = []

    class Counted(_Plain):
        def __call__(self, image):
            traces.append(None)
            return super().__call__(image)

    network = Counted(jnp.ones((3, 4)))
    _walked(class_logit, network, 1)
    first = len(traces)
    _walked(class_logit, network, 2)
    assert len(traces) == first > 0
