"""The metrics of the study with maps of their own, and its tables."""

import pathlib
import sys
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fame_jax import models
from fame_jax.cli.console import InputError
from fame_jax.data.faces import SUNGLASSES
from fame_jax.data.records import PairRecord, Picture
from fame_jax.experiments.settings import Settings
from fame_jax.experiments.store import Run
from fame_jax.explainers.table import explainer
from fame_jax.inputs import geometry, images
from fame_jax.metrics import pearson
from fame_jax.metrics.table import Subject
from tests.datasets import synthetic
from tests.experiments import tiny

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / "scripts"))

import grid_pointing
import region_swap
import study_faithfulness
import study_games
import study_tables
from study_faithfulness import Study, Variant

OWN = "tests/own_network.py:network"
ROLES = ("probe_similar", "probe_dissimilar", "gallery_similar", "gallery_dissimilar")


def photographs(folder, labels):
    for label in labels:
        synthetic.save(folder / f"{label}_n.png", synthetic.pattern([label], 60, 80))
    return folder


def printed(capsys):
    """The table of means by method and column, and the rows of the other."""
    tables = [block for block in capsys.readouterr().out.split("\n\n") if block.startswith("| method")]
    means, others = ([_cells(line) for line in table.strip().splitlines()] for table in tables)
    return {row[0]: dict(zip(means[0][1:], row[1:], strict=True)) for row in means[2:]}, others[2:]


def _cells(line):
    return [cell.strip() for cell in line.split("|")[1:-1]]


def of_pairs(tmp_path, again=4):
    network = models.Loaded(tiny.card("pair"), tiny.network("pair"))
    settings = Settings(batch_size=2, block_size=2)
    games = study_games.games("tiny", network, "pair", settings, grids=0, again=again)
    tiny.pictures(tmp_path / "faces", 5)
    return Study("tiny", "pair", settings, games), tiny.dataset(tmp_path / "faces", "pair")


def variant(name, **options):
    return Variant(name, explainer(name, "pair"), options)


def mean(figures, column):
    return float(np.mean([*figures[column].values()]))


def test_noise_that_knows_no_photograph_is_alike_in_all_precisions_alone(tmp_path, capsys):
    first, second = photographs(tmp_path / "first", (0, 1)), photographs(tmp_path / "second", (2,))
    how = {"model": OWN, "methods": ("blob", "random"), "metric": ("float64", "noise"), "resamples": 20}
    study_faithfulness.main(first, again=1, out=tmp_path / "a", **how)
    capsys.readouterr()
    study_faithfulness.main(second, reference=("blob",), also=(tmp_path / "a",), out=tmp_path / "b", **how)
    means, differences = printed(capsys)
    assert means["blob"] == {"float64 ↑": "1.000", "noise ↑": "1.000 n"}
    assert means["random"]["float64 ↑"] == "1.000"
    # Another photograph, other random numbers.
    assert float(means["random"]["noise ↑"].split()[0]) == pytest.approx(0, abs=0.1)
    # One map of each study was made again.
    assert [row[-1] for row in differences] == ["2", "2"]


def test_random_weights_are_those_of_the_same_architecture():
    network = models.find("mobilenet_v2")
    random = study_games.forgetful(network, Settings(seed=3))
    shapes = [jax.tree.map(jnp.shape, one.network) for one in (network, random)]
    assert jax.tree.structure(network.network) == jax.tree.structure(random.network)
    assert jax.tree.leaves(shapes[0]) == jax.tree.leaves(shapes[1])
    assert not np.array_equal(*(jax.tree.leaves(one.network)[5] for one in (network, random)))
    assert random.card.sha256 == ""


@pytest.mark.slow
def test_a_map_of_the_network_changes_with_its_weights_but_not_with_its_precision(tmp_path, capsys):
    how = {"methods": ("grad_cam", "evidence_cam", "blob", "random"), "metric": ("float64", "sanity", "noise")}
    study_faithfulness.main(
        photographs(tmp_path / "photographs", (1, 2, 3)), gradients=(4,), resamples=20, out=tmp_path, **how
    )
    means, _ = printed(capsys)
    assert [means[name]["sanity ↓"] for name in ("blob", "random")] == ["1.000"] * 2
    assert float(means["random"]["noise ↑"]) == pytest.approx(0, abs=0.03)
    for name in ("grad_cam", "evidence_cam-g4"):
        of = {column: float(cell.split()[0]) for column, cell in means[name].items()}
        assert of["float64 ↑"] > 0.99
        assert 0.5 < of["noise ↑"] < 1
        assert of["sanity ↓"] < 0.7


