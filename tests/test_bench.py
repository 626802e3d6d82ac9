"""What is timed is the walk, all of it, and ratios are of turns taken alternately."""

import itertools

import jax.numpy as jnp
import pytest

from fame_jax import bench
from fame_jax.models import build


def ticking(durations):
    """A clock that goes on by the next duration at every second reading."""
    now, durations = 0.0, iter(durations)
    for reading in itertools.count():
        now += next(durations) if reading % 2 else 0
        yield now


def test_sides_take_turns_and_the_ratio_is_the_median_over_turns():
    order = []
    clock = ticking([1, 2, 1, 4, 9, 3])
    sides = {"one": lambda: order.append("one"), "other": lambda: order.append("other")}
    times = bench.alternating(sides, 3, lambda: next(clock))
    assert order == ["one", "other"] * 3
    assert times == {"one": [1, 1, 9], "other": [2, 4, 3]}
    assert bench.ratio(times, "one", "other") == 0.5


def test_linearity_is_zero_for_equal_steps_and_finds_a_step_that_costs_more():
    even, uneven = ticking([2, 4, 8]), ticking([2, 4, 12])
    assert bench.linearity(lambda n: n, (2, 4, 8), 1, lambda: next(even)) == 0
    assert bench.linearity(lambda n: n, (2, 4, 8), 1, lambda: next(uneven)) == 0.5


def test_an_image_of_a_batch_costs_its_share_of_every_evaluation():
    speed = bench.Speed("mobilenet_v2", "float32", 4, 1.0, 0.2, None)
    assert speed.image_seconds(500) == pytest.approx(0.2 * 501 / 4)


@pytest.fixture(scope="module")
def walk():
    return bench.program(build("sface"), "sface", "float32", 2)


def test_the_program_takes_the_steps_that_are_timed(walk):
    walks = bench.completed(walk.run(3), 3)
    assert walks.steps.tolist() == [2, 2]
    assert walk.compile_seconds > 0
    assert float(jnp.max(jnp.abs(walks.perturbed - walk.images))) * 255 == pytest.approx(2, abs=0.01)


def test_a_walk_that_ended_early_is_no_measurement(walk):
    with pytest.raises(RuntimeError, match="after 1 of 5 steps"):
        bench.completed(walk.run(2), 6)


def test_a_profile_names_operations_and_their_shares(walk, tmp_path):
    shares = bench.profile(lambda: walk.run(2).perturbed, tmp_path)
    assert shares
    assert 0 < sum(share for _, share in shares) <= 1 + 1e-9
