"""Metrics of finished maps: known answers, interruptions, refusals, and what is said about them."""

import json
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

from fame_jax.data.images import load
from fame_jax.experiments.rows import ScoreError, read_scores
from fame_jax.experiments.run import run
from fame_jax.experiments.score import score, settings
from fame_jax.experiments.store import Run
from fame_jax.experiments.summary import by_record, comparison, correct, remarks, summary, threshold
from fame_jax.explainers import image_key
from fame_jax.image import IMAGENET_MEAN, IMAGENET_STD
from fame_jax.metrics import operating_point, road_delete, verification_curves
from fame_jax.metrics.table import UnknownMetricError, metric
from tests.experiments import tiny
from tests.experiments.runs import FACE, SIDE, pairs, photographs, run_of, write_block
from tests.marks import thorough

BOX = (2, 3, 9, 12)
CLASSIFIER = Partial(lambda weights, x: x.ravel() @ weights, jax.random.normal(jax.random.key(0), (SIDE**2 * 3, 3)))
EMBEDDER = Partial(lambda weights, x: x.ravel() @ weights, jax.random.normal(jax.random.key(1), (FACE**2 * 3, 8)))


def box_map(box=BOX):
    map = np.zeros((SIDE, SIDE), np.float32)
    map[box[1] : box[3], box[0] : box[2]] = 1
    return map


def random_maps(number, side=SIDE):
    return np.random.default_rng(0).random((number, side, side), np.float32)


def figures(scores):
    return {(m.figure.name, m.at): m.estimate for m in summary(scores, resamples=200)}


@pytest.fixture
def class_run(tmp_path):
    return run_of(tmp_path / "run", photographs(tmp_path / "photos", 5), random_maps(5))


@pytest.fixture
def pair_run(tmp_path):
    return run_of(tmp_path / "run", pairs(tmp_path / "faces", 6), random_maps(6, FACE), network="sface")


def test_a_map_that_is_its_box_scores_one(tmp_path):
    run = run_of(tmp_path / "run", photographs(tmp_path / "photos", 3), np.stack([box_map()] * 3))
    for name, figure in (("iou", "iou"), ("energy", "energy"), ("pointing_game", "hit")):
        found = figures(score(run, name))
        assert {key[0] for key in found} == {figure}
        for estimate in found.values():
            assert estimate == (1, 1, 1, 3, 0)


def test_boxes_are_drawn_where_resizing_and_cropping_puts_them(tmp_path):
    # Twice the size, cropped to the same: the centre half, so that pixel 2 a + 8 of the photograph is pixel a.
    records = photographs(tmp_path / "photos", 2, side=2 * SIDE, boxes=[tuple(2 * c for c in BOX)])
    run = run_of(tmp_path / "run", records, np.stack([box_map()] * 2))
    assert figures(score(run, "iou", thresholds=[0.5]))["iou", 0.5].mean == 1


def test_several_boxes_are_taken_together_or_the_first_of_them(tmp_path):
    records = photographs(tmp_path / "photos", 2, boxes=[BOX, (12, 12, 16, 16)])
    run = run_of(tmp_path / "run", records, np.stack([box_map()] * 2))
    area = 7 * 9
    assert figures(score(run, "iou"))["iou", 0.3].mean == pytest.approx(area / (area + 16))
    assert figures(score(run, "iou", preset="official"))["iou", 0.3].mean == 1


def test_insertion_of_everything_and_deletion_of_nothing_are_the_clean_score(class_run):
    removed, shown = (score(class_run, name, network=CLASSIFIER) for name in ("deletion", "insertion"))
    for deleted, inserted in zip(removed.rows, shown.rows, strict=True):
        assert deleted.values["score"][0] == inserted.values["score"][-1]
        assert deleted.values["score"][-1] == inserted.values["score"][0]
        area = np.trapezoid(deleted.values["score"], removed.options["fractions"])
        assert deleted.values["auc"] == pytest.approx(area, rel=1e-5)


def test_the_area_of_a_part_of_a_curve_is_over_what_the_part_spans(tmp_path):
    run = run_of(tmp_path / "run", photographs(tmp_path / "photos", 2), random_maps(2))
    for row in score(run, "deletion", network=CLASSIFIER, fractions=[0.2, 0.6]).rows:
        assert row.values["auc"] == pytest.approx(row.values["score"].mean(), rel=1e-5)


