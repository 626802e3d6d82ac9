"""Folders of `fame explain`, `verify` and `locations`, and what is wrong with some."""

import json
import pathlib

import numpy as np
import pytest

from fame_jax.experiments.rows import ScoreError
from fame_jax.experiments.store import Run
from fame_jax.report import ReportError, RunError, read, report
from fame_jax.report.content import Source
from fame_jax.report.provenance import provenance
from tests.report.conftest import MANIFEST, SIDE, Page, peak, write_scores

IMAGE = np.full((SIDE, SIDE, 3), 0.5, np.float32)


def write_manifest(folder, content, name="manifest.json"):
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(json.dumps({**MANIFEST, **content}))


def entry(path, method="fame", **changes):
    found = {
        "path": path,
        "sha256": "ab" * 32,
        "method": method,
        "result": f"{path}.{method}",
        "predicted_name": "tabby",
        "probability": 0.75,
        "target_name": "tiger cat",
        "first_loss": 3.25,
        "last_loss": None,
        "steps": 0,
        "status": "ok",
    }
    return {**found, **changes}


@pytest.fixture
def explained(tmp_path):
    """One photograph by two methods, one that could not be read."""
    folder = tmp_path / "explained"
    inputs = [entry("cat.png", loss="evidence"), entry("cat.png", "grad_cam", randomised_network={"spearman": 0.875})]
    inputs.append({"path": "dog.png", "error": "dog.png: it is cut short"})
    write_manifest(folder, {"command": "explain", "methods": ["fame", "grad_cam"], "inputs": inputs})
    for of in inputs[:2]:
        np.savez(folder / f"{of['result']}.npz", image=IMAGE, attribution=peak(3, 3))
    return folder


def test_explained_photographs_with_all_methods_and_failures(explained):
    page = Page(report([explained]))
    assert len(page.records) == 1
    assert page.records[0]["classes"] == ["tiger cat"]
    assert "predicted tabby, probability 0.750" in page.words
    assert "logit 3.250" in page.words
    assert "evidence 3.250" in page.words
    assert "correlation with random weights 0.88" in page.words
    assert "dog.png: it is cut short" in page.inside("td")
    assert "fame explain cat.png dog.png --model mobilenet_v2 --method fame,grad_cam --iterations=5" in page.words
    assert "ab" * 32 in page.words


def test_of_results_that_were_written_again_only_the_newest_are_shown(explained):
    older = {"command": "explain", "methods": ["fame"], "inputs": [entry("cat.png", target_name="long ago")]}
    write_manifest(explained, older, "manifest-1.json")
    page = Page(report([explained]))
    assert "long ago" not in page.source
    older["inputs"] = [entry("rat.png", target_name="long ago")]
    np.savez(explained / "rat.png.fame.npz", image=IMAGE, attribution=peak(3, 3))
    write_manifest(explained, older, "manifest-2.json")
    assert "long ago" in Page(report([explained])).source


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 no archive", None])
def test_one_damaged_result_is_a_failure_and_the_rest_is_shown(explained, damage):
    file = explained / "cat.png.fame.npz"
    file.unlink()
    if damage is not None:
        file.write_bytes(damage)
    page = Page(report([explained]))
    assert len(page.records) == 1
    assert any(f"{file}" in reason for reason in page.inside("td"))


def test_a_verified_pair(tmp_path):
    folder = tmp_path / "pair"
    walk = {"status": "ok", "steps": 4, "first_loss": 0.5, "last_loss": -0.25}
    content = {
        "command": "verify",
        "methods": ["fame"],
        "result": "pair.fame",
        "inputs": [{"path": "one.png", "sha256": "12", "note": ""}, {"path": None, "sha256": None, "note": "drawn"}],
        "similarity": 0.5,
        "threshold": 0.363,
        "threshold_source": "published",
        "decision": "match",
        "maps": {"probe_similar": walk, "gallery_similar": walk},
    }
    write_manifest(folder, content)
    np.savez(folder / "pair.fame.npz", probe=IMAGE, gallery=IMAGE, probe_similar=peak(1, 1), gallery_similar=peak(2, 2))
    page = Page(report([folder]))
    assert "similarity 0.500" in page.words
    assert "match, threshold 0.363 (published)" in page.words
    assert "loss 0.500 → −0.250 (−0.750), 4 steps" in page.words
    assert page.words.count("the method has no such map") == 2
    assert "change of the loss, FAME" in page.records[0]["measures"]


