"""Where the time of a run went: reading pictures, waiting for them, computing, writing.

    RUN/times.jsonl    a line a process and call of fame run: host, number of the process, and what `Spent` has

It decides no number, so the manifest does not have it: that is the same whoever computes.
"""

import json
import os
import pathlib
import platform
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from fame_jax.files import parse_json, read_text

Times = dict[str, Any]
"""A line of `times.jsonl`, or what it is made of."""


@dataclass
class Spent:
    """Seconds, added up by whoever works at a run.

    Attributes:
        records: that were explained.
        seconds: in all.
        reading: decoding pictures, of all threads together.
        waiting: for pictures; the device has nothing to do meanwhile.
        computing: on the device.
        writing: to the store; the device has nothing to do meanwhile.
    """

    records: int = 0
    seconds: float = 0.0
    reading: float = 0.0
    waiting: float = 0.0
    computing: float = 0.0
    writing: float = 0.0
    _lock: Any = field(default_factory=threading.Lock, repr=False, compare=False)

    @contextmanager
    def on(self, what: str) -> Iterator[None]:
        """What happens inside takes its time from one of the names."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.add({what: time.perf_counter() - start})

    def timed(self, what: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, whose time is taken from one of the names."""

        def call(*given: Any) -> Any:
            with self.on(what):
                return function(*given)

        return call

    def add(self, other: dict[str, float | int]) -> None:
        """Adds seconds, and records, by name."""
        with self._lock:
            for name, value in other.items():
                setattr(self, name, getattr(self, name) + value)

    def taken(self) -> Times:
        """What has been added since the last call."""
        with self._lock:
            found = {name: getattr(self, name) for name in NAMES}
            for name in NAMES:
                setattr(self, name, 0)
        return found


NAMES = ("records", "seconds", "reading", "waiting", "computing", "writing")


def this_worker() -> Times:
    """Who spends it."""
    return {"host": platform.node(), "process": os.getpid()}


def side_by_side(parts: Sequence[Mapping[str, Any]]) -> list[Times]:
    """What each of several runs would have taken alone that a process computed together, a picture read once for all.

    Args:
        parts: what each of them took; what they had in common is with any of them.
    """
    common = {name: sum(part[name] for part in parts) for name in ("seconds", "reading", "waiting")}
    busy = [part["computing"] + part["writing"] for part in parts]
    return [
        {**part, **common, "seconds": common["seconds"] - sum(busy) + own}
        for part, own in zip(parts, busy, strict=True)
    ]


def note(folder: pathlib.Path, lines: Sequence[Times]) -> None:
    """Adds lines to the times of a run, if it can be written there."""
    with suppress(OSError), (folder / "times.jsonl").open("a") as file:
        file.write("".join(json.dumps(line) + "\n" for line in lines))


def noted(folder: pathlib.Path) -> list[Times]:
    """All lines of a run, but for those that are damaged."""
    found, file = [], folder / "times.jsonl"
    for line in read_text(file, errors="replace").splitlines() if file.is_file() else ():
        with suppress(ValueError, TypeError, KeyError):
            content = {"host": "?", "process": "?", **parse_json(line)}
            if all(content[name] >= 0 for name in NAMES) and content["records"]:
                found.append(content)
    return found


def total(lines: Sequence[Times]) -> Times:
    """Seconds and records of all lines together."""
    return {name: sum(line[name] for line in lines) for name in NAMES}


def idle(times: Times) -> float:
    """The share of the time in which the device has nothing to do."""
    return max(0.0, 1 - times["computing"] / max(times["seconds"], 1e-9))


def words(lines: Sequence[Times]) -> str:
    """For people, of processes at work at one time."""
    together = total(lines)
    rate = sum(line["records"] / max(line["seconds"], 1e-9) for line in lines)
    return (
        f"{rate:.2g} records a second, the device idle {idle(together):.0%} of the time; decoding took "
        f"{together['reading']:.1f} s of all cores together, writing {together['writing']:.1f} s"
    )
