"""What a run has cost, measured, and what as many more records would cost: bytes, files, seconds, memory."""

import time
import tracemalloc
from typing import Any, NamedTuple

from fame_jax.data.records import from_json
from fame_jax.experiments.spent import noted, total
from fame_jax.experiments.store import Run
from fame_jax.files import parse_json, read_text
from fame_jax.remote import Remote

_LOOKED_AT = 16
"""Blocks whose files are measured, spread over the run."""

_PARSED = 4096
"""Records that are read once more, for the time and memory they take."""

_DAY, _HOUR = 86400.0, 3600.0


class Cost(NamedTuple):
    """One thing that a run costs.

    Attributes:
        what: in words.
        unit: `s`, `B` or nothing, for a number of files.
        each: of one record, on average.
        limit: from where on it hurts: one day of a device or core, a million files, a terabyte, 16 GB of memory.
        remedy: what helps then.
    """

    what: str
    unit: str
    each: float
    limit: float
    remedy: str


def costs(run: Run) -> list[Cost]:
    """All that grows with the records, of what is there of a run.

    Files and bytes are those of complete blocks, seconds those of `times.jsonl`, and left out where there are none.
    The seconds of computing include compiling, so that a run of a few records makes them too many.
    """
    found = []
    if (spent := total(noted(run.folder)))["records"]:
        for name, what, remedy in _SPENT:
            found.append(Cost(what, "s", spent[name] / spent["records"], _DAY, remedy))
    blocks = [block for block in range(0, run.blocks, -(-run.blocks // _LOOKED_AT)) if run.is_complete(block)]
    files = [file for block in blocks for file in run.files(block)]
    if records := sum(len(run.indices(block)) for block in blocks):
        of_type = f"maps of another --dtype than {run.manifest['dtype']}; a part of the records"
        size = sum(len(file.read_bytes()) if isinstance(file, Remote) else file.stat().st_size for file in files)
        found.append(Cost("bytes in the store", "B", size / records, 1e12, of_type))
        found.append(Cost("files", "", len(files) / records, 1e6, "larger blocks: --block-size 1024"))
    parts = "several runs, each of a part of the records"
    seconds, memory = _parsing(run)
    found.append(Cost("opening the run, each process", "s", seconds, _HOUR, parts))
    found.append(Cost("the list of records, in memory of each process", "B", memory, 16e9, parts))
    return found


_SPENT = (
    ("computing", "computing, on one device", "more devices: --engine ray or --processes"),
    ("reading", "decoding, on one core", "more cores beside each device; smaller pictures"),
    ("writing", "writing, by one process", "more processes; --dtype float16 or uint8"),
)


def what_hurts(found: list[Cost], records: int) -> list[tuple[Cost, float]]:
    """The costs of so many records, the worst first, with how many times each is its limit."""
    return sorted(((one, one.each * records / one.limit) for one in found), key=lambda pair: -pair[1])


def _parsing(run: Run) -> tuple[float, float]:
    """Seconds and bytes of memory that a record takes when the run is opened."""
    lines = read_text(run.folder / "records.jsonl").splitlines()[:_PARSED]

    def parse() -> list[Any]:
        return [from_json(parse_json(line)) for line in lines]

    start = time.perf_counter()
    parse()
    seconds = time.perf_counter() - start
    tracemalloc.start()
    kept = parse()
    memory = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return seconds / len(kept), memory / len(kept)
