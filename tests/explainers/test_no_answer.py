"""What no method answers: a class that the network does not have, an image with a pixel that is no number."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fame_jax import Split, Status
from fame_jax.core import Explanation
from fame_jax.explainers import EXPLAINERS, explainer
from fame_jax.network import feature_map
from tests.explainers.test_contract import FLOORS, QUICK
from tests.marks import thorough

KEY = jax.random.key(3)
CLASSES = 7

# The status of a map of the image of zeros, by task. There no location speaks for the class; noise that is a share of
# the image's range is none; the path of integrated gradients has no length, and every mask leaves black.
ZEROS = {
    "fame": {"class": Status.OK, "location": Status.OK, "pair": Status.OK},
    "fame_evidence": {"class": Status.ZERO_GRADIENT, "pair": Status.OK},
    "fame_starts": {"class": Status.ZERO_GRADIENT, "pair": Status.OK},
    "evidence_cam": {"class": Status.BLANK},
    "expected_gradients_cam": {"class": Status.BLANK},
    "refined_cam": {"class": Status.BLANK},
    "path_sums": {"class": Status.OK},
    "grad_cam": {"class": Status.BLANK, "pair": Status.OK},
    "grad_cam_ew": {"class": Status.OK, "pair": Status.OK},
    "hires_cam": {"class": Status.BLANK, "pair": Status.OK},
    "grad_cam_pp": {"class": Status.OK, "pair": Status.OK},
    "layer_cam": {"class": Status.OK, "pair": Status.OK},
    "fullgrad": {"class": Status.OK},
    "fullgrad_complete": {"class": Status.OK},
    "gradient": {"class": Status.OK},
    "smooth_grad": {"class": Status.OK},
    "smooth_grad_squared": {"class": Status.OK},
    "var_grad": {"class": Status.BLANK},
    "expected_gradients": {"class": Status.OK},
    "integrated_gradients": {"class": Status.BLANK},
    "rise": {"class": Status.CONSTANT_SCORE},
    "corrrise": {"pair": Status.CONSTANT_SCORE},
    "fggb": {"pair": Status.OK},
    "xssab": {"pair": Status.OK},
    "random": {"class": Status.OK, "pair": Status.OK},
    "random_blurred": {"class": Status.OK, "pair": Status.OK},
    "blob": {"class": Status.OK, "pair": Status.OK},
}
TASKS = [(name, task) for name, row in EXPLAINERS.items() for task in ZEROS.get(name, {"class": None})]


def test_every_row_and_task_is_in_the_table():
    expected = {
        name: {task for task in ("class", "location", "pair") if getattr(row, f"of_{task}") is not None}
        for name, row in EXPLAINERS.items()
    }
    assert {name: set(tasks) for name, tasks in ZEROS.items()} == expected


@pytest.fixture(scope="module")
def run(classifier, face_network):
    """A row and a task to a compiled function of image and target, of all results."""

    def compiled(name, task):
        row, network = EXPLAINERS[name], face_network if task == "pair" else classifier

        def of(image, target):
            images = (image, image[::-1]) if task == "pair" else (image,)
            return row.results(task, network, images, target, key=KEY, **QUICK.get(name, {}))

        return jax.jit(of)

    return compiled


@pytest.mark.parametrize(("name", "task"), TASKS)
def test_classes_locations_and_pixels_that_are_none_are_nan_and_not_finite(name, task, run, images):
    explained = run(name, task)
    good = jnp.array([1, 1]) if task == "location" else 1
    outside = {"class": [-1, CLASSES], "location": [jnp.array(x) for x in ([-1, 0], [0, -1], [8, 0])], "pair": []}
    targets = [jnp.asarray(target) for target in outside[task]]
    bad = [(images[0], target) for target in targets] + [(images[0].at[3, 4, 1].set(jnp.nan), jnp.asarray(good))]
    for image, target in bad:
        for result in explained(image, target):
            if result is not None:
                assert Status(int(result.status)) is Status.NOT_FINITE
                assert np.isnan(result.attribution).all()
                assert np.isnan([result.first_loss, result.last_loss]).all()
    zeros = explained(jnp.zeros_like(images[0]), jnp.asarray(good))
    assert Status(int(zeros[0].status)) is ZEROS[name][task]
    assert (zeros[0].attribution.max() == 0) == (ZEROS[name][task] is not Status.OK)


@pytest.mark.parametrize("name", [name for name, row in EXPLAINERS.items() if row.of_class and name not in FLOORS])
@pytest.mark.parametrize("label", [-1, CLASSES])
def test_the_functions_themselves_give_nan_for_classes_outside(name, label, classifier, images):
    row = EXPLAINERS[name]
    key = {"key": KEY} if "key" in row.needs else {}
    found = row.function("class")(classifier, images[0], label, **key, **QUICK.get(name, {}))
    assert np.isnan(found.attribution if isinstance(found, Explanation) else found).all()


def one_logit(image):
    return jnp.array([12.0 * (image[4:12, 4:12].mean() - 0.25)])


def sum_of(image):
    return jnp.stack([one_logit(image)[0], jnp.float32(0)])


BRIGHT = jnp.full((32, 32, 3), 0.2).at[4:12, 4:12].set(1.0)


def test_rise_of_a_single_logit_by_the_sigmoid_is_that_of_the_two_class_softmax():
    rise = EXPLAINERS["rise"]
    with pytest.raises(ValueError, match=r"softmax of a single output is always 1.*score='sigmoid'"):
        rise.explain(one_logit, BRIGHT, 0, key=KEY, masks=4)
    found = rise.explain(one_logit, BRIGHT, 0, key=KEY, masks=200, score="sigmoid").attribution
    expected = rise.explain(sum_of, BRIGHT, 0, key=KEY, masks=200).attribution
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert found[4:12, 4:12].mean() > 1.5 * found.mean()
    of_function = rise.explain(one_logit, BRIGHT, 0, key=KEY, masks=200, score=jax.nn.sigmoid).attribution
    np.testing.assert_array_equal(found, of_function)


def test_score_that_varies_by_rounding_alone_is_no_map():
    result = EXPLAINERS["rise"].explain(lambda image: sum_of(image) * 1e-9 + 1, BRIGHT, 0, key=KEY, masks=20)
    assert Status(int(result.status)) is Status.CONSTANT_SCORE
    assert not result.attribution.any()


def halves(image):
    return image.reshape(8, 4, 8, 4, -1).mean((1, 3))


OUTPUTS = {
    "a tuple": (lambda f: (f.mean((0, 1)), f.mean()), r"outputs\[0\]"),
    "a dictionary": (lambda f: {"logits": f.mean((0, 1))}, r"outputs\['logits'\]"),
    "a batch of one": (lambda f: f.mean((0, 1))[None], r"outputs\[0\]"),
    "a number": (lambda f: f.mean(), r"outputs\[None\]"),
    "a map": (lambda f: f, r"outputs\.mean\(\(0, 1\)\)"),
}


@pytest.mark.parametrize("name", ["fame", "grad_cam", "gradient", "rise", "random"])
@pytest.mark.parametrize("kind", OUTPUTS)
def test_outputs_that_are_no_vector_are_refused_with_how_to_pick_one(name, kind, images):
    head, pick = OUTPUTS[kind]
    with pytest.raises(ValueError, match=rf"the network returns .*expected one vector \[o\].*Picked\(.*{pick}"):
        EXPLAINERS[name].explain(Split(halves, head), images[0], 1, key=KEY, **QUICK.get(name, {}))


@pytest.mark.parametrize("name", ["fame", "grad_cam", "xssab", "corrrise"])
def test_embeddings_that_are_no_vector_are_refused_too(name, images):
    network = Split(halves, lambda f: f.reshape(1, -1))
    with pytest.raises(ValueError, match=r"the network returns \[1, 192\]"):
        EXPLAINERS[name].explain_pair(network, images[0], images[1], key=KEY, **QUICK.get(name, {}))


FEATURES = {
    "channels first": lambda image: jnp.moveaxis(jnp.tile(halves(image), (1, 1, 5)), -1, 0),
    "a batch of one": lambda image: halves(image)[None],
    "tokens": lambda image: halves(image).reshape(64, 3),
}


@pytest.mark.parametrize("name", ["grad_cam", "hires_cam"])
@pytest.mark.parametrize("kind", FEATURES)
def test_features_that_are_no_map_of_the_image_are_refused(name, kind, images):
    network = Split(FEATURES[kind], lambda f: f.reshape(-1)[:4])
    for explain in (EXPLAINERS[name].explain, EXPLAINERS["fame"].explain_location):
        with pytest.raises(ValueError, match=r"features are .*expected \[h, w, c\].*32x32"):
            explain(network, images[0], jnp.array([1, 1]) if "location" in explain.__name__ else 1)
    with pytest.raises(ValueError, match="features are"):
        EXPLAINERS[name].explain_pair(network, images[0], images[1])


def test_network_without_features_is_refused_by_what_needs_them(images):
    with pytest.raises(ValueError, match=r"no feature map.*Split\(features, head\)"):
        feature_map(lambda image: image.mean((0, 1)), images[0])


@pytest.mark.parametrize("channels", [1, 4, *thorough(2, 12)])
@pytest.mark.parametrize("name", [name for name, row in EXPLAINERS.items() if "probes" not in row.needs])
def test_any_number_of_channels_is_explained(name, channels):
    row, image = EXPLAINERS[name], jax.random.uniform(KEY, (32, 32, channels))
    weights = jax.random.normal(jax.random.key(1), (64 * channels, 5))
    network = Split(halves, jax.tree_util.Partial(lambda w, f: jnp.tanh(f.reshape(-1) @ w), weights))
    results = []
    if row.of_class is not None:
        results.append(row.explain(network, image, 3, key=KEY, **QUICK.get(name, {})))
    if row.of_pair is not None:
        results += row.explain_pair(network, image, image[::-1], key=KEY, **QUICK.get(name, {}))[1:]
    for result in results:
        assert result is None or np.isfinite(result.attribution).all()
    if name == "gradient":
        expected = jnp.abs(jax.grad(lambda image: network(image)[3])(image)).mean(-1)
        np.testing.assert_allclose(results[0].attribution, expected / expected.max(), atol=1e-5)


def test_map_of_your_own_with_a_bad_pixel_or_none_at_all_has_its_status(classifier, images):
    def broken(network, image, label):
        return jnp.zeros((32, 32)).at[2, 2].set(jnp.nan)

    def empty(network, image, label):
        return jnp.zeros((32, 32))

    result = explainer(broken).explain(classifier, images[0], 1)
    assert Status(int(result.status)) is Status.NOT_FINITE
    assert np.isnan(result.attribution).all()
    assert Status(int(explainer(empty).explain(classifier, images[0], 1).status)) is Status.BLANK
