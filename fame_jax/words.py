"""What several rooms say in the same words: names near to a misspelt one, and tables in text."""

import difflib
from collections.abc import Iterable, Sequence


def nearest(name: str, known: Iterable[str], *, count: int = 3) -> list[str]:
    """Up to `count` known names that look like one, the most similar first; capitals do not matter."""
    plain = {one.casefold(): one for one in reversed([*known])}
    return [plain[one] for one in difflib.get_close_matches(name.casefold(), plain, n=count, cutoff=0.4)]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The end of a message about a name that does not exist: the nearest ones, or all where none is near."""
    known = [*known]
    near = nearest(name, known)
    return f"did you mean {' or '.join(near)}?" if near else f"expected one of {', '.join(known)}."


def columns(rows: Sequence[Sequence[str]]) -> str:
    """Rows of cells as text, a line each, with the columns one below the other."""
    return "\n".join("  ".join(row).rstrip() for row in _padded(rows))


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, easy to read as it is; the first row is its head."""
    head, *others = _padded(rows)
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ["-" * len(cell) for cell in head], *others))


def _padded(rows: Sequence[Sequence[str]]) -> list[list[str]]:
    widths = [max(3, *map(len, column)) for column in zip(*rows, strict=True)]
    return [[cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in rows]
