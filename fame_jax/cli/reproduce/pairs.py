"""Figures 3 and 10 to 12: pairs of faces explained by several methods, a sheet a network."""

import pathlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import tyro

from fame_jax import plots
from fame_jax.cli import output
from fame_jax.cli.console import InputError, at_least, say
from fame_jax.cli.reproduce.methods import explained_by_all
from fame_jax.cli.reproduce.program import available, maps_of
from fame_jax.data.faces import sample_face, sunglasses
from fame_jax.data.images import save_png
from fame_jax.data.records import Dataset, PairRecord, Picture
from fame_jax.datasets.catalogue import read
from fame_jax.experiments.inputs import geometry_of, images
from fame_jax.experiments.store import NO_MAP, Run
from fame_jax.explainers.table import explainer


@dataclass(frozen=True)
class PairSheets:
    """A sheet for each network: two rows a pair, columns of e+ and e- by method."""

    faces: Annotated[
        tuple[pathlib.Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="[PROBE GALLERY ...|PAIRS.csv]")
    ] = ()
    """Photographs of faces or aligned faces, two by two, or one CSV list with the columns G, P and T. Omitted: the
    packaged portrait behind sunglasses and without."""
    networks: tuple[str, ...] = ("iresnet101",)
    """Face networks; those that are not installed are left out."""
    methods: tuple[str, ...] = ("grad_cam", "grad_cam_ew", "corrrise", "fggb", "fame")
    """Explainers of pairs."""
    iterations: int = 500
    """Number of steps of each of FAME's four walks."""
    masks: int = 500
    """Number of CorrRISE's masks."""
    colours: str = "jet"
    """Name of a Matplotlib colour map; jet is the paper's, inferno suits colour-blind people."""
    out: pathlib.Path = pathlib.Path("fame-out")
    """Folder for the sheets (.png), the arrays (.npz) and the runs behind them, which continue if interrupted."""

    def __call__(self) -> int:
        """Explains, then draws one sheet a network."""
        at_least(0, iterations=self.iterations)
        at_least(1, masks=self.masks)
        plots.check_colours(self.colours)
        folder = output.output_folder(self.out)
        dataset = pairs(self.faces, folder)
        for network in available(self.networks, "face"):
            runs = {
                method: maps_of(dataset, network, method, folder / "runs", iterations=self.iterations, masks=self.masks)
                for method in self.methods
            }
            self._draw(network, runs, folder)
        return 0

    def _draw(self, network: str, runs: dict[str, Run], folder: pathlib.Path) -> None:
        first = next(iter(runs.values()))
        usable = explained_by_all(list(runs.values()))
        faces = [images(first.records[i], geometry_of(first.manifest)) for i in usable]
        similarities = first.column("similarity")[usable]
        maps = {explainer(name).title: [_maps(run, i) for i in usable] for name, run in runs.items()}
        titles = [f"similarity {value:.3f}" for value in similarities]
        figure = plots.pair_grid([(p, g) for p, g in faces], maps, titles=titles, colours=self.colours)
        output.write_figure(folder / f"{network}.png", figure)
        probes, galleries = (np.stack([pair[role] for pair in faces]) for role in (0, 1))
        arrays = {
            f"{name}_{map}": np.stack([run.map(i, map) for i in usable])
            for name, run in runs.items()
            for map in _maps(run, usable[0])
        }
        output.write_arrays(
            folder / f"{network}.npz", probes=probes, galleries=galleries, similarities=similarities, **arrays
        )
        say(f"{network}: {len(usable)} pairs by {', '.join(maps)}; wrote {folder / network}.png")


def pairs(paths: Sequence[pathlib.Path], folder: pathlib.Path) -> Dataset:
    """A data set of pairs given face by face, of a list, or of the packaged portrait, which is put into a folder.

    Raises:
        InputError: for an odd number of faces.
    """
    if len(paths) == 1 and paths[0].suffix.lower() == ".csv":
        return read("pairs", paths[0])
    if len(paths) % 2:
        raise InputError(f"expected faces two by two, PROBE GALLERY, or one list .csv; got {len(paths)}.")
    if not paths:
        face = sample_face().image
        paths = (folder / "portrait-sunglasses.png", folder / "portrait.png")
        save_png(paths[0], sunglasses(face).image)
        save_png(paths[1], face)
    both = zip(paths[::2], paths[1::2], strict=True)
    records = (PairRecord(f"{i}: {p.name} vs {g.name}", Picture(p), Picture(g)) for i, (p, g) in enumerate(both, 1))
    return Dataset("pairs of faces", "pair", tuple(records))


def _maps(run: Run, index: int) -> dict[str, Any]:
    """The maps of a record that the method has."""
    there = run.column("status")[index] != NO_MAP
    return {name: run.map(index, name) for name, known in zip(run.maps, there, strict=True) if known}
