"""Exit codes: every page of the documentation that promises one is held to it."""

import os
import pathlib
import subprocess
import sys

import pytest

import fame_jax

PAGES = pathlib.Path(fame_jax.__file__).with_name("docs")
OWN = pathlib.Path(__file__).parents[1] / "own_network.py"
QUICK = ("--model", f"{OWN}:network", "--method", "gradient", "--no-progress")


def test_the_pages_that_promise_one_are_those_below():
    promising = {page.name for page in PAGES.glob("*.md") if {"exit", "code"} <= set(page.read_text().lower().split())}
    promising |= {page.name for page in PAGES.glob("*.md") if "ends with code" in page.read_text()}
    elsewhere = {"many_machines.md"}  # tests/experiments/test_cluster.py
    assert promising == {"explain_a_class.md", "run_a_data_set.md", "troubleshooting.md"} | elsewhere


@pytest.mark.parametrize(
    ("beside", "code"),
    [
        ((), 0),
        (("cut short.png",), 2),
        (("missing.png",), 2),
        (("notes.txt",), 2),
    ],
)
def test_explain_a_class(fame, photographs, tmp_path, beside, code):
    others = (photographs / name for name in beside)
    ended = fame("explain", photographs / "photo.png", *others, *QUICK, "--out", tmp_path / "out")
    assert ended.code == code, ended.err
    assert (tmp_path / "out" / "photo.gradient.npz").exists()


def phone(folder):
    (folder / "phone.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(64))


def nowhere(folder):
    (folder / "link.jpg").symlink_to("nowhere")


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda folder: (folder / "cut short.png").unlink(), 0),
        (lambda folder: None, 2),
        (lambda folder: ((folder / "cut short.png").unlink(), phone(folder)), 2),
        (lambda folder: ((folder / "cut short.png").unlink(), nowhere(folder)), 2),
    ],
    ids=["all good", "a damaged one", "one that is not read", "a link to nothing"],
)
def test_run_a_data_set(fame, photographs, tmp_path, change, code):
    change(photographs)
    assert fame("run", "folder", photographs, *QUICK, "--out", tmp_path / "maps").code == code
    assert fame("check", "folder", photographs).code == code


ENDINGS = {
    "bad input": ("pass", 2, "fame: unknown network"),
    "a bug": ("1 / 0", 1, "ZeroDivisionError"),
    "Ctrl-C": ("os.kill(os.getpid(), signal.SIGINT); time.sleep(5)", 130, "fame: interrupted"),
}


@pytest.mark.parametrize("name", ENDINGS)
def test_troubleshooting(name, tmp_path):
    happening, code, words = ENDINGS[name]
    program = f"""
import os, signal, time
from fame_jax.cli import console, main
def happening(): {happening}
console.keep_compiled_programs = happening
main(["explain", "--model", "nosuch"])
"""
    ended = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"FAME_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ended.returncode == code, ended.stderr
    assert words in ended.stderr
    assert ("Traceback" in ended.stderr) == (code == 1)
    assert code == 1 or len(ended.stderr.splitlines()) == 1
