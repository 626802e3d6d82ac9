"""`fame table`: a table of the paper beside what was measured."""

import json
import math
import pathlib
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import tyro

from fame_jax.cli.console import InputError, say
from fame_jax.experiments.store import Run
from fame_jax.experiments.tables import Table as Printed
from fame_jax.experiments.tables import as_json, markdown, table_1, table_2, table_3
from fame_jax.files import read_json


@dataclass(frozen=True)
class Table:
    """Print a table of the paper beside what was measured, as Markdown.

    Tables 1 and 2 are made of runs scored by fame score: --metric iou,road_delete of classes, and --metric verification
    of pairs. Table 3 is made of the files of seconds that scripts/table_3.py writes. Without any, the paper's numbers
    are printed alone.
    """

    number: Annotated[Literal["1", "2", "3"], tyro.conf.Positional]
    """Number of the table."""
    measured: Annotated[tuple[pathlib.Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="[RUN ...]")] = ()
    """Folders of runs, or for table 3 files of seconds."""
    preset: Literal["paper", "official"] = "paper"
    """Which scores: fame score keeps those of both presets."""
    json: bool = False
    """Print JSON."""

    def __call__(self) -> int:
        """Prints the table."""
        tables = self._tables()
        if self.json:
            say(json.dumps([as_json(table) for table in tables], indent=2, allow_nan=False))
        else:
            say("\n\n".join(map(markdown, tables)))
        return 0

    def _tables(self) -> tuple[Printed, ...]:
        if self.number == "3":
            return table_3([_times(file) for file in self.measured])
        table = {"1": table_1, "2": table_2}[self.number]
        return (table([Run(folder) for folder in self.measured], preset=self.preset),)


def _times(file: pathlib.Path) -> dict[str, Any]:
    try:
        content = read_json(file)
        if not {"network", "device"} <= set(content) or not {"seconds_a_photograph", "seconds_a_pair"} & set(content):
            raise ValueError("no seconds in it")
        for name in {"seconds_a_photograph", "seconds_a_pair"} & set(content):
            if not all(type(seconds) in (int, float) and math.isfinite(seconds) for seconds in content[name].values()):
                raise ValueError(f"{name} holds something else than finite numbers")
        if not isinstance(content["network"], str) or not isinstance(content["device"], str):
            raise ValueError("network and device have to be text")
    except (ValueError, TypeError, AttributeError, OverflowError, OSError) as error:
        raise InputError(f"{file}: no file of seconds ({error}); scripts/table_3.py writes them.") from error
    return content
