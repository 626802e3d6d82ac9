"""Many examples at once give what one at a time gives; nothing waits, nothing grows, nothing is left behind."""

import os
import signal
import sys
import threading
import time
from contextlib import closing

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fame_jax import class_logit, perturb
from fame_jax.batching import devices, map_many, perturb_many, slots
from fame_jax.batching.ahead import Ahead
from fame_jax.batching.watched import watch
from fame_jax.options import OptionError

SIZE = 32


def network(dtype=jnp.float32):
    weights = jax.random.normal(jax.random.key(0), (SIZE * SIZE * 3, 4), dtype) / SIZE
    return jax.tree_util.Partial(lambda w, x: jnp.tanh(x.reshape(-1) @ w) + (x.reshape(-1) @ w), weights)


def examples(count, dtype=jnp.float32):
    images = jax.random.uniform(jax.random.key(1), (count, SIZE, SIZE, 3), dtype)
    return [(np.asarray(image), (i % 4,)) for i, image in enumerate(images)]


def main_thread_is_in():
    return sys._current_frames()[threading.main_thread().ident].f_code.co_qualname


def reading_threads():
    return [thread for thread in threading.enumerate() if thread.name == "fame-jax-ahead"]


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
            alone = perturb(class_logit, jnp.asarray(image), net, *args, **OPTIONS)
            np.testing.assert_allclose(found[i].perturbed, alone.perturbed, atol=1e-9)
            np.testing.assert_allclose(found[i].last_loss, alone.last_loss, atol=1e-9)
            assert int(found[i].steps) == int(alone.steps)
            assert int(found[i].status) == int(alone.status)
            steps.add(int(alone.steps))
        assert len(steps) > 3, "the walks should end at different steps for this test to mean something"


def test_results_come_in_order_or_as_soon_as_a_walk_ends():
    def order(**how):
        return [i for i, _ in perturb_many(class_logit, examples(7), network(), batch_size=3, **OPTIONS, **how)]

    assert order() == list(range(7))
    soonest = order(in_order=False)
    assert soonest != list(range(7))
    assert sorted(soonest) == list(range(7))


def test_in_order_no_more_than_eight_batches_wait_for_a_slow_walk():
    # The first walk takes a thousand steps, the others none.
    given = [(image, (0.0 if i == 0 else -1e9,)) for i, (image, _) in enumerate(examples(40))]
    read = []

    def lazily():
        for i, example in enumerate(given):
            read.append(i)
            yield example

    walks = perturb_many(brightness, lazily(), batch_size=2, iterations=1000, stop_loss=-1e8)
    index, walk = next(walks)
    assert (index, int(walk.steps)) == (0, 1000)
    # Begun: 8 batches of 2. Read ahead since: another batch, and those taken when the first was finished.
    assert max(read) < 16 + 2 * 2
    assert [index for index, _ in walks] == list(range(1, 40))


def brightness(image, offset):
    return jnp.mean(image) + offset


def test_examples_are_read_at_most_a_batch_ahead():
    read = []

    def lazily():
        for i, example in enumerate(examples(12)):
            read.append(i)
            yield example

    walks = perturb_many(class_logit, lazily(), network(), batch_size=2, iterations=10)
    next(walks)
    # Two finished, two in the slots, two waiting.
    assert max(read) <= 5
    maps = map_many(class_logit, lazily(), network(), batch_size=2)
    read.clear()
    next(maps)
    # One batch finished, one under way, two waiting.
    assert max(read) <= 7


def test_progress_adds_up_to_all_steps_whatever_stops_early():
    seen = []
    list(perturb_many(class_logit, examples(5), network(), batch_size=2, progress=seen.append, **OPTIONS))
    assert sum(seen) == 5 * OPTIONS["iterations"]
    assert min(seen) >= 0
    seen.clear()
    list(map_many(class_logit, examples(5), network(), batch_size=2, progress=seen.append))
    assert seen == [2, 2, 1]


def test_stop_by_change_is_the_same_in_slots():
    with jax.enable_x64(True):
        net, given = network(jnp.float64), examples(3, jnp.float64)
        options = {"iterations": 200, "stop_change": 0.02, "window": 10}
        for index, walk in perturb_many(class_logit, given, net, batch_size=2, **options):
            alone = perturb(class_logit, jnp.asarray(given[index][0]), net, *given[index][1], **options)
            assert int(walk.steps) == int(alone.steps) < 200
            np.testing.assert_allclose(walk.perturbed, alone.perturbed, atol=1e-9)


