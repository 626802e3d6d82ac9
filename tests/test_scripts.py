"""Every script of a table or figure runs from end to end, with bundled networks, two steps, and copies of data sets."""

import pathlib
import re
import runpy
import sys

import numpy as np
import pytest

from fame_jax.experiments import paper
from tests.datasets import synthetic

SCRIPTS = pathlib.Path(__file__).resolve().parents[1] / "scripts"
ARTEFACTS = sorted(path.stem for path in SCRIPTS.glob("*.py") if re.fullmatch(r"(table|figure)_\d+", path.stem))


@pytest.fixture
def script(capsys, monkeypatch, tmp_path):
    """Runs a script as from the command line: exit code, standard output, standard error."""
    monkeypatch.setenv("FAME_HOME", str(tmp_path / "home"))

    def call(name, *arguments):
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(SCRIPTS / f"{name}.py"), run_name="__main__")
        return (ended.value.code or 0, *capsys.readouterr())

    return call


@pytest.fixture
def photographs(tmp_path):
    """Two small pictures."""
    return [synthetic.save(tmp_path / f"{i}.png", synthetic.pattern([i], 60, 80)) for i in range(2)]


@pytest.fixture
def faces(tmp_path):
    """Probe and gallery, aligned."""
    return [synthetic.save(tmp_path / f"face-{i}.png", synthetic.face(i, 0)) for i in range(2)]


def is_picture(path):
    return path.read_bytes().startswith(b"\x89PNG")


def test_every_artefact_of_the_paper_has_its_script():
    assert len(ARTEFACTS) == 15
    assert set(ARTEFACTS) == {f"table_{n}" for n in range(1, 4)} | {f"figure_{n}" for n in range(1, 13)}


@pytest.mark.parametrize("name", ARTEFACTS)
def test_help_names_artefact_and_inputs(script, name):
    code, out, _ = script(name, "--help")
    assert code == 0
    assert name.replace("_", " ").capitalize() + ":" in out
    assert "Needs" in out


@pytest.mark.parametrize("name", ["figure_1", "figure_7"])
def test_locations_of_classifiers(script, photographs, tmp_path, name):
    arguments = (photographs[0], "--rows", 3, "--iterations", 2, "--out", tmp_path / "out", "--no-progress")
    code, out, err = script(name, *arguments)
    assert code == 0, err
    assert "resnet101 is not installed (fame download resnet101)" in err
    assert "mobilenet_v2 stands in" in err
    assert "7 locations" in out
    assert is_picture(tmp_path / "out/mobilenet_v2/0.locations.png")


def test_locations_of_face_networks(script, faces, tmp_path):
    arguments = (faces[0], "--rows", 3, "--iterations", 2, "--out", tmp_path / "out", "--no-progress")
    code, _, err = script("figure_8", *arguments)
    assert code == 0, err
    assert is_picture(tmp_path / "out/sface/face-0.locations.png")


@pytest.mark.parametrize(
    ("name", "methods"),
    [
        ("figure_2", ["grad_cam_ew", "fame"]),
        pytest.param("figure_9", ["grad_cam", "fullgrad", "hires_cam", "fame"], marks=pytest.mark.slow),
        ("figure_9", ["grad_cam", "fame"]),
    ],
)
def test_photographs_by_method(script, photographs, tmp_path, name, methods):
    arguments = (*photographs, "--iterations", 2, "--methods", *methods, "--out", tmp_path / "out")
    code, _, err = script(name, *arguments)
    assert code == 0, err
    assert is_picture(tmp_path / "out/mobilenet_v2.png")
    with np.load(tmp_path / "out/mobilenet_v2.npz") as arrays:
        assert arrays["images"].shape == (2, 224, 224, 3)
        assert all(arrays[method].shape == (2, 224, 224) for method in methods)


