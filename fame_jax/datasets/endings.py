"""Which files of a folder are photographs."""

import os
import pathlib

ENDINGS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".h5")
"""Endings of the files that are read, in small letters; `.h5` is a crop in HDF5."""


def photographs(root: pathlib.Path) -> list[str]:
    """Paths from the root, with slashes, of all photographs in it and its sub-folders, sorted.

    Hidden files are passed over, and links to folders are not followed.
    """
    found = []
    for folder, _, files in os.walk(root):
        beside = pathlib.Path(folder).relative_to(root)
        found += [(beside / file).as_posix() for file in files if _has_ending(file) and not file.startswith(".")]
    return sorted(found)


def with_ending(path: pathlib.Path) -> pathlib.Path:
    """The photograph that a list means, where it leaves the ending out; the path itself if there is none."""
    if _has_ending(path.name):
        return path
    tried = (path.with_name(path.name + ending) for low in ENDINGS for ending in (low, low.upper()))
    return next((one for one in tried if os.path.isfile(one)), path)


def _has_ending(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in ENDINGS
