"""What the tables and figures of `fame reproduce` have in common."""

import pathlib
from dataclasses import dataclass
from typing import Literal

from fame_jax import models, plots
from fame_jax.cli import output
from fame_jax.cli.console import at_least, say_error
from fame_jax.cli.flags import USUAL, InputFlags
from fame_jax.cli.progress import progress_bar
from fame_jax.data.records import Dataset
from fame_jax.experiments.rows import Scores
from fame_jax.experiments.score import score
from fame_jax.experiments.store import Run
from fame_jax.paper import numbers

PIXELS = InputFlags(resize=numbers.RESIZE)
OF_FACES = ("grad_cam", "grad_cam_ew", "corrrise", "fggb", "fame")
"""Explainers of pairs, in the paper's order."""


@dataclass(frozen=True)
class Item:
    """What all have in common."""

    networks: tuple[str, ...] = ()
    """Networks; those that are not installed are left out, and if none is, a bundled one stands in."""
    iterations: int = 500
    """Number of FAME's steps, of each walk."""
    colours: str = "jet"
    """Name of a Matplotlib colour map; jet is the paper's, inferno suits colour-blind people."""
    out: pathlib.Path = pathlib.Path("fame-out")
    """Folder for the results and the runs behind them, which continue where they were if interrupted."""
    progress: bool = True
    """Show a progress bar."""

    def __call__(self) -> int:
        """Checks what all have in common, and makes the item."""
        at_least(1, iterations=self.iterations)
        plots.check_colours(self.colours)
        return 2 if self.make(output.output_folder(self.out)) else 0

    def make(self, folder: pathlib.Path) -> bool | None:
        """Computes, writes into the folder, and says what and where; True if a record was left out."""
        raise NotImplementedError

    def available(self) -> list[str]:
        """The networks that are installed; the bundled one where none is, which is said."""
        found = [name for name in self.networks if models.installed(name) is not None]
        for name in self.networks:
            if name not in found:
                how = f"fame download {name}" if models.published(name).address else f"fame convert {name} FILE"
                say_error(f"{name} is not installed ({how})")
        if not found:
            found = [USUAL[task_of(self.networks[0])]]
            say_error(f"{found[0]} stands in")
        return found

    def scored(self, of: Run, metric: str, preset: str = "paper") -> Scores:
        """Scores of a run; what is scored is not measured again."""
        with progress_bar(len(of.records), "record", hide=not self.progress) as bar:
            bar.set_description(f"{metric} of {of.folder.name}", refresh=False)
            return score(of, metric, preset=preset, progress=bar.update)


def told(dataset: Dataset) -> bool:
    """Says what a list has lost; whether that is anything."""
    for problem in dataset.problems:
        say_error(f"{problem.where}: {problem.reason}")
    return bool(dataset.problems)


def task_of(network: str) -> Literal["class", "pair"]:
    """What a network does, installed or not."""
    folder = models.installed(network)
    card = models.card(network) if folder is None else models.about(folder).card
    return "class" if card.task == "class" else "pair"