def test_rows_are_what_the_metric_says_of_each_record(class_run):
    found = score(class_run, "road_delete", network=CLASSIFIER, seed=7)
    record = class_run.records[3]
    image = jnp.asarray(load(record.picture.path, SIDE, SIDE))
    key = image_key(7, image)
    alone = road_delete(CLASSIFIER, image, jnp.asarray(class_run.map(3)), record.label, key)
    np.testing.assert_allclose(found.rows[3].values["drop"], alone.drops, atol=2e-4)
    assert found.rows[3].values["status"].tolist() == [0, 0, 0]
    assert (found.rows[3].values["residual"] < 1e-5).all()


def test_verification_is_that_of_the_metric_itself(pair_run):
    found = score(pair_run, "verification", network=EMBEDDER)
    faces = [[load(p.path, FACE, FACE) for p in (r.probe, r.gallery)] for r in pair_run.records]
    maps = np.stack([pair_run.map(i) for i in range(6)])
    genuine = np.array([r.genuine for r in pair_run.records])
    probes, galleries = (np.stack([pair[i] for pair in faces]) for i in (0, 1))
    curves = verification_curves(EMBEDDER, probes, galleries, maps, genuine)
    # Rounding differs between one record at a time and all at once.
    expected = operating_point(np.asarray(curves.scores.clean, np.float64), genuine)
    assert tuple(threshold(found)) == pytest.approx(tuple(expected), abs=2e-7)
    measured = figures(found)
    assert measured["deletion_auc", None].mean == pytest.approx(curves.deletion_auc)
    assert measured["insertion_auc", None].mean == pytest.approx(curves.insertion_auc)
    np.testing.assert_array_equal(correct(found, "deletion").mean(axis=0), curves.deletion)


@pytest.mark.parametrize("cut", [40, *thorough(0, 1, 1000)])
def test_an_interruption_changes_nothing(class_run, cut):
    score(class_run, "deletion", network=CLASSIFIER)
    file = class_run.folder / "scores" / "deletion.jsonl"
    whole = file.read_bytes()
    file.write_bytes(whole[:cut])
    again = []
    scores = score(Run(class_run.folder), "deletion", network=CLASSIFIER, progress=again.append)
    assert file.read_bytes() == whole
    # The first block of two rows fits into 1000 bytes, the second does not.
    assert sum(again) == (3 if cut == 1000 else 5)
    read = read_scores(class_run, "deletion")
    assert [(r.name, r.values["auc"]) for r in scores.rows] == [(r.name, r.values["auc"]) for r in read.rows]


def test_maps_that_were_repaired_are_measured_again(class_run):
    first = score(class_run, "deletion", network=CLASSIFIER)
    write_block(class_run, 0, random_maps(5)[::-1], {})
    # The rows of other blocks stay, those of the repaired one count as not there.
    assert [row.index for row in read_scores(Run(class_run.folder), "deletion").rows] == [2, 3, 4]
    for _ in range(2):
        measured = []
        again = score(Run(class_run.folder), "deletion", network=CLASSIFIER, progress=measured.append)
        assert [row.index for row in again.rows] == [0, 1, 2, 3, 4]
        assert again.rows[0].values["auc"] != first.rows[0].values["auc"]
        assert again.rows[2].values["auc"] == first.rows[2].values["auc"]
    assert measured == []


def test_maps_whose_time_of_repair_is_damaged_are_measured_again_once(class_run):
    score(class_run, "deletion", network=CLASSIFIER)
    write_block(class_run, 0, random_maps(5)[::-1], {})
    score(Run(class_run.folder), "deletion", network=CLASSIFIER)
    (class_run.folder / "rewrites" / "000000.json").write_text("{")
    for expected in (2, 0):
        measured = []
        score(Run(class_run.folder), "deletion", network=CLASSIFIER, progress=measured.append)
        assert sum(measured) == expected


def test_finished_scores_need_no_network(class_run):
    first = score(class_run, "deletion", network=CLASSIFIER)
    again = score(class_run, "deletion", network=None)
    assert [(r.name, r.values["auc"]) for r in first.rows] == [(r.name, r.values["auc"]) for r in again.rows]


