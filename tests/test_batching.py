import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fame_jax import class_logit, perturb
from fame_jax.batching import map_many, perturb_many

SIZE = 32


def network(dtype=jnp.float32):
    weights = jax.random.normal(jax.random.key(0), (SIZE * SIZE * 3, 4), dtype) / SIZE
    return jax.tree_util.Partial(lambda w, x: jnp.tanh(x.reshape(-1) @ w) + (x.reshape(-1) @ w), weights)


def examples(count, dtype=jnp.float32):
    images = jax.random.uniform(jax.random.key(1), (count, SIZE, SIZE, 3), dtype)
    return [(image, (jnp.int32(i % 4),)) for i, image in enumerate(images)]


# Stopped early at very different steps, so that slots are refilled while their neighbours are under way.
OPTIONS = {"iterations": 60, "window": 7, "stop_loss": -1.0}


@pytest.mark.parametrize("slots", [1, 3, 8])
def test_refilled_slots_give_the_maps_of_one_image_at_a_time(slots):
    with jax.enable_x64(True):
        net, given = network(jnp.float64), examples(7, jnp.float64)
        found = dict(perturb_many(class_logit, given, net, batch_size=slots, **OPTIONS))
        assert sorted(found) == list(range(7))
        steps = set()
        for i, (image, args) in enumerate(given):
            alone = perturb(class_logit, image, net, *args, **OPTIONS)
            np.testing.assert_allclose(found[i].perturbed, alone.perturbed, atol=1e-9)
            assert int(found[i].steps) == int(alone.steps)
            assert int(found[i].status) == int(alone.status)
            steps.add(int(alone.steps))
        assert len(steps) > 3, "the walks should end at different steps for this test to mean something"


def test_results_come_as_soon_as_a_walk_ends():
    order = [index for index, _ in perturb_many(class_logit, examples(7), network(), batch_size=3, **OPTIONS)]
    assert sorted(order) == list(range(7))
    assert order != sorted(order)


def test_images_are_read_only_as_slots_become_free():
    read = []

    def lazily():
        for i, example in enumerate(examples(6)):
            read.append(i)
            yield example

    walks = perturb_many(class_logit, lazily(), network(), batch_size=2, iterations=10)
    next(walks)
    assert read == [0, 1]


def test_progress_adds_up_to_all_steps_whatever_stops_early():
    seen = []
    list(perturb_many(class_logit, examples(5), network(), batch_size=2, progress=seen.append, **OPTIONS))
    assert sum(seen) == 5 * OPTIONS["iterations"]
    assert min(seen) >= 0


def test_stop_by_change_is_the_same_in_slots():
    with jax.enable_x64(True):
        net, given = network(jnp.float64), examples(3, jnp.float64)
        options = {"iterations": 200, "stop_change": 0.02, "window": 10}
        for index, walk in perturb_many(class_logit, given, net, batch_size=2, **options):
            alone = perturb(class_logit, given[index][0], net, *given[index][1], **options)
            assert int(walk.steps) == int(alone.steps) < 200
            np.testing.assert_allclose(walk.perturbed, alone.perturbed, atol=1e-9)


def test_no_images_give_no_results():
    assert list(perturb_many(class_logit, [], network())) == []


def test_an_unknown_option_is_named():
    with pytest.raises(TypeError, match="stepsize"):
        list(perturb_many(class_logit, examples(1), network(), stepsize=1))


def test_mapped_in_batches_is_the_function_of_one_example():
    net, given = network(), examples(7)
    found = list(map_many(class_logit, given, net, batch_size=3))
    assert [index for index, _ in found] == list(range(7))
    for index, value in found:
        image, args = given[index]
        np.testing.assert_allclose(value, class_logit(image, net, *args), rtol=1e-5)