@pytest.mark.slow
def test_the_best_blur_is_chosen_on_other_photographs(tmp_path, capsys):
    here, other = photographs(tmp_path / "here", (1, 2)), photographs(tmp_path / "other", (3, 4))
    how = {"methods": ("gradient", "grad_cam"), "metric": ("road",), "sigma": (1.0, 8.0), "resamples": 20}
    study_faithfulness.main(here, choose_on=other, out=tmp_path, **how)
    reported = {*printed(capsys)[0]}
    study_faithfulness.main(other, out=tmp_path / "chosen", **how)
    by_road = {
        name: sum(float(of[f"road {share}% ↑"]) for share in (10, 30, 50)) for name, of in printed(capsys)[0].items()
    }
    best = max(("gradient-s1", "gradient-s8"), key=by_road.__getitem__)
    assert reported == {best, "grad_cam"}


def test_a_metric_that_is_not_there_is_refused_before_any_work(tmp_path):
    with pytest.raises(InputError, match="--metric nois: no metric of a class; did you mean noise"):
        study_faithfulness.main(photographs(tmp_path, (1,)), model=OWN, metric=("nois",), out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_maps_are_compared_by_name(tmp_path):
    tiny.pictures(tmp_path / "pictures", 4)
    dataset, network = tiny.dataset(tmp_path / "pictures"), tiny.network()
    reversed_ = replace(dataset, records=dataset.records[:0:-1])
    runs = [
        tiny.run(network, one, "gradient", tmp_path / name, tiny.settings(None), card=tiny.card())
        for one, name in ((dataset, "all"), (reversed_, "some"))
    ]
    found = study_games.correlations(pearson, *runs)
    assert [*found] == [record.name for record in reversed_.records]
    np.testing.assert_allclose([*found.values()], 1, rtol=1e-6)
    assert pearson(runs[0].map(0), runs[0].map(1)) < 0.9


def test_noise_is_of_about_one_grey_level_and_belongs_to_its_picture(tmp_path):
    tiny.pictures(tmp_path / "pictures", 3)
    dataset, card = tiny.dataset(tmp_path / "pictures"), tiny.card()
    kept = replace(dataset, records=dataset.records[1:])
    noisy = [study_games.noisy(one, card, 0, tmp_path / f"{i}") for i, one in enumerate((dataset, kept))]
    assert [record.label for record in noisy[0].records] == [record.label for record in dataset.records]
    here = geometry(card)
    seen = np.stack([images(record, here)[0] for record in dataset.records])
    again = np.stack([images(record, here)[0] for record in noisy[0].records])
    levels = 255 * (again - seen)
    # Photographs are whole levels already, so that half of what is uniform rounds to nothing.
    shares = [float(np.isclose(levels, step, atol=1e-3).mean()) for step in (-1, 0, 1)]
    assert sum(shares) == 1
    np.testing.assert_allclose(shares, (0.25, 0.5, 0.25), atol=0.02)
    np.testing.assert_array_equal(again[1:], [images(record, here)[0] for record in noisy[1].records])


def test_sunglasses_and_swaps_of_maps_that_know_nothing(tmp_path):
    study, _ = of_pairs(tmp_path)
    tiny.pictures(tmp_path / "people", 8)
    dataset = tiny.dataset(tmp_path / "people", "pair")
    dataset = replace(dataset, records=dataset.records[::2])  # No person is on two pairs.
    blob = study.measured(dataset, variant("blob"), ("sunglasses", "swap"), tmp_path)
    left, top, right, bottom = SUNGLASSES
    map = np.asarray(explainer("blob").of_class(None, jnp.zeros((112, 112, 3)), 0))
    expected = map[top:bottom, left:right].mean() / map.mean()
    for column in (("sunglasses e+ ratio", "lower"), ("sunglasses e- ratio", "higher")):
        np.testing.assert_allclose([*blob[column].values()], expected, rtol=1e-4)
        assert len(blob[column]) == 4
    for column in (("sunglasses e+ rise", "lower"), ("sunglasses e- rise", "higher"), ("swap rise", "higher")):
        np.testing.assert_allclose([*blob[column].values()], 0, atol=1e-6)
    drawn = study.measured(dataset, variant("random"), ("sunglasses", "swap"), tmp_path)
    assert mean(drawn, ("sunglasses e- ratio", "higher")) == pytest.approx(1, abs=0.05)
    assert mean(drawn, ("swap ratio", "higher")) == pytest.approx(1, abs=0.1)


def test_each_of_the_four_maps_is_measured_on_its_own_face(tmp_path):
    study, dataset = of_pairs(tmp_path)
    fame = variant("fame", iterations=3)
    figures = study.measured(dataset, fame, ROLES, tmp_path)
    turned = replace(dataset, records=tuple(replace(r, probe=r.gallery, gallery=r.probe) for r in dataset.records))
    other = study.measured(turned, fame, ROLES, tmp_path / "turned")
    for probe, gallery in (ROLES[::2], ROLES[1::2]):
        falls, rises = ("lower", "higher") if probe == "probe_similar" else ("higher", "lower")
        for kind, better in (("deletion", falls), ("insertion", rises)):
            there = other[f"{probe} {kind}".replace("_", " "), better]
            here = figures[f"{gallery} {kind}".replace("_", " "), better]
            np.testing.assert_allclose([*here.values()], [*there.values()], rtol=1e-4)
    # Of a linear network: what makes similar goes first.
    assert mean(figures, ("probe similar deletion", "lower")) < mean(figures, ("probe dissimilar deletion", "higher"))


def test_areas_are_those_of_the_similarity():
    face, other = jax.random.uniform(jax.random.key(0), (2, 8, 8, 3))
    constant = lambda image: jnp.stack([1 + 0 * image.sum(), jnp.float32(2)])  # noqa: E731
    subject = Subject(face, face[..., 0], gallery=other)
    found = study_games.areas("gallery_similar", constant, subject)
    np.testing.assert_allclose([*found.values()], 1, rtol=1e-6)


def test_two_references_share_one_correction_and_enough_resamples():
    names = [f"{index}" for index in range(30)]
    wave = np.sin(np.arange(30))
    column = ("drop", "higher")
    figures = {
        f"m{number}": {column: dict(zip(names, (level + wave * 0.1 * number).tolist(), strict=True))}
        for number, level in enumerate([0.0, 0.0, *[1.0] * 30])
    }
    table = study_tables.differences(figures, ("m0", "m1", "nobody"), 10)
    said, _, lines = table.partition("\n\n")
    assert said == "No differences from nobody, which is not among the methods."
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines.splitlines()[2:]]
    assert len(rows) == 61
    assert [row[4] for row in rows if row[2] == "m0" and row[0] != "m1"] == ["yes"] * 30
    assert [row[4] for row in rows if {row[0], row[2]} == {"m0", "m1"}] == ["open"]


