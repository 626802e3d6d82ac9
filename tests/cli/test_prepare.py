"""`fame prepare`, and the other commands over what it makes."""

import json

import numpy as np
import pytest

from fame_jax.experiments.store import Run
from tests import own_network
from tests.cli.test_boxes_command import WALK, pictures
from tests.datasets import synthetic

pytest.importorskip("grain")

QUICK = ("--model", f"{own_network.__file__}:network", "--iterations", "3", "--sigma", "1", "--no-progress")


def test_a_prepared_folder_is_run_scored_and_shown_like_the_folder(fame, photographs, tmp_path):
    (photographs / "more" / "text.png").write_text("no picture")
    prepared = fame("prepare", "folder", photographs, "--out", tmp_path / "set", "--no-progress")
    assert prepared.code == 2
    assert "more/text.png" in prepared.err
    assert "it is no picture of a kind that is read" in prepared.err
    assert len(prepared.err.splitlines()) == 1
    assert "folder with spaces and ünïcode (no labels), 1 shard" in prepared.out
    assert f"fame run prepared {tmp_path / 'set'}" in prepared.out
    (photographs / "more" / "text.png").unlink()
    found = fame("run", "folder", photographs, "--out", tmp_path / "one", *QUICK)
    again = fame("run", "prepared", tmp_path / "set", "--out", tmp_path / "two", *QUICK)
    assert found.code == again.code == 2
    for words in ("2 of 3 records explained, 1 failed", "the first is cut short.png"):
        assert words in found.out + found.err
        assert words in again.out + again.err
    assert "00000.array_record/0/cut short.png: it is damaged or cut short" in again.err
    one, two = Run(tmp_path / "one"), Run(tmp_path / "two")
    assert one.manifest["dataset"] == two.manifest["dataset"]
    for column in ("attribution", "label", "predicted", "sha256", "state"):
        np.testing.assert_array_equal(one.column(column), two.column(column))
    scored = fame("score", tmp_path / "two", "--metric", "deletion", "--fractions", "0.1,0.5", "--no-progress")
    assert scored.code == 0, scored.err
    assert fame("report", tmp_path / "two", "--out", tmp_path / "report.html").code == 0


def test_what_is_chosen_is_prepared(fame, tmp_path):
    root = synthetic.cfp(tmp_path / "cfp").root
    ended = fame("prepare", "cfp", root, "--protocol", "FF-02", "--partial", "--out", tmp_path / "set")
    assert ended.code == 0, ended.err
    checked = fame("check", "prepared", tmp_path / "set", "--no-progress")
    assert checked.code == 0, checked.err
    assert "cfp FF-02: 6 records, 6 pictures, 3 genuine, 3 impostor" in checked.out
    refused = fame("prepare", "cfp", root, "--protocol", "FP-01", "--partial", "--out", tmp_path / "set")
    assert refused.code == 2
    assert "another data set was prepared there (cfp FF-02, name differs)" in refused.err


def test_boxes_are_found_in_a_prepared_set_as_in_its_folder(fame, pictures, tmp_path):
    fame("prepare", "folder", "photos", "--out", "set")
    for source, out in (("folder", "one"), ("prepared", "two")):
        root = {"folder": "photos", "prepared": "set"}[source]
        ended = fame("run", source, root, *WALK, "--out", out)
        assert "2 of 2 records explained" in ended.out, ended.err
    one, two = Run(tmp_path / "one"), Run(tmp_path / "two")
    np.testing.assert_array_equal(one.column("attribution"), two.column("attribution"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("prepare", "folder", "photos", "--out", "s3://bucket/set"), "shards are read from a disk"),
        (("prepare", "folder", "photos", "--out", "photos"), "holds other files (photo.png)"),
        (("prepare", "folder", "nowhere", "--out", "set"), "there is no such folder"),
        (("run", "prepared", "photos", "--out", "maps"), "no prepared set is there"),
        (("run", "tfds:cats", "photos", "--out", "maps"), "no cats was prepared there"),
        (("run", "tfds:cats", "nowhere", "--out", "maps"), "there is no such folder"),
    ],
)
def test_bad_input_is_said_in_one_line(fame, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    synthetic.save(tmp_path / "photos" / "photo.png", synthetic.pattern([0], 30, 40))
    ended = fame(*arguments)
    assert ended.code == 2
    assert words in ended.err
    assert len(ended.err.splitlines()) == 1
    assert not (tmp_path / "maps").exists()


def test_a_set_of_another_version_is_named(fame, photographs, tmp_path):
    fame("prepare", "folder", photographs, "--out", tmp_path / "set")
    file = tmp_path / "set" / "manifest.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"prepared": 7}))
    ended = fame("run", "prepared", tmp_path / "set", "--out", tmp_path / "maps")
    assert ended.err == f"fame: {file}: version 7, expected 1; prepare the set again.\n"


def test_the_list_of_data_sets_has_both(fame):
    out = fame("check").out
    assert "prepared  what fame prepare has made" in out
    assert "tfds:NAME TensorFlow Datasets" in out


__all__ = ["pictures"]
