"""Every block of Python in the README runs as it stands, each on its own."""

import pathlib

import pytest

from fame_jax.explainers import EXPLAINERS
from tests.documents import blocks, execute

README = pathlib.Path(__file__).resolve().parents[1] / "README.md"
BLOCKS = [block for block in blocks(README) if block.language == "python"]


@pytest.mark.thorough
@pytest.mark.parametrize("index", range(len(BLOCKS)))
def test_block_runs(index, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    execute(BLOCKS[index], "README.md", {"__name__": "readme"})


def test_the_two_commands_are_there():
    text = README.read_text()
    assert "pip install -e . && fame explain" in text
    assert "pip install -e '.[test]' && pytest" in text


@pytest.mark.parametrize("name", EXPLAINERS)
def test_every_method_is_in_the_table_with_its_cost(name):
    row = EXPLAINERS[name]
    line = next(line for line in README.read_text().splitlines() if line.startswith(f"| `{name}` |"))
    for task, function in (("class", row.of_class), ("pair", row.of_pair)):
        if function is not None:
            cost = row.cost(task)
            assert f"{cost.forward:,} + {cost.backward:,}" in line