@pytest.mark.parametrize(
    ("name", "methods"),
    [
        ("figure_3", ["grad_cam_ew", "fame"]),
        pytest.param("figure_3", ["grad_cam", "grad_cam_ew", "corrrise", "fggb", "fame"], marks=pytest.mark.slow),
        ("figure_10", ["grad_cam_ew"]),
        ("figure_11", ["grad_cam_ew"]),
        ("figure_12", ["grad_cam_ew"]),
    ],
)
def test_pairs_by_method(script, faces, tmp_path, name, methods):
    arguments = (*faces, "--iterations", 2, "--masks", 4, "--methods", *methods, "--out", tmp_path / "out")
    code, _, err = script(name, *arguments)
    assert code == 0, err
    assert is_picture(tmp_path / "out/sface.png")
    with np.load(tmp_path / "out/sface.npz") as arrays:
        assert arrays["probes"].shape == (1, 112, 112, 3)
        assert all(arrays[f"{method}_probe_similar"].any() for method in methods)


def test_sweep_of_the_blur(script, faces, tmp_path):
    code, out, err = script("figure_5", *faces, "--iterations", 2, "--out", tmp_path / "out")
    assert code == 0, err
    assert "correlation with the next value" in out
    with np.load(tmp_path / "out/blur.npz") as arrays:
        assert arrays["values"].tolist() == ["5", "11", "21", "31", "49", "75"]
        # More blur, less detail.
        detail = np.abs(np.diff(arrays["maps"][0], axis=1)).mean(axis=(1, 2))
        assert (np.diff(detail) < 0).all()


def test_sweeps_of_steps_and_step_size(script, photographs, tmp_path):
    code, _, err = script("figure_6", photographs[0], "--iterations", 5, "--out", tmp_path / "out")
    assert code == 0, err
    with np.load(tmp_path / "out/steps.npz") as arrays:
        assert arrays["values"].tolist() == ["1", "5"]
        assert arrays["maps"].shape == (1, 2, 224, 224)
    assert is_picture(tmp_path / "out/step_size.png")


def test_table_1(script, tmp_path):
    copy = synthetic.imagenet(tmp_path / "imagenet", photographs=2, classes=2)
    arguments = ("--methods", "grad_cam", "--iterations", 2, "--out", tmp_path / "out", "--no-progress")
    code, out, err = script("table_1", f"imagenet={copy.root}", "--presets", "official", *arguments)
    assert code == 0, err
    assert re.search(r"\| Grad-CAM \| mobilenet_v2 \| grad_cam \| 2 \| \d+\.\d\d \[", out)
    assert "38.76" in (tmp_path / "out/table_1.official.md").read_text()


def test_table_2_and_the_curves_of_its_runs(script, tmp_path):
    copy = synthetic.cfp(tmp_path / "cfp", subjects=2, folds=1)
    arguments = ("--methods", "grad_cam_ew", "--iterations", 2, "--out", tmp_path / "out", "--aligned", "--no-progress")
    code, out, err = script("table_2", f"cfp:FP-01={copy.root}", *arguments)
    assert code == 0, err
    assert re.search(r"\| Grad-CAM element-wise \| sface \| grad_cam_ew \| 4 \|", out)
    runs = tmp_path / "out/runs/sface/cfp-FP-01"
    code, out, err = script("figure_4", runs / "grad_cam_ew", "--out", tmp_path / "figure", "--no-progress")
    assert code == 0, err
    assert str(paper.CLEAN_ACCURACY) in out
    assert is_picture(tmp_path / "figure/curves.png")
    with np.load(tmp_path / "figure/curves.npz") as arrays:
        assert arrays["grad_cam_ew_deletion_mean"].shape == (11,)


def test_table_3(script, tmp_path):
    arguments = ("--methods", "grad_cam_ew", "--steps", 1, "--repeats", 1, "--out", tmp_path / "out")
    code, out, err = script("table_3", *arguments)
    assert code == 0, err
    assert "| 9552 |" in out
    assert (tmp_path / "out/seconds.sface.json").is_file()


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("figure_3", ["one.png"], "expected faces two by two"),
        ("figure_2", ["--colours", "jett"], "did you mean jet"),
        ("figure_4", [], "expected runs of pairs"),
        ("table_1", [], "expected a data set and its folder"),
        ("table_2", ["cfp"], "expected DATASET=FOLDER"),
    ],
)
def test_bad_input_is_one_line(script, tmp_path, name, arguments, words):
    code, _, err = script(name, *arguments, "--out", tmp_path / "out")
    assert code == 2
    assert words in err.splitlines()[-1]
