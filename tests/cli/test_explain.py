import os
import pathlib

import numpy as np
import pytest

from fame_jax import Status
from fame_jax.explainers import BEST
from fame_jax.presets import AUTO_STOP
from tests.cli.conftest import arrays, manifest

KEYS = {"image", "attribution", "target", "steps", "first_loss", "last_loss", "status"}


def test_good_photographs_are_explained_beside_bad_ones(fame, photographs, tmp_path):
    out = tmp_path / "results"
    ended = fame(
        "explain",
        photographs / "photo.png",
        photographs / "cut short.png",
        photographs / "more" / "photo.jpg",
        photographs / "missing.jpg",
        photographs / "notes.txt",
        "--iterations",
        "3",
        "--out",
        out,
        "--no-progress",
    )
    assert ended.code == 2
    errors = ended.err.strip().splitlines()
    assert len(errors) == 3
    for name, line in zip(("cut short.png", "missing.jpg", "notes.txt"), errors, strict=True):
        assert line.startswith("fame: ")
        assert name in line
    assert "Traceback" not in ended.err
    assert len([line for line in ended.out.splitlines() if "Egyptian cat (285)" in line]) == 2

    found = arrays(out / "photo.fame.npz")
    assert set(found) == KEYS
    assert found["image"].shape == (224, 224, 3)
    assert found["image"].dtype == np.float32
    assert found["attribution"].shape == (224, 224)
    assert found["attribution"].dtype == np.float32
    assert 0 <= found["attribution"].min() < found["attribution"].max() == pytest.approx(1, abs=1e-6)
    assert int(found["target"]) == 285
    assert int(found["steps"]) == 3
    assert float(found["last_loss"]) < float(found["first_loss"])
    assert str(found["status"]) == Status.OK.message
    assert (out / "photo-2.fame.npz").is_file()
    assert (out / "photo.fame.png").read_bytes().startswith(b"\x89PNG")

    record = manifest(out)
    assert [entry.get("result", entry.get("error", ""))[:7] for entry in record["inputs"][:2]] == ["photo.f", "photo-2"]
    assert len(record["inputs"]) == 5
    assert record["weights_sha256"].startswith("b0353104")
    assert {"jax", "flax", "python"} <= record["versions"].keys()
    assert len(record["inputs"][0]["sha256"]) == 64
    assert record["options"]["iterations"] == 3


@pytest.mark.thorough
def test_a_part_of_a_name_and_two_methods(fame, photographs, tmp_path):
    out = tmp_path / "results"
    ended = fame(
        "explain", photographs / "photo.png", "--target", "tabby", "--method", "fame,grad_cam", "--iterations", "1",
        "--preset", "official", "--out", out, "--no-progress",
    )  # fmt: skip
    assert ended.code == 0
    assert "of tabby (281)" in ended.out
    assert int(arrays(out / "photo.grad_cam.npz")["target"]) == 281
    assert (out / "photo.methods.png").is_file()
    assert manifest(out)["methods"] == ["fame", "grad_cam"]


@pytest.mark.thorough
def test_stop_auto_ends_the_walk_when_the_map_hardly_changes(fame, tmp_path):
    out = tmp_path / "results"
    assert fame("explain", "--stop", "auto", "--iterations", "100", "--out", out, "--no-progress").code == 0
    window = int(AUTO_STOP["window"])
    steps = int(arrays(out / "chelsea.fame.npz")["steps"])
    assert 2 * window <= steps < 100
    assert steps % window == 0
    record = manifest(out)
    assert record["options"]["stop"] == "auto"
    assert record["inputs"][0]["steps"] == steps


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--target", "egiptian cat"], "Egyptian cat"),
        (["--target", "1000"], "999"),
        (["--target", "cat"], "fits 5 classes: tiger cat (282)"),
        (["--model", "resnet5"], "resnet50"),
        (["--model", "resnet50"], "fame download resnet50"),
        (["--model", "sface"], "fame verify"),
        (["--weights", "/no/such/folder"], "/no/such/folder"),
        (["--method", "gradcam"], "grad_cam"),
        (["--method", "fggb"], "does not explain classes"),
        (["--iterations", "-1"], "--iterations -1"),
        (["--iterations", "2147483648"], "--iterations 2147483648"),
        (["--seed", "99999999999999999999"], "--seed"),
        (["--batch-size", "0"], "--batch-size 0"),
        (["--step-size", "0"], "--step-size 0"),
    ],
)
def test_bad_options_end_in_one_line_before_any_work(fame, photographs, tmp_path, arguments, words):
    out = tmp_path / "results"
    ended = fame("explain", photographs / "photo.png", *arguments, "--out", out)
    assert ended.code == 2
    assert len(ended.err.strip().splitlines()) == 1
    assert words in ended.err
    assert not out.exists() or not list(out.iterdir())


