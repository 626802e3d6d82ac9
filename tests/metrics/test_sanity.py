import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial
from scipy.ndimage import gaussian_filter

from fame_jax.metrics.sanity import cascading, independent, map_similarity, randomised

LAYERS = ("first", "blocks/0", "blocks/10", "last")


def network(value):
    def layer(size):
        return {"kernel": jnp.full((size, 2), value), "bias": jnp.full(2, value)}

    blocks = [layer(2) for _ in range(11)]
    return {"first": layer(3), "blocks": blocks, "last": layer(2)}


TRAINED, FRESH = network(1.0), network(0.0)


def forgotten(tree):
    """Paths of the leaves that come from the fresh network."""
    leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
    return {jax.tree_util.keystr(path, simple=True, separator="/") for path, leaf in leaves if not leaf.any()}


def both(*layers):
    return {f"{layer}/{leaf}" for layer in layers for leaf in ("kernel", "bias")}


def test_a_layer_is_everything_below_its_path_and_nothing_beside_it():
    assert forgotten(randomised(TRAINED, FRESH, ["blocks/1"])) == both("blocks/1")
    assert forgotten(randomised(TRAINED, FRESH, ["first/kernel"])) == {"first/kernel"}
    assert forgotten(randomised(TRAINED, FRESH, ["blocks"])) == both(*(f"blocks/{i}" for i in range(11)))
    assert forgotten(randomised(TRAINED, FRESH, [])) == set()


def test_the_trained_network_is_left_as_it_is():
    randomised(TRAINED, FRESH, LAYERS)
    assert forgotten(TRAINED) == set()


def test_cascading_goes_from_the_last_layer_down_and_keeps_what_it_randomised():
    steps = list(cascading(TRAINED, FRESH, LAYERS))
    assert [layer for layer, _ in steps] == ["last", "blocks/10", "blocks/0", "first"]
    for number, (_, tree) in enumerate(steps, 1):
        assert forgotten(tree) == both(*LAYERS[-number:])


def test_independent_randomises_one_layer_at_a_time():
    assert [(layer, forgotten(tree)) for layer, tree in independent(TRAINED, FRESH, LAYERS)] == [
        (layer, both(layer)) for layer in LAYERS
    ]


def test_all_layers_together_are_the_fresh_network():
    nearly = randomised(TRAINED, FRESH, ["first", "blocks", "last"])
    assert jax.tree.all(jax.tree.map(lambda a, b: bool((a == b).all()), nearly, FRESH))


def test_a_network_of_any_pytree_keeps_its_structure_and_runs():
    def linear(parameters, x):
        return x @ parameters["last"]["kernel"]

    result = randomised(Partial(linear, TRAINED), Partial(linear, FRESH), ["0/0/last"])
    np.testing.assert_array_equal(result(jnp.ones(2)), np.zeros(2))


def test_an_nnx_module_is_randomised_with_its_running_statistics():
    nnx = pytest.importorskip("flax.nnx")

    class Small(nnx.Module):
        def __init__(self, seed):
            self.conv = nnx.Conv(1, 2, (1, 1), rngs=nnx.Rngs(seed))
            self.norm = nnx.BatchNorm(2, use_running_average=True, rngs=nnx.Rngs(seed))

        def __call__(self, x):
            return self.norm(self.conv(x))

    trained, fresh = Small(0), Small(1)
    trained.norm.mean[...] = jnp.array([5.0, 7.0])
    result = randomised(trained, fresh, ["norm"])
    np.testing.assert_array_equal(result.norm.mean[...], np.zeros(2))
    np.testing.assert_array_equal(result.conv.kernel[...], trained.conv.kernel[...])
    x = jnp.ones((1, 1, 1, 1))
    np.testing.assert_allclose(result(x), fresh.norm(trained.conv(x)), rtol=1e-6)


def test_a_path_with_nothing_below_it_is_refused_and_the_paths_are_named():
    with pytest.raises(ValueError, match=r"nothing under 'block'; paths begin with blocks/0"):
        randomised(TRAINED, FRESH, ["block"])


def test_networks_that_differ_are_refused():
    with pytest.raises(ValueError, match="differ in structure"):
        randomised(TRAINED, {"first": TRAINED["first"]}, ["first"])
    other = network(0.0)
    other["last"]["bias"] = jnp.zeros(3)
    with pytest.raises(ValueError, match=r"last/bias is \(2,\), newly initialised \(3,\)"):
        randomised(TRAINED, other, ["last"])


def smooth(seed, side=64):
    return gaussian_filter(np.random.default_rng(seed).normal(size=(side, side)), 3)


def test_a_map_is_entirely_similar_to_itself_at_any_scale():
    map = smooth(0)
    np.testing.assert_allclose(map_similarity(map, map), 1, rtol=1e-12)
    result = map_similarity(map, 3 * map)
    np.testing.assert_allclose(result, 1, rtol=1e-9)


def test_an_inverted_map_is_told_by_raw_ranks_but_not_by_magnitudes():
    map = smooth(1)
    result = map_similarity(map, -map)
    assert result.spearman == pytest.approx(-1)
    assert result.spearman_absolute == pytest.approx(1)
    assert result.ssim < 0.2
    # Gradients that point the other way have the same unsigned direction.
    assert result.hog == pytest.approx(1)


def test_unrelated_maps_are_not_similar():
    result = map_similarity(smooth(2, 128), smooth(3, 128))
    assert np.abs(result[:2]).max() < 0.3
    assert result.ssim < 0.5
    assert result.hog < 0.5


def test_similarity_falls_as_a_map_is_blended_into_another():
    map, other = smooth(4), smooth(5)
    table = np.array([map_similarity(map, (1 - share) * map + share * other) for share in (0.1, 0.4, 0.8)])
    assert (np.diff(table, axis=0) < 0).all()


def test_a_constant_map_has_no_rank_and_no_gradient():
    result = map_similarity(smooth(6), np.zeros((64, 64)))
    assert np.isnan([result.spearman, result.spearman_absolute, result.hog]).all()
    assert np.isfinite(result.ssim)


def test_maps_of_different_or_too_small_size_are_refused():
    with pytest.raises(ValueError, match=r"\(64, 64\) and \(64, 63\)"):
        map_similarity(np.zeros((64, 64)), np.zeros((64, 63)))
    with pytest.raises(ValueError, match="48 pixels or more"):
        map_similarity(np.zeros((32, 32)), np.zeros((32, 32)))


def test_float32_maps_from_the_device_are_taken():
    map = jnp.asarray(smooth(7), jnp.float32)
    assert map_similarity(map, map).ssim == pytest.approx(1)
