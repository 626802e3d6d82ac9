"""Ctrl-C that is not lost.

Python raises `KeyboardInterrupt` wherever the program happens to be. If that is a callback of the garbage collector
(JAX has one) or a destructor, Python prints the exception and forgets it. So a Ctrl-C is remembered, and whatever
counts progress asks for it.
"""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

_seen = threading.Event()


@contextlib.contextmanager
def remembered() -> Iterator[None]:
    """Inside, `raise_if_seen` knows of a Ctrl-C; afterwards the handler from before is back.

    In any but the main thread nothing changes, since Python sets handlers there alone.
    """
    _seen.clear()
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def raise_if_seen() -> None:
    """Raises the `KeyboardInterrupt` that was swallowed, if there was one."""
    if _seen.is_set():
        _seen.clear()
        raise KeyboardInterrupt


def _interrupt(number: int, frame: FrameType | None) -> None:
    _seen.set()
    raise KeyboardInterrupt
