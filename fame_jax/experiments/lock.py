"""One writer at a time: a lock that vanishes with its process, however that ends."""

import contextlib
import os
import pathlib
import platform
from collections.abc import Iterator

from fame_jax.experiments.store import RunError
from fame_jax.remote import Remote


@contextlib.contextmanager
def locked(file: pathlib.Path) -> Iterator[None]:
    """Holds a lock file, made if need be with the folders it lies in; it stays behind, without meaning.

    Object storage and file systems that know no locks let two writers in: they write the same blocks with the same
    content.

    Raises:
        RunError: if another process holds it, or the folder cannot be written.
    """
    import fcntl

    if isinstance(file, Remote):
        yield
        return
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        handle = file.open("a+")
    except OSError as error:
        raise RunError(
            f"{file.parent}: results cannot be written there ({error.strerror}); choose another folder."
        ) from error
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            handle.seek(0)
            raise RunError(
                f"{file.parent}: {handle.read() or 'another process'} is writing there; wait until it has finished, "
                "or choose another folder."
            ) from error
        except OSError:
            pass
        with contextlib.suppress(OSError):
            handle.truncate(0)
            handle.write(f"process {os.getpid()} on {platform.node()}")
            handle.flush()
        yield
