"""Official weights over HTTP: resumed never, verified always, whole or not there."""

import hashlib
import http.client
import os
import pathlib
import re
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


def expected_hash(name: str, known: str, sha256: str | None, unverified: bool) -> str:
    """What a file's SHA-256 has to begin with: the user's in full, or what the registry knows.

    Raises:
        DownloadError: if nothing is known of it and that was not accepted, or the user's is no SHA-256.
    """
    if sha256 is not None and not re.fullmatch("[0-9a-fA-F]{64}", sha256):
        raise DownloadError(f"--sha256 {sha256}: expected 64 hexadecimal digits.")
    if sha256 is None and not known and not unverified:
        raise DownloadError(
            f"{name}: no SHA-256 of this file is known, so that it cannot be told from another. "
            "Give its --sha256, or accept it with --unverified, which its card will say."
        )
    return (sha256 or known).lower()


def download(
    official: Published,
    folder: pathlib.Path,
    report: Callable[[int, int], object] = lambda done, total: None,
    *,
    sha256: str | None = None,
    unverified: bool = False,
) -> pathlib.Path:
    """Fetches the official file of a network and checks its hash; a file that is there already is checked instead.

    Args:
        official: the registry's record.
        folder: to be made; the file keeps its official name.
        report: called with the bytes received and expected (0 if unknown).
        sha256: what the file's hash has to be; None for what the registry knows of it.
        unverified: accept a file of which no hash is known.

    Returns:
        The file.

    Raises:
        DownloadError: if there are no weights or no address, the server fails, or the hash differs or is not known.
        OSError: if the disk is full.
    """
    name, file_name = official.card.name, official.file
    if file_name is None:
        raise DownloadError(
            f"{name}: {official.card.source} has this network, but publishes no weights of it. "
            f"For weights of your own: `fame convert {name} FILE`."
        )
    base = os.environ.get(BASE_ADDRESS) or official.address
    if base is None:
        hub = f" The hub has its own: `fame download hf:{official.hub}`." if official.hub else ""
        by_hand = (
            f"{name}: {official.card.source} publishes {file_name} without a stable address. "
            f"Fetch it by hand and run `fame convert {name} FILE`."
        )
        raise DownloadError(by_hand + hub)
    expected = expected_hash(name, official.sha256, sha256, unverified)
    file = folder / file_name
    if file.is_file() and expected and files.sha256(file).startswith(expected):
        return file
    fetch(f"{base.rstrip('/')}/{file_name}", file, expected, report)
    return file


def fetch(address: str, file: pathlib.Path, expected: str, report: Callable[[int, int], object]) -> None:
    """Fetches a file whose SHA-256 begins as expected; what was there before stays until it is whole.

    Raises:
        DownloadError: if the server fails, the connection breaks or the hash differs.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    try:
        with os.fdopen(handle, "wb") as target:
            found = _fetch(address, target, report)
        if not found.startswith(expected):
            raise DownloadError(f"{address}: SHA-256 is {found}, expected {expected}; nothing was installed.")
        os.replace(temporary, file)
    finally:
        pathlib.Path(temporary).unlink(missing_ok=True)


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
    except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError, ValueError) as error:
        raise DownloadError(
            f"{address}: {' '.join(str(error).split())}; nothing was installed. Check the connection, or fetch the "
            "file by hand and run `fame convert`."
        ) from error
    if total and done != total:
        raise DownloadError(
            f"{address}: the connection broke after {done:,} of {total:,} bytes; nothing was installed."
        )
    return digest.hexdigest()
