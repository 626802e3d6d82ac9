"""What the page says is what the store holds; nothing in a name or a reason breaks out; nothing is fetched."""

import base64
import hashlib
import re

import numpy as np
import pytest

from fame_jax import Status
from fame_jax.experiments.rows import Row, Rows
from fame_jax.experiments.store import Run
from fame_jax.metrics.statistics import estimate
from fame_jax.metrics.table import metric
from fame_jax.report import report
from fame_jax.walk import Status as WalkStatus
from tests.report.conftest import HOSTILE, SIDE, Page, write_scores


def shown(*folders, **options):
    return Page(report(folders, **options))


def test_names_and_reasons_are_text_whatever_they_hold(class_run):
    page = shown(class_run("run", failures={1: HOSTILE}), title=HOSTILE, command=HOSTILE)
    assert page.inside("title") == [HOSTILE]
    assert page.inside("h1") == [HOSTILE]
    assert HOSTILE in page.inside("h3")
    assert page.inside("td").count(HOSTILE) == 1
    assert any(HOSTILE.lower() in record["name"] for record in page.records)
    assert len(page.all("script")) == 2
    handlers = [name for e in page.elements for name in e.attributes if name.startswith("on")]
    assert not handlers
    assert all(e.attributes.get("src", "data:").startswith("data:") for e in page.elements)


def test_the_file_refers_to_nothing_outside_and_runs_nothing_but_its_own(class_run):
    page = shown(class_run("run"))
    for element in page.elements:
        for name in {"src", "href", "srcset", "action", "data", "poster", "xlink:href"} & element.attributes.keys():
            assert element.attributes[name].startswith(("data:", "#")), element
        assert "style" not in element.attributes
    style, script = page.inside("style")[0], page.inside("script")[1]
    assert not re.search(r"url\((?!#)|@import", style)
    assert not re.search(r"fetch|XMLHttp|https?:|eval|innerHTML", script)
    policy = page.all("meta", **{"http-equiv": "Content-Security-Policy"})[0].attributes["content"]
    assert policy.startswith("default-src 'none'; img-src data:;")
    for text in (style, script):
        assert base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() in policy
    assert "unsafe" not in policy


def test_losses_and_their_change_are_those_of_the_store(class_run):
    first, last = np.array([[12.3456], [1.0], [0.5], [7.0]]), np.array([[-4.0004], [1.5], [0.5], [np.nan]])
    page = shown(class_run("run", first_loss=first, last_loss=last))
    assert "logit 12.346 → −4.000 (−16.346), 5 steps" in page.words
    assert "logit 1.000 → 1.500 (+0.500), 5 steps" in page.words
    assert "logit 7.000" in page.words
    changes = [record["measures"].get("change of the loss, FAME") for record in page.records]
    assert changes == [pytest.approx(-16.346), 0.5, 0, None]


@pytest.mark.parametrize(
    ("method", "options", "word"),
    [
        ("fame_evidence", {}, "evidence"),
        ("fame_starts", {"loss": "evidence"}, "evidence"),
        ("fame_starts", {"loss": "logit"}, "logit"),
        ("of_my_own", {}, "logit"),
    ],
)
def test_a_loss_goes_by_the_name_of_what_the_method_lowers(class_run, method, options, word):
    losses = {"first_loss": np.full((4, 1), 2.0), "last_loss": np.full((4, 1), 1.0)}
    page = shown(class_run("run", method, manifest={"options": options}, **losses))
    assert f"{word} 2.000 → 1.000" in page.words


@pytest.mark.parametrize("status", [status for status in WalkStatus if status != WalkStatus.NO_MAP])
def test_every_status_stands_beside_its_map(class_run, status):
    page = shown(class_run("run", status=np.full((4, 1), int(status), np.int8)))
    assert page.records[0]["statuses"] == [status.message]
    badges = page.inside("span")
    assert (status.message in badges) == (status != Status.OK)
    assert f"4 {status.message}" in page.words
    assert all(status.message in e.attributes["alt"] for e in page.all("img") if e.attributes.get("class") == "map")