def test_a_partial_run_is_scored_as_far_as_it_is_and_then_on(tmp_path):
    maps = random_maps(5)
    run = run_of(tmp_path / "run", photographs(tmp_path / "photos", 5), maps, blocks=[1])
    part = score(run, "iou")
    assert [row.index for row in part.rows] == [2, 3]
    assert remarks(part) == ["3 of 5 records are not explained yet; fame run continues the run."]
    for block in (0, 2):
        write_block(run, block, maps, {})
    assert [row.index for row in score(Run(run.folder), "iou").rows] == [0, 1, 2, 3, 4]


def test_changed_options_and_changed_runs_are_not_mixed(class_run):
    score(class_run, "iou")
    with pytest.raises(ScoreError, match=r"thresholds \[0.3, 0.5, 0.7\], asked for \[0.5\]; delete iou.json"):
        score(class_run, "iou", thresholds=[0.5])
    file = class_run.folder / "manifest.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "method": "grad_cam"}))
    with pytest.raises(ScoreError, match="computed with the run"):
        score(Run(class_run.folder), "iou")


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("verification", {}, "metric of pairs of faces; .* explains classes"),
        ("iou", {"threshold": 0.5}, "no option 'threshold'; it has thresholds, choose, convention"),
        ("deletion", {"fractions": [0.5, 0.1]}, "expected ascending numbers from 0 to 1"),
        ("deletion", {"fractions": [0, 1.5]}, "expected ascending numbers from 0 to 1"),
        ("deletion", {"fractions": 1.5}, "expected ascending numbers from 0 to 1"),
        ("energy", {"preset": "offical"}, "preset='offical'; expected paper or official"),
    ],
)
def test_what_does_not_fit_is_refused_before_any_work(class_run, name, options, words):
    with pytest.raises(ScoreError, match=words):
        score(class_run, name, **options)
    assert not (class_run.folder / "scores" / f"{name}.json").exists()


def test_names_that_are_no_metric_are_refused_with_the_nearest():
    with pytest.raises(UnknownMetricError, match="did you mean road_delete"):
        metric("road-delete")
    with pytest.raises(UnknownMetricError, match=r"call fame_jax.metrics.grid_pointing_game"):
        metric("grid_pointing_game")


def test_blank_maps_are_counted_and_records_left_out_have_their_reason(tmp_path):
    records = photographs(tmp_path / "photos", 6)
    maps = random_maps(6)
    maps[1] = maps[4] = 0
    maps[5, 0, 0] = np.nan
    run = run_of(tmp_path / "run", records, maps, failures={2: "2.png: cut short"})
    records[3].picture.path.unlink()
    found = score(run, "deletion", network=CLASSIFIER, preset="official")
    assert [row.blank for row in found.rows] == [False, True, False, False, True, False]
    said = " ".join(remarks(found))
    assert "2 of 3 maps are all zero: they delete nothing and insert nothing." in said
    assert "3 of 6 records left out" in said
    assert "2.png: cut short" in said
    assert "there is no such file" in said
    assert "the map is not finite" in said
    assert "2 of 3 records have no auc and are not in its mean: the score did not vary" in said
    # A map that deletes nothing leaves a score that does not vary, which is no area.
    assert figures(found)["auc", None][-2:] == (1, 2)


def test_records_without_boxes_are_left_out(tmp_path):
    records = photographs(tmp_path / "a", 2) + photographs(tmp_path / "b", 2, boxes=())
    records = [type(r)(f"{i}", r.picture, r.label, r.boxes) for i, r in enumerate(records)]
    found = score(run_of(tmp_path / "run", records, np.stack([box_map()] * 4)), "iou")
    assert remarks(found) == ["2 of 4 records left out: 2 no boxes."]
    assert figures(found)["iou", 0.5].number == 2


def test_two_runs_are_compared_on_the_records_they_share(tmp_path):
    records = photographs(tmp_path / "photos", 4)
    good = run_of(tmp_path / "good", records, np.stack([box_map()] * 4))
    maps = np.stack([box_map((2, 3, 9, 12)), box_map(), box_map((0, 0, 1, 1)), box_map((0, 0, 1, 1))])
    other = run_of(tmp_path / "other", records[::-1], maps[::-1], failures={3: "no"})
    found = comparison(score(good, "pointing_game"), score(other, "pointing_game"), resamples=200)
    assert [(c.figure.name, c.at) for c in found] == [("hit", None)]
    assert found[0].comparison.number == 3
    assert found[0].comparison.difference == pytest.approx(2 / 3)
    assert list(by_record(score(other, "pointing_game")).values()) == [{"photo-3": 0, "photo-2": 0, "photo-1": 1}]


