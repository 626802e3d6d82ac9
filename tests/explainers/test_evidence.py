"""Walks on the evidence, from several starts and times a class activation map: identities, and a twin in PyTorch."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

from fame_jax import Split, Status, class_evidence, class_logit, pair_evidence, perturb, similarity
from fame_jax.core import attribution
from fame_jax.engine import Engine, explained
from fame_jax.explainers import (
    EXPLAINERS,
    PairExplanation,
    class_starts,
    evidence_cam,
    expected_gradients_cam,
    grad_cam,
    path_sums_map,
    refined_cam,
)
from fame_jax.explainers.evidence import pair_loss
from fame_jax.explainers.gradients import class_loss
from fame_jax.explainers.table import BEST, explainer
from fame_jax.network import feature_map, vector
from fame_jax.paths import path_sums
from fame_jax.questions import Question
from fame_jax.walk import lots

KEY = jax.random.key(6)
WEIGHTS = jax.random.normal(jax.random.key(0), (4, 5))
KERNEL = jax.random.normal(jax.random.key(1), (8 * 8 * 3, 4)) / 7
CELLS = Partial(lambda kernel, image: jnp.tanh(cells(image) @ kernel), KERNEL)
POOLED = Split(CELLS, Partial(lambda w, f: f.mean((0, 1)) @ w + 0.7, WEIGHTS))
"""Sixteen cells of 8x8 pixels that know nothing of one another, under a pooled linear head with a bias of 0.7."""
STEP = 1 / 255


def cells(image):
    return image.reshape(4, 8, 4, 8, 3).transpose(0, 2, 1, 3, 4).reshape(4, 4, -1)


def evidence_map(image, label):
    return np.asarray(CELLS(image), np.float64) @ np.asarray(WEIGHTS, np.float64)[:, label] / 16


def test_evidence_is_the_logit_without_bias_and_without_what_speaks_against_it(images):
    for label in range(5):
        evidence = evidence_map(images[0], label)
        against = np.maximum(-evidence, 0).sum()
        found = class_evidence(images[0], POOLED, label)
        assert float(found) == pytest.approx(np.maximum(evidence, 0).sum(), abs=1e-5)
        assert float(found) == pytest.approx(float(POOLED(images[0])[label]) - 0.7 + against, abs=1e-5)


def test_one_step_is_the_scaled_gradient_and_leaves_alone_where_the_evidence_is_negative(images):
    label = 2
    speaks = evidence_map(images[0], label) > 0
    assert 0 < speaks.sum() < 16
    expected = jax.grad(lambda x: jnp.sum(jnp.where(speaks, CELLS(x) @ WEIGHTS[:, label], 0)))(images[0])
    expected = -STEP * expected / jnp.abs(expected).max()
    found = perturb(class_evidence, images[0], POOLED, label, iterations=1).perturbed - images[0]
    np.testing.assert_allclose(found, expected, atol=1e-6)
    moved = np.abs(np.asarray(cells(found))).sum(-1) > 0
    np.testing.assert_array_equal(moved, speaks)


@pytest.mark.parametrize("name", ["classifier", "flat_classifier", "transformer"])
def test_for_any_head_it_is_the_positive_part_of_hires_cam_with_a_constant_gradient(name, request, images):
    network, image = request.getfixturevalue(name), images[0]
    features = feature_map(network, image)
    weights = np.asarray(jax.jacobian(network.head)(features)[3])
    summed = np.sum(weights * np.asarray(features), axis=-1)
    found, gradient = jax.value_and_grad(class_evidence)(image, network, 3)
    assert float(found) == pytest.approx(float(np.maximum(summed, 0).sum()), rel=1e-4)
    assert (summed < 0).any()
    _, pull = jax.vjp(functools.partial(feature_map, network), image)
    (expected,) = pull(jnp.asarray(weights * (summed > 0)[..., None]))
    np.testing.assert_allclose(gradient, expected, atol=1e-5)


def test_evidence_of_a_pair_is_the_similarity_and_what_speaks_against_it(images):
    network = Split(CELLS, Partial(lambda w, f: f.reshape(-1) @ jnp.tile(w, (16, 1)), WEIGHTS))
    reference = network(images[1])
    speaks, against = (pair_evidence(images[0], network, reference, sign) for sign in (1, -1))
    assert float(speaks) > 0
    assert float(against) > 0
    assert float(speaks - against) == pytest.approx(float(similarity(images[0], network, reference)), abs=1e-5)


def test_embedding_of_zeros_has_no_evidence(images):
    result = perturb(pair_evidence, images[0], POOLED, jnp.zeros(5))
    assert Status(int(result.status)) is Status.ZERO_GRADIENT
    assert float(result.first_loss) == 0


def test_engine_takes_the_methods_own_number_of_steps_and_stops_early(classifier, images):
    engine, question = Engine(classifier), Question((np.asarray(images[0]),), 1)
    usual = EXPLAINERS["fame_evidence"].explain(classifier, images[0], 1)
    assert int(usual.steps) == 25
    between = float(usual.first_loss + usual.last_loss) / 2
    methods = [engine.method("fame_evidence", how) for how in ({}, {"iterations": 4}, {"stop_loss": between})]
    ((_, ((found,), (four,), (stopped,))),) = explained(engine, methods, [question])
    assert (int(found.steps), int(four.steps)) == (25, 4)
    assert float(stopped.last_loss) < between < float(stopped.first_loss)
    np.testing.assert_allclose(found.attribution, usual.attribution, atol=1e-3)


HOW = {"starts": 5, "iterations": 3, "kernel_size": 9}


@pytest.mark.parametrize(("name", "loss"), [("logit", class_logit), ("evidence", class_evidence)])
def test_starts_are_the_mean_change_of_walks_drawn_by_hand(name, loss, classifier, images):
    changes = []
    for index in range(5):
        start = images[0] + 0.05 * jax.random.normal(jax.random.fold_in(KEY, index), images[0].shape)
        changes.append(np.abs(perturb(loss, start, classifier, 1, iterations=3).perturbed - start))
    expected = attribution(jnp.zeros_like(images[0]), jnp.asarray(np.mean(changes, axis=0)), kernel_size=9)
    for chunk in (1, 2, 5):
        found = class_starts(classifier, images[0], 1, key=KEY, loss=name, chunk=chunk, **HOW)
        np.testing.assert_allclose(found.attribution, expected, atol=1e-3)
        assert int(found.steps) == 15
        assert Status(int(found.status)) is Status.OK


def test_starts_without_noise_are_one_walk(classifier, images):
    one = EXPLAINERS["fame_evidence"].explain(classifier, images[0], 1, iterations=3, kernel_size=9)
    found = class_starts(classifier, images[0], 1, key=KEY, noise=0.0, **HOW)
    np.testing.assert_allclose(found.attribution, one.attribution, atol=1e-3)
    assert float(found.first_loss) == pytest.approx(float(one.first_loss), rel=1e-4)


def test_starts_refuse_to_turn_images_grey_before_their_changes(classifier, images):
    with pytest.raises(ValueError, match="grey_of='images': of several starts"):
        class_starts(classifier, images[0], 1, key=KEY, **HOW, grey_of="images")


def test_starts_stop_early_each_by_itself(classifier, images):
    first = class_starts(classifier, images[0], 1, key=KEY, **HOW)
    at = float(first.first_loss + first.last_loss) / 2
    stopped = class_starts(classifier, images[0], 1, key=KEY, **HOW, stop_loss=at)
    assert 0 < int(stopped.steps) < int(first.steps)


def test_a_map_from_starts_depends_neither_on_the_others_nor_on_its_place(classifier, images):
    engine = Engine(classifier, batch_size=1)
    method = engine.method("fame_starts", HOW)
    questions = [Question((np.asarray(image),), 1) for image in images]
    forth = [result[0][0].attribution for _, result in explained(engine, [method], questions)]
    back = [result[0][0].attribution for _, result in explained(engine, [method], questions[::-1])][::-1]
    np.testing.assert_array_equal(forth, back)


def test_the_four_maps_of_a_pair_are_drawn_from_the_same_noise(face_network, images):
    found = EXPLAINERS["fame_starts"].explain_pair(
        face_network, images[0], images[1], key=KEY, loss="similarity", **HOW
    )
    assert isinstance(found, PairExplanation)
    reference = vector(face_network(images[1]))
    changes = []
    for index in range(5):
        start = images[0] + 0.05 * jax.random.normal(jax.random.fold_in(KEY, index), images[0].shape)
        walk = perturb(similarity, start, face_network, reference, -1, iterations=3)
        changes.append(np.abs(walk.perturbed - start))
    expected = attribution(jnp.zeros_like(images[0]), jnp.asarray(np.mean(changes, axis=0)), kernel_size=9)
    np.testing.assert_allclose(found.probe_dissimilar.attribution, expected, atol=1e-3)


def test_a_product_is_the_product(classifier, images):
    walked = class_starts(classifier, images[0], 1, key=KEY, **HOW).attribution
    expected = walked * grad_cam(classifier, images[0], 1)
    assert expected.max() > 0
    found = evidence_cam(classifier, images[0], 1, key=KEY, **HOW)
    np.testing.assert_allclose(found, expected / expected.max(), atol=1e-5)


def test_a_refined_cam_is_grad_cam_plus_the_product_and_keeps_its_order_in_the_holes(classifier, images):
    how = {"samples": 6, "kernel_size": 5, "sigma": 1.0}
    cam = np.asarray(grad_cam(classifier, images[0], 1))
    product = np.asarray(expected_gradients_cam(classifier, images[0], 1, key=KEY, **how))
    found = np.asarray(refined_cam(classifier, images[0], 1, key=KEY, **how))
    np.testing.assert_allclose(found, (cam + product) / (cam + product).max(), atol=1e-5)
    holes = (product == 0) & (cam > 0)
    assert holes.sum() > 5
    np.testing.assert_allclose(found[holes] / cam[holes], 1 / (cam + product).max(), rtol=1e-4)


def test_an_unknown_loss_is_refused():
    with pytest.raises(ValueError, match="loss='softmax'; expected 'logit' or 'evidence'"):
        class_loss("softmax")
    with pytest.raises(ValueError, match="loss='logit'; expected 'similarity' or 'evidence'"):
        pair_loss("logit")


def test_path_sums_add_up_to_the_change_of_a_linear_loss(images):
    weights = jax.random.normal(KEY, images[0].shape)

    def linear(image, weights):
        return jnp.vdot(image, weights)

    shares, walk = path_sums(linear, images[0], weights, iterations=7)
    np.testing.assert_allclose(shares, -7 * STEP * weights**2 / jnp.abs(weights).max(), rtol=1e-3, atol=1e-6)
    assert float(shares.sum()) == pytest.approx(float(walk.last_loss - walk.first_loss), rel=1e-3)


def test_path_sums_of_a_walk_are_gradients_times_steps(classifier, images):
    here, total = images[0], 0
    for _ in range(3):
        gradient = jax.grad(class_logit)(here, classifier, 1)
        step, _ = lots(STEP).update(gradient, lots(STEP).init(here))
        here, total = here + step, total + gradient * step
    expected = attribution(jnp.zeros_like(here), total, kernel_size=9)
    found = path_sums_map(classifier, images[0], 1, iterations=3, kernel_size=9)
    np.testing.assert_allclose(found.attribution, expected, atol=1e-3)
    np.testing.assert_allclose(found.perturbed, here, atol=1e-5)


def test_the_best_method_is_one_of_its_task():
    for task, name in BEST.items():
        assert explainer("best", task) is EXPLAINERS[name]
        EXPLAINERS[name].function(task)


def test_a_walk_is_that_of_a_twin_in_pytorch():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(3)
    kernel, bias, fc = rng.normal(size=(3, 3, 3, 6)) / 4, rng.normal(size=6), rng.normal(size=(6 * 36, 4)) / 6
    image, label = rng.uniform(size=(12, 12, 3)), 2

    weights = [torch.tensor(array) for array in (kernel.transpose(3, 2, 0, 1), bias, fc)]
    there = torch.tensor(image).permute(2, 0, 1)[None]
    for _ in range(25):
        there = there.detach().requires_grad_()
        features = torch.nn.functional.softplus(torch.nn.functional.conv2d(there, *weights[:2], stride=2, padding=1))
        kept = features.detach().requires_grad_()
        logit = (torch.tanh(kept).permute(0, 2, 3, 1).reshape(-1) @ weights[2])[label]
        (slope,) = torch.autograd.grad(logit, kept)
        evidence = torch.relu((slope * features).sum(1)).sum()
        (gradient,) = torch.autograd.grad(evidence, there)
        there = there - gradient / gradient.abs().max() / 255
    expected = there.detach()[0].permute(1, 2, 0).numpy()

    with jax.enable_x64(True):

        def features_of(parameters, x):
            kernel, bias = parameters
            dimensions = ("NHWC", "HWIO", "NHWC")
            return jax.nn.softplus(
                jax.lax.conv_general_dilated(x[None], kernel, (2, 2), ((1, 1), (1, 1)), dimension_numbers=dimensions)[0]
                + jnp.broadcast_to(bias, (6, 6, 6))
            )

        head = Partial(lambda fc, features: jnp.tanh(features).reshape(-1) @ fc, jnp.asarray(fc))
        network = Split(Partial(features_of, (jnp.asarray(kernel), jnp.asarray(bias))), head)
        found = perturb(class_evidence, jnp.asarray(image), network, label, iterations=25)
        assert int(found.steps) == 25
        np.testing.assert_allclose(found.perturbed, expected, atol=1e-10)
        assert np.abs(expected - image).max() > 10 / 255
