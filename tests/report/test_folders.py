"""Folders of `fame explain`, `verify` and `locations`, and what is wrong with some."""

import json

import numpy as np
import pytest

from fame_jax.experiments.rows import ScoreError
from fame_jax.experiments.store import Run
from fame_jax.report import ReportError, RunError, read, report
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
