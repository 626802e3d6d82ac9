"""What SECURITY.md promises: whatever is given to a command, it ends in lines that say why, and loses nothing."""

import json
import os
import pathlib
import resource
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from fame_jax.cli.console import run
from fame_jax.experiments.rows import ScoreError, read_scores
from fame_jax.experiments.score import score
from fame_jax.experiments.store import Run, RunError
from tests.cli.conftest import fame
from tests.experiments.runs import SIDE, photographs, run_of
from tests.experiments.tiny import contents

__all__ = ["fame"]

ROOT = pathlib.Path(__file__).resolve().parents[1]
DEEP = "[" * 100_000
JSON = ["", "{", "null", "[]", "3", '"x"', DEEP, '{"version": 1}', '{"version": []}', "9" * 5000]
FEW = hypothesis_settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A finished run that is scored."""
    folder = tmp_path_factory.mktemp("whole")
    maps = np.random.default_rng(0).random((3, SIDE, SIDE), np.float32)
    made = run_of(folder / "run", photographs(folder / "photos", 3), maps)
    score(made, "energy")
    return made.folder


@pytest.fixture
def copy(whole, tmp_path):
    """A run of a test's own, to be damaged."""
    return shutil.copytree(whole, tmp_path / "run")


def refused(ended, count=1):
    """The command ended in so many lines of ours, and no more."""
    lines = ended.err.splitlines()
    assert ended.code == 2, ended
    assert len(lines) == count, ended.err
    assert all(line.startswith("fame: ") for line in lines)
    assert "Traceback" not in ended.err
    return lines[0]


def pipe(file):
    file.unlink(missing_ok=True)
    os.mkfifo(file)


def folder(file):
    file.unlink()
    file.mkdir()


def loop(file):
    file.unlink()
    file.symlink_to(file)


def changed(file, **fields):
    """A JSON file with other fields; None takes one out."""
    content = json.loads(file.read_text())
    content = {name: value for name, value in {**content, **fields}.items() if value is not None}
    file.write_text(json.dumps(content))


@pytest.mark.parametrize("name", ["manifest.json", "records.jsonl", "scores/energy.json"])
@pytest.mark.parametrize("damage", [pipe, folder, loop], ids=lambda damage: damage.__name__)
def test_what_is_no_file_is_named_and_not_waited_for(fame, copy, name, damage):
    damage(copy / name)
    ended = fame("score", copy, "--metric", "energy", "--no-progress")
    if damage is loop and "scores" in name:
        # A link to nothing is a metric that was not measured yet.
        assert ended.code == 0, ended.err
    else:
        assert "No such file" in refused(ended) or "no run" in ended.err or name in ended.err


@pytest.mark.parametrize("name", ["manifest.json", "records.jsonl", "scores/energy.json"])
@pytest.mark.parametrize("text", JSON, ids=range(len(JSON)))
def test_damaged_json_of_a_run_is_named(fame, copy, name, text):
    if (name, text) == ("records.jsonl", ""):
        text = "\n"
    (copy / name).write_text(text)
    assert name in refused(fame("score", copy, "--metric", "energy", "--no-progress"))


@pytest.mark.parametrize(
    "fields",
    [
        {"block_size": 0}, {"block_size": "x"}, {"block_size": 2**70}, {"records": True}, {"records": 2}, {"size": -1},
        {"size": 10**9}, {"dtype": "object"}, {"task": []}, {"task": "pair"}, {"network": 5}, {"method": []},
        {"dataset": {}}, {"geometry": [1]}, {"provenance": [1]}, {"options": 3}, {"version": 3}, {"network": None},
    ],
    ids=str,
)  # fmt: skip
def test_a_manifest_that_lies_is_refused(fame, copy, fields):
    changed(copy / "manifest.json", **fields)
    refused(fame("score", copy, "--metric", "energy", "--no-progress"))


