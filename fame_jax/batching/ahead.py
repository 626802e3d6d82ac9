"""A thread that reads ahead, so that decoding and sending overlap with the devices' work."""

import queue
import threading
from collections.abc import Iterable, Iterator
from typing import Any, Generic, TypeVar

import jax

Item = TypeVar("Item")

_END = object()
_PATIENCE = 10.0
"""Seconds to wait, when closing, for the item that is being read."""


class Ahead(Generic[Item]):
    """The items of an iterable, read by a thread at most `depth` items ahead; a context manager and an iterator.

    An error in the iterable ends the iteration, as if there were no more items, and is raised when the `with` block is
    left: so that whatever came before it is finished first. Leaving the block for another reason ends the thread.

    Args:
        items: read by the thread only.
        depth: the largest number of items read and not yet taken.
    """

    def __init__(self, items: Iterable[Item], depth: int):
        self._items, self._failure = items, None
        self._ready: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._room = threading.Semaphore(depth)
        self._stop = threading.Event()
        # JAX keeps this setting for each thread.
        self._wide = bool(jax.config.read("jax_enable_x64"))
        self._thread = threading.Thread(target=self._read, name="fame-jax-ahead", daemon=True)

    def __enter__(self) -> "Ahead[Item]":
        try:
            self._thread.start()
        except BaseException:
            # Ctrl-C while `start` waits for a thread that already reads: `__exit__` will not be called.
            self._end()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: Any) -> None:
        self._end()
        if kind is None and self._failure is not None:
            raise self._failure

    def _end(self) -> None:
        self._stop.set()
        self._room.release()
        if self._thread.is_alive():
            self._thread.join(_PATIENCE)

    def __iter__(self) -> Iterator[Item]:
        return self

    def __next__(self) -> Item:
        item = self._ready.get()
        if item is _END:
            self._ready.put(_END)
            raise StopIteration
        self._room.release()
        return item

    def _read(self) -> None:
        try:
            with jax.enable_x64(self._wide):
                items = iter(self._items)
                while self._room.acquire() and not self._stop.is_set():
                    if (item := next(items, _END)) is _END:
                        break
                    self._ready.put(item)
        except BaseException as failure:
            self._failure = failure
        self._ready.put(_END)
