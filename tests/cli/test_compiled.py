"""What one run has compiled, the next one loads."""

import json
import os
import subprocess
import sys

import jax

RUN = """
import atexit, json, sys
import jax
events = []
jax.monitoring.register_event_listener(lambda event, **details: events.append(event.rsplit("/", 1)[-1]))
from fame_jax.cli import main
atexit.register(lambda: print(json.dumps([events.count("cache_misses"), events.count("cache_hits")])))
main(["explain", "--iterations", "2", "--no-progress", "--out", sys.argv[1]])
"""


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
    assert hits == misses > 10


def test_the_folder_that_a_user_has_named_is_used(fame):
    assert fame("models").code == 0
    assert jax.config.jax_compilation_cache_dir == os.environ["JAX_COMPILATION_CACHE_DIR"]
