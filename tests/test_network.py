import jax
import jax.numpy as jnp
import numpy as np

from fame_jax import Network, Split, class_logit, perturb, walk

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
