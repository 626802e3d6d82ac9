"""Runs and pictures in object storage: a real S3 server on this machine, which is slow, refuses and goes away."""

import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

import fame_jax
from fame_jax.datasets.catalogue import read
from fame_jax.experiments.costs import costs
from fame_jax.experiments.run import run
from fame_jax.experiments.score import score
from fame_jax.experiments.store import Run
from fame_jax.files import write_json
from fame_jax.remote import Remote, located
from tests.experiments import tiny
from tests.experiments.storage import bucket, server

__all__ = ["bucket", "server"]

pytest.importorskip("moto")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

ROOT = pathlib.Path(__file__).resolve().parents[2]


def explained(dataset, out, **settings):
    return run(tiny.network(), dataset, "fame", out, tiny.settings(**settings), card=tiny.card())


def contents(out: Remote) -> dict[str, bytes]:
    return {key: (out / key).read_bytes() for key in out.below() if key != "times.jsonl"}


def test_a_path_is_an_address_and_behaves_like_one_of_this_machine(bucket):
    path = located(pathlib.Path(str(bucket)) / "a" / "b.txt")  # As the command line gives it, with one slash.
    assert str(path) == f"{bucket}/a/b.txt" == os.fspath(path)
    assert (path.name, path.parent, path.with_suffix(".csv").name) == ("b.txt", bucket / "a", "b.csv")
    assert path.absolute() == path == Remote(str(path))
    assert located("s3/a") == pathlib.Path("s3/a")
    assert not isinstance(located("/s3:/a"), Remote)
    assert not path.exists()
    with pytest.raises(FileNotFoundError, match="no such object"):
        path.read_bytes()
    with pytest.raises(FileNotFoundError):
        path.unlink()
    path.unlink(missing_ok=True)
    path.write_bytes(b"one\n")
    with path.open("a") as file:
        file.write("two")
    assert path.read_text() == "one\ntwo"
    assert path.open("rb").read() == b"one\ntwo"
    write_json(bucket / "a" / "c" / "d.json", {"x": 1})
    assert json.loads((bucket / "a" / "c" / "d.json").read_text()) == {"x": 1}
    assert (bucket / "a").is_dir()
    assert not (bucket / "a").is_file()
    assert not path.is_dir()
    assert bucket.below() == ["a/b.txt", "a/c/d.json"]
    assert list((bucket / "a").iterdir()) == [path, bucket / "a" / "c"]
    assert list((bucket / "a").glob("*.txt")) == [path]
    path.unlink()
    assert not path.exists()


def test_no_secret_is_told_and_a_bucket_that_is_not_there_is_named(bucket):
    with pytest.raises(OSError, match="NoSuchBucket") as caught:
        Remote("s3://no-such-bucket/a").write_bytes(b"x")
    assert "secret" not in str(caught.value)
    assert "s3://no-such-bucket/a" in str(caught.value)


@pytest.mark.thorough
def test_a_run_into_a_bucket_holds_the_bytes_of_one_on_disk(folder, bucket, server, tmp_path):
    data = tiny.dataset(folder)
    explained(data, tmp_path / "out")
    server.latency, server.failing = 0.002, 0.05
    found = explained(data, bucket / "out")
    assert contents(bucket / "out") == tiny.contents(tmp_path / "out")
    assert found.failures().keys() == {3}
    before = server.requests
    explained(data, bucket / "out")
    assert server.requests - before < 40, "what is finished is not computed again"
    maps, before = fame_jax.read(f"{bucket}/out"), server.requests
    np.testing.assert_array_equal(maps.maps[4], found.map(4))
    assert server.requests - before < 8, "one map is read without the others"
    there, here = ({cost.what: cost.each for cost in costs(Run(out))} for out in (bucket / "out", tmp_path / "out"))
    for what in ("bytes in the store", "files"):
        assert there[what] == here[what] > 0


def test_pictures_from_a_bucket_give_the_maps_of_those_on_disk(folder, bucket, tmp_path):
    for path in folder.iterdir():
        (bucket / "pictures" / path.name).write_bytes(path.read_bytes())
    (bucket / "pictures" / "notes.txt").write_bytes(b"no picture")
    there = explained(read("folder", bucket / "pictures", "none"), bucket / "out")
    here = explained(read("folder", folder, "none"), tmp_path / "out")
    assert there.failures().keys() == here.failures().keys() == {3}
    assert str(bucket / "pictures" / "0003.png") in there.failures()[3]
    for name in ("attribution", "state", "sha256", "label"):
        np.testing.assert_array_equal(there.column(name), here.column(name))
    reopened = Run(pathlib.Path(str(bucket)) / "out")
    assert reopened.records[0].picture.path == bucket / "pictures" / "0000.png"
    rows = [score(one, "iou", network=tiny.network()).rows for one in (reopened, here)]
    assert [row.values for row in rows[0]] == [row.values for row in rows[1]]


