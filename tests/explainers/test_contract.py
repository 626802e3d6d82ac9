"""What holds for every row of the table."""

import collections
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fame_jax.architectures.probes import Probed
from fame_jax.core import Explanation
from fame_jax.explainers import EXPLAINERS, PairExplanation, explainer
from tests.marks import thorough

# Numbers of repetitions that keep the tests quick; nothing else differs from the defaults.
QUICK = {
    "fame": {"iterations": 3, "kernel_size": 9},
    "fame_evidence": {"iterations": 3, "kernel_size": 9},
    "fame_starts": {"starts": 2, "iterations": 2, "kernel_size": 9},
    "evidence_cam": {"starts": 2, "iterations": 2, "kernel_size": 9},
    "expected_gradients_cam": {"samples": 6, "chunk": 4, "kernel_size": 9},
    "refined_cam": {"samples": 6, "chunk": 4, "kernel_size": 9},
    "path_sums": {"iterations": 3, "kernel_size": 9},
    "smooth_grad_squared": {"samples": 6, "chunk": 4},
    "var_grad": {"samples": 6, "chunk": 4},
    "expected_gradients": {"samples": 6, "chunk": 4, "kernel_size": 9},
    "random_blurred": {"kernel_size": 9},
    "smooth_grad": {"samples": 6, "chunk": 4},
    "integrated_gradients": {"steps": 6, "chunk": 4},
    "rise": {"masks": 12, "chunk": 5},
    "corrrise": {"masks": 24, "patches": 2, "size": 10, "chunk": 10},
    "fggb": {"kernel_size": 9, "chunk": 5},
}
CLASS_ROWS = [name for name, row in EXPLAINERS.items() if row.of_class is not None]
PAIR_ROWS = [name for name, row in EXPLAINERS.items() if row.of_pair is not None]
# Passes are counted once for the five CAMs, which differ in a weighting of arrays; a probed network is an NNX module.
COUNTED_ROWS = [
    name
    for name, row in EXPLAINERS.items()
    if name not in ("grad_cam_ew", "hires_cam", "grad_cam_pp", "layer_cam") and "probes" not in row.needs
]
RANDOM_ROWS = [name for name, row in EXPLAINERS.items() if "key" in row.needs]
FLOORS = ("random", "random_blurred", "blob")
KEY = jax.random.key(3)
LABELS = jnp.array([1, 4, 2])


def assert_close(found, expected):
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


@pytest.fixture(scope="module")
def maps_of(classifier, face_network, images):
    """A row's name, a key and indices of images to all of its maps, `[H, W]` each."""

    def run(name, key, one, other):
        row, options = EXPLAINERS[name], QUICK.get(name, {})
        maps = []
        if row.of_class is not None:
            network = Probed(classifier) if "probes" in row.needs else classifier
            maps.append(row.explain(network, images[one], LABELS[one], key=key, **options))
        if row.of_pair is not None:
            maps += row.explain_pair(face_network, images[one], images[other], key=key, **options)[1:]
        return [result.attribution for result in maps if result is not None]

    return run


@pytest.mark.parametrize("name", EXPLAINERS)
def test_maps_are_finite_image_shaped_and_in_unit_range(name, maps_of):
    for map in maps_of(name, KEY, 0, 1):
        assert map.shape == (32, 32)
        assert np.isfinite(map).all()
        assert map.min() >= 0
        assert map.max() <= 1
        # FGGB's weights are all positive for these two, so that its e- is rightly blank.
        assert map.max() > 0 or name == "fggb"


@pytest.mark.parametrize("name", EXPLAINERS)
def test_jitted_vmap_equals_a_loop_without_jit(name, maps_of):
    ones, others = jnp.arange(2), jnp.array([1, 2])
    batched = jax.jit(jax.vmap(lambda i, j: maps_of(name, KEY, i, j)))(ones, others)
    looped = [maps_of(name, KEY, int(i), int(j)) for i, j in zip(ones, others, strict=True)]
    for found, expected in zip(batched, zip(*looped, strict=True), strict=True):
        np.testing.assert_allclose(found, np.stack(expected), atol=1e-4)


@pytest.mark.parametrize("name", RANDOM_ROWS)
def test_same_key_same_map_and_another_key_another(name, maps_of):
    for first, again, other in zip(
        maps_of(name, KEY, 0, 1), maps_of(name, KEY, 0, 1), maps_of(name, jax.random.key(4), 0, 1), strict=True
    ):
        np.testing.assert_array_equal(first, again)
        assert np.abs(first - other).max() > 0.01


@pytest.mark.parametrize("name", [name for name in PAIR_ROWS if not name.startswith("random")])
def test_swapping_the_faces_swaps_the_maps(name, face_network, images):
    row, options = EXPLAINERS[name], QUICK.get(name, {})
    maps = row.explain_pair(face_network, images[0], images[1], key=KEY, **options)
    swapped = row.explain_pair(face_network, images[1], images[0], key=KEY, **options)
    expected = PairExplanation(swapped[0], *swapped[3:], *swapped[1:3])
    assert_close(maps, expected)


