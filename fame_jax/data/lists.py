"""Lists as data sets come with: lines and CSV rows, read one by one, so that a damaged one costs only itself.

Lists come from strangers. A file that one names has to lie inside the data set's folder, unless the user says that it
need not.
"""

import csv
import functools
import os
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from fame_jax.data.records import DatasetError, Problem
from fame_jax.remote import Remote, located

MAX_BYTES = 1 << 28
"""Longer lists are refused before they are read."""

MAX_LINE = 1 << 16
"""Longer lines are refused, in bytes."""

Read = TypeVar("Read")


class LineError(ValueError):
    """What is wrong with one line, or with a file that it names; readers turn it into a `Problem`."""


def each_line(
    path: pathlib.Path, parse: Callable[[str], Read], problems: list[Problem], *, first: int = 1
) -> list[Read]:
    """What every line of a list means, without the lines that mean nothing; see `numbered_lines`."""
    return [found for _, found in numbered_lines(path, parse, problems, first=first)]


def numbered_lines(
    path: pathlib.Path, parse: Callable[[str], Read], problems: list[Problem], *, first: int = 1
) -> list[tuple[int, Read]]:
    """What every line of a list means, with the number of the line, from 1.

    Args:
        path: a text file in UTF-8, with or without a byte order mark.
        parse: turns a line, stripped, into what it means; raises `LineError` if it cannot.
        problems: gets one for each line that was left out.
        first: number of the first line to read; empty lines are counted and passed over.

    Raises:
        DatasetError: if there is no such file, or it is no list.
    """
    found = []
    for number, line in enumerate(_lines(path), 1):
        if number < first:
            continue
        try:
            if text := _text(line):
                found.append((number, parse(text)))
        except LineError as error:
            problems.append(Problem(f"{path}, line {number}", str(error)))
    return found


def each_row(
    path: pathlib.Path,
    columns: Sequence[str],
    parse: Callable[[dict[str, str]], Read],
    problems: list[Problem],
    *,
    defaults: Sequence[str] = (),
) -> list[Read]:
    """What every row of a CSV file means; see `each_line`.

    A row is one line: quoted fields may hold commas and doubled quotes, no line ends.

    Args:
        path: a CSV file whose first line names the columns.
        columns: names of those that have to be there.
        parse: gets the stripped fields of a row by the names of their columns.
        problems: see `each_line`.
        defaults: columns that may lack, and are empty then.

    Raises:
        DatasetError: if there is no such file, it is no list, or it lacks a column.
    """
    header = _header(path)
    if missing := [name for name in columns if name not in header]:
        raise DatasetError(f"{path}: no column {', '.join(missing)}; its first line names {', '.join(header)}.")
    blank = dict.fromkeys(defaults, "")

    def parse_row(line: str) -> Read:
        fields = _fields(line)
        if len(fields) != len(header):
            raise LineError(f"it has {len(fields)} fields, expected {len(header)} ({', '.join(header)})")
        return parse(blank | dict(zip(header, fields, strict=True)))

    return each_line(path, parse_row, problems, first=2)


def existing_folder(path: pathlib.Path) -> pathlib.Path:
    """The folder itself.

    Raises:
        DatasetError: if it is none.
    """
    try:
        if path.is_dir():
            return path
        reason = "it is a file, expected a folder" if path.exists() else "there is no such folder"
    except (OSError, ValueError) as error:
        reason = f"it cannot be opened ({error})"
    raise DatasetError(f"{path}: {reason}; give the folder that holds the data set.")


def folder_on_disk(path: pathlib.Path) -> pathlib.Path:
    """The folder itself, for files that cannot be read in object storage.

    Raises:
        DatasetError: if it is none, or is there.
    """
    if isinstance(path, Remote):
        raise DatasetError(f"{path}: ArrayRecord files are read from a disk; copy the folder to one.")
    return existing_folder(path)


def list_and_folder(root: pathlib.Path, protocol: str | None) -> tuple[pathlib.Path, pathlib.Path]:
    """A list and the folder that its paths are relative to.

    Args:
        root: the list itself, or the folder of the files that it names.
        protocol: where root is a folder: name of the list in it, with or without `.csv`, or a path from elsewhere.

    Raises:
        DatasetError: if there is no such list.
    """
    if _is_other(root):
        return root, root.parent
    existing_folder(root)
    if not protocol:
        raise DatasetError(f"{root}: it is a folder; give the list itself, or its name as protocol.")
    candidates = (root / protocol, root / f"{protocol}.csv", pathlib.Path(protocol))
    for path in candidates:
        if "\0" not in protocol and _is_other(path):
            return path, root
    raise DatasetError(f"{root}: no list is called {protocol!r}, neither there nor from where you are.")


