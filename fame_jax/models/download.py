"""Official weights over HTTP: resumed never, verified always, whole or not there."""

import hashlib
import os
import pathlib
import shutil
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable

from fame_jax import files
from fame_jax.models.registry import Published

BASE_ADDRESS = "FAME_BASE_ADDRESS"
"""Environment variable that replaces the folder of every address: a mirror, or a test's server."""

_CHUNK = 1 << 20
_TIMEOUT = 60


class DownloadError(OSError):
    """A file that could not be fetched, or is not the one expected."""


def download(
    official: Published, folder: pathlib.Path, report: Callable[[int, int], object] = lambda done, total: None
) -> pathlib.Path:
    """Fetches the official file of a network and checks its hash; a file that is there already is checked instead.

    Args:
        official: the registry's record.
        folder: to be made; the file keeps its official name.
        report: called with the bytes received and expected (0 if unknown).

    Returns:
        The file.

    Raises:
        DownloadError: if there are no weights or no address, the server fails, the disk is full or the hash differs.
    """
    if official.file is None:
        raise DownloadError(
            f"{official.card.name}: {official.card.source} has this network, but publishes no weights of it. "
            f"For weights of your own: `fame convert {official.card.name} FILE`."
        )
    base = os.environ.get(BASE_ADDRESS) or official.address
    if base is None:
        raise DownloadError(
            f"{official.card.name}: {official.card.source} publishes {official.file} without a stable address. "
            f"Fetch it by hand and run `fame convert {official.card.name} FILE`."
        )
    file = folder / official.file
    if file.is_file() and files.sha256(file).startswith(official.sha256):
        return file
    address = f"{base.rstrip('/')}/{official.file}"
    folder.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=folder, prefix=f".{official.file}.")
    try:
        with os.fdopen(handle, "wb") as target:
            found = _fetch(address, target, report)
        if not found.startswith(official.sha256):
            raise DownloadError(
                f"{address}: SHA-256 starts with {found[:8]}, expected {official.sha256}; nothing was installed."
            )
        shutil.move(temporary, file)
    finally:
        pathlib.Path(temporary).unlink(missing_ok=True)
    return file


def _fetch(address: str, target, report: Callable[[int, int], object]) -> str:
    """Streams into the file and returns the SHA-256."""
    digest, done = hashlib.sha256(), 0
    try:
        with urllib.request.urlopen(address, timeout=_TIMEOUT) as answer:
            total = int(answer.headers.get("Content-Length") or 0)
            while chunk := answer.read(_CHUNK):
                target.write(chunk)
                digest.update(chunk)
                done += len(chunk)
                report(done, total)
    except (urllib.error.URLError, TimeoutError, ConnectionError, ValueError) as error:
        raise DownloadError(
            f"{address}: {error}; nothing was installed. Check the connection, or fetch the file by hand and run "
            f"`fame convert`."
        ) from error
    if total and done != total:
        raise DownloadError(
            f"{address}: the connection broke after {done:,} of {total:,} bytes; nothing was installed."
        )
    return digest.hexdigest()
