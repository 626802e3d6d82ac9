import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fame_jax import Split, absolute_class_logit, class_logit, cosine, dissimilarity, feature_activation, similarity
from fame_jax.losses import class_over_region, class_rather_than, similarity_free_norm
from fame_jax.walk import Status, perturb

WEIGHTS = jax.random.normal(jax.random.key(0), (4 * 4 * 3, 5))
IMAGE = jax.random.uniform(jax.random.key(1), (4, 4, 3))
REFERENCE = jax.random.normal(jax.random.key(2), (5,))


def network(image):
    return image.reshape(-1) @ WEIGHTS


def test_class_logit_is_the_raw_logit():
    assert float(class_logit(IMAGE, network, 3)) == pytest.approx(float(network(IMAGE)[3]))


def test_label_outside_the_classes_is_not_a_neighbours_logit():
    for label in (5, -1):
        result = perturb(class_logit, IMAGE, jax.tree_util.Partial(network), label)
        assert Status(int(result.status)) is Status.NOT_FINITE
        assert np.isnan(result.first_loss)


def test_absolute_logit_turns_around_at_zero():
    negative = int(jnp.argmin(network(IMAGE)))
    assert float(network(IMAGE)[negative]) < 0
    np.testing.assert_allclose(
        jax.grad(absolute_class_logit)(IMAGE, network, negative),
        -jax.grad(class_logit)(IMAGE, network, negative),
    )


def test_similarity_and_dissimilarity_add_up_to_one():
    total = similarity(IMAGE, network, REFERENCE) + dissimilarity(IMAGE, network, REFERENCE)
    assert float(total) == pytest.approx(1, abs=1e-6)


def test_similarity_is_the_cosine():
    a, b = np.asarray(network(IMAGE)), np.asarray(REFERENCE)
    expected = a @ b / np.linalg.norm(a) / np.linalg.norm(b)
    assert float(cosine(jnp.asarray(a), REFERENCE)) == pytest.approx(expected, abs=1e-6)
    assert float(similarity(IMAGE, network, REFERENCE)) == pytest.approx(expected, abs=1e-6)


def test_frozen_norm_gradient_points_along_that_of_the_dot_product():
    found = jax.grad(similarity)(IMAGE, network, REFERENCE)
    dot = jax.grad(lambda image: network(image) @ REFERENCE)(IMAGE)
    np.testing.assert_allclose(found / jnp.linalg.norm(found), dot / jnp.linalg.norm(dot), atol=1e-6)


def test_free_norm_gradient_keeps_the_length_of_the_embedding():
    """The cosine does not change along the embedding: in a linear network, moving along the image changes nothing."""
    free = jax.grad(similarity_free_norm)(IMAGE, network, REFERENCE)
    assert abs(float(jnp.vdot(free, IMAGE))) < 1e-5
    assert abs(float(jnp.vdot(jax.grad(similarity)(IMAGE, network, REFERENCE), IMAGE))) > 1e-3


@pytest.mark.parametrize("loss", [similarity, similarity_free_norm])
def test_embedding_of_zeros_gives_zero_similarity_and_a_status(loss):
    result = perturb(loss, IMAGE, jax.tree_util.Partial(network), jnp.zeros(5))
    assert Status(int(result.status)) is Status.ZERO_GRADIENT
    assert float(result.first_loss) == 0


def features(image):
    return jnp.maximum(image[::2, ::2] - 0.5, 0) * 2


def test_feature_activation_sums_one_location_only():
    split = Split(features, lambda f: f.sum((0, 1)))
    expected = np.abs(np.asarray(features(IMAGE))[1, 0]).sum()
    assert float(feature_activation(IMAGE, split, jnp.array([1, 0]))) == pytest.approx(float(expected))


def test_activation_of_a_dead_location_has_no_gradient():
    split = Split(features, lambda f: f.sum((0, 1)))
    result = perturb(feature_activation, jnp.zeros((4, 4, 3)), split, jnp.array([0, 0]))
    assert Status(int(result.status)) is Status.ZERO_GRADIENT
    assert int(result.steps) == 0
    np.testing.assert_array_equal(result.perturbed, 0)


def test_location_outside_the_map_is_reported():
    split = Split(features, lambda f: f.sum((0, 1)))
    for location in ([2, 0], [0, 2], [-1, 0], [0, -1]):
        result = perturb(feature_activation, IMAGE, split, jnp.array(location))
        assert Status(int(result.status)) is Status.NOT_FINITE
        assert np.isnan(result.first_loss)


def test_a_class_rather_than_another_is_the_difference_of_their_logits():
    network, image = lambda x: x.mean((0, 1)) * 2, jnp.full((2, 2, 3), 0.5).at[..., 1].set(0.1)
    assert class_rather_than(image, network, 0, 1) == pytest.approx(0.8)
    slope = jax.grad(class_rather_than)(image, network, 0, 1)
    np.testing.assert_allclose(slope[0, 0], [0.5, -0.5, 0], atol=1e-7)
    assert jnp.isnan(class_rather_than(image, network, 0, -1))


def test_a_class_over_a_region_is_the_mean_of_its_logits_there():
    image, region = jnp.arange(24.0).reshape(2, 4, 3) / 24, jnp.zeros((2, 4)).at[0, 1:3].set(1)
    value, slope = jax.value_and_grad(class_over_region)(image, lambda x: 3 * x, region, 2)
    assert value == pytest.approx(3 * (5 + 8) / 48)
    np.testing.assert_allclose(slope[..., 2], 1.5 * region)
    assert not slope[..., :2].any()
    assert jnp.isnan(class_over_region(image, lambda x: x, region, 3))
    assert jnp.isnan(class_over_region(image, lambda x: x, region, -1))


@pytest.mark.parametrize("shape", [(1, 1), (4, 2)])
def test_a_region_of_another_size_than_the_logits_is_refused(shape):
    with pytest.raises(ValueError, match=r"the region is .*; expected \[2, 4\], as the logits"):
        class_over_region(jnp.ones((2, 4, 3)), lambda x: x, jnp.ones(shape), 1)
