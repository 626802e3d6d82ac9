"""The paper's tables beside measured numbers."""

import json
import re

import jax
import numpy as np
import pytest
from jax.tree_util import Partial

from fame_jax.experiments.rows import ScoreError
from fame_jax.experiments.score import score
from fame_jax.experiments.store import Run
from fame_jax.explainers import EXPLAINERS
from fame_jax.paper import numbers as paper
from fame_jax.paper.tables import as_json, markdown, table_1, table_2, table_3
from tests.cli.conftest import fame  # noqa: F401
from tests.experiments.runs import FACE, SIDE, pairs, photographs, run_of

EMBEDDER = Partial(lambda weights, x: x.ravel() @ weights, jax.random.normal(jax.random.key(1), (FACE**2 * 3, 8)))


def line_of(table, method, source):
    return next(line for line in table.lines if line.method == method and line.source == source)


def test_the_papers_numbers_are_whole():
    assert set(paper.METHODS) <= set(EXPLAINERS)
    assert list(paper.TABLE_1) == ["grad_cam", "grad_cam_ew", "hires_cam", "fullgrad", "fame"]
    assert {len(methods) for methods in paper.TABLE_2.values()} == {5}
    cells = [cell for methods in paper.TABLE_2.values() for row in methods.values() for cell in row.values()]
    assert len(cells) == 3 * 5 * 8
    assert all(50 <= value <= 100 for cell in cells for value in cell)
    assert paper.TABLE_2["iresnet101"]["fame"]["FP"] == (55.82, 96.24)
    assert paper.TABLE_2["iresnet18"]["fggb"]["close"] == (55.83, 80.13)
    assert sum(paper.TABLE_1["fame"].iou) == pytest.approx(85.97)


def test_table_1_shows_measured_rows_below_the_papers(tmp_path):
    maps = np.zeros((3, SIDE, SIDE), np.float32)
    maps[:, 3:12, 2:9] = 1
    run = run_of(tmp_path / "mine", photographs(tmp_path / "photos", 3), maps)
    with pytest.raises(ScoreError, match=r"no scores yet; fame score .*mine --metric iou,road_delete"):
        table_1([run])
    score(run, "iou")
    table = table_1([run])
    methods = [line.method for line in table.lines]
    assert methods[-2:] == ["fame", "fame"]
    assert [line.source for line in table.lines][-2:] == ["paper", "mine"]
    assert line_of(table, "fame", "mine").cells["IoU 0.5, %"].mean == 100
    text = cells(markdown(table))
    assert "| FAME | mobilenet_v2 | mine | 3 | 100.00 [100.00, 100.00] |" in text
    assert "| FAME | not said | paper | | 46.09 |" in text
    assert "rewrite of lost scripts" in text
    line = as_json(table)["lines"][-1]
    assert line["cells"]["IoU 0.7, %"]["number"] == 3
    assert line["cells"]["ROAD-Delete 30%"] is None
    json.dumps(as_json(table), allow_nan=False)


def test_table_2_puts_a_protocol_into_its_column(tmp_path):
    maps = np.random.default_rng(0).random((4, FACE, FACE), np.float32)
    kinds = {"network": "iresnet50", "dataset": "cfp FP-01", "method": "corrrise"}
    run = run_of(tmp_path / "mine", pairs(tmp_path / "faces", 4), maps, **kinds)
    scores = score(run, "verification", network=EMBEDDER)
    table = table_2([Run(run.folder)])
    assert {line.network for line in table.lines} == {"iresnet50"}
    line = line_of(table, "corrrise", "mine")
    assert set(line.cells) == {"FP del", "FP ins"}
    assert 0 <= line.cells["FP del"].mean <= 100
    assert line.number == len(scores.rows) == 4
    assert line_of(table, "corrrise", "paper").cells["FP ins"] == 94.68
    assert "neutral is degenerate" in markdown(table)


def test_table_2_of_a_stand_in_shows_the_papers_rows_of_all_networks(tmp_path):
    maps = np.random.default_rng(0).random((4, FACE, FACE), np.float32)
    run = run_of(tmp_path / "mine", pairs(tmp_path / "faces", 4), maps, network="sface", dataset="pairs mine")
    score(run, "verification", network=EMBEDDER)
    table = table_2([run])
    assert {line.network for line in table.lines} == {*paper.TABLE_2, "sface"}
    assert table.columns[-2:] == ("pairs mine del", "pairs mine ins")


def test_tables_refuse_runs_of_the_other_task(tmp_path):
    run = run_of(tmp_path / "mine", photographs(tmp_path / "photos", 2), np.zeros((2, SIDE, SIDE)))
    with pytest.raises(ScoreError, match="explains classes; this table is of pairs of faces"):
        table_2([run])


def test_table_3_counts_up_to_the_papers_numbers():
    times = {
        "network": "mobilenet_v2",
        "device": "cpu",
        "number": 4,
        "seconds_a_photograph": {"1": 0.5},
        "seconds_a_pair": {"fame": 2.0},
    }
    photographs, pairs = table_3([times])
    assert line_of(photographs, "fame", "cpu").cells == {"1": 500}
    assert line_of(pairs, "", "cpu").cells == {"fame": 1400}
    assert "| cpu | 4 |" in cells(markdown(photographs))


def test_a_table_without_inputs_is_the_papers(fame, tmp_path):  # noqa: F811
    ended = fame("reproduce", "table_1", "--out", tmp_path)
    assert ended.code == 0, ended.err
    assert "48.81" in ended.out
    (table,) = json.loads((tmp_path / "table_1.json").read_text())
    assert {line["source"] for line in table["lines"]} == {"paper"}


def cells(text):
    """Rows of a Markdown table without the spaces that align them."""
    return re.sub(r" +", " ", text)
