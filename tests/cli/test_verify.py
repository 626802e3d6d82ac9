"""`fame verify`, `fame calibrate` and `fame locations`, with the bundled SFace and MobileNetV2."""

import csv
import json
import pathlib

import numpy as np
import pytest
from PIL import Image

from fame_jax import models
from fame_jax.cli.thresholds import stored_threshold
from fame_jax.data.faces import sample_face, sunglasses
from fame_jax.presets import AUTO_STOP
from tests.cli.conftest import arrays, manifest

MAPS = {"probe_similar", "probe_dissimilar", "gallery_similar", "gallery_dissimilar"}


def save(path, image):
    Image.fromarray(np.rint(np.asarray(image) * 255).astype(np.uint8)).save(path)
    return path


@pytest.fixture
def faces(tmp_path):
    """Two aligned faces of one person, one behind sunglasses; a picture without a face."""
    face = sample_face().image
    save(tmp_path / "face.png", face)
    save(tmp_path / "covered.png", sunglasses(face).image)
    save(tmp_path / "wall.png", np.full((300, 200, 3), 0.5))
    return tmp_path


def test_without_arguments_a_portrait_is_compared_with_its_covered_self(fame, tmp_path):
    out = tmp_path / "results"
    ended = fame("verify", "--iterations", "2", "--out", out, "--no-progress")
    assert ended.code == 0, ended.err
    assert "threshold 0.363" in ended.out
    assert ": match" in ended.out
    found = arrays(out / "portrait.fame.npz")
    assert set(found) == MAPS | {"probe", "gallery", "similarity"} | {f"status_{name}" for name in MAPS}
    for name in MAPS:
        assert found[name].shape == (112, 112)
        assert found[name].max() == pytest.approx(1, abs=1e-6)
        assert str(found[f"status_{name}"]) == "ok"
    assert 0.5 < float(found["similarity"]) < 0.7
    assert (out / "portrait.fame.png").read_bytes().startswith(b"\x89PNG")
    assert manifest(out)["decision"] == "match"


@pytest.mark.thorough
def test_why_both_faces_were_detected(fame, faces):
    pair = (faces / "face.png", faces / "wall112.png")
    save(pair[1], np.full((112, 112, 3), 0.5))
    ended = fame("verify", *pair, "--why-detected", "--iterations", 1, "--out", faces / "out", "--no-progress")
    assert ended.code == 0, ended.err
    assert "probe: YuNet sees a face (0.9" in ended.out
    assert "gallery: YuNet sees no face in the aligned crop" in ended.out
    found = arrays(faces / "out" / "face-wall112.detected.probe.npz")
    left, top, right, bottom = found["box"].astype(int)
    assert found["attribution"].shape == (112, 112)
    assert found["attribution"][top:bottom, left:right].mean() > 1.2 * found["attribution"].mean() > 0
    assert (faces / "out" / "face-wall112.detected.probe.png").exists()


@pytest.mark.thorough
def test_stop_auto_ends_each_walk_by_itself(fame, tmp_path):
    out = tmp_path / "results"
    assert fame("verify", "--stop", "auto", "--out", out, "--no-progress").code == 0
    record = manifest(out)
    assert record["options"]["stop"] == "auto"
    for walk in record["maps"].values():
        assert 2 * AUTO_STOP["window"] <= walk["steps"] < 500
        assert walk["status"] == "ok"


def test_a_blank_map_has_its_reason_beside_it(fame, faces, tmp_path):
    out = tmp_path / "results"
    ended = fame("verify", faces / "face.png", faces / "face.png", "--iterations", "0", "--out", out, "--no-progress")
    assert ended.code == 0
    assert "similarity 1.000" in ended.out
    assert ended.out.count("stopped before the first step") == 4
    assert not arrays(out / "face-face.fame.npz")["probe_similar"].any()


