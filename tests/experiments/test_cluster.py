"""A Ray cluster of several nodes on this machine, whose nodes and workers are killed while they compute."""

import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import time

import pytest

from fame_jax.experiments.spent import noted
from fame_jax.experiments.store import Run, RunError
from tests.experiments import tasks, tiny
from tests.experiments.storage import bucket, server

__all__ = ["bucket", "server"]

pytest.importorskip("ray")
psutil = pytest.importorskip("psutil")
pytestmark = [
    pytest.mark.thorough,
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
]

ROOT = pathlib.Path(__file__).resolve().parents[2]
BLOCKS = 20
MANY = 60000
NETWORK = "from tests.experiments import tiny\nmine = tiny.network(), tiny.card()\n"
FAME = "import sys; from fame_jax.cli import main; main(sys.argv[1:])"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Forty pictures, of which one is none, and a network of one matrix."""
    folder = tmp_path_factory.mktemp("place")
    tiny.pictures(folder / "pictures", 2 * BLOCKS)[7].write_bytes(b"no picture")
    (folder / "mine.py").write_text(NETWORK)
    return folder


def started(place, out, *engine: str, steps: int = 300) -> subprocess.Popen:
    """`fame run` in a process of its own."""
    options = f"--protocol none --block-size 2 --batch-size 2 --no-progress --iterations {steps}".split()
    model = f"{place / 'mine.py'}:mine"
    return command(place, "run", "folder", place / "pictures", "--model", model, "--out", out, *options, *engine)


def command(place, *words) -> subprocess.Popen:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu", "MARK": str(place)}
    return subprocess.Popen(
        [sys.executable, "-c", FAME, *map(str, words)],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def ended(process: subprocess.Popen) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=500)
    return process.returncode, out, err


@pytest.fixture(scope="module")
def whole(place):
    """The store of one process that nobody disturbed."""
    code, _, err = ended(started(place, place / "whole"))
    assert code == 2, err  # The picture that is none.
    return tiny.contents(place / "whole")


@pytest.fixture(scope="module")
def long(place):
    """The same of a run that takes long enough to be disturbed often."""
    code, _, err = ended(started(place, place / "long", steps=MANY))
    assert code == 2, err
    return tiny.contents(place / "long")


@pytest.fixture
def cluster(place, monkeypatch):
    """Three nodes of one core."""
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    monkeypatch.setenv("MARK", str(place))
    found = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    for _ in range(2):
        found.add_node(num_cpus=1)
    yield found
    found.shutdown()


def blocks_written(out: pathlib.Path) -> int:
    return sum(path.is_file() for path in out.glob("arrays/state/c/*"))


def wait_for_blocks(process: subprocess.Popen, out: pathlib.Path, count: int) -> None:
    deadline = time.monotonic() + 120
    while blocks_written(out) < count and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert blocks_written(out) < BLOCKS, "something should still be left to disturb"


def workers(place) -> list:
    """Those of this test: the system may hold others."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.name().startswith("ray::_Worker") and process.environ().get("MARK") == str(place):
                found.append(process)
        except psutil.Error:
            continue
    return found


def test_nodes_come_and_go_a_worker_is_killed_and_a_block_raises(place, whole, cluster, tmp_path):
    out, bad = tmp_path / "out", 5
    shutil.copytree(place / "whole", out)
    for file in out.glob("arrays/*/c/*"):
        shutil.rmtree(file) if file.is_dir() else file.unlink()
    obstacle = out / "arrays" / "attribution" / "c" / str(bad) / "0" / "0"
    obstacle.mkdir(parents=True)
    process = started(place, out, "--engine", "ray", "--address", cluster.address)
    wait_for_blocks(process, out, 1)
    random.choice(workers(place)).send_signal(signal.SIGKILL)
    wait_for_blocks(process, out, 3)
    cluster.remove_node(cluster.worker_nodes.copy().pop(), allow_graceful=False)
    cluster.add_node(num_cpus=1)
    code, said, err = ended(process)
    assert code == 2, err
    assert "a worker on machine" in err
    assert err.count("block 5 failed") == 1
    assert "Is a directory" in err
    assert "36 of 40" not in said
    assert "37 of 40 records explained" in said  # All but the picture that is none and the two of the bad block.
    assert not any(f"block {number} failed" in err for number in range(BLOCKS) if number != bad)
    assert set(Run(out).failures()) == {7, 2 * bad, 2 * bad + 1}
    of_bad = {name for name in whole if name.split("/c/")[-1].split("/")[0] == str(bad)} | {"failures/000005.json"}
    found = tiny.contents(out)
    assert {k: v for k, v in found.items() if k not in of_bad} == {k: v for k, v in whole.items() if k not in of_bad}

    obstacle.rmdir()
    code, _, err = ended(started(place, out))
    assert "block" not in err
    assert tiny.contents(out) == whole


@pytest.mark.slow
def test_one_machine_alone_gives_the_same_maps_and_scores(place, whole, tmp_path):
    here, engine = tmp_path / "out", ("--engine", "ray", "--address", "local", "--workers", "2")
    code, _, err = ended(started(place, here, *engine))
    assert code == 2, err
    assert "block" not in err
    assert tiny.contents(here) == whole
    times = noted(here)
    assert len({one["process"] for one in times}) == len(times) == 2, "a line a worker"
    assert sum(one["records"] for one in times) == 2 * BLOCKS
    shutil.copytree(here, tmp_path / "other")
    score = ("--metric", "deletion,pointing_game", "--no-progress")
    for out, how in ((here, engine), (tmp_path / "other", ())):
        code, _, err = ended(command(place, "score", out, *score, *how))
        assert code == 0, err
    assert tiny.contents(here) == tiny.contents(tmp_path / "other")


