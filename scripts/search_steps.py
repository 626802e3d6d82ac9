"""How few steps are enough, and in which precision? Variants of the walk against the paper's 500 steps of 1/255.

Judged by ROAD-Delete and deletion AUC: means, and paired differences from 500 steps in float32 with bootstrap 95 %
intervals; the correlation with those maps, and with float64's where they are there, is beside. Runs and their scores
are kept in the output folder: what was cut short goes on where it stopped.
"""

import pathlib
from dataclasses import replace
from typing import Annotated, Any

import jax
import numpy as np
import tyro
from walk_variants import VARIANTS

from fame_jax import metrics, models
from fame_jax.cli.console import InputError
from fame_jax.cli.progress import progress_bar
from fame_jax.data.records import Dataset
from fame_jax.datasets.catalogue import read
from fame_jax.engine import passes_of
from fame_jax.experiments.run import run
from fame_jax.experiments.score import score
from fame_jax.experiments.settings import Settings
from fame_jax.experiments.store import Run
from fame_jax.experiments.summary import comparison, summary
from fame_jax.explainers.table import explainer
from fame_jax.words import did_you_mean, markdown

REFERENCE = next(iter(VARIANTS))
METRICS = ("road_delete", "deletion")


def main(
    photographs: Annotated[pathlib.Path, tyro.conf.Positional],
    model: str = "mobilenet_v2",
    precision: models.Precision = "float32",
    variants: tuple[str, ...] = tuple(VARIANTS),
    number: int | None = None,
    out: pathlib.Path = pathlib.Path("steps"),
) -> None:
    """Walks, scores and prints a table.

    Args:
        photographs: a folder whose file names begin with the class index, or a CSV list with the columns image, label.
        model: a classifier.
        precision: of the walks; the network that scores their maps is in float32.
        variants: rows of the table in `walk_variants.py`.
        number: only so many photographs, a random part.
        out: folder for the runs.
    """
    for name in variants:
        if name not in VARIANTS:
            raise InputError(f"unknown variant {name!r}; {did_you_mean(name, VARIANTS)}")
    jax.config.update("jax_enable_x64", precision == "float64")
    found = read("list", photographs) if photographs.is_file() else read("folder", photographs, "names")
    chosen = np.random.default_rng(0).permutation(len(found.records))[:number]
    data = replace(found, records=tuple(found.records[i] for i in chosen))
    reference = explained(data, model, "float32", REFERENCE, out)
    rows, theirs = [], [score(reference, metric) for metric in METRICS]
    for name in variants:
        maps = explained(data, model, precision, name, out)
        exact = out / f"{model}-float64" / name
        scores = [score(maps, metric) for metric in METRICS]
        figures = {cell: text for mine, other in zip(scores, theirs, strict=True) for cell, text in cells(mine, other)}
        steps = f"{maps.column('steps').mean():.0f}"
        beside = [correlation(maps, reference), correlation(maps, Run(exact)) if exact.is_dir() else ""]
        rows += [] if rows else [["variant", *figures, "steps", "correlation", "with float64"]]
        rows.append([name, *figures.values(), steps, *beside])
    print(f"{model}, {precision}, {len(data.records)} photographs; difference from {REFERENCE}\n\n{markdown(rows)}")


def explained(data: Dataset, model: str, precision: Any, name: str, out: pathlib.Path) -> Run:
    """The run of a variant."""
    (method, options), network = VARIANTS[name], models.find(model, precision=precision)
    settings, folder = Settings(options=options, precision=precision), out / f"{model}-{precision}" / name
    passes = len(data.records) * passes_of(explainer(method), "class", options)
    with progress_bar(passes, f"pass ({name})", hide=False) as bar:
        return run(network, data, method, folder, settings, progress=bar.update)


def cells(mine: Any, theirs: Any) -> list[tuple[str, str]]:
    """Heading and text of each figure that is a single number or is given for the shares of the paper."""
    return [
        (
            f"{one.figure.title} {'' if one.at is None else f'{one.at:.0%}'}",
            f"{one.estimate.mean:.3f}; {other.comparison.difference:+.3f} "
            f"[{other.comparison.low:+.3f}, {other.comparison.high:+.3f}]",
        )
        for one, other in zip(summary(mine), comparison(mine, theirs), strict=True)
        if one.at is None or mine.metric.name == "road_delete"
    ]


def correlation(one: Run, other: Run) -> str:
    """Of the maps of two runs over the same photographs, with its interval."""
    names = {record.name: i for i, record in enumerate(other.records)}
    both = [(i, names[record.name]) for i, record in enumerate(one.records) if record.name in names]
    found = metrics.estimate(np.asarray([metrics.pearson(one.map(i), other.map(j)) for i, j in both]))
    return f"{found.mean:.3f} [{found.low:.3f}, {found.high:.3f}]"


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