@pytest.mark.parametrize("text", ["one", "1/0", "1//2", "nan", ""])
def test_step_size_that_is_no_number_is_refused(fame, text):
    ended = fame("explain", f"--step-size={text}")
    assert ended.code == 2
    assert "Traceback" not in ended.err


def test_output_folder_that_is_a_file_is_named(fame, photographs):
    ended = fame("explain", photographs / "photo.png", "--out", photographs / "notes.txt")
    assert ended.code == 2
    assert "notes.txt" in ended.err
    assert len(ended.err.strip().splitlines()) == 1


def test_nothing_readable_still_leaves_a_manifest(fame, photographs, tmp_path):
    ended = fame("explain", photographs / "notes.txt", "--out", tmp_path / "results")
    assert ended.code == 2
    assert "0 explained, 1 failed" in ended.out
    assert len(manifest(tmp_path / "results")["inputs"]) == 1


def test_unknown_command_and_help(fame):
    ended = fame("explian")
    assert ended.code == 2
    assert "explain" in ended.err
    overview = fame("--help")
    assert overview.code == 0
    assert "fame explain" in overview.out
    assert fame("--version").out.startswith("fame ")


def test_pipes_and_devices_are_refused_and_long_and_odd_names_are_written(fame, photographs, tmp_path):
    out = tmp_path / "results"
    os.mkfifo(photographs / "pipe.jpg")
    long = photographs / f"{'x' * 245}.png"
    odd = pathlib.Path(os.fsdecode(os.fsencode(photographs) + b"/caf\xe9.png"))
    for copy in (long, odd):
        copy.write_bytes((photographs / "photo.png").read_bytes())
    ended = fame("explain", photographs / "pipe.jpg", "/dev/zero", long, odd, "--method", "random", "--out", out)
    assert ended.code == 2
    assert ended.err.count("no regular file") == 2
    assert "2 explained, 2 failed" in ended.out
    assert len(list(out.glob("*.png"))) == 2


def test_the_manifest_of_an_earlier_run_is_kept(fame, photographs, tmp_path):
    out = tmp_path / "results"
    for name in ("notes.txt", "cut short.png"):
        fame("explain", photographs / name, "--out", out)
    assert "cut short" in manifest(out)["inputs"][0]["path"]
    assert "notes.txt" in (out / "manifest-1.json").read_text()


@pytest.mark.thorough
def test_the_best_method_goes_by_its_own_name(fame, photographs, tmp_path):
    out, few = tmp_path / "results", ["--option", "samples=2", "--kernel", "9", "--sigma", "2"]
    ended = fame("explain", photographs / "photo.png", "--method", "best", *few, "--out", out, "--no-progress")
    assert ended.code == 0
    assert f"best is {BEST['class']}" in ended.out
    assert (out / f"photo.{BEST['class']}.npz").is_file()
    assert manifest(out)["methods"] == [BEST["class"]]


@pytest.mark.thorough
def test_what_a_walk_lowers_goes_by_its_name(fame, photographs, tmp_path):
    few = ("--method", "fame_evidence,fame", "--iterations", 2, "--out", tmp_path, "--no-progress")
    ended = fame("explain", photographs / "photo.png", *few)
    assert "FAME on the evidence" in ended.out.split(", evidence ")[0]
    assert "; FAME of" in ended.out.split(", logit ")[0].splitlines()[-1]
