import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fame_jax
from fame_jax import Status
from fame_jax.metrics.evenness import FLAT, NEARLY_UNIFORM, Remark, remark, strongest_tenth

PAGE = pathlib.Path(fame_jax.__file__).parent / "docs" / "read_a_map_honestly.md"
NOISE = np.random.default_rng(0).random((224, 224), np.float32)


@pytest.mark.parametrize("shape", [(10, 10), (112, 112), (224, 224), (37, 53)])
def test_a_flat_map_has_a_tenth_of_its_mass_in_a_tenth_of_its_area(shape):
    assert float(strongest_tenth(np.full(shape, 0.7, np.float32))) == pytest.approx(FLAT, rel=1e-5)


def test_a_map_of_one_pixel_has_all_of_it_there():
    map = np.zeros((224, 224), np.float32)
    map[100, 50] = 1
    assert float(strongest_tenth(map)) == pytest.approx(1)


def test_known_answer_for_a_map_that_is_three_times_as_strong_in_its_left_half():
    map = np.where(np.arange(40) < 20, 3, 1)[None, :].repeat(20, 0).astype(np.float32)
    assert float(strongest_tenth(map)) == pytest.approx(10 * 3 / (50 * 3 + 50 * 1))


def test_scale_does_not_matter_and_vmap_equals_the_loop():
    maps = jnp.asarray(np.stack([NOISE, NOISE**4, 7 * NOISE**4]))
    several = jax.vmap(strongest_tenth)(maps)
    np.testing.assert_allclose(several, [float(strongest_tenth(map)) for map in maps], rtol=1e-6)
    assert float(several[1]) == pytest.approx(float(several[2]), rel=1e-5)


def test_a_map_smaller_than_the_grid_is_refused():
    with pytest.raises(ValueError, match="at least 10 by 10"):
        strongest_tenth(np.ones((9, 20), np.float32))


def test_noise_is_nearly_uniform_and_a_map_that_points_somewhere_is_not():
    assert float(strongest_tenth(NOISE)) < NEARLY_UNIFORM
    assert remark(NOISE).kind == "nearly uniform"
    assert "10.5% of the map (flat: 10%)" in remark(NOISE).words
    pointing = np.exp(-((np.mgrid[:224, :224] - 112) ** 2).sum(0) / 5000).astype(np.float32)
    assert remark(pointing) == Remark()


def test_blank_and_damaged_maps_are_named():
    assert remark(np.zeros((20, 20), np.float32)).kind == "blank map"
    assert remark(np.ones((8, 8), np.float32)) == Remark()  # too small for cells
    assert remark(np.zeros((8, 8), np.float32)).kind == "blank map"
    assert remark(np.full((20, 20), np.nan, np.float32)).kind == "not finite"


@pytest.mark.parametrize(
    ("found", "status", "text"),
    [
        (Remark(), "ok", "ok"),
        (Remark("blank map", "blank map: every pixel is zero"), "blank map", "blank map: every pixel is zero"),
        (Remark("blank map", "blank map: why"), "zero gradient", "zero gradient, blank map: why"),
    ],
)
def test_status_and_remark_do_not_say_the_same_twice(found, status, text):
    assert found.beside(status) == text


def test_the_page_about_honest_reading_says_what_the_code_does():
    page = PAGE.read_text()
    words = " ".join(page.split())
    assert f"Below {NEARLY_UNIFORM:.0%} the map is called *nearly uniform*" in words
    assert f"A flat map has exactly {FLAT:.0%}, uniform noise {float(strongest_tenth(NOISE)):.1%}" in words
    for status in Status:
        assert f"`{status.message}`" in page