def test_blank_and_nearly_uniform_maps_are_remarked_on(class_run):
    maps = np.zeros((4, SIDE, SIDE), np.float32)
    maps[1], maps[2] = 0.5, np.eye(SIDE)
    page = shown(class_run("run", attribution=maps))
    kinds = [record["statuses"] for record in page.records]
    assert kinds == [["blank map", "ok"], ["nearly uniform", "ok"], ["ok"], ["blank map", "ok"]]
    assert "every pixel is zero" in page.words
    assert "the strongest tenth of the area holds 10.0% of the map (flat: 10%)" in page.words
    assert "4 ok, 2 blank map, 1 nearly uniform" in page.words


def test_a_map_that_is_described_is_described_where_it_points(class_run):
    maps = np.zeros((4, SIDE, SIDE), np.float32)
    maps[0, 2, 14] = maps[1, 8, 8] = maps[2, 15, 0] = maps[3, 8, 1] = 1
    page = shown(class_run("run", attribution=maps))
    places = [e.attributes["alt"].rpartition(" in the ")[2] for e in page.all("img") if e.attributes["class"] == "map"]
    assert places == ["upper right", "centre", "lower left", "middle left"]


def test_failures_and_what_is_not_computed_or_not_shown_is_told(class_run):
    page = shown(class_run("run", failures={1: "it is cut short"}), limit=2)
    assert "it is cut short" in page.inside("td")
    assert len(page.records) == 2
    assert "2 shown of 4 records, 1 failed" in page.words
    waiting = shown(class_run("half", names=("e.png", "f.png"), state=np.array([1, 0], np.uint8)))
    assert "1 shown of 2 records, 1 not computed yet" in waiting.words


def test_scores_are_in_the_table_with_their_interval_and_beside_each_record(class_run):
    run = class_run("run")
    drops = [1.0, 2.5, 4.0]
    write_scores(run, "road_delete", {i: {"drop": [v], "status": [0]} for i, v in enumerate(drops)}, fractions=[0.1])
    write_scores(run, "energy", {0: {"energy": 0.125}, 1: {"energy": np.nan}})
    page = shown(run)
    expected = estimate(np.array(drops))
    assert f"{expected.mean:.3f} {expected.low:.3f} to {expected.high:.3f} 3 records" in page.words
    assert "0.125 0.125 to 0.125 1 records, 1 left out" in page.words
    assert [record["measures"].get("road_delete drop 0.1, FAME") for record in page.records] == [*drops, None]
    assert page.records[0]["measures"]["energy energy, FAME"] == 0.125
    assert "energy energy, FAME" not in page.records[1]["measures"]
    assert "road_delete status 0.1" not in page.words


def test_verification_is_shown_in_areas_under_accuracy_and_not_in_cosines(pair_run):
    run, chosen = Run(pair_run), metric("verification")
    curves = [{"clean": c, "deletion": [c, 0.0], "insertion": [0.0, c]} for c in (0.8, 0.1)]
    rows = [
        Row(i, record.name, {name: np.asarray(value) for name, value in curves[i].items()}, genuine=record.genuine)
        for i, record in enumerate(run.records)
    ]
    Rows(run, chosen, "paper", {**chosen.options(), "fractions": [0.0, 1.0]}).append(rows)
    page = shown(pair_run)
    # The genuine pair is decided rightly at one end of each curve, the impostor pair everywhere.
    for name in ("verification deletion_auc", "verification insertion_auc"):
        found = [next(v for k, v in r["measures"].items() if k.startswith(name)) for r in page.records]
        assert found == pytest.approx([50, 100])
    assert page.words.count("75.000") == 2


