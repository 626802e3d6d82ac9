import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fame_jax.metrics.locality import cell_edges, locality


def box(top, bottom, left, right):
    return jnp.zeros((56, 56)).at[top:bottom, left:right].set(1.0)


def test_map_that_is_its_cell_lies_inside_and_is_not_shifted():
    found = locality(box(8, 16, 24, 32), (1, 3), (7, 7))
    assert float(found.outside) == pytest.approx(0, abs=1e-6)
    assert float(found.shift) == pytest.approx(0, abs=1e-4)


def test_map_in_another_cell_lies_outside_and_is_shifted_by_the_cells_between():
    found = locality(box(24, 32, 0, 8), (1, 3), (7, 7))
    assert float(found.outside) == pytest.approx(1, abs=1e-6)
    assert float(found.shift_rows) == pytest.approx(16, abs=1e-3)
    assert float(found.shift_columns) == pytest.approx(-24, abs=1e-3)
    assert float(found.shift) == pytest.approx(np.hypot(16, 24), abs=1e-3)


def test_half_of_the_mass_lies_within_the_radius():
    # A uniform disc of radius r holds half its mass within r / sqrt(2).
    rows, columns = jnp.meshgrid(jnp.arange(201.0), jnp.arange(201.0), indexing="ij")
    disc = (jnp.hypot(rows - 100, columns - 100) <= 80).astype(jnp.float32)
    assert float(locality(disc, (0, 0), (1, 1)).radius) == pytest.approx(80 / np.sqrt(2), abs=0.5)


def test_blank_map_has_no_place():
    assert all(np.isnan(np.asarray(value)) for value in locality(jnp.zeros((56, 56)), (0, 0), (7, 7)))


def test_cells_cover_the_image_once():
    edges = [cell_edges(i, 7, 112) for i in range(7)]
    assert int(edges[0][0]) == 0
    assert int(edges[-1][1]) == 112
    assert all(int(a[1]) == int(b[0]) for a, b in itertools.pairwise(edges))


def test_vmap_over_locations_equals_a_loop():
    maps = jax.random.uniform(jax.random.key(0), (4, 28, 28))
    locations = jnp.asarray([[0, 0], [1, 2], [3, 1], [2, 3]])
    together = jax.vmap(lambda m, k: locality(m, k, (4, 4)))(maps, locations)
    for i in range(4):
        for a, b in zip(together, locality(maps[i], locations[i], (4, 4)), strict=True):
            np.testing.assert_allclose(a[i], b, rtol=1e-5, atol=1e-5)
