"""One thing at a time on the devices, and everybody knows their place in the line."""

import threading
from collections.abc import Iterator

TOLD = 0.25
"""Seconds between two messages to those who wait, at which it is noticed that one has gone."""


class Line:
    """A queue: who is first works, the others are told how many are before them."""

    def __init__(self) -> None:
        self._waiting: list[object] = []
        self._changed = threading.Condition()

    def __len__(self) -> int:
        """How many there are, the one at work included."""
        return len(self._waiting)

    def wait(self, me: object) -> Iterator[int]:
        """Joins the line; yields the number of those before, now and then and at every change, until there are none."""
        with self._changed:
            self._waiting.append(me)
        while before := self._waiting.index(me):
            yield before
            with self._changed:
                self._changed.wait_for(lambda last=before: self._waiting.index(me) != last, TOLD)

    def leave(self, me: object) -> None:
        """Leaves the line, from whatever place; nothing if one is not in it."""
        with self._changed:
            if me in self._waiting:
                self._waiting.remove(me)
            self._changed.notify_all()
