"""The scripts that measure maps: their variants are methods, and they run from end to end."""

import pathlib
import re
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fame_jax import class_logit, explain, models
from fame_jax.cli.console import InputError
from fame_jax.explainers.table import explainer
from fame_jax.losses import class_evidence
from fame_jax.network import Split
from tests.datasets import synthetic

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / "scripts"))

import evidence_ablations
import grid_pointing
import region_swap
import search_steps
import study_faithfulness
import study_tables
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


def pooled():
    """A pooled linear head on a map of 4x4 places."""
    inner, outer = jax.random.normal(jax.random.key(4), (8 * 8 * 3, 5)), jax.random.normal(jax.random.key(5), (5, 4))
    places = lambda image: image.reshape(4, 8, 4, 8, 3).swapaxes(1, 2).reshape(4, 4, -1)  # noqa: E731
    return Split(lambda image: jnp.tanh(places(image - 0.5) @ inner / 3), lambda x: jnp.mean(x, (0, 1)) @ outer + 1)


def test_ablations_leave_out_what_they_say():
    network, label = pooled(), 2
    score, of_score = jax.value_and_grad(class_logit)(IMAGE, network, label)
    whole, of_whole = jax.value_and_grad(evidence_ablations.unrectified)(IMAGE, network, label)
    assert float(whole) == pytest.approx(float(score) - 1, abs=1e-5)
    np.testing.assert_allclose(of_whole, of_score, atol=1e-7)
    evidence = class_evidence(IMAGE, network, label)
    assert float(evidence) > float(whole) + 0.01
    gradient = jax.grad(lambda x: network.head(x)[label])(network.features(IMAGE))
    assert float(evidence_ablations.with_gradient(IMAGE, network, gradient)) == pytest.approx(float(evidence), rel=1e-6)
    assert float(evidence_ablations.of_others(IMAGE, network, label)) != pytest.approx(float(evidence), rel=1e-2)
    rows = evidence_ablations.ABLATIONS
    both = [explainer("fame_evidence"), rows["evidence_frozen"]]
    same = [row.explain(network, IMAGE, label, iterations=1).attribution for row in both]
    np.testing.assert_allclose(*same, atol=1e-6)
    both = [explainer("fame"), rows["evidence_unrectified"]]
    same = [row.explain(network, IMAGE, label, iterations=3).attribution for row in both]
    np.testing.assert_allclose(*same, atol=1e-4)


def test_products_are_those_of_both_maps(monkeypatch):
    network, key = pooled(), jax.random.key(7)
    monkeypatch.setattr(evidence_ablations, "cut", lambda network: network)
    cam = explainer("grad_cam").explain(network, IMAGE, 2).attribution
    noise = explainer("random_blurred").explain(network, IMAGE, 2, key=key).attribution
    walk = explainer("fame_evidence").explain(network, IMAGE, 2, iterations=2, sigma=2.0).attribution
    assert cam.any()
    for name, other, options in (("noise_cam", noise, {}), ("earlier_cam", walk, {"iterations": 2, "sigma": 2.0})):
        product = evidence_ablations.ABLATIONS[name].explain(network, IMAGE, 2, key=key, **options).attribution
        np.testing.assert_allclose(product, cam * other / np.max(cam * other), atol=1e-5)


@pytest.mark.thorough
def test_the_earlier_map_is_another_cut_of_the_same_network():
    network, image = models.build("mobilenet_v2"), jax.random.uniform(jax.random.key(6), (32, 32, 3))
    parts = evidence_ablations.cut(network)
    assert jax.eval_shape(parts.features, jax.ShapeDtypeStruct((224, 224, 3), jnp.float32)).shape == (14, 14, 96)
    found, expected = jax.jit(lambda image: (parts(image), network(image)))(image)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.thorough
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


