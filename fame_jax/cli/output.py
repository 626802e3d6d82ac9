"""Where results go: names that do not collide, files that are either whole or not there, and the manifest."""

import contextlib
import hashlib
import importlib.metadata
import json
import os
import pathlib
import platform
import tempfile
import warnings
from collections.abc import Callable, Iterable
from typing import Any

import jax
import numpy as np
from matplotlib.figure import Figure

PACKAGES = ("fame-jax", "jax", "jaxlib", "flax", "optax", "numpy", "pillow", "matplotlib")


def output_folder(path: pathlib.Path) -> pathlib.Path:
    """Makes the folder and checks that it can be written to, before any long work.

    Raises:
        OSError: naming the folder.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            return path
    except OSError as error:
        raise OSError(
            f"--out {path}: results cannot be written there ({error.strerror}); choose another folder."
        ) from error


def distinct_stems(paths: Iterable[pathlib.Path]) -> list[str]:
    """One name for each path: its stem, or with a number where stems are the same; short enough for an ending."""
    stems: list[str] = []
    taken: set[str] = set()
    for path in paths:
        whole = path.stem.encode("utf-8", "replace")[:200].decode("utf-8", "ignore")
        stem, n = whole, 1
        while stem.casefold() in taken:
            n += 1
            stem = f"{whole}-{n}"
        taken.add(stem.casefold())
        stems.append(stem)
    return stems


def write(path: pathlib.Path, fill: Callable[[Any], object]) -> None:
    """Writes a file beside its place and moves it there, so that a crash leaves the old one or the new one."""
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


def write_arrays(path: pathlib.Path, **arrays: Any) -> None:
    """A compressed `.npz`."""
    named: dict[str, Any] = {key: np.asarray(value) for key, value in arrays.items()}
    write(path, lambda file: np.savez_compressed(file, **named))


def write_figure(path: pathlib.Path, figure: Figure) -> None:
    """A PNG; letters that Matplotlib's font lacks are drawn as boxes."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        write(path, lambda file: figure.savefig(file, format="png", dpi=120))


def write_json(path: pathlib.Path, content: Any) -> None:
    """Readable JSON."""
    write(
        path,
        lambda file: file.write(
            (json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False, default=str) + "\n").encode()
        ),
    )


def number(value: Any) -> float | None:
    """A number for JSON, which has neither NaN nor infinity."""
    return float(value) if np.isfinite(value) else None


def write_manifest(folder: pathlib.Path, content: Any) -> None:
    """`manifest.json`; that of an earlier run into the same folder becomes `manifest-1.json`, `-2` and so on."""
    path, n = folder / "manifest.json", 1
    if path.exists():
        while (kept := folder / f"manifest-{n}.json").exists():
            n += 1
        path.rename(kept)
    write_json(path, content)


def sha256(path: pathlib.Path) -> str:
    """Of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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
