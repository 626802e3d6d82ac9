"""ONNX files as detectors in `fame detect` and `fame explain --detection`: known answers, and what is refused."""

import json
import re

import jax
import numpy as np
import pytest
from PIL import Image

from tests.cli.conftest import arrays
from tests.detection import graphs
from tests.marks import thorough


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A dark photograph, wider than high and larger than the graphs, with a red and a green place, and the graphs."""
    folder = tmp_path_factory.mktemp("files")
    pixels = np.zeros((96, 128, 3), np.uint8)
    pixels[:32, 32:64, 0] = 230
    pixels[64:, 96:, 1] = 204
    Image.fromarray(pixels).save(folder / "photo.png")
    (folder / "names.txt").write_text("red\ngreen\nblue\n")
    (folder / "two.txt").write_text("red\ngreen\n")
    graphs.yolo(folder / "v5.onnx", objectness=True)
    graphs.yolo(folder / "v8.onnx", form="columns")
    graphs.yolo(folder / "flat.onnx", form="flat")
    graphs.detr(folder / "detr.onnx")
    graphs.detr(folder / "odd.onnx", boxes="places")
    for family in ANCHORS:
        graphs.anchored(folder / f"{family}.onnx", family)
    (folder / "rule.json").write_text('{"strides": [16], "sizes": [[16]], "ratios": [[1]]}')
    boxes = [[column, row, column + 16, row + 16] for row in range(0, 64, 16) for column in range(0, 64, 16)]
    (folder / "list.json").write_text(json.dumps(boxes))
    (folder / "many.json").write_text(json.dumps([*boxes, boxes[0]]))
    (folder / "bad.json").write_text('{"strides": [16], "sizes": [[16], [32]], "ratios": [[1]]}')
    (folder / "worse.json").write_text('{"strides": [16]')
    return folder


ANCHORS = {"retinanet": "rule.json", "fcos": "corners", "ssd": "list.json"}
"""A rule, a constant of the graph, a list."""


def options(files, model, decoding, names="names.txt", anchors=None):
    told = ("--decoding", decoding, "--preset-input", "unit", "--labels", files / names)
    if anchors := anchors or ANCHORS.get(decoding):
        told += ("--anchors", files / anchors if anchors.endswith(".json") else anchors)
    return ("--model", files / model, *told, "--no-progress")


CASES = [("v5.onnx", "yolo_objectness", 0.9, 0.8), ("v8.onnx", "yolo", 0.9, 0.8), ("detr.onnx", "detr", 1.0, 1.0)]
CASES += [(f"{family}.onnx", family, 1.0, 1.0) for family in ANCHORS]


@pytest.mark.parametrize(("model", "decoding", "red", "green"), CASES)
def test_boxes_are_in_pixels_of_the_photograph_as_it_is_shown(model, decoding, red, green, files, fame, tmp_path):
    ended = fame("detect", files / "photo.png", *options(files, model, decoding), "--out", tmp_path)
    assert ended.code == 0, ended.err
    found = json.loads((tmp_path / "photo.detections.json").read_text())
    # 128 x 96 is shown to a graph of 64 x 64 at half its size, and nothing of it is cut.
    assert (found["width"], found["height"]) == (64, 48)
    # Scaling down mixes some black in at the borders of a place.
    np.testing.assert_allclose([one["score"] for one in found["detections"]], [red, green], atol=0.03)
    assert [one["name"].split()[0] for one in found["detections"]] == ["red", "green"]
    assert [one["box"] for one in found["detections"]] == [[16, 0, 32, 16], [48, 32, 64, 48]]


@pytest.mark.parametrize("decoding", ["yolo_objectness", "detr", *thorough("yolo", *ANCHORS)])
def test_a_box_is_explained_by_its_place(decoding, files, fame, tmp_path):
    model = next(file for file, name, *_ in CASES if name == decoding)
    walk = ("--detection", "all", "--iterations", 5, "--sigma", 0.5, "--out", tmp_path)
    ended = fame("explain", files / "photo.png", *options(files, model, decoding), *walk)
    assert ended.code == 0, ended.err
    for number, rows, columns in ((1, slice(0, 16), slice(16, 32)), (2, slice(32, 48), slice(48, 64))):
        found = arrays(tmp_path / f"photo.{number}.fame.npz")
        assert found["attribution"].shape == (48, 64)
        assert found["attribution"][rows, columns].sum() > 0.97 * found["attribution"].sum() > 0
        assert float(found["last_loss"]) < float(found["first_loss"])


def test_an_activation_map_lies_where_it_is_on_a_photograph_that_is_filled_up(files, fame, tmp_path):
    given = ("--features", "means", "--detection", "all", "--method", "hires_cam", "--out", tmp_path)
    ended = fame("explain", files / "photo.png", *options(files, "v5.onnx", "yolo_objectness"), *given)
    assert ended.code == 0, ended.err
    for number, row, column in ((1, 0, 1), (2, 2, 3)):
        cells = np.zeros((4, 4))
        cells[row, column] = 1
        found = arrays(tmp_path / f"photo.{number}.hires_cam.npz")["attribution"]
        # Sixteen places on 64 x 64 pixels, of which the photograph has 48 x 64.
        expected = jax.image.resize(cells, (64, 64), "bilinear")[:48]
        np.testing.assert_allclose(found, expected / expected.max(), atol=1e-5)


def test_an_installed_detector_keeps_its_decoding(files, fame, tmp_path, monkeypatch):
    monkeypatch.setenv("FAME_HOME", str(tmp_path / "home"))
    given = ("--decoding", "detr", "--preset-input", "unit", "--name", "set")
    assert fame("convert", "onnx", files / "detr.onnx", *given).code == 0
    ended = fame("detect", files / "photo.png", "--model", "set", "--out", tmp_path, "--no-progress")
    assert "photo.png: class 0 1 (1.00), class 1 2 (1.00)" in ended.out
    assert 'decoding: "detr"' in fame("models", "set").out


@pytest.mark.parametrize(
    ("model", "decoding", "names", "more", "words"),
    [
        ("flat.onnx", "yolo", "names.txt", (), "the output is flat [112]; YOLO's decoding expects one output [n, 4 +"),
        ("detr.onnx", "yolo", "names.txt", (), "the outputs are pred_logits [16, 4], pred_boxes [16, 4]; YOLO's"),
        ("odd.onnx", "detr", "names.txt", (), "places [16, 4]; DETR's decoding expects one with 'logit' in its name"),
        ("v8.onnx", "detr", "names.txt", (), "the outputs are columns [7, 16]; DETR's decoding expects"),
        ("v8.onnx", "yunet", "names.txt", (), "YuNet's decoding expects cls_8 [64, 1]"),
        ("v8.onnx", "yolo", "two.txt", (), "v8 has 3 classes by yolo, its card 2 labels"),
        ("retinanet.onnx", "ssd", "names.txt", (), "retinanet has 2 classes by ssd, its card 3 labels"),
        ("v8.onnx", "ssd", "names.txt", (), "SSD's decoding expects one with 'logit' in its name [16, classes], one"),
        ("retinanet.onnx", "fcos", "names.txt", (), "FCOS's decoding expects"),
        ("v8.onnx", "yolo", "names.txt", ("--resize", 128), "the image is [96, 128], the detector takes [64, 64]"),
    ],
)
def test_outputs_of_another_family_are_told_in_one_line(model, decoding, names, more, words, files, fame, tmp_path):
    ended = fame("detect", files / "photo.png", *options(files, model, decoding, names), *more, "--out", tmp_path)
    assert ended.code == 2
    assert words in ended.err
    assert len(ended.err.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("decoding", "anchors", "words"),
    [
        ("ssd", "many.json", r"bbox_regression \[16, 4\]; SSD's decoding expects .* a row for each of 17 anchors"),
        ("ssd", "bad.json", "bad.json: the card's anchors.sizes has 2 entries; 1 strides expect 1"),
        ("ssd", "worse.json", "worse.json: "),
        ("ssd", "none.json", "none.json"),
        ("ssd", "cornrs", "no node makes a tensor 'cornrs'; did you mean corners"),
        ("ssd", "colours", r"the anchors 'colours' are \[16, 3\]; expected \[n, 4\]"),
        ("yolo", "rule.json", "expected null where the decoding is none of retinanet, fcos, ssd"),
    ],
)
def test_anchors_that_are_none_are_told_in_one_line(decoding, anchors, words, files, fame, tmp_path):
    told = options(files, "ssd.onnx", decoding, anchors=anchors)
    ended = fame("detect", files / "photo.png", *told, "--out", tmp_path)
    assert ended.code == 2
    assert re.search(words, ended.err)
    assert len(ended.err.strip().splitlines()) == 1


def test_outputs_are_named_with_commas_between_and_told_by_their_shapes(files, fame, tmp_path):
    other = ("--output", "cls_logits_of_ssd, bbox_regression")
    ended = fame("detect", files / "photo.png", *options(files, "fcos.onnx", "ssd"), *other, "--out", tmp_path)
    assert ended.code == 0, ended.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("detect", "photo.png", "--model", "v8.onnx", "--preset-input", "unit"), "--decoding tells what a detector's"),
        (("detect", "photo.png", "--decoding", "yolo"), "--decoding is for ONNX files; yunet has a card"),
        (
            ("explain", "photo.png", "--model", "v8.onnx", "--preset-input", "unit", "--decoding", "yolo"),
            "is a detector: use fame detect, or fame explain --detection",
        ),
        (
            ("explain", "photo.png", "--model", "v8.onnx", "--preset-input=unit", "--decoding=yolo", "--task=class"),
            "decoding is 'yolo'; expected null where the task is not detect",
        ),
    ],
)
def test_flags_that_do_not_fit_are_told_in_one_line(arguments, words, files, fame, tmp_path, monkeypatch):
    monkeypatch.chdir(files)
    ended = fame(*arguments, "--out", tmp_path, "--no-progress")
    assert ended.code == 2
    assert words in ended.err
    assert len(ended.err.strip().splitlines()) == 1