def test_the_command_prints_figures_counts_and_differences(fame, tmp_path):
    records = photographs(tmp_path / "photos", 4)
    for name, maps in (("one", np.stack([box_map()] * 4)), ("two", random_maps(4))):
        run_of(tmp_path / name, records, maps)
    ended = fame("score", tmp_path / "one", tmp_path / "two", "--metric", "iou,energy", "--no-progress")
    assert ended.code == 0, ended.err
    assert "IoU at 0.5  1.0000 [1.0000, 1.0000]  n=4" in ended.out
    assert "energy inside minus one's" in ended.out
    ended = fame("score", tmp_path / "one", "--metric", "iou", "--level", "0.995", "--no-progress")
    assert "99.5% intervals" in ended.out
    ended = fame("score", tmp_path / "one", "--metric", "iou", "--json", "--no-progress")
    assert json.loads(ended.out)["iou"][0]["figures"][0]["mean"] == 1
    for arguments, words in (
        (["--metric", "iuo"], "did you mean iou"),
        (["--metric", "verification"], "metric of pairs"),
        (["--metric", "deletion", "--fractions", "a"], "--fractions a: expected numbers"),
        (["--metric", "deletion", "--fractions", "0.5"], "--fractions 0.5: an area, as of deletion, takes two or more"),
        (["--metric", "iou,energy", "--fractions", "0,1"], "--fractions means nothing to iou or energy; leave it out"),
    ):
        ended = fame("score", tmp_path / "one", *arguments)
        assert ended.code == 2
        assert words in ended.err
        assert len(ended.err.splitlines()) == 1
    assert fame("score", tmp_path / "nothing").code == 2


def mass(network, subject, *, power=1):
    return (subject.attribution**power).sum()


def test_a_function_of_ones_own_is_a_metric(class_run):
    found = score(class_run, mass, network=CLASSIFIER, power=2)
    for row in found.rows:
        if row.reason is None:
            np.testing.assert_allclose(row.values["value"], (class_run.map(row.index) ** 2).sum(), rtol=1e-5)
    again = read_scores(class_run, "mass")
    assert [m.estimate.mean for m in summary(again)] == [m.estimate.mean for m in summary(found)]
    with pytest.raises(ScoreError, match="computed with power 2, asked for 1"):
        score(class_run, mass, network=CLASSIFIER)

    def mass_of_another_kind(network, subject, *, power=2):
        return subject.attribution.max()

    mass_of_another_kind.__name__ = "mass"
    with pytest.raises(ScoreError, match="computed with the code"):
        score(class_run, mass_of_another_kind, network=CLASSIFIER)


def test_a_run_follows_the_card_in_score_step_and_colour(tmp_path):
    tiny.pictures(tmp_path / "photos", 3)
    photos = tiny.dataset(tmp_path / "photos")
    card = replace(tiny.card(), score="sigmoid", mean=(0.5, 0.4, 0.3), std=(0.5, 0.6, 0.7))

    def options(method, name, card=card, **given):
        how = replace(tiny.settings(None, **given), options={"masks": 4} if method == "rise" else {"iterations": 1})
        made = run(tiny.network(), photos, method, tmp_path / name, how, card=card)
        return made, made.manifest["options"]

    assert options("rise", "rise")[1]["score"] == "sigmoid"
    assert options("fame", "paper")[1]["scale"] == 1
    official, chosen = options("fame", "official", preset="official")
    assert chosen["scale"] == [0.5, 0.6, 0.7]
    assert settings(official, metric("rise_deletion"), "official", {})["mean"] == [0.5, 0.4, 0.3]
    usual, chosen = options("fame", "usual", tiny.card(), preset="official")
    assert chosen["scale"] == list(IMAGENET_STD)
    assert settings(usual, metric("rise_deletion"), "official", {})["mean"] == IMAGENET_MEAN