def test_a_blur_is_the_end_of_a_name_alone():
    of = lambda value: {("road", "higher"): {"a": value}}  # noqa: E731
    figures = {"fame-stop_change=0.1-g25": of(1.0), "fame-g25": of(2.0), "fame-g25-s1.5": of(3.0)}
    assert study_tables.best(figures) == {"fame-stop_change=0.1-g25", "fame-g25-s1.5"}


def test_maps_without_a_blur_stay_as_they_are():
    rows = ("grad_cam", "gradient")
    names = [v.name for name in rows for v in study_faithfulness.variants_of(name, "class", (25,), (2, 8))]
    assert names == ["grad_cam", "gradient-s2", "gradient-s8"]


def test_a_grid_of_which_a_map_is_missing_has_no_share(tmp_path):
    tiny.pictures(tmp_path / "pictures", 8)
    dataset = tiny.dataset(tmp_path / "pictures")
    run = tiny.run(tiny.network(), dataset, "gradient", tmp_path / "run", tiny.settings(None), card=tiny.card())
    whole = grid_pointing.shares_of(run)
    assert np.isfinite(whole).all()
    run.files(3)[[file.parent.parent.name for file in run.files(3)].index("state")].unlink()
    np.testing.assert_array_equal(grid_pointing.shares_of(Run(run.folder)), [whole[0], np.nan])


def test_a_part_is_swapped_with_another_person_or_not_at_all():
    def pair(*names):
        probe, gallery = (Picture(pathlib.Path(name)) for name in names)
        return PairRecord(f"{names}", probe, gallery, True)

    chain = [pair("a", "b"), pair("c", "d"), pair("b", "e"), pair("f", "g"), pair("e", "a")]
    people = region_swap._people(chain)
    assert [people[0] == who for who in people] == [True, False, True, False, True]
    for seed in range(5):
        others = region_swap._others(people, seed)
        assert all(people[other] != people[one] for one, other in enumerate(others))
    assert sorted(region_swap._others([0, 1, 2, 3], 0)) == [0, 1, 2, 3], "each is somebody's other once"
    assert region_swap._others([7, 7], 0) == [None, None]


def test_photographs_without_a_class_are_not_made_again(tmp_path):
    tiny.pictures(tmp_path, 4)
    assert [record.label for record in study_games.labelled(tiny.dataset(tmp_path)).records] == [1, 3]