@pytest.mark.parametrize("name", ["state", "attribution", "label"])
@pytest.mark.parametrize(
    "fields",
    [
        {"shape": [10**12]},
        {"shape": [-1]},
        {"data_type": "int64"},
        {"codecs": [{"name": "gzip"}]},
        {"chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [10**9]}}},
        {"node_type": None},
    ],
    ids=str,
)
def test_an_array_that_claims_another_layout_is_refused_before_memory_is_taken(copy, name, fields):
    changed(copy / "arrays" / name / "zarr.json", **fields)
    with pytest.raises(RunError, match=name):
        Run(copy).column(name)


@pytest.mark.parametrize("damage", [pipe, folder, loop], ids=lambda damage: damage.__name__)
@pytest.mark.parametrize("file", ["zarr.json", "c/0"])
def test_an_array_whose_file_is_none_is_refused(copy, damage, file):
    damage(copy / "arrays" / "state" / file)
    if damage is loop and file == "c/0":
        pytest.skip("a link to nothing is a block that is not there")
    with pytest.raises(RunError, match="state"):
        Run(copy).column("state")


@pytest.mark.parametrize(
    "line",
    [
        "", DEEP, '{"index": []}', '{"index": 0}', '{"index": 10000000000000000000000, "name": "photo-0"}',
        '{"index": 0, "name": "photo-1", "blank": false, "values": {"energy": 1}}',
        '{"index": 0, "name": "photo-0", "blank": false, "values": {"energy": "x"}}',
        '{"index": 0, "name": "photo-0", "blank": false, "values": {"energy": {"a": 1}}}',
        '{"index": 0, "name": "photo-0", "blank": false, "values": {}}', '{"index": 0, "name": "photo-0", "reason": 5}',
    ],
    ids=range(10),
)  # fmt: skip
def test_a_damaged_row_of_scores_is_measured_again(fame, copy, line):
    file = copy / "scores" / "energy.jsonl"
    before = file.read_bytes()
    file.write_text("\n".join([line, *file.read_text().splitlines()[1:]]) + "\n")
    ended = fame("score", copy, "--metric", "energy", "--no-progress")
    assert ended.code == 0, ended.err
    assert "n=3" in ended.out
    assert sorted(file.read_bytes().splitlines()) == sorted(before.splitlines())


@pytest.mark.parametrize("value", ["1e999999999", "1e-999999999", "1/1e999999999", "nan", "inf", "-1", "0", "1/0", ""])
@pytest.mark.parametrize("option", ["--step-size", "--sigma"])
def test_no_number_is_too_large_to_be_refused(fame, option, value):
    assert option.strip("-").replace("-", "_") in refused(fame("explain", f"{option}={value}")).replace("-", "_")


@pytest.mark.parametrize("kind", ["pipe", "/dev/zero", "/dev/null", "nothing", "loop", "text"])
def test_weights_that_are_none_are_named(fame, tmp_path, kind):
    file = pathlib.Path(kind) if kind.startswith("/") else tmp_path / kind
    {"pipe": pipe, "loop": lambda path: path.symlink_to(path), "text": lambda path: path.write_text("x")}.get(
        kind, lambda path: None
    )(file)
    assert str(file) in refused(fame("explain", "--weights", file, "--out", tmp_path / "out"))


@pytest.mark.parametrize("command", ["explain", "run", "score", "reproduce", "report", "convert", "check", "nothing"])
def test_arguments_with_nul_are_refused(fame, command):
    refused(fame(command, "a\0b", "c"))


@pytest.mark.parametrize("text", [*JSON, '{"network": 1, "device": 2, "seconds_a_pair": 3}'], ids=range(len(JSON) + 1))
def test_table_3_names_files_that_are_none_of_seconds(fame, tmp_path, text):
    (tmp_path / "seconds.json").write_text(text)
    assert "seconds.json" in refused(fame("reproduce", "table_3", tmp_path / "seconds.json"))


@pytest.mark.parametrize("text", [*JSON, '{"threshold": NaN, "rule": "eer", "pairs": 2}'], ids=range(len(JSON) + 1))
def test_a_damaged_threshold_is_named(fame, tmp_path, monkeypatch, text):
    from fame_jax import models
    from fame_jax.cli.thresholds import stored_threshold, threshold_file

    monkeypatch.setenv("FAME_HOME", str(tmp_path))
    file = threshold_file("sface", models.weights_hash("sface"))
    file.parent.mkdir()
    file.write_text(text)
    with pytest.raises(OSError, match=r"run fame calibrate again"):
        stored_threshold("sface", models.weights_hash("sface"))


@pytest.mark.parametrize("field", ["methods", "inputs", "network", "command"])
@pytest.mark.parametrize("value", [None, 5, [5], "<img src=x>"], ids=str)
def test_a_report_of_a_damaged_manifest_ends_in_one_line(fame, tmp_path, field, value):
    manifest = {"command": "explain", "network": "mobilenet_v2", "methods": ["fame"], "inputs": []} | {field: value}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    ended = fame("report", tmp_path, "--out", tmp_path / "report.html")
    assert "Traceback" not in ended.err
    assert ended.code == 0 or refused(ended)
    assert ended.code or "<img src=x>" not in (tmp_path / "report.html").read_text()


def test_a_full_disk_leaves_the_scores_that_were_there(fame, copy):
    before = contents(copy)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, limits[1]))
    try:
        ended = fame("score", copy, "--metric", "pointing_game", "--no-progress")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "too large" in refused(ended).lower()
    assert {name: contents(copy)[name] for name in before} == before


