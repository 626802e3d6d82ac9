"""Eyes that somebody annotated, for faces that are better not looked for."""

import math
import os
import pathlib

from fame_jax.data.lists import LineError, each_line, each_row
from fame_jax.data.records import Picture, Point, Problem

COLUMNS = ("reye_x", "reye_y", "leye_x", "leye_y")
"""The subject's right eye, which is on the image's left, and the left one, in pixels; as in Bob's lists."""


class Eyes:
    """Annotated eyes by picture."""

    def __init__(self, found: dict[str, tuple[Point, Point]]):
        """By the path of a picture relative to its data set, without ending."""
        self._found = found

    def picture(self, path: pathlib.Path, text: str) -> Picture:
        """A picture with its eyes, if they are annotated; `text` is its path relative to the data set."""
        return Picture(path, self._found.get(_key(text)))


def read_eyes(path: pathlib.Path | None, problems: list[Problem]) -> Eyes:
    """Eyes of a CSV file, or of a folder of `.pos` files.

    Args:
        path: a list with the columns PATH, reye_x, reye_y, leye_x, leye_y, such as one of Bob's, whatever else it has;
            or a folder that mirrors the pictures', whose files `NAME.pos` hold these four numbers, as Bob distributes
            the eyes of ARface. None for no eyes.
        problems: gets one for each damaged line or file.

    Raises:
        DatasetError: if there is neither.
    """
    if path is None:
        return Eyes({})
    if path.is_dir():
        files = sorted(path.rglob("*.pos"))
        rows = [
            (_key(file.relative_to(path).as_posix()), eyes) for file in files for eyes in _positions(file, problems)
        ]
    else:
        rows = each_row(path, ("PATH", *COLUMNS), lambda row: (_key(row["PATH"]), eyes_of(row)), problems)
    return Eyes({name: eyes for name, eyes in rows if eyes is not None})


def eyes_of(row: dict[str, str]) -> tuple[Point, Point] | None:
    """The eyes of a row, the one on the image's left first; None where it gives none.

    Raises:
        LineError: if there are some of the four numbers, or something else.
    """
    texts = [row.get(name, "") for name in COLUMNS]
    if not any(texts):
        return None
    try:
        numbers = [float(text) for text in texts]
    except ValueError:
        numbers = []
    if not numbers or not all(math.isfinite(number) for number in numbers) or numbers[:2] == numbers[2:]:
        raise LineError(f"the eyes are {', '.join(texts)[:80]}, expected {', '.join(COLUMNS)} in pixels")
    return (numbers[0], numbers[1]), (numbers[2], numbers[3])


def _key(text: str) -> str:
    return os.path.splitext(text)[0]


def _positions(path: pathlib.Path, problems: list[Problem]) -> list[tuple[Point, Point] | None]:
    """The eyes of the first line of a file, if they are any."""

    def parse(line: str) -> tuple[Point, Point] | None:
        words = line.split()
        if len(words) != len(COLUMNS):
            raise LineError(f"it has {len(words)} words, expected four numbers")
        return eyes_of(dict(zip(COLUMNS, words, strict=True)))

    return each_line(path, parse, problems)[:1]
