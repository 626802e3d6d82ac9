"""Where the time of a run went: reading pictures, waiting for them, computing, writing."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Spent:
    """Seconds, added up by whoever works at a run.

    Attributes:
        records: that were explained.
        reading: decoding pictures, of all threads together.
        waiting: for pictures; the device has nothing to do meanwhile.
        computing: on the device.
        writing: to the store; the device has nothing to do meanwhile.
    """

    records: int = 0
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

    def taken(self) -> dict[str, float | int]:
        """What has been added since the last call."""
        with self._lock:
            found = {name: getattr(self, name) for name in _NAMES}
            for name in _NAMES:
                setattr(self, name, 0)
        return found

    def words(self, seconds: float, workers: int = 1) -> str:
        """For people, after so many seconds on so many devices."""
        busy = max(seconds * workers, 1e-9)
        return (
            f"{self.records / max(seconds, 1e-9):.2g} records a second, the device idle "
            f"{max(0.0, 1 - self.computing / busy):.0%} of the time; decoding took {self.reading:.1f} s of all cores "
            f"together, writing {self.writing:.1f} s"
        )


_NAMES = ("records", "reading", "waiting", "computing", "writing")
