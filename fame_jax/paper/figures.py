"""Figures of photographs or pairs by method (2, 3, 9 to 12), and of accuracy (4), from finished runs."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from fame_jax import plots
from fame_jax.data.faces import sample_face, sunglasses
from fame_jax.data.images import sample_path, save_png
from fame_jax.data.records import ClassRecord, Dataset, PairRecord, Picture, Task
from fame_jax.datasets.catalogue import read
from fame_jax.experiments.rows import Scores
from fame_jax.experiments.store import DONE, Run
from fame_jax.experiments.summary import correct, summary, threshold
from fame_jax.explainers.table import EXPLAINERS
from fame_jax.inputs import geometry_of, images
from fame_jax.metrics import estimate
from fame_jax.walk import Status

Arrays = dict[str, Any]


class FigureError(ValueError):
    """What no figure can be made of; the message is one line."""


def dataset(paths: Sequence[pathlib.Path], task: Task, folder: pathlib.Path) -> Dataset:
    """Pictures given one by one as a data set.

    Args:
        paths: photographs; or faces two by two, PROBE GALLERY; or one list `.csv` of either, see `fame_jax.datasets`.
            None for the packaged cat, or the packaged portrait behind sunglasses and without.
        task: of the records.
        folder: where the portrait is put.

    Raises:
        FigureError: for an odd number of faces, or a list without a record.
    """
    if len(paths) == 1 and paths[0].suffix.lower() == ".csv":
        found = read("list" if task == "class" else "pairs", paths[0])
        if not found.records:
            reason = f" ({found.problems[0].where}: {found.problems[0].reason})" if found.problems else ""
            raise FigureError(f"{paths[0]}: no record that can be shown{reason}.")
        return found
    if task == "class":
        chosen = [Picture(path) for path in paths or (sample_path("cat"),)]
        named = (ClassRecord(f"{i}: {picture.path.name}", picture) for i, picture in enumerate(chosen, 1))
        return Dataset("photographs", "class", tuple(named))
    if len(paths) % 2:
        raise FigureError(f"expected faces two by two, PROBE GALLERY, or one list .csv; got {len(paths)}.")
    both = zip(paths[::2], paths[1::2], strict=True) if paths else [_portraits(folder)]
    records = (PairRecord(f"{i}: {p.name} vs {g.name}", Picture(p), Picture(g)) for i, (p, g) in enumerate(both, 1))
    return Dataset("pairs of faces", "pair", tuple(records))


def explained_by_all(runs: Sequence[Run]) -> list[int]:
    """Indices of the records that no run has failed at.

    Raises:
        FigureError: if there is none.
    """
    states = np.stack([run.column("state") == DONE for run in runs]).all(axis=0)
    if not states.any():
        raise FigureError(f"{runs[0].folder}: no record could be explained; there is nothing to draw.")
    return np.flatnonzero(states).tolist()


def by_method(runs: Sequence[Run], colours: str = "jet") -> tuple[Figure, Arrays]:
    """Photographs, a row each and a column a method; or pairs, two rows each and columns of e+ and e- by method.

    Args:
        runs: of the same records by one network, each by another method.
        colours: name of a Matplotlib colour map.

    Returns:
        The sheet, and what it shows: images, labels or similarities, and the maps by method.
    """
    first, chosen = runs[0], explained_by_all(runs)
    shown = [images(first.records[i], geometry_of(first.manifest)) for i in chosen]
    maps = {run.manifest["method"]: [_maps(run, i) for i in chosen] for run in runs}
    if first.task == "class":
        single = {method: [one["attribution"] for one in of] for method, of in maps.items()}
        figure = plots.method_grid([i for (i,) in shown], _titled(single), colours=colours, columns=1 + len(maps))
        return figure, {"images": np.stack([i for (i,) in shown]), "labels": first.column("label")[chosen], **single}
    similarities = first.column("similarity")[chosen]
    titles = [f"similarity {value:.3f}" for value in similarities]
    figure = plots.pair_grid([(p, g) for p, g in shown], _titled(maps), titles=titles, colours=colours)
    probes, galleries = (np.stack(faces) for faces in zip(*shown, strict=True))
    arrays = {f"{method}_{name}": [one[name] for one in of] for method, of in maps.items() for name in of[0]}
    return figure, {"probes": probes, "galleries": galleries, "similarities": similarities, **arrays}


def accuracy(scored: Mapping[str, Scores], title: str) -> tuple[Figure, Arrays]:
    """Fig. 4: accuracy of verification as ever more of the probe is removed or shown, with bands over pairs.

    Args:
        scored: by method, scores of `verification`.
        title: a line above, which the threshold is added to.

    Returns:
        The curves, and their numbers by method.
    """
    some = next(iter(scored.values()))
    shares, point = np.asarray(some.options["fractions"]), threshold(some)
    curves = {
        kind: {method: _band(scores, kind) for method, scores in scored.items()} for kind in ("deletion", "insertion")
    }
    deletion, insertion = (_titled(of) for of in curves.values())
    title = f"{title}, threshold {point.threshold:.3f}"
    figure = plots.deletion_insertion(shares, deletion, insertion, clean=point.accuracy, title=title)
    arrays = {
        f"{method}_{kind}_{end}": getattr(band, end)
        for kind, bands in curves.items()
        for method, band in bands.items()
        for end in ("mean", "low", "high")
    }
    return figure, {"fractions": shares, **arrays}


def _portraits(folder: pathlib.Path) -> tuple[pathlib.Path, pathlib.Path]:
    probe, gallery = folder / "portrait-sunglasses.png", folder / "portrait.png"
    face = sample_face().image
    save_png(probe, sunglasses(face).image)
    save_png(gallery, face)
    return probe, gallery


def _maps(run: Run, index: int) -> Arrays:
    """The maps of a record that the method has."""
    there = run.column("status")[index] != Status.NO_MAP
    return {name: run.map(index, name) for name, known in zip(run.roles, there, strict=True) if known}


def _titled(by_name: Mapping[str, Any]) -> dict[str, Any]:
    return {EXPLAINERS[name].title if name in EXPLAINERS else name: of for name, of in by_name.items()}


def _band(scores: Scores, kind: str) -> plots.Band:
    """Mean accuracy at every share and its interval, and the area for the legend."""
    columns = [estimate(column) for column in correct(scores, kind).T]
    area = next(m.estimate.mean for m in summary(scores) if m.figure.name == f"{kind}_auc")
    mean, low, high = (np.asarray([getattr(e, name) for e in columns]) for name in ("mean", "low", "high"))
    return plots.Band(mean, low, high, f"({area:.1f} %)")
