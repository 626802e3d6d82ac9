"""What can be wrong with a file of weights, in one line that begins with the file's name."""

import contextlib
import os
from collections.abc import Iterator


class CheckpointError(ValueError):
    """A file or folder that holds no usable weights."""

    def __init__(self, message: str):
        """One line, also where a file has several for a name."""
        super().__init__(" ".join(message.splitlines()))


class ConversionError(ValueError):
    """Weights that are not those of the network they are converted for."""


@contextlib.contextmanager
def reading(path: str | os.PathLike[str], expected: str) -> Iterator[None]:
    """Whatever goes wrong inside becomes a `CheckpointError` of one line: the file, what was found, what was expected.

    A damaged or hostile file can trip a parser anywhere, so every exception counts, not a list of foreseen ones.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, CheckpointError):
            found = str(error)
        elif isinstance(error, OSError) and error.strerror:
            found = error.strerror
        else:
            found = f"{type(error).__name__}: {error}"
        raise CheckpointError(f"{os.fspath(path)}: {' '.join(found.split())[:500]}; expected {expected}.") from error
