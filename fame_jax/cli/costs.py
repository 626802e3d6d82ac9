"""What `fame bench` says of a run: what each process has done, and what as many more records would cost."""

import pathlib

from fame_jax.cli.console import at_least
from fame_jax.experiments.costs import costs, what_hurts
from fame_jax.experiments.spent import Times, idle, noted
from fame_jax.experiments.store import Run
from fame_jax.files import write_json
from fame_jax.words import markdown

_UNITS = {
    "s": ((3600.0, "h"), (60.0, "min"), (1.0, "s"), (1e-3, "ms"), (1e-6, "µs")),
    "B": ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1.0, "B")),
    "": ((1.0, ""),),
}

_HEAD = ("host", "process", "records", "a second", "device idle", "decoding, s", "waiting, s", "writing, s")


def tell_costs(run: Run, records: int | None, json: pathlib.Path | None) -> int:
    """Prints two tables, and what hurts first, and then.

    Args:
        run: what is measured.
        records: for how many to say the costs; None for those of the run.
        json: file for the numbers.
    """
    count = len(run.records) if records is None else records
    at_least(1, records=count)
    lines, found = noted(run.folder), costs(run)
    if lines:
        print(markdown([_HEAD, *map(_spent, lines)]) + "\n")
    head = (f"{run.manifest['method']}, {run.manifest['dtype']}", "a record", f"{count:,} records", "hurts from")
    amounts = [(cost, (cost.each, cost.each * count, cost.limit)) for cost in found]
    print(markdown([head, *((cost.what, *(_amount(one, cost.unit) for one in of)) for cost, of in amounts)]))
    print("")
    for place, (cost, times) in enumerate(what_hurts(found, count)):
        if place == 0 or times >= 1:
            when = "then" if place else "first"
            print(f"{when} hurts {cost.what}, {_amount(times, '')} times its limit; what helps: {cost.remedy}")
    if json is not None:
        rows = [{**cost._asdict(), "total": cost.each * count} for cost in found]
        write_json(json, {"command": "bench", "records": count, "processes": lines, "costs": rows})
    return 0


def _spent(times: Times) -> tuple[str, ...]:
    """A row of the table of processes."""
    who = (str(times[name]) for name in ("host", "process", "records"))
    seconds = (f"{times[name]:.1f}" for name in ("reading", "waiting", "writing"))
    return (*who, f"{times['records'] / max(times['seconds'], 1e-9):.3g}", f"{idle(times):.0%}", *seconds)


def _amount(value: float, unit: str) -> str:
    """Three digits, in the unit that people would take."""
    size, name = next((one for one in _UNITS[unit] if value >= one[0]), _UNITS[unit][-1])
    return f"{value / size:,.{'0f' if value >= 100 * size else '3g'}} {name}".strip()
