import json

import pytest

from fame_jax import models
from tests.cli.conftest import manifest


def test_photographs_are_explained_and_shown_beside_a_bad_one(fame, photographs, tmp_path, monkeypatch):
    # To initialise a network takes ten seconds, and random maps do not depend on it anyway.
    monkeypatch.setattr(models, "build", lambda card, outputs, seed: models.load(card.name))
    out = tmp_path / "pages" / "mine.html"
    ended = fame(
        "report", photographs / "photo.png", photographs / "cut short.png", "--methods", "random",
        "--sanity", "--out", out, "--no-progress",
    )  # fmt: skip
    assert ended.code == 2
    assert len(ended.err.strip().splitlines()) == 1
    assert "1 shown, 1 failed; wrote" in ended.out
    page = out.read_text()
    assert page.startswith("<!DOCTYPE html>")
    assert "cut short" in page
    assert "--sanity" in page
    assert "--method=random" in page

    entry = manifest(tmp_path / "pages" / "mine-maps")["inputs"][0]
    assert entry["randomised_network"]["spearman"] == pytest.approx(1)
    assert entry["remark"].startswith("nearly uniform: ")
    assert "with random weights (ok), rank correlation 1.00" in ended.out
    assert "ok, nearly uniform: the strongest tenth of the area holds 10." in ended.out


@pytest.mark.slow
def test_a_map_that_depends_on_the_weights_changes_with_them(fame, photographs, tmp_path):
    out = tmp_path / "mine.html"
    assert fame("report", photographs / "photo.png", "--methods", "grad_cam", "--sanity", "--out", out).code == 0
    entry = manifest(tmp_path / "mine-maps")["inputs"][0]
    assert abs(entry["randomised_network"]["spearman"]) < 0.9
    assert entry["remark"] == ""


def test_a_second_report_shows_no_photograph_of_the_first(fame, photographs, tmp_path):
    out = tmp_path / "mine.html"
    for name in ("photo.png", "more/photo.jpg"):
        assert fame("report", photographs / name, "--methods", "random", "--out", out).code == 0
    records = out.read_text().partition('id="records">')[2].partition("</script>")[0]
    assert [record["name"].split()[0] for record in json.loads(records)] == ["photo.jpg"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["{photographs}"], "there is no manifest.json"),
        (["{photographs}", "--sanity"], "--sanity is for photographs"),
        (["{photographs}/missing"], "no such file or folder"),
        (["{photographs}/photo.png", "--methods", "gradcam"], "grad_cam"),
        (["{photographs}/photo.png", "--limit", "-1"], "--limit -1"),
        (["{photographs}/photo.png", "--out", "{photographs}"], "is a folder"),
        (["{photographs}/photo.png", "--out", "{photographs}/notes.txt/report.html"], "notes.txt"),
    ],
)
def test_bad_arguments_end_in_one_line_before_any_work(fame, photographs, arguments, words):
    ended = fame("report", *(argument.format(photographs=photographs) for argument in arguments))
    assert ended.code == 2
    assert len(ended.err.strip().splitlines()) == 1
    assert words in ended.err
    assert "Traceback" not in ended.err
