"""Where the time of a run went, by process, and what more records would cost: known answers."""

import json

import numpy as np
import pytest

from fame_jax.experiments.costs import costs, what_hurts
from fame_jax.experiments.processes import Processes
from fame_jax.experiments.run import finish, prepared
from fame_jax.experiments.spent import idle, note, noted, side_by_side, words
from fame_jax.experiments.store import Run
from tests.experiments import tiny
from tests.experiments.runs import SIDE, photographs, run_of


def line(**changed):
    of_one = {"records": 10, "seconds": 20.0, "reading": 3.0, "waiting": 1.0, "computing": 15.0, "writing": 2.0}
    return {"host": "a", "process": 1, **of_one, **changed}


@pytest.fixture
def finished(tmp_path):
    """A run of five records in blocks of two, and what two processes took for it."""
    maps = np.random.default_rng(0).random((5, SIDE, SIDE), np.float32)
    found = run_of(tmp_path / "run", photographs(tmp_path / "photos", 5), maps)
    note(found.folder, [line(), line(process=2, records=30, seconds=20.0, reading=1.0)])
    return found


def test_methods_that_share_their_pictures_are_told_apart():
    one, other = (line(seconds=0.0, reading=0.0, computing=c, writing=w) for c, w in ((4.0, 1.0), (8.0, 2.0)))
    found = side_by_side([one | {"seconds": 18.0, "reading": 6.0}, other])
    assert [part["computing"] for part in found] == [4, 8]
    assert [part["reading"] for part in found] == [6, 6], "alone, each would have read the pictures"
    assert [part["seconds"] for part in found] == [18 - 10, 18 - 5]
    assert [part["waiting"] for part in found] == [2, 2]


def test_lines_are_added_and_damaged_ones_passed_over(tmp_path):
    assert noted(tmp_path) == []
    note(tmp_path, [line()])
    with (tmp_path / "times.jsonl").open("a") as file:
        file.write('[1]\n{"records": 3}\n{"records": "x"}\n' + json.dumps(line(seconds=None)) + "\n\n{")
    note(tmp_path, [])
    assert noted(tmp_path) == [line()]
    note(tmp_path / "nowhere", [line()])
    assert idle(line()) == 0.25
    assert words([line(), line()]).startswith(
        "1 records a second, the device idle 25% of the time; decoding took 6.0 s"
    )


def test_a_process_writes_a_line_for_each_of_its_methods(folder, tmp_path):
    data, network = tiny.dataset(folder), tiny.network()
    for index in range(2):
        how = {"identity": "0", "processes": Processes(index, 2)}
        with (
            prepared(data, tiny.card(), "fame", tmp_path / "fame", tiny.settings(), **how) as one,
            prepared(data, tiny.card(), "random", tmp_path / "random", tiny.settings(None), **how) as other,
        ):
            finish([one, other], network)
    for name in ("fame", "random"):
        found = noted(tmp_path / name)
        assert [times["records"] for times in found] == [3, 2]
        assert all(0 < times["computing"] < times["seconds"] for times in found)
        assert all(times["reading"] > 0 for times in found)


def test_what_was_interrupted_has_its_times_too(folder, tmp_path):
    written = []

    def stop(count):
        written.append(count)
        if sum(written) > 6:
            raise KeyboardInterrupt

    data, out = tiny.dataset(folder), tmp_path / "out"
    with (
        prepared(data, tiny.card(), "fame", out, tiny.settings(), identity="0") as job,
        pytest.raises(KeyboardInterrupt),
    ):
        finish([job], tiny.network(), stop)
    assert [times["records"] for times in noted(tmp_path / "out")] == [2]


def test_costs_are_what_was_measured(finished):
    found = {cost.what: cost for cost in costs(finished)}
    assert found["computing, on one device"].each == 30 / 40
    assert found["decoding, on one core"].each == 4 / 40
    assert found["writing, by one process"].each == 4 / 40
    files = [path for path in finished.folder.glob("arrays/*/c/**/*") if path.is_file()]
    assert found["files"].each * 5 == len(files)
    assert found["bytes in the store"].each * 5 == pytest.approx(sum(path.stat().st_size for path in files))
    assert 0 < found["opening the run, each process"].each < 1e-2
    assert 100 < found["the list of records, in memory of each process"].each < 1e5


def test_what_hurts_first_is_what_is_furthest_beyond_its_limit(finished):
    found = costs(finished)
    (first, times), (second, others), *rest = what_hurts(found, 1_000_000)
    assert first.what == "computing, on one device"
    assert times == pytest.approx(0.75e6 / 86400)
    assert second.what == "files"  # Ten for two records, and ten for the last one.
    assert others == pytest.approx(6)
    assert {first, second, *(one for one, _ in rest)} == set(found)


def test_without_times_or_blocks_the_rest_is_told(tmp_path):
    maps = np.zeros((5, SIDE, SIDE), np.float32)
    run_of(tmp_path / "run", photographs(tmp_path / "photos", 5), maps, blocks=[])
    assert [cost.unit for cost in costs(Run(tmp_path / "run"))] == ["s", "B"]


def test_the_command_prints_processes_and_costs(fame, finished, tmp_path):
    ended = fame("bench", finished.folder, "--records", "1281167", "--json", tmp_path / "new" / "costs.json")
    assert ended.code == 0, ended.err
    lines = ended.out.splitlines()
    assert [word.strip() for word in lines[2].split("|")[1:-1]] == ["a", "1", "10", "0.5", "25%", "3.0", "1.0", "2.0"]
    assert "1,281,167 records" in ended.out
    (computing,) = (one for one in lines if one.startswith("| computing"))
    assert [word.strip() for word in computing.split("|")[2:-1]] == ["750 ms", "267 h", "24 h"]
    assert "first hurts computing, on one device, 11.1 times its limit; what helps: more devices" in ended.out
    assert "then hurts files, 7.69 times its limit; what helps: larger blocks: --block-size 1024" in ended.out
    numbers = json.loads((tmp_path / "new" / "costs.json").read_text())
    assert numbers["costs"][0]["total"] == pytest.approx(0.75 * 1281167)
    assert len(numbers["processes"]) == 2
    assert "5 records" in fame("bench", finished.folder).out
    for arguments, said in (
        ((finished.folder, "--records", "0"), "--records 0: expected a number from 1"),
        (("sface", "--records", "5"), "expected beside the folder of a run"),
    ):
        refused = fame("bench", *arguments)
        assert refused.code == 2
        assert said in refused.err
