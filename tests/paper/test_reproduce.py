"""Every table and figure is made from end to end, with bundled networks, two steps, and copies of data sets."""

import re

import numpy as np
import pytest

from fame_jax.experiments.store import Run
from fame_jax.paper import numbers
from tests.cli.conftest import fame  # noqa: F401
from tests.datasets import synthetic

ITEMS = [*(f"table_{n}" for n in range(1, 4)), *(f"figure_{n}" for n in range(1, 13))]


@pytest.fixture
def reproduce(fame):  # noqa: F811
    """Makes an item as from the command line: exit code, standard output, standard error."""
    return lambda *arguments: fame("reproduce", *arguments)


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


def test_every_table_and_figure_is_listed_with_what_it_needs(reproduce):
    code, out, _ = reproduce("--help")
    assert code == 0
    assert re.findall(r"• (\w+)", out) == ITEMS
    assert out.count("Needs") == len(ITEMS)


@pytest.mark.parametrize("name", ITEMS)
def test_help_names_item_and_inputs(reproduce, name):
    code, out, _ = reproduce(name, "--help")
    assert code == 0
    assert name.replace("_", " ").capitalize() + ":" in out
    assert "Needs" in out


@pytest.mark.thorough
def test_locations_of_classifiers(reproduce, photographs, tmp_path):
    arguments = (photographs[0], "--rows", 3, "--iterations", 2, "--out", tmp_path / "out", "--no-progress")
    code, out, err = reproduce("figure_7", *arguments)
    assert code == 0, err
    assert "resnet101 is not installed (fame download resnet101)" in err
    assert "mobilenet_v2 stands in" in err
    assert "7 locations" in out
    assert is_picture(tmp_path / "out/mobilenet_v2/0.locations.png")


@pytest.mark.thorough
def test_locations_of_face_networks(reproduce, faces, tmp_path):
    arguments = (faces[0], "--rows", 3, "--iterations", 2, "--out", tmp_path / "out", "--no-progress")
    code, _, err = reproduce("figure_8", *arguments)
    assert code == 0, err
    assert is_picture(tmp_path / "out/sface/face-0.locations.png")


@pytest.mark.parametrize(
    ("name", "methods"),
    [
        pytest.param("figure_2", ["grad_cam_ew", "fame"], marks=pytest.mark.thorough),
        pytest.param("figure_9", ["grad_cam", "fullgrad", "hires_cam", "fame"], marks=pytest.mark.slow),
    ],
)
def test_photographs_by_method(reproduce, photographs, tmp_path, name, methods):
    arguments = (*photographs, "--iterations", 2, "--methods", *methods, "--out", tmp_path / "out")
    code, _, err = reproduce(name, *arguments)
    assert code == 0, err
    assert is_picture(tmp_path / "out/mobilenet_v2.png")
    with np.load(tmp_path / "out/mobilenet_v2.npz") as arrays:
        assert arrays["images"].shape == (2, 224, 224, 3)
        assert all(arrays[method].shape == (2, 224, 224) for method in methods)


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("name", "methods"),
    [
        ("figure_3", ["grad_cam_ew", "fame"]),
        pytest.param("figure_3", ["grad_cam", "grad_cam_ew", "corrrise", "fggb", "fame"], marks=pytest.mark.slow),
    ],
)
def test_pairs_by_method(reproduce, faces, tmp_path, name, methods):
    arguments = (*faces, "--iterations", 2, "--masks", 4, "--methods", *methods, "--out", tmp_path / "out")
    code, _, err = reproduce(name, *arguments)
    assert code == 0, err
    assert is_picture(tmp_path / "out/sface.png")
    with np.load(tmp_path / "out/sface.npz") as arrays:
        assert arrays["probes"].shape == (1, 112, 112, 3)
        assert all(arrays[f"{method}_probe_similar"].any() for method in methods)
    if "fggb" in methods:  # As in the tables.
        assert Run(tmp_path / "out/runs/sface/fggb").manifest["options"]["threshold"] == pytest.approx(0.363)


@pytest.mark.thorough
def test_sweep_of_the_blur(reproduce, faces, tmp_path):
    code, out, err = reproduce("figure_5", *faces, "--iterations", 2, "--out", tmp_path / "out")
    assert code == 0, err
    assert "correlation with the next value" in out
    with np.load(tmp_path / "out/blur.npz") as arrays:
        assert arrays["values"].tolist() == ["5", "11", "21", "31", "49", "75"]
        # More blur, less detail.
        detail = np.abs(np.diff(arrays["maps"][0], axis=1)).mean(axis=(1, 2))
        assert (np.diff(detail) < 0).all()


