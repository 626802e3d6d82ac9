"""Which files of a folder are pictures, and which one a list means that leaves the ending out."""

import mimetypes
import os
import pathlib

from fame_jax.data.kinds import ENDINGS, START, has_ending, kind, why_unread
from fame_jax.data.records import Problem
from fame_jax.remote import Member, Remote, is_tar, members


def picture_files(root: pathlib.Path, problems: list[Problem]) -> list[str]:
    """Paths from the root, with slashes, of all pictures in it and its sub-folders, sorted.

    A file is a picture by its ending, or else by how it begins. Whatever else may have been meant as one becomes a
    problem: pictures of other kinds, links to nothing or to folders, pipes, folders that cannot be opened. Passed over
    in silence are hidden files and folders, and files whose endings say that they are no pictures, as `.csv` does.
    In object storage and in tar archives, which count as folders, the ending alone tells. The root may be an archive.
    """
    if isinstance(root, Remote):
        return [key for key in root.below() if _counts(key)]
    if is_tar(root):
        return sorted(_inside(root, root, problems))
    found = []

    def unopened(error: OSError) -> None:
        problems.append(Problem(str(error.filename), f"it cannot be opened ({error.strerror})"))

    for folder, folders, files in os.walk(root, onerror=unopened):
        here = pathlib.Path(folder)
        folders[:] = [name for name in folders if not name.startswith(".")]
        problems += [
            Problem(str(here / name), "it is a link to a folder, which is not followed; give that folder itself")
            for name in folders
            if (here / name).is_symlink()
        ]
        for name in files:
            if name.startswith("."):
                continue
            if name.endswith(".tar"):
                found += _inside(here / name, root, problems)
                continue
            reason = None if has_ending(name) else _why_no_picture(here / name)
            if reason is None:
                found.append((here / name).relative_to(root).as_posix())
            elif reason:
                problems.append(Problem(str(here / name), reason))
    return sorted(found)


def _inside(archive: pathlib.Path, root: pathlib.Path, problems: list[Problem]) -> list[str]:
    """The pictures of a tar archive, as if it were a folder."""
    try:
        files, unread = members(archive)
    except OSError as error:
        problems.append(Problem(str(archive), error.strerror or str(error)))
        return []
    problems += [Problem(f"{archive}, {name}", reason) for name, reason in unread.items() if _counts(name)]
    return [(archive / name).relative_to(root).as_posix() for name in files if _counts(name)]


def _counts(name: str) -> bool:
    """Whether a path is a picture's by its ending, and not hidden, as what macOS packs beside each file is."""
    hidden = any(part.startswith(".") and part != ".." for part in name.split("/"))
    return has_ending(name) and not hidden


def with_ending(path: pathlib.Path) -> pathlib.Path:
    """The picture that a list means, where it leaves the ending out; the path itself if there is none."""
    if has_ending(path.name):
        return path
    tried = (path.with_name(path.name + ending) for low in ENDINGS for ending in (low, low.upper()))
    return next((one for one in tried if _is_file(one)), path)


def _is_file(path: pathlib.Path) -> bool:
    try:
        return path.is_file() if isinstance(path, Member) else os.path.isfile(path)
    except OSError:  # An archive that cannot be read says so when its pictures are.
        return False


def _why_no_picture(path: pathlib.Path) -> str | None:
    """None for a picture, a reason for what might be one, and nothing for what is none."""
    try:
        if not path.is_file():
            return "it is a link to nothing" if path.is_symlink() else "it is no regular file"
        with path.open("rb") as file:
            start = file.read(START)
    except OSError as error:
        return f"it cannot be opened ({error.strerror})"
    if kind(start) is not None:
        return None
    told = mimetypes.guess_type(path.name)[0]
    return why_unread(start) if told is None or told.startswith("image/") else ""
