"""Blocks of code in Markdown, and how they are run: Python as it stands, `fame` with its walks cut short."""

import dataclasses
import glob
import importlib
import pathlib
import re
import shlex
from typing import Any, NamedTuple

import jax

from fame_jax.cli.console import COMMANDS, run
from fame_jax.cli.reproduce import ITEMS
from fame_jax.explainers import EXPLAINERS

BLOCK = re.compile(
    r"(?:<!-- not run: (?P<reason>.+?) -->\n+)?^```(?P<language>\w*).*?\n(?P<code>.*?)^```$", re.M | re.S
)

QUICK = {"iterations": "2", "progress": None}
"""Options added to a command that has them and is not given them: no walk takes more than two steps."""


class Block(NamedTuple):
    """One fenced block."""

    language: str
    code: str
    line: int
    reason: str | None
    """Why it is not run, as the comment before it says: `<!-- not run: ... -->`."""

    @property
    def runs(self) -> bool:
        """Python runs, and so does a list of `fame` commands; nothing else does."""
        commands = [line for line in _joined(self.code) if line]
        of_fame = self.language == "bash" and all(line.startswith("fame ") for line in commands)
        return self.reason is None and (self.language == "python" or of_fame)


def blocks(path: pathlib.Path) -> list[Block]:
    """All fenced blocks of a page."""
    text = path.read_text(encoding="utf-8")
    found = BLOCK.finditer(text)
    return [Block(m["language"], m["code"], text[: m.start("code")].count("\n") + 1, m["reason"]) for m in found]


def execute(block: Block, name: str, namespace: dict[str, Any]) -> None:
    """Runs a block in the current folder; one that begins with the name of a file is written there, too."""
    if block.language == "python":
        if named := re.match(r"# (\w+\.py)\n", block.code):
            pathlib.Path(named[1]).write_text(block.code)
        # Lines are counted as in the page. A user's program may promote ranks as it likes.
        code = compile("\n" * (block.line - 1) + block.code, name, "exec")
        with jax.numpy_rank_promotion("allow"):
            exec(code, namespace)
        return
    for line in _joined(block.code):
        if line:
            code = _ended(shortened(shlex.split(line)[1:]))
            assert code == 0, f"{name}, line {block.line}: {line} ended with {code}"


def shortened(arguments: list[str]) -> list[str]:
    """A command with wildcards replaced as a shell does it, and with `QUICK`."""
    if arguments[0] not in COMMANDS:
        return arguments
    module, command, _ = COMMANDS[arguments[0]]
    found = getattr(importlib.import_module(module), command)
    if not dataclasses.is_dataclass(found):  # A choice of several, with options of their own.
        found = ITEMS[arguments[1]][0]
    fields = dataclasses.fields(found)
    known = {field.name for field in fields} | (
        {"iterations"} if "methods" in {field.name for field in fields} else set()
    )
    if not _walks(arguments):
        known -= {"iterations"}
    expanded = [found for word in arguments for found in (sorted(glob.glob(word)) if "*" in word else [word])]
    for option, value in QUICK.items():
        if option in known and f"--{option}" not in expanded:
            expanded += [f"--no-{option}"] if value is None else [f"--{option}", value]
    return expanded


def _walks(arguments: list[str]) -> bool:
    """Whether one of the methods of a command takes steps; FAME does, which is the usual one."""
    named = arguments[arguments.index("--method") + 1].split(",") if "--method" in arguments else ["fame"]
    rows = [EXPLAINERS.get(name) for name in named]
    tasks = ("class", "pair")
    able = [(row, task) for row in rows if row for task in tasks if getattr(row, f"of_{task}")]
    return None in rows or any("iterations" in row.options(task) for row, task in able)


def _joined(code: str) -> list[str]:
    """Commands, without comments, continued lines in one."""
    lines = code.replace("\\\n", " ").splitlines()
    return [line.split(" #")[0].strip() for line in lines if not line.startswith("#")]


def _ended(arguments: list[str]) -> int:
    """Its exit code; as from a process of its own, nothing of the precision stays."""
    wide = jax.config.read("jax_enable_x64")
    try:
        return run(arguments)
    except SystemExit as stop:
        return int(stop.code or 0)
    finally:
        jax.config.update("jax_enable_x64", wide)
