"""Figures 2 and 9: photographs explained by several methods, a sheet a network."""

import pathlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import tyro

from fame_jax import plots
from fame_jax.cli import output
from fame_jax.cli.console import at_least, say, say_error
from fame_jax.cli.reproduce.program import available, maps_of
from fame_jax.data.images import sample_path
from fame_jax.data.records import ClassRecord, Dataset, Picture
from fame_jax.datasets.catalogue import read
from fame_jax.experiments.inputs import geometry_of, images
from fame_jax.experiments.store import DONE, Run
from fame_jax.explainers.table import explainer


@dataclass(frozen=True)
class MethodSheets:
    """A sheet for each network: a row a photograph, a column a method."""

    photographs: Annotated[
        tuple[pathlib.Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="[IMAGE ...|LIST.csv]")
    ] = ()
    """Photographs, of which the predicted class is explained, or one CSV list with the columns image and label.
    Omitted: the packaged cat."""
    networks: tuple[str, ...] = ("resnet101",)
    """Networks; those that are not installed are left out."""
    methods: tuple[str, ...] = ("grad_cam_ew", "fame")
    """Explainers of classes."""
    iterations: int = 500
    """Number of FAME's steps."""
    colours: str = "jet"
    """Name of a Matplotlib colour map; jet is the paper's, inferno suits colour-blind people."""
    out: pathlib.Path = pathlib.Path("fame-out")
    """Folder for the sheets (.png), the arrays (.npz) and the runs behind them, which continue if interrupted."""

    def __call__(self) -> int:
        """Explains, then draws one sheet a network."""
        at_least(0, iterations=self.iterations)
        plots.check_colours(self.colours)
        folder, dataset = output.output_folder(self.out), photographs(self.photographs)
        for network in available(self.networks, "class"):
            runs = {
                method: maps_of(dataset, network, method, folder / "runs", iterations=self.iterations)
                for method in self.methods
            }
            self._draw(network, runs, folder)
        return 0

    def _draw(self, network: str, runs: dict[str, Run], folder: pathlib.Path) -> None:
        first = next(iter(runs.values()))
        usable = explained_by_all(list(runs.values()))
        faces = [images(first.records[i], geometry_of(first.manifest))[0] for i in usable]
        maps = {explainer(name).title: [run.map(i) for i in usable] for name, run in runs.items()}
        columns = 1 + len(maps)
        output.write_figure(
            folder / f"{network}.png", plots.method_grid(faces, maps, colours=self.colours, columns=columns)
        )
        arrays = {name: np.stack(of) for name, of in zip(runs, maps.values(), strict=True)}
        output.write_arrays(
            folder / f"{network}.npz", images=np.stack(faces), labels=first.column("label")[usable], **arrays
        )
        say(f"{network}: {len(usable)} photographs by {', '.join(maps)}; wrote {folder / network}.png")


def photographs(paths: Sequence[pathlib.Path]) -> Dataset:
    """A data set of photographs given one by one, or of a list."""
    if len(paths) == 1 and paths[0].suffix.lower() == ".csv":
        return read("list", paths[0])
    chosen = paths or (sample_path("cat"),)
    names = output.distinct_stems(chosen)
    return Dataset(
        "photographs", "class", tuple(ClassRecord(n, Picture(p)) for n, p in zip(names, chosen, strict=True))
    )


def explained_by_all(runs: Sequence[Run]) -> list[int]:
    """Indices of records that no run has failed at; the others are named.

    Raises:
        OSError: if there is none.
    """
    for index, reason in sorted({i: reason for run in runs for i, reason in run.failures().items()}.items()):
        say_error(f"{runs[0].records[index].name} is left out: {reason}")
    states = np.stack([run.column("state") == DONE for run in runs]).all(axis=0)
    if not states.any():
        raise OSError(f"{runs[0].folder}: no record could be explained; there is nothing to draw.")
    return np.flatnonzero(states).tolist()
