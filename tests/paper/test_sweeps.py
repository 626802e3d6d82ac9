"""Sweeps of an option tell how far they are."""

import jax.numpy as jnp
import pytest

from fame_jax.losses import class_logit
from fame_jax.paper import sweeps


@pytest.mark.parametrize("option", ["blur", "steps", "step_size"])
def test_every_walk_of_a_sweep_is_counted_as_it_ends(option):
    image = jnp.linspace(0, 1, 64 * 64 * 3).reshape(64, 64, 3)
    cases, counted = [sweeps.Case(image, class_logit, (label,)) for label in (0, 1)], []
    swept = sweeps.sweep(option, lambda image: image[::4, 0].sum(0) ** 2, cases, 12, counted.append)
    assert sum(counted) == 2 * sweeps.walks(option, 12)
    assert swept.maps.shape[:2] == (2, len(swept.values))