def test_budgets_are_gradients_and_blurs_are_exact():
    spelt = [f"{name}:loss=logit" if name == "expected_gradients" else name for name in study_faithfulness.OF_CLASSES]
    variants = [v for name in spelt for v in study_faithfulness.variants_of(name, "class", (1, 5, 25, 125), (4.0,))]
    assert len({variant.name for variant in variants}) == len(variants)
    for variant in variants:
        row = explainer(variant.method)
        options = row.chosen("class", variant.options)
        if "starts" in options:
            assert options["starts"] * options["iterations"] in (1, 5, 25, 125)
        if "sigma" in row.options("class"):
            assert (options["sigma"], options["kernel_size"]) == (4.0, None)
    assert {v.name for v in variants} >= {"fame-g1-s4", "fame_starts-g125-s4", "grad_cam", "blob"}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["gradient", "smooth_grad", "integrated_gradients", *study_faithfulness.OF_CLASSES])
def test_a_wider_blur_makes_every_map_of_pixels_smoother(name):
    variants = [*study_faithfulness.variants_of(name, "class", (4,), (1.0, 3.0))]
    if len(variants) == 1:
        # Maps of cells have the resolution of the feature map, the floors white noise and blob their own.
        assert name in ("grad_cam", "layer_cam", "fullgrad", "random", "blob")
        return
    key = jax.random.key(8)
    maps = [v.method.explain(pooled(), IMAGE, 2, key=key, **v.options).attribution for v in variants]
    roughness = [float(np.abs(np.diff(map, axis=0)).mean() / map.mean()) for map in maps]
    assert roughness[1] < roughness[0]


def test_the_best_blur_is_that_of_the_highest_score():
    figures = {
        f"fame-s{sigma}": {("road", "higher"): {"a": value, "b": value + 1}, ("deletion", "lower"): {"a": 0.5}}
        for sigma, value in ((2, 1.0), (4, 3.0), (8, 2.0))
    }
    assert study_tables.best(figures | {"blob": {("road", "higher"): {"a": 0.0}}}) == {"fame-s4", "blob"}


def test_tables_say_who_is_clear_of_floors_and_reference():
    names = [f"{index}" for index in range(12)]
    values = {"ours": 2.0, "blob": 1.0, "random": 3.0}
    column = ("drop", "higher")
    figures = {name: {column: {n: value + i / 100 for i, n in enumerate(names)}} for name, value in values.items()}
    lines = study_tables.means(figures).splitlines()
    assert next(line for line in lines if line.startswith("| ours")).split("|")[2].strip() == "2.055 c"
    table = study_tables.differences(figures, ("blob",), 2000).splitlines()
    assert [line.split("|")[5].strip() for line in table[2:]] == ["yes", "yes"]
    assert "+1.0000 [+1.0000, +1.0000]" in table[2]


def test_only_the_region_is_somebody_elses():
    face, other = jnp.zeros((112, 112, 3)), jnp.ones((112, 112, 3))
    patched = region_swap.with_region(face, other, "mouth")
    inside = np.argwhere(region_swap.mask("mouth"))
    middle = tuple(inside.mean(0).astype(int))
    assert float(patched[middle].min()) == pytest.approx(1, abs=1e-3)
    assert not patched[:70].any()
    assert 0.99 < float(patched.sum()) / (3 * len(inside)) < 1.01


@pytest.mark.slow
def test_a_study_goes_on_where_it_was(photographs, tmp_path, capsys):
    how = {"methods": ("grad_cam", "random"), "metric": ("road", "grid"), "grids": 1, "resamples": 50}
    study_faithfulness.main(photographs, out=tmp_path, **how)
    first = capsys.readouterr().out
    assert "| random" in first
    maps = sorted(tmp_path.rglob("manifest.json"))
    times = [path.stat().st_mtime_ns for path in maps]
    study_faithfulness.main(photographs, out=tmp_path, **how)
    assert capsys.readouterr().out == first
    assert [path.stat().st_mtime_ns for path in maps] == times


def test_an_unknown_variant_is_refused(tmp_path):
    with pytest.raises(InputError, match="did you mean momentum"):
        search_steps.main(tmp_path, variants=("momentun",))
