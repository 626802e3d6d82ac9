import contextlib

import pytest
from PIL import Image

from fame_jax.data.images import sample_path
from fame_jax.experiments.store import Run

# One batch size, so that the networks are compiled once for all tests here.
SMALL = ("--batch-size", "2", "--block-size", "2", "--no-progress")


def test_a_folder_of_photographs_becomes_a_store_and_continues(fame, photographs, tmp_path):
    out = tmp_path / "maps"
    command = ("run", "folder", photographs, "--out", out, "--iterations", "2", *SMALL)
    ended = fame(*command)
    assert ended.code == 2
    assert "2 of 3 records explained, 1 failed" in ended.out
    assert f"fame score {out}" in ended.out
    assert "cut short.png: it is damaged or cut short" in ended.err
    run = Run(out)
    assert [record.name for record in run.records] == ["cut short.png", "more/photo.jpg", "photo.png"]
    assert run.map(2).shape == (224, 224)
    assert run.map(2).max() == 1
    assert run.column("label")[2] == run.column("predicted")[2] == 285
    assert run.manifest["geometry"]["resize"] == 256
    assert fame(*command).out == ended.out

    assert "stop_change null -> 0.02, window 25 -> 10" in fame(*command, "--stop", "auto").err
    refused = fame(*command, "--seed", "1", "--precision", "bfloat16")
    assert refused.code == 2
    assert 'precision "float32" -> "bfloat16", seed 0 -> 1' in refused.err
    assert len(refused.err.splitlines()) == 1


@pytest.mark.thorough
def test_several_methods_have_a_folder_each(fame, photographs, tmp_path):
    out = tmp_path / "maps"
    ended = fame(
        "run", "folder", photographs, "--out", out, "--method", "random,gradient", "--limit", "2", "--dtype", "float16",
        "--resize", "232", *SMALL,
    )  # fmt: skip
    assert ended.code == 2
    assert sorted(path.name for path in out.iterdir()) == ["gradient", "random"]
    again = fame("run", "folder", photographs, "--out", out / "random", "--method", "random,gradient", *SMALL)
    assert "holds a run of one method" in again.err
    run = Run(out / "gradient")
    assert run.manifest["geometry"]["resize"] == 232
    assert run.column("state").tolist() == [2, 1]


def test_pairs_of_faces(fame, tmp_path):
    face = Image.open(sample_path("portrait")).crop((140, 20, 310, 190)).resize((112, 112))
    face.save(tmp_path / "a.png")
    face.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(tmp_path / "b.png")
    (tmp_path / "pairs.csv").write_text("G,P,T\na.png,b.png,1\n")
    out = tmp_path / "maps"
    ended = fame("run", "pairs", tmp_path / "pairs.csv", "--out", out, "--method", "random", *SMALL)
    assert ended.code == 0, ended.err
    run = Run(out)
    assert run.manifest["network"] == "sface"
    assert 0.5 < run.column("similarity")[0] < 1
    assert run.map(0, "gallery_dissimilar").shape == (112, 112)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--method", "fggb"], "does not explain classes"),
        (["--method", "gradcam"], "grad_cam"),
        (["--model", "sface"], "is a face network"),
        (["--model", "resnet50"], "fame download resnet50"),
        (["--protocol", "nosuch"], "nosuch"),
        (["--option", "masks"], "expected NAME=VALUE"),
        (["--option", "masks=3"], "expected NAME=VALUE"),
        (["--batch-size", "0"], "--batch-size 0"),
        (["--block-size", "0"], "--block-size 0"),
        (["--limit", "0"], "--limit 0"),
        (["--processes", "2"], "--process-id"),
        (["--process-id", "1"], "--processes"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(fame, photographs, tmp_path, arguments, words):
    ended = fame("run", "folder", photographs, "--out", tmp_path / "maps", "--no-progress", *arguments)
    assert ended.code == 2
    assert words in ended.err
    assert len(ended.err.splitlines()) == 1
    assert not (tmp_path / "maps" / "manifest.json").exists()


def test_an_interruption_keeps_what_is_finished(fame, photographs, tmp_path, monkeypatch):
    out = tmp_path / "maps"
    command = ("run", "folder", photographs, "--out", out, "--method", "random", *SMALL, "--block-size", "1")
    written = []

    def interrupted(self, block, *rest, write=Run.write_block):
        if written:
            raise KeyboardInterrupt
        written.append(block)
        write(self, block, *rest)

    with contextlib.suppress(KeyboardInterrupt), monkeypatch.context() as patch:
        patch.setattr(Run, "write_block", interrupted)
        assert fame(*command).code == 130
    assert Run(out).column("state").tolist() == [2, 0, 0]
    assert fame(*command).code == 2
    assert Run(out).column("state").tolist() == [2, 1, 1]


@pytest.mark.parametrize(
    ("method", "option", "words"),
    [
        ("fame", "window=-5", "window=-5: expected a whole number, 1 or more"),
        ("fame", "iterations=1e99", "iterations=1e+99: expected a whole number from 0 to"),
        ("fame", "grey_of=xyz", "fame cannot work with"),
        ("fame", "clip=5", "fame cannot work with"),
        ("rise", "masks=abc", "masks=abc: expected a whole number, 1 or more"),
        ("fame", "scale=NaN", "NaN is no finite number"),
    ],
)
def test_an_option_of_a_wrong_kind_is_refused_before_any_work(fame, photographs, tmp_path, method, option, words):
    out = tmp_path / "maps"
    ended = fame("run", "folder", photographs, "--out", out, "--method", method, "--option", option, *SMALL)
    assert ended.code == 2
    assert words in ended.err
    assert len(ended.err.splitlines()) == 1
    assert not out.exists()
