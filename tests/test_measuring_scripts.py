"""The scripts that measure maps: their variants are methods, and they run from end to end."""

import pathlib
import re
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fame_jax import class_logit, explain
from fame_jax.cli.console import InputError
from fame_jax.explainers.table import explainer
from tests.datasets import synthetic

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / "scripts"))

import grid_pointing
import search_steps
from walk_variants import VARIANTS, smaller_last_steps

IMAGE = jax.random.uniform(jax.random.key(0), (32, 32, 3))
OWN = [name for name, (method, _) in VARIANTS.items() if method != "fame"]


class Network:
    """Two layers with a kink, as a pytree of weights would be."""

    def __init__(self):
        self.inner = jax.random.normal(jax.random.key(1), (32 * 32 * 3, 16)) / 55
        self.outer = jax.random.normal(jax.random.key(2), (16, 4))

    def __call__(self, image):
        # Any size: the coarse walk sees the image at half its size.
        inner = self.inner[: image.size].astype(image.dtype)
        return jnp.abs(image.ravel() @ inner) @ self.outer.astype(image.dtype)


NETWORK = Network()


@pytest.fixture
def photographs(tmp_path):
    """Four small pictures of four classes."""
    folder = tmp_path / "photographs"
    folder.mkdir()
    for label in range(4):
        synthetic.save(folder / f"{label}_n.png", synthetic.pattern([label], 60, 80))
    return folder


def test_options_of_variants_are_those_of_their_methods():
    for method, options in VARIANTS.values():
        assert explainer(method).chosen("class", options) == options


@pytest.mark.parametrize("name", OWN)
def test_every_variant_gives_maps_of_the_image(name):
    method, options = VARIANTS[name]
    map = explainer(method).explain(NETWORK, IMAGE, 1, **options).attribution
    assert map.shape == IMAGE.shape[:2]
    assert np.isfinite(map).all()
    assert 0 <= map.min() <= map.max() == pytest.approx(1)


def test_smaller_last_steps_go_as_far_as_equal_ones_where_the_gradient_does_not_turn():
    weights = jax.random.normal(jax.random.key(3), IMAGE.shape)
    linear = lambda image: jnp.sum(weights * image)[None]  # noqa: E731
    walk = explain(class_logit, IMAGE, linear, 0, iterations=25, optimizer=smaller_last_steps)
    # 2, 1.92, ..., 0.08 grey levels, which sum up to 26.
    assert float(jnp.max(jnp.abs(walk.perturbed - IMAGE))) * 255 == pytest.approx(26, abs=1e-2)


def test_random_maps_point_at_a_quarter_of_a_grid(photographs, tmp_path, capsys):
    grid_pointing.main(photographs, methods=("random", "gradient"), grids=1, out=tmp_path / "grids")
    found = re.search(r"\| Random +\| (\S+) \[", capsys.readouterr().out)
    assert float(found[1]) == pytest.approx(0.25, abs=0.01)


@pytest.mark.slow
def test_a_variant_differs_from_itself_by_nothing(photographs, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(VARIANTS, search_steps.REFERENCE, ("fame", {"iterations": 2}))
    search_steps.main(photographs, variants=(search_steps.REFERENCE, "1 steps"), number=2, out=tmp_path / "steps")
    same, other = capsys.readouterr().out.splitlines()[-2:]
    assert same.count("+0.000 [+0.000, +0.000]") == 4
    assert "1.000 [1.000, 1.000]" in same
    assert other.count("+0.000 [+0.000, +0.000]") < 4


def test_an_unknown_variant_is_refused(tmp_path):
    with pytest.raises(InputError, match="did you mean momentum"):
        search_steps.main(tmp_path, variants=("momentun",))
