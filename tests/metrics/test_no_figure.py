"""What has no figure in any metric: a map with a pixel that is no number, a class that the network does not have."""

import inspect
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

from fame_jax import metrics
from fame_jax.metrics import locality, strongest_tenth
from fame_jax.metrics.imputation import ImputationStatus
from fame_jax.metrics.masks import ranks
from fame_jax.metrics.table import METRICS, Subject
from tests.marks import thorough

SIDE, CLASSES, KEY = 48, 4, jax.random.key(0)
IMAGE, OTHER = jax.random.uniform(jax.random.key(1), (2, SIDE, SIDE, 3))
NETWORK = Partial(lambda weights, image: image.mean((0, 1)) @ weights * 5, jax.random.normal(KEY, (3, CLASSES)))
MAP = jax.random.uniform(jax.random.key(2), (SIDE, SIDE))
MASK = jnp.zeros((SIDE, SIDE), bool).at[4:20, 4:20].set(True)
BOXES = np.array([[4, 4, 20, 20]])
CROSSING = jnp.zeros((SIDE, SIDE), bool).at[4:9].set(True)


def row(name):
    """A metric of the table: a map and a label to all its figures but the clean score, which is not the map's."""

    def figures(attribution, label):
        masks = jnp.stack([MASK, CROSSING])
        subject = Subject(IMAGE, attribution, label=label, masks=masks, gallery=OTHER)
        values = METRICS[name].measure(NETWORK, subject)
        return [value for key, value in values.items() if key not in ("clean", "status", "residual")]

    return figures


def of_many(function, *fields):
    def figures(attribution, label):
        with warnings.catch_warnings(action="ignore"):
            found = function(np.asarray(attribution)[None], np.asarray(label)[None])
        return [getattr(found, field) for field in fields]

    return figures


# Name: from a map and a label to its figures; whether it reads the label; its figures for a map of all zeros.
FINITE, ZERO, NONE = "finite", "zero", "nan"
ROWS = {
    "iou": (row("iou"), False, ZERO),
    "energy": (row("energy"), False, ZERO),
    "pointing_game": (row("pointing_game"), False, ZERO),
    "road_delete": (row("road_delete"), True, FINITE),
    "road_insert": (row("road_insert"), True, FINITE),
    "road_combined": (row("road_combined"), True, FINITE),
    "deletion": (row("deletion"), True, FINITE),
    "insertion": (row("insertion"), True, FINITE),
    "rise_deletion": (row("rise_deletion"), False, FINITE),
    "rise_insertion": (row("rise_insertion"), False, FINITE),
    "verification": (row("verification"), False, FINITE),
    "grid_pointing_game": (lambda m, label: metrics.grid_pointing_game(m, 1), False, ZERO),
    "concentration": (lambda m, label: metrics.concentration(m, MASK, CROSSING)[::2], False, ZERO),
    "map_similarity": (lambda m, label: metrics.map_similarity(m, MAP), False, None),
    "box_iou": (lambda m, label: metrics.box_iou(m, BOXES, 0.5), False, ZERO),
    "energy_inside": (lambda m, label: metrics.energy_inside(m, MASK), False, ZERO),
    "locality": (lambda m, label: locality(m, (1, 2), (6, 6)), False, NONE),
    "strongest_tenth": (lambda m, label: strongest_tenth(m), False, NONE),
    "pair_scores": (lambda m, label: metrics.pair_scores(NETWORK, IMAGE, OTHER, m)[1:], False, FINITE),
    "class_curves": (
        of_many(lambda m, y: metrics.class_curves(NETWORK, IMAGE[None], m, y), "deletion", "insertion"),
        True,
        FINITE,
    ),
    "verification_curves": (
        of_many(
            lambda m, y: metrics.verification_curves(
                NETWORK, IMAGE[None], OTHER[None], m, np.array([True]), threshold=0.5
            ),
            "deletion",
            "insertion",
            "deletion_auc",
            "insertion_auc",
        ),
        False,
        FINITE,
    ),
}
# What takes a map and returns no figure of it.
MASKS = {"deletion_mask", "insertion_mask", "ranks", "selected", "remark"}


def test_every_metric_is_in_the_table():
    public = {
        name
        for name in metrics.__all__
        if callable(function := getattr(metrics, name))
        and not inspect.isclass(function)
        and {"attribution", "maps"} & inspect.signature(function).parameters.keys()
    }
    assert public - MASKS | METRICS.keys() == ROWS.keys()


def numbers(figures):
    # The shares of a curve are no figures of the map.
    figures = jax.tree.map(
        lambda x: x[1:] if isinstance(x, metrics.Curve) else x, figures, is_leaf=lambda x: isinstance(x, metrics.Curve)
    )
    return np.concatenate([np.ravel(np.asarray(x, float)) for x in jax.tree.leaves(figures)])


