"""Scoring where pictures are missing, or others than those that were explained."""

import shutil

import jax
import numpy as np
import pytest
from jax.tree_util import Partial

from fame_jax.data.records import pictures_of
from fame_jax.experiments.opening import changed_picture, sha256s
from fame_jax.experiments.rows import read_scores
from fame_jax.experiments.score import score
from fame_jax.experiments.store import Run
from tests.experiments.runs import SIDE, pairs, photographs, run_of

CLASSIFIER = Partial(lambda weights, x: x.ravel() @ weights, jax.random.normal(jax.random.key(0), (SIDE**2 * 3, 3)))


def maps(number):
    return np.random.default_rng(0).random((number, SIDE, SIDE), np.float32)


@pytest.mark.parametrize("name", ["energy", pytest.param("deletion", marks=pytest.mark.thorough)])
def test_a_changed_picture_is_left_out_until_it_is_put_back(tmp_path, name):
    records = photographs(tmp_path / "photos", 2)
    run = run_of(tmp_path / "run", records, maps(2), hashed=True)
    first, other = (record.picture.path for record in records)
    before = first.read_bytes()
    first.write_bytes(other.read_bytes())
    left_out, kept = score(run, name, network=CLASSIFIER).rows
    assert left_out.reason == f"{first}: the picture is not the one that was explained"
    assert kept.reason is None
    first.write_bytes(before)
    assert [row.reason for row in score(Run(run.folder), name, network=CLASSIFIER).rows] == [None, None]


def test_each_face_of_a_pair_is_compared(tmp_path):
    record = pairs(tmp_path / "faces", 2)[1]
    hashes = sha256s(pictures_of(record))
    assert changed_picture(record, hashes) is None
    shutil.copy(record.probe.path, record.gallery.path)
    assert changed_picture(record, hashes) == record.gallery.path
    assert changed_picture(record, np.zeros_like(hashes)) is None, "none was kept"


def test_a_picture_that_was_missing_is_tried_again_and_nothing_else(tmp_path):
    records = photographs(tmp_path / "photos", 6)
    run = run_of(tmp_path / "run", records, maps(6))
    away = [records[index].picture.path for index in (0, 3)]
    for path in away:
        path.rename(path.with_suffix(".away"))

    def measured():
        counts = []
        return score(Run(run.folder), "energy", progress=counts.append).rows, sum(counts)

    rows, count = measured()
    assert ([row.index for row in rows if row.unread], count) == ([0, 3], 6)
    assert measured()[1] == 0, "what is still missing costs no block its measurement"
    away[0].with_suffix(".away").rename(away[0])
    records[1].picture.path.unlink()
    again, count = measured()
    assert ([row.index for row in again if row.unread], count) == ([3], 2)
    assert again[1].values == rows[1].values, "what was measured stays"
    assert [row.reason for row in read_scores(run, "energy").rows] == [row.reason for row in again]
    assert measured()[1] == 0
