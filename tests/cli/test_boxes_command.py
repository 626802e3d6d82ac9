"""`fame run` of boxes, `fame score` and `fame report` of them: found in a folder, or listed."""

import json
import tarfile

import numpy as np
import pytest
from PIL import Image

from fame_jax.experiments.store import Run
from fame_jax.report import read
from tests.cli.test_detect import PATCH

WALK = ("--model", "own.py:network", "--iterations", 3, "--sigma", 0.5, "--no-progress")


@pytest.fixture
def pictures(tmp_path, monkeypatch):
    """A bright and a dark photograph of two shapes and a file that is none, beside a detector of one patch."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.py").write_text(PATCH)
    (tmp_path / "photos").mkdir()
    for name, size, grey in (("bright.png", (96, 64), 204), ("dark.png", (60, 80), 51)):
        Image.new("RGB", size, (grey,) * 3).save(tmp_path / "photos" / name)
    (tmp_path / "photos" / "broken.png").write_text("no picture")
    return tmp_path / "photos"


@pytest.mark.thorough
def test_boxes_of_a_folder_are_found_explained_scored_and_shown(fame, pictures, tmp_path):
    command = ("run", "folder", "photos", *WALK, "--out", "maps")
    ended = fame(*command)
    assert ended.code == 2
    assert "2 boxes in 2 of 3 photographs, see maps/detections.json" in ended.out
    assert "2 of 2 records explained" in ended.out
    assert "broken.png" in ended.err
    run = Run(tmp_path / "maps")
    assert [(record.name, record.label) for record in run.records] == [("bright.png box 1", 0), ("dark.png box 1", 1)]
    assert [run.map(index).shape for index in (0, 1)] == [(64, 96), (80, 60)]
    assert run.map(0)[12:18, 32:38].min() > 0.9
    np.testing.assert_allclose(run.column("first_loss")[:, 0], 0.8, atol=1e-5)

    again = fame(*command)
    assert again.code == 2
    assert "2 of 2 records explained" in again.out
    assert "boxes in" not in again.out
    refused = fame(*command, "--threshold", 0.7)
    assert "maps/detections.json: boxes of something else (threshold 0.6 -> 0.7); choose another --out" in refused.err
    other = fame("run", "coco", "photos", "--protocol", "maps/detections.json", *WALK, "--out", "other")
    assert other.code == 0, other.err
    np.testing.assert_array_equal(Run(tmp_path / "other").map(0), run.map(0))

    scored = fame("score", "maps", "other", "--fractions", "0,0.1,1", "--no-progress")
    assert scored.code == 0, scored.err
    assert "Deletion of a box: AUC (lower is better, 0 to 1, similarity); 95% intervals" in scored.out
    for words in ("Insertion of a box", "ROAD-Delete", "Pointing game", "Share of the map inside the boxes", "n=2"):
        assert words in scored.out
    assert "logit" not in scored.out
    assert "Causal" not in scored.out

    assert fame("report", "maps", "other", "--out", "report.html").code == 0
    page = (tmp_path / "report.html").read_text()
    assert "bright.png box 1" in page
    assert "similarity 0.800" in page
    (source,) = read([tmp_path / "maps"])
    assert len(source.items) == 2


def test_an_archive_is_searched_as_its_folder_is(fame, pictures, tmp_path):
    (pictures / "broken.png").unlink()
    with tarfile.open(tmp_path / "photos.tar", "w") as archive:
        for path in sorted(pictures.iterdir()):
            archive.add(path, path.name)
    for source in ("photos", "photos.tar"):
        ended = fame("run", "folder", source, *WALK, "--out", f"maps of {source}")
        assert ended.code == 0, ended.err
    of_folder, of_archive = (Run(tmp_path / f"maps of {source}") for source in ("photos", "photos.tar"))
    assert [record.name for record in of_archive.records] == [record.name for record in of_folder.records]
    for index in (0, 1):
        np.testing.assert_array_equal(of_archive.map(index), of_folder.map(index))


def test_boxes_are_drawn_on_what_a_report_shows(fame, pictures, tmp_path):
    walk = ("--detection", 1, *WALK, "--method", "fame,gradient", "--out", "explained")
    assert fame("run", "folder", "photos", *WALK, "--limit", 1, "--out", "maps").code == 0
    assert fame("explain", pictures / "bright.png", *walk).code == 0
    for folder in ("maps", "explained"):
        (source,) = read([tmp_path / folder])
        assert {column.loss for item in source.items for column in item.columns} == {"similarity"}
        picture = np.asarray(Image.open(_file(tmp_path, source.items[0].pictures["photograph"])).convert("RGB"), int)
        assert picture.shape == (64, 96, 3)
        green = picture[..., 1] - picture[..., 0] > 80
        # The box is 20 to 50 across and 5 to 30 down.
        assert green[3:5, 20:50].mean() > 0.8
        assert not green[8:27, 23:47].any()
        assert not green[35:].any()


def _file(folder, content):
    (folder / "shown.webp").write_bytes(content)
    return folder / "shown.webp"


def test_yunet_is_the_usual_detector_of_a_list(fame, tmp_path):
    Image.new("RGB", (96, 64), "grey").save(tmp_path / "grey.png")
    boxes = {
        "images": [{"id": 1, "file_name": "grey.png"}],
        "annotations": [{"image_id": 1, "category_id": 1, "bbox": [10, 10, 30, 30]}],
        "categories": [{"id": 1, "name": "Face"}],
    }
    (tmp_path / "boxes.json").write_text(json.dumps(boxes))
    walk = ("--method", "random", "--resize", 96, "--no-progress", "--out", tmp_path / "maps")
    ended = fame("run", "coco", tmp_path / "boxes.json", *walk)
    assert ended.code == 0, ended.err
    run = Run(tmp_path / "maps")
    assert (run.manifest["network"], run.manifest["labels"], run.column("label")[0]) == ("yunet", ["face"], 0)
    assert run.column("first_loss")[0, 0] < 0.1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("coco", "photos", "--protocol", "nosuch.json"), "no list is called 'nosuch.json'"),
        (("coco", "photos", "--protocol", "boxes.json", "--model", "mobilenet_v2"), "mobilenet_v2 is no detector"),
        (("folder", "photos", "--model", "yunet", "--threshold", 2), "--threshold 2: expected a score above 0"),
        (("folder", "photos", "--model", "yunet", "--resize", 96), "nothing to explain"),
        (("list", "photos/list.csv", "--model", "yunet"), "yunet does not fit list list: it needs a classifier"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(arguments, words, fame, pictures):
    (pictures / "broken.png").unlink()
    (pictures / "boxes.json").write_text('{"images": [], "annotations": []}')
    (pictures / "list.csv").write_text("image\ndark.png\n")
    ended = fame("run", *arguments, "--out", "out", "--no-progress")
    assert ended.code == 2
    assert words in ended.err
    assert len(ended.err.strip().splitlines()) == 1