RULES = [
    {},
    {"stop_loss": -0.5},
    {"stop_change": 0.02, "window": 10},
    {"stop_change": 0.02, "window": 10, "stop_loss": -1.0},
    {"stop_change": 1e-9, "window": 9},
    {"clip": (0.2, 0.8), "stop_change": 0.05, "window": 4},
]


@pytest.mark.parametrize("rules", RULES)
def test_what_is_returned_is_what_was_measured_with_every_stopping_rule(rules):
    with jax.enable_x64(True):
        net, given = network(jnp.float64), examples(5, jnp.float64)
        for index, walk in perturb_many(class_logit, given, net, batch_size=2, iterations=50, **rules):
            image, args = given[index]
            alone = perturb(class_logit, jnp.asarray(image), net, *args, iterations=50, **rules)
            measured = class_logit(walk.perturbed, net, *args)
            assert float(walk.last_loss) == pytest.approx(float(measured), abs=1e-9)
            assert float(walk.first_loss) == pytest.approx(float(class_logit(jnp.asarray(image), net, *args)), abs=1e-9)
            assert (int(walk.steps), int(walk.status)) == (int(alone.steps), int(alone.status))


def test_a_walk_that_its_last_comparison_ends_leaves_its_slot_at_once(monkeypatch):
    calls, advanced = [], slots.advanced
    monkeypatch.setattr(slots, "advanced", lambda *args: calls.append(1) or advanced(*args))
    options = {"iterations": 200, "stop_change": 0.5, "window": 10}
    walks = list(perturb_many(class_logit, examples(3), network(), batch_size=1, **options))
    assert len(calls) == sum(int(walk.steps) // 10 for _, walk in walks)


def test_memory_does_not_grow_with_the_number_of_examples():
    def held():
        return sum(array.nbytes for array in jax.live_arrays())

    net, stream = network(), (examples(1)[0] for _ in range(400))
    for run in (
        perturb_many(class_logit, stream, net, batch_size=4, iterations=2),
        map_many(lambda image, network, label: image, (examples(1)[0] for _ in range(400)), net, batch_size=4),
    ):
        bytes_held = [held() for _ in run]
        # As much at the end as at the beginning, but for the batch that may or may not be read ahead at that moment;
        # 200 examples more lie between.
        assert max(bytes_held[300:]) <= max(bytes_held[:100]) + 4 * examples(1)[0][0].nbytes


def test_no_examples_give_no_results():
    assert list(perturb_many(class_logit, [], network())) == []
    assert list(map_many(class_logit, [], network())) == []


def test_a_plain_function_may_be_the_network():
    ((index, walk),) = perturb_many(class_logit, examples(1), lambda x: jnp.sum(x, axis=(0, 1)), iterations=2)
    assert (index, int(walk.steps)) == (0, 2)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"stepsize": 1}, TypeError, "stepsize"),
        ({"batch_size": 0}, ValueError, "batch_size=0: expected 1 or more"),
        ({"window": 0}, ValueError, "window=0: expected a whole number, 1 or more"),
    ],
)
def test_a_bad_option_is_named_before_the_first_example_is_read(options, error, words):
    with pytest.raises(error, match=words):
        perturb_many(class_logit, iter(()), network(), **options)


def test_an_example_of_another_shape_is_named():
    given = [*examples(3), (np.zeros((8, 8, 3), np.float32), (0,))]
    for run in (
        perturb_many(class_logit, given, network(), batch_size=2, iterations=3),
        map_many(class_logit, given, network(), batch_size=2),
    ):
        seen = []
        with pytest.raises(
            ValueError, match=r"example 3: .* float32\[8, 8, 3\], int32\[\]; expected float32\[32, 32, 3\], int32\[\]"
        ):
            seen.extend(index for index, _ in run)
        assert not reading_threads()


@pytest.mark.parametrize("broken_at", [0, 1, 4, 5])
def test_an_error_in_the_examples_comes_after_everything_before_it(broken_at):
    def broken():
        yield from examples(broken_at)
        raise OSError("the disk is gone")

    runs = (
        perturb_many(class_logit, broken(), network(), batch_size=2, **OPTIONS),
        map_many(class_logit, broken(), network(), batch_size=2),
    )
    for run in runs:
        seen = []
        with pytest.raises(OSError, match="the disk is gone"):
            seen.extend(index for index, _ in run)
        assert seen == list(range(broken_at))
        assert not reading_threads()


