"""`fame bench` prints and writes what it measured, and refuses what it cannot measure."""

import json

import pytest


@pytest.mark.thorough
def test_bench_prints_a_row_for_each_batch_size_and_writes_them(fame, tmp_path):
    ended = fame(
        "bench", "sface", "--batch-sizes", 1, 2, "--steps", 1, "--repeats", 1,
        "--json", tmp_path / "new" / "speed.json", "--plot", tmp_path / "speed.png",
    )  # fmt: skip
    assert ended.code == 0
    rows = [line for line in ended.out.splitlines() if line.startswith(("| 1 ", "| 2 "))]
    assert len(rows) == 2
    record = json.loads((tmp_path / "new" / "speed.json").read_text())
    assert [row["batch_size"] for row in record["speeds"]] == [1, 2]
    assert all(row["image_seconds"] > 0 for row in record["speeds"])
    assert (tmp_path / "speed.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("bench", "resnet5"), "unknown network"),
        (("bench", "--steps", "0"), "--steps 0"),
        (("bench", "--batch-sizes", "1", "0"), "--batch-sizes 0"),
    ],
)
def test_bench_says_what_is_wrong(fame, arguments, words):
    ended = fame(*arguments)
    assert ended.code == 2
    assert words in ended.err
