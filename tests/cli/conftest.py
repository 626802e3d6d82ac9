"""Commands are run in this process, as `fame` would run them; a folder of photographs good and bad to run them on."""

import json
from typing import NamedTuple

import jax
import numpy as np
import pytest
from PIL import Image

from fame_jax.cli.console import run
from fame_jax.data.images import sample_path


class Ended(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


@pytest.fixture
def fame(capsys, monkeypatch, tmp_path):
    """Runs commands with a home of their own; as from processes of their own, nothing of their precision stays."""
    monkeypatch.setenv("FAME_HOME", str(tmp_path / "home"))
    wide = jax.config.read("jax_enable_x64")

    def call(*arguments) -> Ended:
        capsys.readouterr()
        try:
            code = run([str(argument) for argument in arguments])
        except SystemExit as stop:
            code = int(stop.code or 0)
        return Ended(code, *capsys.readouterr())

    yield call
    jax.config.update("jax_enable_x64", wide)


@pytest.fixture
def photographs(tmp_path):
    """A folder with two pictures of one name, one broken, one that is no picture."""
    cat = Image.open(sample_path("cat"))
    folder = tmp_path / "with spaces and ünïcode"
    (folder / "more").mkdir(parents=True)
    cat.save(folder / "photo.png")
    cat.convert("L").save(folder / "more" / "photo.jpg")
    whole = (folder / "photo.png").read_bytes()
    (folder / "cut short.png").write_bytes(whole[: len(whole) // 2])
    (folder / "notes.txt").write_text("not a picture")
    return folder


def manifest(folder):
    """`manifest.json`, strictly: JSON has no NaN."""

    def refuse(text):
        raise AssertionError(f"{text} is not JSON")

    return json.loads((folder / "manifest.json").read_text(), parse_constant=refuse)


def arrays(path):
    with np.load(path) as file:
        return dict(file)
