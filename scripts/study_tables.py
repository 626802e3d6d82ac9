"""The tables of a study: means with the floors they clear, and differences from reference methods."""

import itertools
import re
from collections.abc import Mapping, Sequence

import numpy as np

from fame_jax import metrics
from fame_jax.words import markdown

FLOORS = {"random": "n", "random_blurred": "b", "blob": "c"}
"""White noise, blurred noise, a blob in the centre."""

Column = tuple[str, str]
"""A figure, and which way is better: higher or lower."""

Figures = Mapping[Column, Mapping[str, float]]
"""Of one variant of a method: by column, a number a record."""

RESAMPLES = 50
"""For each comparison, at the least: the smallest p there can be, times their number, has to be below 0.05."""


def best(figures: Mapping[str, Figures]) -> set[str]:
    """Of the variants whose names differ in their blur alone, that with the best mean over its columns."""
    found: dict[str, tuple[float, str]] = {}
    for variant, of in figures.items():
        signed = [_sign(column) * np.nanmean(list(rows.values())) for column, rows in of.items()]
        kind = re.sub(r"-s[\d.e+-]+$", "", variant)
        found[kind] = max(found.get(kind, (-np.inf, variant)), (float(np.mean(signed)), variant))
    return {variant for _, variant in found.values()}


def means(figures: Mapping[str, Figures]) -> str:
    """A row a variant, a column a figure; a letter for each floor from which the difference is clear of zero."""
    columns = list(dict.fromkeys(itertools.chain(*figures.values())))
    rows = [("method", *(f"{name} {'↑' if better == 'higher' else '↓'}" for name, better in columns))]
    for variant, of in figures.items():
        cells = (_cell(of, column, figures) for column in columns)
        rows.append((variant, *cells))
    return f"Clear of the floors: n white noise, b blurred noise, c a blob in the centre.\n\n{markdown(rows)}\n"


def _cell(of: Figures, column: Column, figures: Mapping[str, Figures]) -> str:
    if column not in of:
        return ""
    letters = ""
    for floor, letter in FLOORS.items():
        other = next((rows for name, rows in figures.items() if name.split("-")[0] == floor), {})
        if column in other and other is not of:
            found = _paired(of[column], other[column], 1000)
            letters += letter if min(_sign(column) * found.low, _sign(column) * found.high) > 0 else ""
    return f"{np.nanmean(list(of[column].values())):.3f} {letters}".strip()


def pooled(figures: Sequence[Figures]) -> Figures:
    """The figures of one variant on several sets of records as those of one set."""
    found: dict[Column, dict[str, float]] = {}
    for place, of in enumerate(figures):
        for column, rows in of.items():
            found.setdefault(column, {}).update({f"{place}/{name}": value for name, value in rows.items()})
    return found


def differences(figures: Mapping[str, Figures], references: Sequence[str], resamples: int) -> str:
    """Every figure minus that of each reference, with its interval, and its p-value corrected for their number."""
    found, said = [], ""
    for reference in references:
        name = next((name for name in figures if name == reference or name.startswith(f"{reference}-")), None)
        if name is None:
            said += f"No differences from {reference}, which is not among the methods.\n\n"
            continue
        # The difference of two references is told once.
        for variant in (variant for variant in figures if variant not in {name, *(one for one, _, _ in found)}):
            found += [(name, variant, column) for column in figures[variant] if column in figures[name]]
    resamples = max(resamples, RESAMPLES * len(found))
    compared = [_paired(figures[variant][column], figures[name][column], resamples) for name, variant, column in found]
    corrected = metrics.holm(np.asarray([one.p_value for one in compared]))
    rows = [("method", "figure", "minus", "difference", "better", "p, corrected", "n")]
    for (name, variant, column), one, p in zip(found, compared, corrected, strict=True):
        clear = one.low * one.high > 0 and p < 0.05
        verdict = {True: "yes", False: "no"}[one.difference * _sign(column) > 0] if clear else "open"
        interval = f"{one.difference:+.4f} [{one.low:+.4f}, {one.high:+.4f}]"
        rows.append((variant, column[0], name, interval, verdict, f"{p:.4f}", f"{one.number}"))
    return said + (markdown(rows) if found else "")


def _sign(column: Column) -> int:
    return 1 if column[1] == "higher" else -1


def _paired(one: Mapping[str, float], other: Mapping[str, float], resamples: int) -> metrics.Comparison:
    shared = [name for name in one if name in other]
    values = (np.asarray([of[name] for name in shared], np.float64) for of in (one, other))
    return metrics.compare(*values, resamples=resamples)