def test_a_list_in_a_bucket_names_pictures_beside_it(folder, bucket):
    (bucket / "one.png").write_bytes((folder / "0000.png").read_bytes())
    (bucket / "list.csv").write_bytes(b"image,label\none.png,2\n../two.png,1\n")
    found = read("list", bucket / "list.csv")
    assert [(record.picture.path, record.label) for record in found.records] == [(bucket / "one.png", 2)]
    assert "leads out" in found.problems[0].reason


@pytest.mark.thorough
def test_who_polls_never_sees_half_a_block(folder, bucket, server, tmp_path):
    data, out, seen, wrong, over = tiny.dataset(folder), bucket / "out", set(), [], threading.Event()
    whole = explained(data, tmp_path / "out", block_size=1, iterations=50)
    expected = whole.column("attribution")
    server.latency = 0.002

    def poll():
        while not over.is_set():
            if not (out / "manifest.json").is_file():
                continue
            store = Run(out)
            for block in range(store.blocks):
                if store.is_complete(block):
                    seen.add(block)
                    if not np.array_equal(store.column("attribution", range(block, block + 1)), expected[block, None]):
                        wrong.append(block)

    poller = threading.Thread(target=poll)
    poller.start()
    try:
        explained(data, out, block_size=1, iterations=50)
        for block in range(2):  # One that is written anew is away meanwhile, not half there.
            (out / "arrays" / "state" / "c" / str(block)).unlink()
        explained(data, out, block_size=1, iterations=50)
    finally:
        over.set()
        poller.join()
    assert not wrong
    assert seen


@pytest.mark.thorough
def test_a_connection_that_is_lost_for_a_while_costs_nothing_but_time(folder, bucket, server, tmp_path):
    data = tiny.dataset(folder)
    explained(data, tmp_path / "out")
    threading.Timer(0.3, lambda: setattr(server, "away_until", time.monotonic() + 3)).start()
    server.latency = 0.01
    explained(data, bucket / "out")
    assert contents(bucket / "out") == tiny.contents(tmp_path / "out")


@pytest.mark.slow
def test_processes_that_are_killed_leave_no_half_block_in_a_bucket(bucket, server, tmp_path):
    pictures = tmp_path / "pictures"
    tiny.pictures(pictures, 40)
    explained(tiny.dataset(pictures), tmp_path / "out", iterations=200)
    environment = os.environ | {"PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-m", "tests.experiments.tiny", str(pictures), str(bucket / "out"), "class"]
    for number in range(5):
        process = subprocess.Popen(
            [*command, json.dumps({"iterations": 200})], env=environment, stdout=subprocess.PIPE, text=True
        )
        assert process.stdout
        process.stdout.readline()
        time.sleep(random.uniform(0, 0.3 * number))
        server.away_until = time.monotonic() + (30 if number == 3 else 0)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
    subprocess.run([*command, json.dumps({"iterations": 200})], env=environment, check=True, capture_output=True)
    assert contents(bucket / "out") == tiny.contents(tmp_path / "out")


@pytest.mark.slow
@pytest.mark.parametrize("apart", [0.0, 1.0, 3.0])
def test_two_processes_at_one_run_in_a_bucket_leave_the_bytes_of_one(bucket, server, tmp_path, apart):
    """Nothing is locked there: both compute, and a block is the same whoever wrote it."""
    pictures = tmp_path / "pictures"
    tiny.pictures(pictures, 40)
    explained(tiny.dataset(pictures), tmp_path / "out", iterations=200)
    server.latency = 0.01
    environment = os.environ | {"PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-m", "tests.experiments.tiny", str(pictures), str(bucket / "out"), "class"]
    both = []
    for _ in range(2):
        both.append(
            subprocess.Popen([*command, json.dumps({"iterations": 200})], env=environment, stdout=subprocess.DEVNULL)
        )
        time.sleep(apart)
    assert [process.wait(200) for process in both] == [0, 0]
    assert contents(bucket / "out") == tiny.contents(tmp_path / "out")
