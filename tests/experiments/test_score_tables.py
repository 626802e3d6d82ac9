"""Scores as one table: what is in it is what the rows say, and nothing is left out silently."""

import sys

import numpy as np
import pytest

from fame_jax.experiments.score import score
from fame_jax.experiments.summary import by_record
from tests.experiments.runs import FACE, SIDE, pairs, photographs, run_of
from tests.experiments.test_score import EMBEDDER

parquet = pytest.importorskip("pyarrow.parquet")


@pytest.fixture
def class_run(tmp_path):
    maps = np.random.default_rng(0).random((4, SIDE, SIDE), np.float32)
    maps[1] = 0
    return run_of(tmp_path / "run", photographs(tmp_path / "photos", 4), maps, failures={2: "2.png: cut short"})


def table(file, *found):
    from fame_jax.experiments.tables import write_scores

    write_scores(file, found)
    return parquet.read_table(file).to_pylist()


def test_every_figure_of_every_record_is_a_row(class_run, tmp_path):
    scores = [score(class_run, name) for name in ("iou", "energy")]
    rows = table(tmp_path / "scores.parquet", *((class_run, one) for one in scores))
    assert {row["run"] for row in rows} == {str(class_run.folder)}
    measured = {(row["metric"], row["figure"], row["at"], row["record"]): row["value"] for row in rows if row["figure"]}
    expected = {
        (one.metric.name, figure.name, at, record): None if np.isnan(value) else value
        for one in scores
        for (figure, at), values in by_record(one).items()
        for record, value in values.items()
    }
    assert measured == expected
    assert len(measured) == len(rows) - 2
    assert {(row["record"], row["index"], row["label"]) for row in rows} == {(f"photo-{i}", i, i % 3) for i in range(4)}
    assert {row["status"] for row in rows if row["record"] == "photo-1"} == {"blank map"}
    assert {row["status"] for row in rows if row["record"] == "photo-0"} == {"ok"}
    left_out = [row for row in rows if row["record"] == "photo-2"]
    assert [(row["metric"], row["figure"], row["value"], row["status"]) for row in left_out] == [
        (name, None, None, "2.png: cut short") for name in ("iou", "energy")
    ]


def test_pairs_are_labelled_by_whether_they_are_one_person(tmp_path):
    maps = np.random.default_rng(0).random((4, FACE, FACE), np.float32)
    run = run_of(tmp_path / "run", pairs(tmp_path / "faces", 4), maps, network="sface")
    rows = table(tmp_path / "scores.parquet", (run, score(run, "verification", network=EMBEDDER)))
    assert {row["figure"] for row in rows} == {"deletion_auc", "insertion_auc"}
    assert {(row["index"], row["label"]) for row in rows} == {(i, 1 - i % 2) for i in range(4)}


def test_the_command_writes_the_runs_it_has_measured_into_one_file(fame, class_run, tmp_path):
    other = run_of(tmp_path / "other", photographs(tmp_path / "photos", 4), np.ones((4, SIDE, SIDE), np.float32))
    file = tmp_path / "new" / "scores.parquet"
    command = ("score", class_run.folder, other.folder, "--metric", "iou,energy", "--no-progress", "--parquet", file)
    ended = fame(*command)
    assert ended.code == 0, ended.err
    rows = parquet.read_table(file).to_pylist()
    assert {(row["run"], row["metric"]) for row in rows} == {
        (str(run.folder), name) for run in (class_run, other) for name in ("iou", "energy")
    }
    before = file.read_bytes()
    assert fame(*command).code == 0
    assert file.read_bytes() == before


def test_without_pyarrow_nothing_is_measured_and_one_line_says_what_to_install(fame, class_run, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.delitem(sys.modules, "fame_jax.experiments.tables", raising=False)
    ended = fame("score", class_run.folder, "--metric", "iou", "--parquet", tmp_path / "scores.parquet")
    assert ended.code == 2
    assert ended.err == "fame: --parquet needs pyarrow: pip install 'fame-jax[parquet]'\n"
    assert not (class_run.folder / "scores").exists()
