import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from fame_jax import Network, Split, class_logit, perturb, walk
from fame_jax.explainers import EXPLAINERS
from fame_jax.network import NetworkError, Picked, extent, head_of, traceable

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
