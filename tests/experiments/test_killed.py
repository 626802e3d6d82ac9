"""Processes are killed at random moments, as crashes, batch systems and power cuts do it."""

import itertools
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import jax
import numpy as np
import pytest

from fame_jax.experiments import opening
from fame_jax.experiments.opening import at_work, wait_for
from fame_jax.experiments.processes import ALONE, Processes, this_process
from fame_jax.experiments.run import prepared, run
from fame_jax.experiments.settings import this_device
from fame_jax.experiments.store import Run, RunError
from tests.experiments import tiny

ROOT = pathlib.Path(__file__).resolve().parents[2]
STEPS = 200


def started(pictures, out, *, devices: int = 1, **options) -> subprocess.Popen:
    """A run in a process of its own."""
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={devices}",
    }
    given = json.dumps({"iterations": STEPS} | options)
    command = [sys.executable, "-m", "tests.experiments.tiny", str(pictures), str(out), "class", given]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finished(process: subprocess.Popen) -> str:
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return out


def kill(process: subprocess.Popen) -> None:
    process.send_signal(signal.SIGKILL)
    process.communicate()


def blocks_written(out: pathlib.Path) -> int:
    return len(list(out.glob("arrays/state/c/*")))


def wait_for_blocks(process: subprocess.Popen, out: pathlib.Path, count: int) -> None:
    """Returns as soon as so many blocks are there, at a moment that no test chooses."""
    deadline = time.monotonic() + 120
    while blocks_written(out) < count and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.001)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "pictures"
    tiny.pictures(folder, 40)[7].write_bytes(b"no picture")
    return folder


@pytest.fixture(scope="module")
def whole(pictures, tmp_path_factory):
    """The store of a run that nobody interrupted."""
    out = tmp_path_factory.mktemp("whole") / "out"
    run(tiny.network(), tiny.dataset(pictures), "fame", out, tiny.settings(STEPS), card=tiny.card())
    return tiny.contents(out)


@pytest.mark.thorough
def test_a_run_that_was_killed_becomes_one_that_was_not(pictures, whole, tmp_path):
    process = started(pictures, tmp_path / "out")
    wait_for_blocks(process, tmp_path / "out", 3)
    kill(process)
    assert 3 <= blocks_written(tmp_path / "out") < 20, (
        "it should be killed in the middle for this test to mean something"
    )
    finished(started(pictures, tmp_path / "out"))
    assert tiny.contents(tmp_path / "out") == whole


@pytest.mark.slow
def test_killed_at_ten_random_moments(pictures, whole, tmp_path):
    out, moments = tmp_path / "out", random.Random(0)
    for number in range(10):
        process = started(pictures, out)
        # Somewhere from the first imports to within a block; each time a little later.
        wait_for_blocks(process, out, 2 * number)
        time.sleep(moments.uniform(0, 0.05 if number else 3))
        kill(process)
    assert blocks_written(out) < 20
    finished(started(pictures, out))
    assert tiny.contents(out) == whole


@pytest.mark.thorough
def test_two_processes_one_killed_and_started_again_on_its_own(pictures, whole, tmp_path):
    out = tmp_path / "out"
    first, second = (started(pictures, out, index=index, count=2) for index in (0, 1))
    wait_for_blocks(second, out, 2)
    kill(second)
    assert finished(first) == "10 blocks\n"
    assert not all(Run(out).is_complete(block) for block in range(1, 20, 2))
    assert all(Run(out).is_complete(block) for block in range(0, 20, 2))
    finished(started(pictures, out, index=1, count=2))
    assert tiny.contents(out) == whole


@pytest.mark.slow
def test_one_device_eight_devices_and_two_processes_give_the_same_maps(pictures, tmp_path):
    def maps(name: str) -> np.ndarray:
        return np.asarray(Run(tmp_path / name)._array("attribution").read())

    for precision, iterations, tolerance in (("float64", 100, 1e-9), ("float32", 5, 2e-6)):
        options = {
            "precision": precision,
            "iterations": iterations,
            "batch_size": 8,
            "block_size": 8,
            "dtype": "float64",
        }
        one, eight, two = (f"{precision}-{name}" for name in ("one", "eight", "two"))
        finished(started(pictures, tmp_path / one, **options))
        finished(started(pictures, tmp_path / eight, devices=8, **options))
        both = [started(pictures, tmp_path / two, index=index, count=2, **options) for index in (0, 1)]
        for process in both:
            finished(process)
        for name in (eight, two):
            np.testing.assert_allclose(maps(name), maps(one), rtol=0, atol=tolerance)


def test_shares_are_disjoint_and_complete():
    shares = [Processes(index, 3).share(7) for index in range(3)]
    assert sorted(itertools.chain(*shares)) == list(range(7))
    assert list(ALONE.share(3)) == [0, 1, 2]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((0, None), "--process-id needs --processes"),
        ((None, 2), "--processes 2 needs --process-id"),
        ((2, 2), "expected a number from 0 to 1"),
        ((-1, 2), "expected a number from 0 to 1"),
    ],
)
def test_arguments_of_processes_that_do_not_fit_together(arguments, words):
    with pytest.raises(RunError, match=words):
        this_process(*arguments)


def test_a_process_whose_first_one_is_missing_says_so(pictures, tmp_path):
    with pytest.raises(RunError, match="process 0 has not laid out the run within 0 s"):
        run(
            tiny.network(), tiny.dataset(pictures), "fame", tmp_path / "out", tiny.settings(), card=tiny.card(),
            processes=Processes(1, 2), patience=0,
        )  # fmt: skip


def test_a_process_that_is_early_takes_what_the_first_one_chose(pictures, tmp_path):
    """Their devices may differ, and with them the usual batch."""
    data = replace(tiny.dataset(pictures), records=tiny.dataset(pictures).records[:3])

    def job(index, usual):
        device = this_device()._replace(batch=usual)
        how = {"processes": Processes(index, 2), "device": device, "identity": "0", "patience": 30}
        chosen = tiny.settings(batch_size=None, block_size=None)
        with prepared(data, tiny.card(), "random", tmp_path / "out", replace(chosen, options={}), **how) as found:
            return found.store.manifest["batch_size"]

    with ThreadPoolExecutor() as pool:
        early = pool.submit(job, 1, 1)
        time.sleep(0.3)
        assert job(0, 2) == early.result() == 2


def test_a_first_process_that_is_at_work_is_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr(opening, "_BEAT", 0.0)
    file, sign = tmp_path / "boxes", tmp_path / ".sign"
    beat = at_work(sign)

    def works():
        for _ in range(16):
            beat()
            time.sleep(0.1)
        file.touch()

    beat()
    with ThreadPoolExecutor() as pool:
        done = pool.submit(works)
        wait_for(file, 1, sign)
        done.result()
    file.unlink()
    with pytest.raises(RunError, match="process 0 has not"):
        wait_for(file, 0, sign)


@pytest.mark.parametrize("nodes", [1, 4])
def test_tasks_of_a_slurm_step_find_each_other(monkeypatch, nodes):
    calls = []
    step = {"STEP_ID": "0", "NTASKS": "4", "PROCID": "3", "LOCALID": "2", "NNODES": str(nodes)}
    for name, value in step.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    monkeypatch.setattr(jax.config, "update", lambda *setting: calls.append(setting))
    assert this_process() == Processes(3, 4)
    assert calls == ([("jax_cuda_visible_devices", "2")] if nodes == 1 else [])
    assert this_process(count=1) == ALONE