@pytest.mark.slow
def test_a_node_killed_ten_times_at_random_moments(place, long, cluster, tmp_path):
    out = tmp_path / "out"
    process = started(place, out, "--engine", "ray", "--address", cluster.address, steps=MANY)
    for number in range(10):
        wait_for_blocks(process, out, 1 + number)
        time.sleep(random.uniform(0, 2))
        cluster.remove_node(random.choice(list(cluster.worker_nodes)), allow_graceful=False)
        cluster.add_node(num_cpus=1)
    code, _, err = ended(process)
    assert code == 2, err
    assert not any(f"block {number} failed" in err for number in range(BLOCKS))
    assert tiny.contents(out) == long


def unshared(command: str) -> list[str]:
    """A command with mounts of its own."""
    return ["unshare", "--mount", "sh", "-c", command]


@pytest.mark.slow
def test_a_node_whose_disk_is_full_is_left_out_and_the_others_do_its_share(place, whole, cluster, tmp_path):
    if shutil.which("unshare") is None or subprocess.run(unshared("mount -t tmpfs none /mnt")).returncode:
        pytest.skip("needs mounts of its own")
    out, maps = tmp_path / "out", tmp_path / "out" / "arrays" / "attribution" / "c"
    shutil.copytree(place / "whole", out)
    for file in out.glob("arrays/*/c/*"):
        shutil.rmtree(file) if file.is_dir() else file.unlink()
    for node in list(cluster.worker_nodes):
        cluster.remove_node(node)
    ray = f"{sys.executable} -m ray.scripts.scripts start --address {cluster.address} --num-cpus 1 --block"
    full = f"mount -t tmpfs -o size=4k none {maps} && head -c 4096 /dev/zero > {maps}/fill && {ray}"
    node = subprocess.Popen(unshared(full), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        process = started(place, out, "--engine", "ray", "--address", cluster.address)
        code, _, err = ended(process)
    finally:
        for child in psutil.Process(node.pid).children(recursive=True):
            child.terminate()
        node.wait(60)
    assert code == 2, err
    assert "cannot go on and is left out" in err
    assert "No space left on device" in err
    assert "block" not in err.replace("Earlier blocks", "")
    assert tiny.contents(out) == whole


@pytest.mark.slow
def test_a_driver_is_killed_and_started_again_and_a_second_one_is_refused(place, long, cluster, tmp_path):
    out, engine = tmp_path / "out", ("--engine", "ray", "--address", cluster.address)
    process = started(place, out, *engine, steps=MANY)
    wait_for_blocks(process, out, 2)
    code, _, err = ended(started(place, out, *engine, steps=MANY))
    assert code == 2
    assert "is writing there" in err
    process.kill()
    process.communicate()
    assert blocks_written(out) < BLOCKS
    code, _, err = ended(started(place, out, *engine, steps=MANY))
    assert code == 2, err
    assert tiny.contents(out) == long


@pytest.mark.slow
def test_workers_write_into_a_bucket_what_is_written_to_disk(place, whole, server, bucket):
    server.latency, server.failing = 0.005, 0.02
    process = started(place, bucket / "out", "--engine", "ray", "--address", "local", "--workers", "2")
    deadline = time.monotonic() + 120
    while len((bucket / "out" / "arrays" / "state" / "c").below()) < 3 and time.monotonic() < deadline:
        time.sleep(0.05)
    random.choice(workers(place)).send_signal(signal.SIGKILL)
    server.away_until = time.monotonic() + 30
    code, _, err = ended(process)
    assert code == 2, err
    assert "block" not in err.replace("its blocks go to others", "")
    found = {key: (bucket / "out" / key).read_bytes() for key in (bucket / "out").below()}
    assert {name: content for name, content in found.items() if name != "times.jsonl"} == whole


def within(seconds):
    """Ends a wait for workers that never come."""
    end = time.monotonic() + seconds

    def tick():
        assert time.monotonic() < end, f"no end after {seconds} s"

    return tick


def test_what_ends_processes_or_lets_none_begin_is_given_up_with_the_reason(monkeypatch):
    from fame_jax.experiments.cluster import cluster

    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    with cluster("local", 2, lambda line: None) as found:
        done = []
        failed = found.compute(tasks.begin, range(6), lambda task, result: done.append((task, result)), within(120))
        assert sorted(done) == [(task, task * task) for task in (0, 1, 3, 4, 5)]
        assert set(failed) == {2}, "no other task is blamed"
        assert "the worker's process ended, 3 times" in failed[2]
        found.dismiss()  # Its workers hold both processors, if both have been replaced in time.
        with (
            cluster(None, 1, lambda line: None) as other,
            pytest.raises(RunError, match=r"no worker can begin.*no weights"),
        ):
            other.compute(tasks.cannot, [0], lambda task, result: None, within(120))
        done = []
        with (
            cluster(None, 1, lambda line: None) as other,
            pytest.raises(RunError, match=r"no worker can go on.*the disk is full"),
        ):
            other.compute(tasks.fills_up, range(3), lambda task, result: done.append(task), within(120))
        assert set(done) in ({0}, {1}, {0, 1})  # Of two at once the other one may be asked anew.


def test_options_of_ray_need_ray(fame, tmp_path):
    command = ("run", "folder", tmp_path, "--out", tmp_path / "out")
    assert "add it" in fame(*command, "--workers", "2").err
    assert "by itself" in fame(*command, "--engine", "ray", "--processes", "2", "--process-id", "0").err
