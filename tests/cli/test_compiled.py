"""What one run has compiled, the next one loads."""

import json
import os
import subprocess
import sys

import jax
import pytest

from fame_jax.cli import console

RUN = """
import atexit, json, sys
import jax
events = []
jax.monitoring.register_event_listener(lambda event, **details: events.append(event.rsplit("/", 1)[-1]))
from fame_jax.cli import main
atexit.register(lambda: print(json.dumps([events.count("cache_misses"), events.count("cache_hits")])))
main(["explain", "--iterations", "2", "--no-progress", "--out", sys.argv[1]])
"""


@pytest.mark.thorough
def test_a_second_run_compiles_nothing(tmp_path):
    found = []
    environment = {name: value for name, value in os.environ.items() if name != "JAX_COMPILATION_CACHE_DIR"}
    for number in (1, 2):
        run = subprocess.run(
            [sys.executable, "-c", RUN, str(tmp_path / f"{number}")],
            env={**environment, "FAME_HOME": str(tmp_path / "home")},
            capture_output=True,
            text=True,
            check=True,
        )
        found.append(json.loads(run.stdout.splitlines()[-1]))
    (misses, _), (misses_again, hits) = found
    assert misses_again == 0
    assert hits == misses > 5


def test_the_folder_that_a_user_has_named_is_used(fame):
    assert fame("models").code == 0
    assert jax.config.jax_compilation_cache_dir == os.environ["JAX_COMPILATION_CACHE_DIR"]


def test_what_was_used_last_goes_when_there_is_too_much(tmp_path, monkeypatch, fame):
    folder = tmp_path / "compiled"
    (folder / "kept").mkdir(parents=True)
    for age, name in enumerate(("newest", "recent", "old", "oldest")):
        (folder / name).write_bytes(bytes(100))
        os.utime(folder / name, (10**9 - age, 10**9 - age))
    monkeypatch.setattr(console, "COMPILED_BYTES", 250)
    monkeypatch.setattr(console, "home", lambda: tmp_path)
    before = jax.config.jax_compilation_cache_dir
    jax.config.update("jax_compilation_cache_dir", None)
    try:
        assert fame("models").code == 0
    finally:
        jax.config.update("jax_compilation_cache_dir", before)
    assert {path.name for path in folder.iterdir()} == {"kept", "newest", "recent"}


def test_the_folder_that_a_user_has_named_is_not_touched(tmp_path, monkeypatch, fame):
    (tmp_path / "theirs").write_bytes(bytes(100))
    monkeypatch.setattr(console, "COMPILED_BYTES", 0)
    before = jax.config.jax_compilation_cache_dir
    jax.config.update("jax_compilation_cache_dir", str(tmp_path))
    try:
        assert fame("models").code == 0
    finally:
        jax.config.update("jax_compilation_cache_dir", before)
    assert (tmp_path / "theirs").exists()