@pytest.mark.parametrize("name", ROWS)
def test_map_with_a_pixel_that_is_no_number_has_no_figure(name):
    figures, _, of_zeros = ROWS[name]
    assert np.isfinite(numbers(figures(MAP, 1))).all()
    for bad in (jnp.nan, jnp.inf):
        assert np.isnan(numbers(figures(MAP.at[40, 5].set(bad), 1))).all()
    assert np.isnan(numbers(figures(jnp.full_like(MAP, jnp.nan), 1))).all()
    zeros = numbers(figures(jnp.zeros_like(MAP), 1))
    if of_zeros is not None:
        assert {FINITE: np.isfinite(zeros), ZERO: zeros == 0, NONE: np.isnan(zeros)}[of_zeros].all()


@pytest.mark.parametrize("name", [name for name, (_, reads, _) in ROWS.items() if reads])
@pytest.mark.parametrize("label", [-1, CLASSES])
def test_class_that_the_network_does_not_have_has_no_figure(name, label):
    assert np.isnan(numbers(ROWS[name][0](MAP, label))).all()


def test_bad_maps_are_counted_and_named():
    maps = np.stack([MAP, MAP.at[3, 3].set(jnp.nan), jnp.zeros_like(MAP)])
    images, labels = np.stack([IMAGE] * 3), np.array([1, 1, 1])
    with pytest.warns(UserWarning, match="1 of 3 maps") as warned:
        curves = metrics.class_curves(NETWORK, images, maps, labels)
    assert [str(warning.message)[:20] for warning in warned] == ["1 of 3 maps are all ", "1 of 3 maps have pix"]
    assert (curves.blank, curves.not_finite, curves.constant) == (1, 1, 0)
    assert np.isfinite(curves.deletion.auc).tolist() == [True, False, True]


def test_accuracy_is_that_of_the_pairs_with_a_figure():
    maps, genuine = np.stack([MAP, MAP.at[3, 3].set(jnp.nan), MAP[::-1]]), np.array([True, True, False])
    probes, galleries = np.stack([IMAGE, OTHER, IMAGE]), np.stack([OTHER, IMAGE, OTHER])
    with pytest.warns(UserWarning, match="1 of 3 maps have"):
        found = metrics.verification_curves(NETWORK, probes, galleries, maps, genuine, threshold=0.9)
    kept = [0, 2]
    expected = metrics.verification_curves(
        NETWORK, probes[kept], galleries[kept], maps[kept], genuine[kept], threshold=0.9
    )
    assert found.not_finite == 1
    np.testing.assert_allclose(found.deletion, expected.deletion)


def test_imputations_of_a_map_without_ranks_say_so():
    found = metrics.road_delete(NETWORK, IMAGE, MAP.at[3, 3].set(jnp.nan), 1, KEY)
    assert (found.status == ImputationStatus.NOT_FINITE).all()


DTYPES = [np.uint8, np.int8, np.int32, np.uint32, bool, np.float16, np.float32]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("order", ["most", "least"])
def test_maps_of_integers_are_ranked_as_the_same_numbers_in_floating_point(dtype, order):
    values = np.random.default_rng(0).integers(0, 2 if dtype is bool else 120, (12, 9)).astype(dtype)
    np.testing.assert_array_equal(ranks(values, order=order), ranks(values.astype(np.float32), order=order))


@pytest.mark.parametrize("name", [name for name in ROWS if name != "map_similarity"])
def test_maps_of_integers_have_the_figures_of_the_same_numbers(name):
    values = np.random.default_rng(0).integers(0, 2, (SIDE, SIDE)).astype(np.uint8)
    figures = ROWS[name][0]
    np.testing.assert_allclose(numbers(figures(values, 1)), numbers(figures(values.astype(np.float32), 1)), rtol=1e-5)


def test_fractions_may_be_integers_too():
    found = metrics.deletion(NETWORK, IMAGE, MAP, 1, fractions=np.array([0, 1]))
    assert found.fractions.tolist() == [0, 1]
    by_integers = metrics.deletion(NETWORK, IMAGE, (MAP * 255).astype(jnp.int32), 1, score="logit")
    np.testing.assert_allclose(by_integers.fractions, np.arange(11) / 10, atol=1e-7)


@pytest.mark.parametrize("channels", [1, 4, *thorough(2, 12)])
def test_any_number_of_channels_is_measured(channels):
    image = jax.random.uniform(KEY, (SIDE, SIDE, channels))
    network = Partial(lambda weights, image: image.mean((0, 1)) @ weights, jax.random.normal(KEY, (channels, 5)))
    figures = (
        metrics.deletion(network, image, MAP, 1).auc,
        metrics.rise_insertion(network, image, MAP, pixels_a_step=400).auc,
        metrics.rise_deletion(network, image, MAP, mean=0.5, pixels_a_step=400).auc,
        metrics.road_combined(network, image, MAP, 1, KEY),
        metrics.pair_scores(network, image, image[::-1], MAP).deletion,
    )
    assert np.isfinite(numbers(figures)).all()
    with pytest.raises(ValueError, match=f"canvas: .*{channels} channels"):
        metrics.deletion(network, image, MAP, 1, canvas=jnp.zeros(channels + 1))
