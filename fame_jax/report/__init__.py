"""One HTML file that shows runs, photographs and face pairs: maps, numbers, failures and where they come from."""

import pathlib
from collections.abc import Sequence

from fame_jax.experiments.store import RunError
from fame_jax.report import folders, runs
from fame_jax.report.content import ReportError, Source
from fame_jax.report.page import page

LIMIT = 500
"""Records of a run that are shown, if nothing else is asked for."""


def report(
    sources: Sequence[pathlib.Path], *, limit: int = LIMIT, title: str = "FAME report", command: str = ""
) -> str:
    """The report of some folders as HTML, in one file without references to anything outside.

    Records of several folders that are of the same pictures are shown once, with all methods side by side.

    Args:
        sources: folders written by `fame run`, `explain`, `verify` or `locations`, or a folder of runs.
        limit: how many records of a run are shown; its scores and failures are always of all.
        title: of the page.
        command: that makes this report again, to be shown in it.

    Returns:
        HTML.

    Raises:
        ReportError: for a folder that is none of these.
        RunError: for a run that cannot be read.
    """
    return page(read(sources, limit=limit), title=title, command=command)


def read(sources: Sequence[pathlib.Path], *, limit: int = LIMIT) -> list[Source]:
    """What the folders hold; see `report`."""
    found = []
    for folder in sources:
        if not folder.is_dir():
            raise ReportError(f"{folder}: there is no such folder; expected one of fame run, explain or verify.")
        stores = [folder] if (folder / "records.jsonl").is_file() else _inside(folder)
        found += [runs.source(store, limit=limit) for store in stores] or folders.sources(folder)
    return found


def _inside(folder: pathlib.Path) -> list[pathlib.Path]:
    """The runs in a folder: `fame run` makes one for each of several methods."""
    return sorted(file.parent for file in folder.glob("*/records.jsonl"))


__all__ = ["LIMIT", "ReportError", "RunError", "Source", "page", "read", "report"]
