"""Files that are either whole or not there, their hashes, and what a result was computed with."""

import contextlib
import hashlib
import importlib.metadata
import io
import json
import os
import pathlib
import platform
import stat
import tempfile
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from fame_jax.remote import Remote, located

PACKAGES = ("fame-jax", "jax", "jaxlib", "flax", "optax", "numpy", "pillow", "matplotlib")


def home() -> pathlib.Path:
    """`$FAME_HOME`, by default `~/.cache/fame_jax`: where networks and compiled programs are kept."""
    return pathlib.Path(os.environ.get("FAME_HOME", "~/.cache/fame_jax")).expanduser()


def write(path: pathlib.Path, fill: Callable[[Any], object]) -> None:
    """Writes a file beside its place and moves it there, so that a crash leaves the old one or the new one.

    Raises:
        OSError: if it cannot be written, or in its place is a device, a pipe or a folder, which are not replaced.
    """
    if isinstance(path, Remote):
        with io.BytesIO() as content:
            fill(content)
            path.write_bytes(content.getvalue())
        return
    if path.exists() and not path.is_file():
        raise OSError(f"{path}: it is no regular file and is not replaced; choose another name.")
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".writing.")
    try:
        with os.fdopen(handle, "wb") as file:
            fill(file)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def write_json(path: pathlib.Path, content: Any) -> None:
    """Readable JSON."""
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False, default=str) + "\n"
    # Bytes of file names that are no text are written as the escapes that JSON has for them.
    write(path, lambda file: file.write(text.encode("utf-8", "backslashreplace")))


def readable(text: str) -> str:
    """Without the bytes of file names that are no text."""
    return text.encode("utf-8", "replace").decode()


def read_text(path: pathlib.Path, *, errors: str = "strict") -> str:
    """Text of a regular file; a pipe or a device would be read without end.

    Args:
        path: of the file.
        errors: what becomes of bytes that are not UTF-8, see `open`.

    Raises:
        OSError: naming the file, if it cannot be read.
        ValueError: if it is not UTF-8.
    """
    if path.exists() and not path.is_file():
        raise OSError(f"{path}: no regular file.")
    return path.read_text(encoding="utf-8", errors=errors)


def parse_json(text: str) -> Any:
    """JSON of unknown origin.

    Raises:
        ValueError: if it is none, or nested too deeply for Python's parser.
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def read_json(path: pathlib.Path) -> Any:
    """JSON from a file of unknown origin; see `read_text` and `parse_json` for the errors."""
    return parse_json(read_text(path))


def number(value: Any) -> float | None:
    """A number for JSON, which has neither NaN nor infinity."""
    return float(value) if np.isfinite(value) else None


def sha256(path: str | os.PathLike[str]) -> str:
    """Of a file's bytes, in hexadecimal digits."""
    with located(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def forget_oldest(folder: pathlib.Path, most: int) -> None:
    """Deletes the files of a folder that were used last before the newest `most` bytes; none is a reason to stop."""
    found = []
    for path in folder.iterdir():
        with contextlib.suppress(OSError):
            about = path.stat()
            if stat.S_ISREG(about.st_mode):
                found.append((max(about.st_atime, about.st_mtime), about.st_size, path))
    total = 0
    for _, size, path in sorted(found, reverse=True):
        total += size
        if total > most:
            with contextlib.suppress(OSError):
                path.unlink()


def environment() -> dict[str, Any]:
    """Versions and device, for the manifest."""
    versions = {}
    for name in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return {
        "versions": {"python": platform.python_version(), **versions},
        "device": {
            "platform": jax.default_backend(),
            "kind": jax.devices()[0].device_kind,
            "count": jax.device_count(),
        },
    }
