"""Maps in full, in half the bytes and in grey levels: how far off they are, and what is refused rather than clipped."""

import json

import jax.numpy as jnp
import numpy as np
import pytest

from fame_jax.experiments.kept import UnkeptError, decoded, encoded
from fame_jax.experiments.run import run
from fame_jax.experiments.score import score
from fame_jax.experiments.store import DONE, FAILED, PENDING, RunError
from tests.experiments import tiny

ROUNDING = 2**-24
"""Of a float32 between 0.5 and 1."""


def explained(folder, out, method="random", dtype="uint8", **how):
    chosen = tiny.settings(None, dtype=dtype)
    return run(tiny.network(), tiny.dataset(folder), method, out, chosen, card=tiny.card(), **how)


def test_grey_levels_are_off_by_half_a_level_at_most():
    values = np.linspace(0, 1, 100_004).reshape(4, -1)
    error = np.abs(decoded(encoded(values, "uint8")) - values).max()
    assert 0.999 / 510 < error <= 1 / 510 + ROUNDING
    np.testing.assert_array_equal(
        decoded(encoded(np.arange(256)[None] / 255, "uint8")), np.arange(256, dtype="f4")[None] / 255
    )


def test_half_floats_are_off_by_two_to_the_minus_eleven_of_a_value():
    values = np.random.default_rng(0).uniform(1, 2, (20, 5000)) * 2.0 ** -np.arange(1, 21)[:, None]
    values *= np.random.default_rng(1).choice([-1, 1], values.shape)
    found = decoded(encoded(values, "float16"))
    error, normal = np.abs(found - values), np.abs(values) >= 2**-14
    assert 0.9 * 2**-11 < (error / np.abs(values))[normal].max() <= 2**-11
    assert 0 < error[~normal].max() <= 2**-25
    assert (np.sign(found[normal]) == np.sign(values[normal])).all(), "a negative value stays one"


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "uint8"])
def test_nothing_and_everything_are_kept_as_they_are(dtype):
    whole = encoded(np.float32([[0, 1]]), dtype)
    assert whole.dtype == dtype
    assert decoded(whole).dtype == np.float32
    assert decoded(whole).tolist() == [[0, 1]]


@pytest.mark.parametrize(
    ("values", "dtype", "words"),
    [
        ([-0.25, 1], "uint8", r"runs from -0.25 to 1, and uint8 has 0 to 1"),
        ([0, 1.5], "uint8", r"runs from 0 to 1.5"),
        ([0, np.nan], "uint8", r"runs from nan to nan"),
        ([0, np.inf], "uint8", r"runs from 0 to inf"),
        ([-1e5, 1], "float16", r"float16 has numbers up to 6.55e\+04"),
        ([0, 1e39], "float32", r"float32 has numbers up to 3.4e\+38"),
    ],
)
def test_what_a_dtype_does_not_have_is_refused_and_not_clipped(values, dtype, words):
    with pytest.raises(UnkeptError, match=words):
        encoded(np.asarray([values]), dtype)


def test_what_rounding_has_put_beyond_one_is_one():
    assert decoded(encoded(np.float32([[-1e-7, 1 + 1e-6]]), "uint8")).tolist() == [[0, 1]]
    assert np.isnan(decoded(encoded([[np.nan]], "float16"))).all(), "floats have what is not finite"


def test_a_run_of_grey_levels_is_that_of_floats_to_half_a_level(folder, tmp_path):
    zarr = pytest.importorskip("zarr")
    full, grey = explained(folder, tmp_path / "full", dtype="float32"), explained(folder, tmp_path / "grey")
    for index in (0, 1, 2, 4):
        assert grey.map(index).dtype == np.float32
        assert 0 < np.abs(grey.map(index) - full.map(index)).max() <= 1 / 510 + ROUNDING
    array = zarr.open_array(tmp_path / "grey" / "arrays" / "attribution", mode="r")
    assert array.dtype == np.uint8
    np.testing.assert_allclose(np.asarray(array[4]) * array.attrs["scale_factor"], grey.map(4), atol=ROUNDING)
    before = tiny.contents(grey.folder)
    (grey.folder / "arrays" / "state" / "c" / "1").unlink()
    explained(folder, tmp_path / "grey", dtype=None)
    assert tiny.contents(grey.folder) == before, "a run that is continued keeps its dtype"
    with pytest.raises(RunError, match='dtype "uint8" -> "float32"'):
        explained(folder, tmp_path / "grey", dtype="float32")
    assert [row.reason is None for row in score(grey, mean, network=tiny.network()).rows] == [
        True,
        True,
        True,
        False,
        True,
    ]


def mean(network, subject):
    return jnp.mean(subject.attribution)


def signed(network, image, label):
    return jnp.mean(image, axis=-1) - 0.5


def test_a_method_with_a_sign_ends_each_block_in_one_line_and_is_kept_by_floats(tmp_path):
    tiny.pictures(folder := tmp_path / "pictures", 4)
    found = explained(folder, tmp_path / "grey", signed)
    assert found.column("state").tolist() == [PENDING] * 4
    reason = found.failures()[0]
    assert "uint8 has 0 to 1; choose another --dtype, and a new folder" in reason
    assert "\n" not in reason
    half = explained(folder, tmp_path / "half", signed, "float16")
    assert half.map(0).min() < 0 < half.map(0).max()


def test_of_a_method_that_seldom_leaves_the_range_those_records_fail(folder, tmp_path):
    first = {index: image[0, 0, 0] for index, image in _images(folder, tmp_path).items()}
    odd = max(first, key=first.get)

    def seldom(network, image, label, bound=float(first[odd])):
        return jnp.where(image[0, 0, 0] >= bound, 2, 1) * jnp.mean(image, axis=-1)

    found = explained(folder, tmp_path / "grey", seldom)
    assert found.column("state").tolist() == [FAILED if index in (odd, 3) else DONE for index in range(5)]
    assert "uint8 has 0 to 1" in found.failures()[odd]
    assert not found.map(odd).any()


def _images(folder, tmp_path):
    """What the method sees, by record."""

    def seen(network, image, label):
        return image[..., 0]

    found = explained(folder, tmp_path / "seen", seen, "float32")
    return {index: found.map(index)[..., None] for index in (0, 1, 2, 4)}


def test_the_layout_of_floats_is_that_of_old_runs(folder, tmp_path):
    found = explained(folder, tmp_path / "full", dtype=None)
    assert found.manifest["dtype"] == "float32"
    about = json.loads((found.folder / "arrays" / "attribution" / "zarr.json").read_text())
    assert (about["data_type"], about["fill_value"]) == ("float32", 0)
    assert not about.get("attributes")