class Counts(collections.Counter):
    """Compared by identity, so that it can be part of a pytree's structure."""

    __eq__ = object.__eq__
    __hash__ = object.__hash__

    def passes(self, row):
        jax.effects_barrier()
        # A CAM's gradient stops at the feature map, after the part that is counted.
        return self["forward"], self["forward" if "cam" in row.name else "backward"]


@jax.tree_util.register_pytree_node_class
class Counting:
    """A network that counts how often it is run in each direction."""

    def __init__(self, network, counts):
        self.network, self.counts = network, counts

    def features(self, image):
        self.counts["traced"] += 1

        def count(direction, x):
            jax.debug.callback(lambda _: self.counts.update([direction]), x[0, 0, 0])
            return x

        @jax.custom_vjp
        def counted(x):
            return count("forward", x)

        counted.defvjp(lambda x: (counted(x), None), lambda _, slope: (count("backward", slope),))
        return self.network.features(counted(image))

    def head(self, features):
        return self.network.head(features)

    def __call__(self, image):
        return self.head(self.features(image))

    def tree_flatten(self):
        return (self.network,), self.counts

    @classmethod
    def tree_unflatten(cls, counts, children):
        return cls(*children, counts)


QUICKLY_COUNTED = ("fame", "grad_cam", "rise")


@pytest.mark.parametrize(
    "name",
    [
        *QUICKLY_COUNTED,
        *thorough(*(name for name in COUNTED_ROWS if name in CLASS_ROWS and name not in QUICKLY_COUNTED)),
    ],
)
def test_cost_of_a_class_is_the_number_of_passes_and_a_new_label_traces_nothing(name, classifier, images):
    row, options = EXPLAINERS[name], QUICK.get(name, {})
    network = Counting(classifier, Counts())
    function = functools.partial(row.function("class"), **options, **({"key": KEY} if "key" in row.needs else {}))
    maps = [function(network, images[0], 1)]
    assert network.counts.passes(row) == row.cost("class", **options)
    traced = network.counts["traced"]
    maps.append(function(network, images[0], 4))
    assert network.counts["traced"] == traced
    one, other = (result.attribution if isinstance(result, Explanation) else result for result in maps)
    assert np.abs(one - other).max() > 0.01 or name in FLOORS


@pytest.mark.thorough
@pytest.mark.parametrize("name", [name for name in COUNTED_ROWS if name in PAIR_ROWS])
def test_cost_of_a_pair_is_the_number_of_passes(name, face_network, images):
    row, options = EXPLAINERS[name], QUICK.get(name, {})
    network = Counting(face_network, Counts())
    key = {"key": KEY} if "key" in row.needs else {}
    jax.block_until_ready(row.function("pair")(network, images[0], images[1], **key, **options))
    assert network.counts.passes(row) == row.cost("pair", embedding=12, **options)


class Plain:
    """A network that is no pytree."""

    def __init__(self, network):
        self.features, self.head, self.network = network.features, network.head, network

    def __call__(self, image):
        return self.network(image)


@pytest.mark.parametrize("plain", [lambda n: lambda image: n(image), Plain], ids=["function", "object"])
def test_network_may_be_a_plain_function_or_object(plain, classifier, face_network, images):
    for name in ("gradient", "hires_cam")[: 1 if plain is not Plain else 2]:
        assert_close(*(EXPLAINERS[name].explain(n, images[0], 1) for n in (plain(classifier), classifier)))
    assert_close(*(EXPLAINERS["xssab"].explain_pair(n, *images[:2]) for n in (plain(face_network), face_network)))


def test_options_and_defaults_are_those_of_the_signatures():
    assert EXPLAINERS["corrrise"].options("pair") == {
        "masks": 500,
        "patches": 10,
        "size": 30,
        "statistic": "pearson",
        "chunk": 50,
    }
    assert EXPLAINERS["grad_cam"].options("class") == {"normalise": "minmax"}
    fame = EXPLAINERS["fame"].options("pair")
    assert (fame["free_norm"], fame["iterations"], fame["kernel_size"]) == (False, 500, 49)


def test_unknown_method_names_the_nearest():
    with pytest.raises(ValueError, match="grad_cam_pp"):
        explainer("gradcam++")


def test_method_without_pairs_says_what_it_explains(face_network, images):
    with pytest.raises(ValueError, match="rise explains no pairs of faces; it explains classes"):
        EXPLAINERS["rise"].explain_pair(face_network, images[0], images[1])


def test_random_method_asks_for_its_key(classifier, images):
    with pytest.raises(ValueError, match="needs a key"):
        EXPLAINERS["rise"].explain(classifier, images[0], 1)
