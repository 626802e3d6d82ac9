"""What is kept in memory, and forgotten when newer things need the room; nothing is written to disk."""

import hashlib
import threading
from collections import OrderedDict
from typing import Any, Generic, TypeVar

from fame_jax.data.images import Held, sample_path

MOST_UPLOADED = 64 << 20
"""Bytes of one photograph."""

_MOST_HELD = 256 << 20
"""Bytes of all photographs together."""

Thing = TypeVar("Thing")


class Forgotten(ValueError):
    """A photograph that is not in memory any more, or never was; `args[0]` is its hash."""


class Recent(Generic[Thing]):
    """The things that were asked for last, by key, up to a total weight."""

    def __init__(self, most: int) -> None:
        self._most, self._things = most, OrderedDict[Any, tuple[Thing, int]]()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """How many are kept."""
        return len(self._things)

    def put(self, key: Any, thing: Thing, weight: int = 1) -> Thing:
        """Keeps a thing; those that were asked for longest ago go until the rest fits."""
        with self._lock:
            self._things[key] = thing, weight
            self._things.move_to_end(key)
            while len(self._things) > 1 and sum(weight for _, weight in self._things.values()) > self._most:
                self._things.popitem(last=False)
        return thing

    def find(self, key: Any) -> Thing | None:
        """The thing, if it is still there."""
        with self._lock:
            if key not in self._things:
                return None
            self._things.move_to_end(key)
            return self._things[key][0]


class Photographs:
    """The files of photographs by their SHA-256."""

    def __init__(self) -> None:
        self._held = Recent[Held](_MOST_HELD)

    def __len__(self) -> int:
        """How many are kept."""
        return len(self._held)

    def add(self, data: bytes, name: str) -> str:
        """Keeps the bytes of a file under a name for errors and titles; returns the hash."""
        digest = hashlib.sha256(data).hexdigest()
        self._held.put(digest, Held(data, name), len(data))
        return digest

    def sample(self, name: str) -> str:
        """Keeps a packaged photograph."""
        path = sample_path(name)
        return self.add(path.read_bytes(), path.name)

    def find(self, digest: str) -> Held:
        """The file.

        Raises:
            Forgotten: if it is not there.
        """
        found = self._held.find(digest)
        if found is None:
            raise Forgotten(digest)
        return found