def path_inside(
    root: pathlib.Path, text: str, *, start: pathlib.Path | None = None, allow_outside: bool = False
) -> pathlib.Path:
    """The path of a file that a list names, maybe inside an archive; whether it exists is another question.

    Args:
        root: the data set's folder.
        text: as in the list.
        start: what the text is relative to, if not the root.
        allow_outside: accept absolute paths, and `..` and links that lead out of the root.

    Raises:
        LineError: if the text is no path, or leads out of the root.
    """
    if not text or any(ord(letter) < 32 or letter == "\x7f" for letter in text):
        raise LineError(f"{text[:80]!r} is no path")
    if isinstance(root, Remote):
        if ".." in (parts := pathlib.PurePosixPath(text).parts) or parts[0] == "/":
            raise LineError(f"{text[:80]} leads out of {root}, which object storage has no way for")
        return (start or root) / text
    path = pathlib.Path(os.path.normpath((start or root) / text))
    if allow_outside:
        return located(path)
    whole = pathlib.Path(os.path.abspath(path))
    if pathlib.PurePath(text).is_absolute() or not whole.is_relative_to(os.path.abspath(root)):
        raise LineError(f"{text[:80]} leads out of {root}, which is refused; allow_outside accepts it")
    try:
        if not pathlib.PurePath(_real(whole)).is_relative_to(_real_folder(pathlib.Path(os.path.abspath(root)))):
            raise LineError(
                f"{text[:80]} is a link that leads out of {root}, which is refused; allow_outside accepts it"
            )
    except OSError as error:
        raise LineError(f"{text[:80]} cannot be followed ({error.strerror})") from None
    return located(path)


def whole_number(text: str, what: str, least: int = 0, most: int = 10**6) -> int:
    """A number in ASCII digits.

    Raises:
        LineError: if it is none, or out of range.
    """
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) < 10):
        raise LineError(f"{what} is {text[:40]!r}, expected a whole number")
    if not least <= int(text) <= most:
        raise LineError(f"{what} is {text}, expected {least} to {most}")
    return int(text)


def _is_other(path: pathlib.Path) -> bool:
    """Whether there is something that is no folder; pipes and devices are refused where they would be read."""
    return path.exists() and not path.is_dir()


def _lines(path: pathlib.Path) -> Iterator[bytes]:
    try:
        if path.exists() and not path.is_file():
            # A pipe or a device would be read without end.
            raise DatasetError(f"{path}: it is no regular file; expected a list.")
        with path.open("rb") as file:
            # What grows, or says that it is empty and is not, like files of /proc, is cut too.
            content = file.read(MAX_BYTES + 1) if _size(path) <= MAX_BYTES else None
        if content is None or len(content) > MAX_BYTES:
            raise DatasetError(f"{path}: above the limit of {MAX_BYTES >> 20} MiB for a list.")
    except DatasetError:
        raise
    except FileNotFoundError:
        raise DatasetError(f"{path}: there is no such list.") from None
    except (OSError, ValueError) as error:
        raise DatasetError(f"{path}: it cannot be read ({getattr(error, 'strerror', None) or error}).") from error
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise DatasetError(f"{path}: it is in UTF-16; save it as UTF-8.")
    yield from content.removeprefix(b"\xef\xbb\xbf").splitlines()


def _size(path: pathlib.Path) -> int:
    """Of a file in bytes; in object storage it shows when it has been read."""
    return 0 if isinstance(path, Remote) else path.stat().st_size


def _text(line: bytes) -> str:
    if len(line) > MAX_LINE:
        raise LineError(f"it has {len(line)} bytes, above the limit of {MAX_LINE}")
    if b"\0" in line:
        raise LineError("it has NUL bytes")
    try:
        return line.decode("utf-8").strip()
    except UnicodeDecodeError as error:
        raise LineError(f"it is not UTF-8 ({error.reason})") from None


def _fields(line: str) -> list[str]:
    try:
        return [field.strip() for field in next(csv.reader([line], strict=True, skipinitialspace=True))]
    except csv.Error as error:
        raise LineError(f"it is not CSV ({error})") from None


def _header(path: pathlib.Path) -> list[str]:
    try:
        header = _fields(_text(next(_lines(path), b"")))
    except LineError as error:
        raise DatasetError(f"{path}: its first line does not name columns ({error}).") from None
    if len(set(header)) < len(header):
        raise DatasetError(f"{path}: two columns have one name; its first line names {', '.join(header)}.")
    return header


@functools.lru_cache(maxsize=4096)
def _real_folder(path: pathlib.Path) -> str:
    return os.path.realpath(path)


def _real(path: pathlib.Path) -> str:
    """Where an absolute path leads; folders are followed once, since thousands of files share them."""
    return os.path.realpath(path) if path.is_symlink() else os.path.join(_real_folder(path.parent), path.name)