def test_methods_without_dissimilar_maps_leave_them_out(fame, faces, tmp_path):
    out = tmp_path / "results"
    ended = fame("verify", faces / "face.png", faces / "covered.png", "--method", "grad_cam_ew", "--out", out)
    assert ended.code == 0, ended.err
    found = arrays(out / "face-covered.grad_cam_ew.npz")
    assert "probe_similar" in found
    assert "probe_dissimilar" not in found
    assert str(found["status_probe_dissimilar"]) == "the method has no such map"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["face.png"], "two photographs"),
        (["face.png", "missing.png"], "missing.png"),
        (["face.png", "wall.png"], "no face was found"),
        (["face.png", "covered.png", "--threshold", "2"], "--threshold"),
        (["face.png", "covered.png", "--model", "mobilenet_v2"], "fame explain"),
        (["face.png", "covered.png", "--method", "rise"], "does not explain pairs of faces"),
        (["face.png", "covered.png", "--model", "iresnet50"], "fame convert iresnet50"),
        (["face.png", "covered.png", "--face", "1", "2"], "no face 2"),
    ],
)
def test_bad_input_ends_in_one_line(fame, faces, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(faces)
    ended = fame("verify", *arguments, "--out", tmp_path / "results")
    assert ended.code == 2
    assert words in ended.err
    assert "Traceback" not in ended.err
    assert not (tmp_path / "results" / "manifest.json").exists()


def test_calibrated_threshold_is_used_afterwards(fame, faces):
    rng = np.random.default_rng(0)
    save(faces / "noise.png", rng.random((112, 112, 3)))
    (faces / "pairs.csv").write_text(
        "G,P,T\nface.png,covered.png,1\nface.png,noise.png,0\ncovered.png,noise.png,0\nface.png,gone.png,1\n"
    )
    ended = fame("calibrate", faces / "pairs.csv", "--no-progress")
    assert ended.code == 2, "a missing image is reported, and the rest is used"
    assert "gone.png" in ended.err
    assert "on 3 pairs (1 genuine)" in ended.out
    stored = json.loads(next((faces / "home" / "thresholds").iterdir()).read_text())
    # With perfect separation the threshold is the lowest genuine score.
    assert 0.5 < stored["threshold"] < 0.7
    again = fame("verify", faces / "face.png", faces / "noise.png", "--iterations", "0", "--out", faces / "results")
    assert "calibrated by eer on 3 pairs" in again.out
    assert "no match" in again.out


def test_a_threshold_of_a_false_match_rate_comes_with_its_interval_and_scores(fame, faces):
    rng = np.random.default_rng(0)
    lines = ["G,P,T", "face.png,covered.png,1"]
    for i in range(6):
        save(faces / f"noise{i}.png", rng.random((112, 112, 3)))
        lines += [f"noise{i}.png,{name},0" for name in ("face.png", "covered.png")]
    (faces / "pairs.csv").write_text("\n".join(lines))
    ended = fame("calibrate", faces / "pairs.csv", "--rule", "fmr=0.25", "--no-progress")
    assert ended.code == 0, ended.err
    folder = faces / "home" / "thresholds"
    stored = json.loads(next(folder.glob("*.json")).read_text())
    rows = list(csv.DictReader(pathlib.Path(stored["scores"]).read_text().splitlines()))
    scores, genuine = (np.array([float(row[name]) for row in rows]) for name in ("score", "T"))
    impostors = scores[genuine == 0]
    assert len(rows) == 13
    assert (impostors >= stored["threshold"]).mean() <= 0.25 < (impostors >= np.sort(impostors)[-4]).mean()
    assert stored["threshold"] == scores[scores > np.sort(impostors)[-4]].min()
    low, high = stored["interval"]
    assert low <= stored["threshold"] <= high
    assert "by fmr=0.25 on 13 pairs" in ended.out
    rare = fame("calibrate", faces / "pairs.csv", "--rule", "fmr=0.001", "--no-progress")
    assert rare.code == 0
    assert "12 impostor pairs cannot show a false match rate of 0.001" in rare.err
    assert "Give 1000 or more" in rare.err


@pytest.mark.parametrize("rule", ["fmr", "fmr=", "fmr=2", "fmr=-1", "fmr=nan", "tar=0.1", "best"])
def test_unknown_rules_are_refused_before_any_work(fame, faces, rule):
    ended = fame("calibrate", faces / "gone.csv", "--rule", rule)
    assert ended.code == 2
    assert f"--rule {rule}: expected eer, accuracy" in ended.err


def test_a_published_threshold_belongs_to_the_published_weights():
    digest = models.card("sface").sha256
    assert stored_threshold("sface", digest).value == 0.363
    assert not stored_threshold("sface", "0" * 64).known
    assert not stored_threshold("iresnet50", digest).known


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a,b,c\n1,2,3\n", "no column G, P, T"),
        ("G,P,T\nface.png,covered.png,yes\n", "line 2"),
        ("G,P,T\n", "no pairs"),
        ("G,P,T\nface.png,covered.png,1\n", "at least one genuine and one impostor"),
        ("\x00\x01\x02", "pairs.csv"),
    ],
)
def test_bad_lists_of_pairs_are_refused(fame, faces, text, words):
    (faces / "pairs.csv").write_text(text)
    ended = fame("calibrate", faces / "pairs.csv", "--no-progress")
    assert ended.code == 2
    assert words in ended.err
    assert "Traceback" not in ended.err


@pytest.mark.thorough
def test_locations_writes_sheet_maps_and_numbers(fame, tmp_path):
    out = tmp_path / "results"
    ended = fame("locations", "--rows", "1,4", "--iterations", "1", "--out", out, "--no-progress")
    assert ended.code == 0, ended.err
    assert "14 locations" in ended.out
    found = arrays(out / "chelsea.locations.npz")
    assert found["attribution"].shape == (2, 7, 224, 224)
    assert (out / "chelsea.locations.png").read_bytes().startswith(b"\x89PNG")
    numbers = json.loads((out / "chelsea.locations.json").read_text())["locality"]
    assert set(numbers) == {"row 1", "row 4", "all"}
    assert 0.5 < numbers["all"]["outside"] < 1


@pytest.mark.parametrize(("rows", "words"), [("7", "rows 0 to 6"), ("a", "whole numbers"), ("", "whole numbers")])
def test_rows_that_do_not_exist_are_refused(fame, tmp_path, rows, words):
    ended = fame("locations", f"--rows={rows}", "--out", tmp_path / "results")
    assert ended.code == 2
    assert words in ended.err
