"""Scores as one tidy table in a Parquet file: a row a record, figure, and share or threshold.

run        folder of the run
record     name of the record; index: its number
label      the class that is explained; of a pair 1 if both are one person, else 0; null where nobody knows
metric     and preset, figure: what was measured
at         the share or threshold; null for a figure that is a single number
value      null where it is no finite number, or the record was left out
status     ok, blank map, or why the record was left out: such a record has one row a metric, without a figure
"""

import pathlib
from collections.abc import Iterable, Iterator
from typing import Any

from fame_jax.experiments.rows import Row, Scores
from fame_jax.experiments.store import Run
from fame_jax.experiments.summary import figures
from fame_jax.files import number, write
from fame_jax.walk import Status

try:
    import pyarrow
    from pyarrow import parquet
except ImportError as error:
    raise ImportError("--parquet needs pyarrow: pip install 'fame-jax[parquet]'") from error

_COLUMNS = pyarrow.schema(
    {
        **dict.fromkeys(("run", "record"), pyarrow.string()),
        "index": pyarrow.int64(),
        "label": pyarrow.int32(),
        **dict.fromkeys(("metric", "preset", "figure"), pyarrow.string()),
        **dict.fromkeys(("at", "value"), pyarrow.float64()),
        "status": pyarrow.string(),
    }
)


def write_scores(file: pathlib.Path, found: Iterable[tuple[Run, Scores]]) -> None:
    """Writes the rows of runs and metrics into one file, which is whole or absent; memory holds one of them at a time.

    Raises:
        OSError: if it cannot be written.
    """

    def fill(handle: Any) -> None:
        with parquet.ParquetWriter(handle, _COLUMNS) as writer:
            for run, scores in found:
                writer.write_table(pyarrow.Table.from_pylist(list(_rows(run, scores)), _COLUMNS))

    write(file, fill)


def _rows(run: Run, scores: Scores) -> Iterator[dict[str, Any]]:
    labels = run.column("label").tolist()

    def about(row: Row) -> dict[str, Any]:
        known = labels[row.index] if row.genuine is None else int(row.genuine)
        return {
            "run": str(scores.run),
            "record": row.name,
            "index": row.index,
            "label": known if known >= 0 else None,
            "metric": scores.metric.name,
            "preset": scores.preset,
            "status": row.reason or (Status.BLANK if row.blank else Status.OK).message,
        }

    for row, figure, at, value in figures(scores):
        yield about(row) | {"figure": figure.name, "at": at, "value": number(value)}
    yield from (about(row) for row in scores.rows if row.reason is not None)
