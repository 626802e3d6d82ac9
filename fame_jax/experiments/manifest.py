"""What `manifest.json` of a run has to hold for its readers."""

import pathlib
from collections.abc import Callable, Mapping
from typing import Any, get_args

from fame_jax.data.records import Task
from fame_jax.experiments.kept import MapDtype
from fame_jax.files import read_json

VERSION = 2
"""Of this layout. 2: what a record draws at random depends on its pixels, and own networks and methods have a hash."""

IN_A_ROW = 8
"""Blocks that may fail one after another before the rest is not tried; of a cluster four a worker, if that is more."""

_READ = (1, 2)
"""Layouts whose maps can be read, scored and shown; only one of `VERSION` can go on."""


class RunError(ValueError):
    """A folder that holds no run, another run, or a damaged one; the message says what to do."""


class NoSpaceError(RunError):
    """A block cannot be written by this machine, since its disk is full; on another one there may be space."""


def read_manifest(folder: pathlib.Path) -> dict[str, Any]:
    """The content of `manifest.json`.

    Raises:
        RunError: if the folder holds no run, a damaged one, or one of another version.
    """
    file = folder / "manifest.json"
    try:
        manifest = read_json(file)
        version = manifest["version"]
    except FileNotFoundError as error:
        raise RunError(f"{folder}: no run is here (there is no manifest.json); fame run makes one.") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(f"{file}: not the manifest of a run ({error}); fame run makes one.") from error
    if version not in _READ:
        raise RunError(f"{file}: version {version} of a run's layout, expected {VERSION}; run again into a new folder.")
    if wrong := [name for name, fits in _FIELDS.items() if name in manifest and not fits(manifest[name])]:
        raise RunError(f"{file}: damaged, {wrong[0]} is {str(manifest[wrong[0]])[:40]}; run again into a new folder.")
    if lacking := [
        name for name in _FIELDS if name not in manifest and name not in ("options", "provenance", "labels")
    ]:
        raise RunError(f"{file}: damaged, {lacking[0]} is missing; run again into a new folder.")
    return manifest


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 < value < 2**31


def _is_provenance(value: Any) -> bool:
    parts = ("versions", "device")
    return isinstance(value, list) and all(_is_object(of) and all(_is_object(of.get(p)) for p in parts) for of in value)


# What readers of a run rely on.
_FIELDS: Mapping[str, Callable[[Any], bool]] = {
    "task": lambda value: value in get_args(Task),
    "dataset": _is_text,
    "network": _is_text,
    "method": _is_text,
    "geometry": _is_object,
    "options": _is_object,
    "labels": lambda value: value is None or (isinstance(value, list) and all(map(_is_text, value))),
    "provenance": _is_provenance,
    "records": _is_count,
    "block_size": _is_count,
    "size": _is_count,
    "dtype": lambda value: value in get_args(MapDtype),
}