@pytest.mark.thorough
def test_sweeps_of_steps_and_step_size(reproduce, photographs, tmp_path):
    code, _, err = reproduce("figure_6", photographs[0], "--iterations", 5, "--out", tmp_path / "out")
    assert code == 0, err
    with np.load(tmp_path / "out/steps.npz") as arrays:
        assert arrays["values"].tolist() == ["1", "5"]
        assert arrays["maps"].shape == (1, 2, 224, 224)
    assert is_picture(tmp_path / "out/step_size.png")


@pytest.mark.thorough
def test_table_1(reproduce, tmp_path):
    copy = synthetic.imagenet(tmp_path / "imagenet", photographs=2, classes=2)
    arguments = ("--methods", "grad_cam", "--iterations", 2, "--out", tmp_path / "out", "--no-progress")
    code, out, err = reproduce("table_1", f"imagenet={copy.root}", "--presets", "official", *arguments)
    assert code == 2  # As fame run ends: most of the data set is not there.
    assert "2 records, expected 50000" in err
    assert re.search(r"\| Grad-CAM +\| mobilenet_v2 +\| grad_cam +\| 2 +\| \d+\.\d\d \[", out)
    assert "38.76" in (tmp_path / "out/table_1.official.md").read_text()


@pytest.mark.thorough
def test_table_2_and_the_curves_of_its_runs(reproduce, tmp_path):
    copy = synthetic.cfp(tmp_path / "cfp", subjects=2, folds=1)
    arguments = ("--methods", "grad_cam_ew", "--iterations", 2, "--out", tmp_path / "out", "--aligned", "--no-progress")
    code, out, err = reproduce("table_2", f"cfp:FP-01={copy.root}", *arguments)
    assert code == 2
    assert "4 records, expected 700" in err
    assert re.search(r"\| Grad-CAM element-wise +\| sface +\| grad_cam_ew +\| 4 +\|", out)
    runs = tmp_path / "out/runs/sface/cfp-FP-01"
    code, out, err = reproduce("figure_4", runs / "grad_cam_ew", "--out", tmp_path / "figure", "--no-progress")
    assert code == 0, err
    assert str(numbers.CLEAN_ACCURACY) in out
    assert is_picture(tmp_path / "figure/curves.png")
    with np.load(tmp_path / "figure/curves.npz") as arrays:
        assert arrays["grad_cam_ew_deletion_mean"].shape == (11,)


@pytest.mark.thorough
def test_table_3(reproduce, tmp_path):
    arguments = ("--methods", "grad_cam_ew", "--steps", 1, "--repeats", 1, "--out", tmp_path / "out")
    code, out, err = reproduce("table_3", *arguments)
    assert code == 0, err
    assert "| 9552 |" in out
    code, again, err = reproduce("table_3", tmp_path / "out/seconds.sface.json", "--out", tmp_path / "again")
    assert code == 0, err
    row = next(line for line in out.splitlines() if "| sface " in line)
    assert row in again


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("figure_3", ["one.png"], "expected faces two by two"),
        ("figure_2", ["--colours", "jett"], "did you mean jet"),
        ("figure_4", [], "expected runs of pairs"),
        ("table_1", ["photographs"], "no run is here"),
        ("table_3", ["nothing.json"], "nothing.json"),
    ],
)
def test_bad_input_is_one_line(reproduce, tmp_path, name, arguments, words):
    code, _, err = reproduce(name, *arguments, "--out", tmp_path / "out")
    assert code == 2
    assert words in err.splitlines()[-1]


def test_a_photograph_that_is_left_out_is_told_by_the_exit_code(reproduce, photographs, tmp_path):
    photographs[1].write_bytes(b"no picture")
    arguments = (*photographs, "--networks", "mobilenet_v2", "--methods", "random", "--out", tmp_path / "out")
    code, _, err = reproduce("figure_2", *arguments)
    assert code == 2
    assert "is left out" in err
    assert is_picture(tmp_path / "out/mobilenet_v2.png")


def test_a_list_that_lost_records_says_so_and_an_empty_one_draws_nothing(reproduce, photographs, tmp_path):
    (tmp_path / "list.csv").write_text(f"image,label\n{photographs[0].name},1\nnone.png,2\n")
    (tmp_path / "empty.csv").write_text("image,label\nnone.png,2\n")
    how = ("--networks", "mobilenet_v2", "--methods", "random", "--out", tmp_path / "out", "--no-progress")
    code, _, err = reproduce("figure_2", tmp_path / "empty.csv", *how)
    assert (code, err.count("Traceback")) == (2, 0)
    assert "no record that can be shown" in err
    code, _, err = reproduce("figure_2", tmp_path / "list.csv", *how)
    assert code == 2
    assert "none.png" in err
