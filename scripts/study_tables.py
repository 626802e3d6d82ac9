"""The tables of a study: means with the floors they clear, and differences from a reference method."""

import itertools
from collections.abc import Mapping

import numpy as np

from fame_jax import metrics
from fame_jax.words import markdown

FLOORS = {"random": "n", "random_blurred": "b", "blob": "c"}
"""White noise, blurred noise, a blob in the centre."""

Column = tuple[str, str]
"""A figure, and which way is better: higher or lower."""

Figures = Mapping[Column, Mapping[str, float]]
"""Of one variant of a method: by column, a number a record."""


def best(figures: Mapping[str, Figures]) -> set[str]:
    """Of the variants whose names differ in their blur alone, that with the best mean over its columns."""
    found: dict[str, tuple[float, str]] = {}
    for variant, of in figures.items():
        signed = [_sign(column) * np.nanmean(list(rows.values())) for column, rows in of.items()]
        kind = variant.rpartition("-s")[0] or variant
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


def differences(figures: Mapping[str, Figures], reference: str, resamples: int) -> str:
    """Every figure minus that of the reference, with its interval and corrected p-value."""
    name = next((name for name in figures if name == reference or name.startswith(f"{reference}-")), None)
    if name is None:
        return f"No differences: {reference} is not among the methods.\n"
    found = {
        (variant, column): _paired(of[column], figures[name][column], resamples)
        for variant, of in figures.items()
        for column in of
        if variant != name and column in figures[name]
    }
    corrected = metrics.holm(np.asarray([one.p_value for one in found.values()]))
    rows = [("method", "figure", f"minus {name}'s", "better", "p, corrected", "n")]
    for ((variant, (title, better)), one), p in zip(found.items(), corrected, strict=True):
        clear = one.low * one.high > 0 and p < 0.05
        ahead = one.difference * _sign((title, better)) > 0
        verdict = {True: "yes", False: "no"}[ahead] if clear else "open"
        interval = f"{one.difference:+.4f} [{one.low:+.4f}, {one.high:+.4f}]"
        rows.append((variant, title, interval, verdict, f"{p:.4f}", f"{one.number}"))
    return markdown(rows)


def _sign(column: Column) -> int:
    return 1 if column[1] == "higher" else -1


def _paired(one: Mapping[str, float], other: Mapping[str, float], resamples: int) -> metrics.Comparison:
    shared = [name for name in one if name in other]
    values = (np.asarray([of[name] for name in shared], np.float64) for of in (one, other))
    return metrics.compare(*values, resamples=resamples)