def test_a_sheet_of_locations_outlines_every_cell(tmp_path):
    folder = tmp_path / "locations"
    content = {
        "command": "locations",
        "inputs": [{"path": "cat.png", "sha256": "12"}],
        "feature_map": [4, 2],
        "locality": {"row 1": {"outside": 0.5, "shift": 3.0, "radius": 2.0}, "row 3": {"outside": None}},
    }
    write_manifest(folder, content, "cat.locations.json")
    maps = np.stack([peak(4, 4)] * 4).reshape(2, 2, SIDE, SIDE)
    np.savez(
        folder / "cat.locations.npz", image=IMAGE, attribution=maps, rows=[1, 3], status=[["ok", "zero gradient"]] * 2
    )
    page = Page(report([folder]))
    cells = [(e.attributes["x"], e.attributes["y"]) for e in page.all("rect") if "x" in e.attributes]
    assert cells == [("0", "4"), ("8", "4"), ("0", "12"), ("8", "12")]
    assert "4 of 8 locations" in page.words
    assert "row 1: 50% of the mass outside the cell" in page.words
    assert "row 3: all maps are blank" in page.words
    assert page.inside("span").count("zero gradient") == 2


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({}, "there is no manifest.json"),
        ({"manifest.json": "{"}, "manifest.json: not the manifest"),
        ({"manifest.json": "[1]"}, "manifest.json: not the manifest"),
        ({"manifest.json": '{"command": "explain"}'}, "manifest.json: not the manifest"),
        ({"manifest.json": '{"command": "cook"}'}, "'cook'"),
    ],
)
def test_folders_of_something_else_are_named(tmp_path, files, words):
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(ReportError, match=words) as caught:
        read([tmp_path])
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ReportError, match="no such folder"):
        read([tmp_path / "nothing"])


def test_a_run_without_its_manifest_is_named(class_run):
    run = class_run("run")
    (run / "manifest.json").unlink()
    with pytest.raises(RunError, match="manifest"):
        read([run])


def test_rows_of_scores_that_are_none_are_refused_and_a_line_cut_short_is_left_out(class_run):
    run = class_run("run")
    write_scores(run, "energy", {i: {"energy": 0.5} for i in range(4)})
    file = run / "scores" / "energy.jsonl"
    assert "0.500 to 0.500 4 records" in Page(report([run])).words
    file.write_text(file.read_text()[:-9])
    # A block counts as a whole, as `fame score` counts it.
    assert "0.500 to 0.500" not in Page(report([run])).words
    file.with_suffix(".json").write_text("nothing of the kind\n")
    with pytest.raises(ScoreError, match=r"energy\.json"):
        report([run])


def test_figures_of_maps_that_were_repaired_since_are_not_shown(class_run):
    folder = class_run("run")
    write_scores(folder, "energy", {i: {"energy": 0.5} for i in range(4)})
    run = Run(folder)
    run.write_block(0, {name: run.column(name) for name in run._names}, {})
    assert "0.500 to 0.500" not in Page(report([folder])).words
    write_scores(folder, "energy", {i: {"energy": 0.25} for i in range(4)})
    assert "0.250 to 0.250 4 records" in Page(report([folder])).words


def verified(folder, network, similarity, **changes):
    content = {
        "command": "verify",
        "network": network,
        "methods": ["fame"],
        "result": "pair.fame",
        "inputs": [{"path": f"{folder.name}/one.png", "sha256": "12", "note": ""}, {"path": "two.png", "sha256": "34"}],
        "similarity": similarity,
        "threshold": 0.3,
        "threshold_source": "published",
        "decision": "match" if similarity > 0.3 else "no match",
        "maps": {},
    }
    write_manifest(folder, {**content, **changes})
    np.savez(folder / "pair.fame.npz", probe=IMAGE, gallery=IMAGE, probe_similar=peak(1, 1))
    return folder