def test_classes_have_the_names_of_the_network_s_own_labels(class_run):
    words = shown(class_run("run", manifest={"labels": ["wren", "heron", "owl"]})).words
    assert "heron" in words
    assert "class 3" in words
    assert "goldfish" not in words
    assert "wren" not in shown(class_run("unnamed", manifest={"labels": None})).words


def test_two_runs_of_the_same_photographs_are_side_by_side(class_run):
    page = shown(class_run("one"), class_run("two", method="grad_cam"))
    assert len(page.records) == len(page.all("article")) == 4
    # Once above all, where maps are counted, then beside every photograph.
    assert [e for e in page.inside("b") if e in ("FAME", "Grad-CAM")] == ["FAME", "Grad-CAM"] * (1 + 4)
    assert len([e for e in page.all("img") if e.attributes["class"] == "photo"]) == 4


def test_a_folder_of_runs_shows_all_of_them(class_run, tmp_path):
    class_run("several/fame")
    class_run("several/grad_cam", method="grad_cam")
    assert set(shown(tmp_path / "several").records[0]["measures"]) == {
        "change of the loss, FAME",
        "change of the loss, Grad-CAM",
    }


def test_methods_of_one_name_are_told_apart_by_network_or_folder(class_run):
    networks = shown(class_run("one"), class_run("two", manifest={"network": "resnet18"}))
    assert {"FAME, mobilenet_v2", "FAME, resnet18"} <= set(networks.inside("b"))
    folders = shown(class_run("three"), class_run("four"))
    assert sum("three" in title for title in folders.inside("b")) == 1 + 4


def test_another_networks_crop_lies_below_its_own_maps(class_run):
    wide = {"task": "class", "size": SIDE, "resize": 2 * SIDE}
    page = shown(class_run("one"), class_run("two", method="grad_cam", manifest={"geometry": wide}))
    under = [e.attributes for e in page.all("img") if e.attributes["class"] == "under"]
    assert ["src" in of for of in under[:2]] == [False, "src" in under[1]]
    photographs = {e.attributes["src"] for e in page.all("img") if e.attributes["class"] == "photo"}
    assert all(of["src"] not in photographs for of in under if "src" in of)


def test_a_photograph_that_has_gone_leaves_its_map_and_says_so(class_run, tmp_path):
    run = class_run("run")
    (tmp_path / "photographs" / "a.png").unlink()
    page = shown(run)
    assert len(page.records) == 4
    assert "The picture cannot be shown: " in page.words
    assert page.inside("div").count("no picture") == 1


def test_a_photograph_that_is_another_by_now_is_not_shown_below_the_map(class_run):
    hashes = np.zeros((4, 32), np.uint8)
    hashes[2] = 7
    page = shown(class_run("run", sha256=hashes))
    assert page.inside("div").count("no picture") == 1
    assert "is not the one that was explained" in page.words
    assert "07" * 32 in page.words


def test_a_run_that_was_continued_elsewhere_has_both_environments(class_run):
    found = [{"versions": {"jax": v}, "device": {"kind": v + " beads"}} for v in ("0.1", "0.2")]
    page = shown(class_run("run", manifest={"provenance": found}))
    for words in ("version, jax 0.1", "device 2, kind 0.2 beads"):
        assert words in page.words


def test_pairs_show_similarity_and_say_which_maps_a_method_has_not(pair_run):
    page = shown(pair_run)
    assert "similarity 0.812" in page.words
    assert "one person" in page.words
    assert "two persons" in page.words
    assert page.words.count("the method has no such map") == 2
    assert len([e for e in page.all("img") if e.attributes["class"] == "map"]) == 6
    assert [record["measures"]["similarity"] for record in page.records] == [0.8125, 0.25]


def test_provenance_names_versions_device_options_weights_and_licence(class_run):
    page = shown(class_run("run"), command="fame report run")
    for words in ("BSD-3-Clause", "b03531047ffacf1e", "1.2.3", "an abacus", "option, iterations", "fame report run"):
        assert words in page.words
    assert "Copyright (c) Soumith Chintala 2016" in page.words