def test_no_thread_is_left_when_the_consumer_stops_early():
    def endless():
        while True:
            yield examples(1)[0]

    for run in (
        perturb_many(class_logit, endless(), network(), batch_size=2, iterations=3),
        perturb_many(class_logit, endless(), network(), batch_size=2, iterations=3, in_order=False),
        map_many(class_logit, endless(), network(), batch_size=2),
    ):
        next(run)
        assert reading_threads()
        run.close()
        assert not reading_threads()


def test_ctrl_c_takes_effect_while_waiting_for_an_example():
    def slow():
        yield from examples(3)
        until = time.monotonic() + 60
        while main_thread_is_in() != "Ahead.__next__" and time.monotonic() < until:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)
        yield from examples(3)

    for run in (
        perturb_many(class_logit, slow(), network(), batch_size=2, iterations=3),
        map_many(class_logit, slow(), network(), batch_size=2),
    ):
        with pytest.raises(KeyboardInterrupt), closing(run):
            list(run)
        assert not reading_threads()


def test_ctrl_c_while_the_reading_begins_leaves_no_thread():
    def interrupted():
        while True:
            # Python loses an interrupt that it meets in a callback of its own; then nobody has ended this generator.
            os.kill(os.getpid(), signal.SIGINT)
            until = time.monotonic() + 20
            while time.monotonic() < until:
                yield 0

    for _ in range(20):
        with pytest.raises(KeyboardInterrupt), Ahead(interrupted(), depth=2) as ahead:
            list(ahead)
        assert not reading_threads()


def test_examples_are_decoded_while_the_devices_are_at_work():
    """A thread other than the consumer's reads all but the first example."""
    threads = []

    def told():
        for example in examples(6):
            threads.append(threading.current_thread().name)
            yield example

    list(map_many(class_logit, told(), network(), batch_size=2))
    assert set(threads[1:]) == {"fame-jax-ahead"}


def traced(image, network, label):
    traced.times += 1
    return class_logit(image, network, label)


def test_one_compilation_serves_any_number_of_batches_labels_and_steps(monkeypatch):
    monkeypatch.setattr(devices, "MOST_ON_CPU", 4)
    traced.times = 0
    net = network()
    for count, iterations, stop in ((3, 4, -1.0), (8, 9, -2.0), (1, 2, -3.0)):
        walks = perturb_many(
            traced, examples(count), net, batch_size=2, iterations=iterations, stop_loss=stop, window=3
        )
        assert len(list(walks)) == count
    assert traced.times == 1
    for count in (3, 8, 1):
        assert len(list(map_many(traced, examples(count), net, batch_size=2))) == count
    assert traced.times == 2
    # A batch size found by compiling does not compile again for the run itself.
    program = perturb_many(traced, examples(2), net, iterations=3, stop_loss=-1.0, window=3)
    list(program)
    assert traced.times == 2, "an automatic batch of two is the batch of two from above"


def test_mapped_in_batches_is_the_function_of_one_example():
    def both(image, network, label, key):
        return {"logit": class_logit(image, network, label), "noise": jax.random.uniform(key, (2,))}

    net = network()
    given = [(image, (*args, jax.random.key(i))) for i, (image, args) in enumerate(examples(7))]
    found = list(map_many(both, given, net, batch_size=3))
    assert [index for index, _ in found] == list(range(7))
    for index, value in found:
        image, args = given[index]
        alone = both(jnp.asarray(image), net, *args)
        assert isinstance(value["logit"], np.generic | np.ndarray)
        np.testing.assert_allclose(value["logit"], alone["logit"], rtol=1e-5)
        np.testing.assert_array_equal(value["noise"], alone["noise"])


def test_a_function_that_returns_python_numbers_is_mapped_one_by_one_too():
    for size in (1, 2):
        found = map_many(
            lambda image: {"mean": image.mean(), "one": 1}, [(x, ()) for x, _ in examples(2)], batch_size=size
        )
        assert [value["one"] for _, value in found] == [1, 1]


def test_a_count_of_nothing_that_is_not_true_ends_in_no_division():
    found = list(map_many(lambda image: image.mean(), [(x, ()) for x, _ in examples(1)], count=0))
    assert len(found) == 1


def test_a_device_may_be_named_by_its_platform():
    with jax.default_device("cpu"):
        assert devices.local_mesh().size == 1


def test_a_walk_that_is_never_looked_at_is_refused():
    with pytest.raises(OptionError, match="window=0"):
        next(watch(class_logit, examples(1)[0], network(), every=0, iterations=2))