def test_every_network_says_its_own_of_one_pair(tmp_path):
    one = verified(tmp_path / "one", "sface", 0.52)
    other = verified(tmp_path / "other", "iresnet50", 0.11, weights_sha256="cd" * 32)
    page = Page(report([one, other]))
    (record,) = page.records
    assert record["measures"]["similarity, sface"] == 0.52
    assert record["measures"]["similarity, iresnet50"] == 0.11
    assert "sface: similarity 0.520 · match, threshold 0.300 (published)" in page.words
    assert "iresnet50: similarity 0.110 · no match, threshold 0.300 (published)" in page.words
    assert Page(report([one])).records[0]["measures"]["similarity"] == 0.52
    fine_tuned = verified(tmp_path / "tuned", "sface", 0.61, weights_sha256="ef" * 32)
    assert f"sface, {fine_tuned}: similarity 0.610" in Page(report([one, fine_tuned])).words


def test_faces_of_one_photograph_are_as_many_pairs(tmp_path):
    folders = [verified(tmp_path / f"{k}", "sface", k / 9, options={"face": [1, k]}) for k in (2, 3)]
    assert len(Page(report(folders)).records) == 2


def test_a_picture_is_known_by_its_content_and_not_by_the_words_of_its_path(tmp_path):
    folders = []
    for path, method in (("cat.png", "fame"), ("/home/u/cat.png", "grad_cam")):
        folders.append(tmp_path / method)
        one = entry(path, method, result=method)
        write_manifest(folders[-1], {"command": "explain", "methods": [method], "inputs": [one]})
        np.savez(folders[-1] / f"{method}.npz", image=IMAGE, attribution=peak(3, 3))
    assert len(Page(report(folders)).records) == 1
    (tmp_path / "other").mkdir()
    other = entry("cat.png", result="m", sha256="9" * 64)
    write_manifest(tmp_path / "other", {"command": "explain", "methods": ["fame"], "inputs": [other]})
    np.savez(tmp_path / "other" / "m.npz", image=IMAGE, attribution=peak(3, 3))
    assert len(Page(report([*folders, tmp_path / "other"])).records) == 2


def test_a_logit_is_no_probability(explained):
    one = entry("cat.png", logit=22.97)
    del one["probability"]
    write_manifest(explained, {"command": "explain", "methods": ["fame"], "inputs": [one]})
    assert "predicted tabby, logit 22.970" in Page(report([explained])).words


MADE_AGAIN = [
    (
        {"command": "verify", "inputs": [{"path": "a.png"}, {"path": "a.png"}], "options": {"face": [1, 2]}},
        "fame verify a.png a.png --model mobilenet_v2 --method fame --face 1 2",
    ),
    (
        {"command": "explain", "inputs": [{"path": "a.png"}] * 2, "options": {"detection": "all", "threshold": 0.3}},
        "fame explain a.png --model mobilenet_v2 --method fame --detection=all --threshold=0.3",
    ),
    (
        {
            "command": "explain",
            "inputs": [{"path": "a.png"}],
            "options": {},
            "network_flags": ["--weights", "/b c.pth"],
        },
        "fame explain a.png --model mobilenet_v2 --weights '/b c.pth' --method fame",
    ),
    ({"command": "explain", "inputs": [{"path": "a.png"}], "options": {}, "card": {"name": "told"}}, ""),
]


@pytest.mark.parametrize(("content", "expected"), MADE_AGAIN)
def test_the_command_makes_the_same_again(content, expected):
    manifest = {**MANIFEST, "methods": ["fame"], **content}
    assert provenance(Source(pathlib.Path(), "manifest.json", "", manifest)).again == expected


def test_weights_are_the_publishers_where_their_hash_is():
    def told(**changes):
        found = provenance(Source(pathlib.Path(), "manifest.json", "", {**MANIFEST, **changes}))
        return {name: value for name, value in found.rows if name.startswith("weights")}

    assert told()["weights, licence"] == "BSD-3-Clause"
    assert told()["weights, source"].startswith("mobilenet_v2-b0353104.pth")
    mine = told(weights_sha256="ab" * 32)
    assert mine["weights, source"] == "not the published mobilenet_v2-b0353104.pth"
    assert "weights, licence" not in mine