def test_a_reader_that_goes_away_and_no_output_at_all_end_without_a_traceback(tmp_path):
    fame = f"{sys.executable} -c 'from fame_jax.cli import main; main()'"
    environment = os.environ | {"PYTHONPATH": str(ROOT), "FAME_HOME": str(tmp_path), "JAX_PLATFORMS": "cpu"}
    gone = (f"{fame} models | head -c 1", f"{fame.replace('main()', 'main([])')} | true")
    for command in (*gone, f"{fame} models >&- 2>&-", f"{fame} check >/dev/full"):
        ended = subprocess.run(command, shell=True, env=environment, capture_output=True, text=True, timeout=100)
        assert "Traceback" not in ended.stderr, command


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=6,
)


@FEW
@given(content=st.binary(max_size=200), where=st.sampled_from(["manifest.json", "records.jsonl"]))
def test_any_bytes_as_a_run(whole, tmp_path_factory, content, where):
    target = tmp_path_factory.mktemp("fuzz") / "run"
    shutil.copytree(whole, target)
    (target / where).write_bytes(content)
    with pytest.raises(RunError, match=where):
        Run(target)


@FEW
@given(data=st.data(), value=JSON_VALUES)
def test_any_value_in_a_manifest_or_a_record(whole, tmp_path_factory, data, value):
    target = tmp_path_factory.mktemp("fuzz") / "run"
    shutil.copytree(whole, target)
    manifest = json.loads((target / "manifest.json").read_text())
    name = data.draw(st.sampled_from(sorted(manifest)))
    (target / "manifest.json").write_text(json.dumps({**manifest, name: value}))
    try:
        opened = Run(target)
        [opened.column("state"), opened.failures(), opened.map(0)]
        score(opened, "energy")
    except (RunError, ScoreError):
        pass


@FEW
@given(data=st.data(), value=JSON_VALUES)
def test_any_value_in_a_row_of_scores(whole, tmp_path_factory, data, value):
    target = tmp_path_factory.mktemp("fuzz") / "run"
    shutil.copytree(whole, target)
    file = target / "scores" / "energy.jsonl"
    first, *rest = file.read_text().splitlines()
    name = data.draw(st.sampled_from(sorted(json.loads(first))))
    file.write_text("\n".join([json.dumps({**json.loads(first), name: value}), *rest]) + "\n")
    found = read_scores(Run(target), "energy")
    assert found is not None
    assert [row.index for row in found.rows] in ([0, 1, 2], [2])


@FEW
@given(
    command=st.sampled_from(["explain", "verify", "locations", "run", "score", "table", "check", "report", "convert"]),
    option=st.sampled_from(["--iterations", "--step-size", "--seed", "--level", "--limit", "--preset", "--face", "x"]),
    value=st.text(max_size=12) | st.floats().map(str) | st.integers().map(str),
)
def test_any_value_on_the_command_line(tmp_path_factory, capsys, command, option, value):
    nowhere = tmp_path_factory.mktemp("fuzz") / "nothing"
    capsys.readouterr()
    try:
        # Without weights, nothing that is bad only by chance starts to work.
        weights = ["--weights", str(nowhere)] if command in ("explain", "verify", "locations") else []
        code = run([command, str(nowhere), f"{option}={value}", *weights])
    except SystemExit as stop:
        code = stop.code
    err = capsys.readouterr().err
    assert code == 2, (command, option, value, err)
    assert "Traceback" not in err
    # One line of ours, or what the parser says itself.
    assert all(line.startswith("fame: ") for line in err.splitlines()) or f"fame {command} --help" in err
