"""Figures 1, 7 and 8: what the locations of a feature map look at."""

import pathlib
from dataclasses import dataclass
from typing import Annotated

import tyro

from fame_jax import models
from fame_jax.cli.locations import Locations
from fame_jax.cli.reproduce.program import available


@dataclass(frozen=True)
class LocationSheets:
    """A sheet of maps for each network."""

    image: Annotated[pathlib.Path | None, tyro.conf.Positional] = None
    """Photograph, of a face for face networks. Omitted: the packaged cat or portrait."""
    networks: tuple[str, ...] = ("resnet101",)
    """Networks; those that are not installed are left out."""
    rows: str | None = None
    """Rows of the feature map, from 0, with commas between them. Omitted: all."""
    iterations: int = 500
    """Number of steps."""
    colours: str = "jet"
    """Name of a Matplotlib colour map; jet is the paper's, inferno suits colour-blind people."""
    out: pathlib.Path = pathlib.Path("fame-out")
    """Folder for the results."""
    progress: bool = True
    """Show a progress bar."""

    def __call__(self) -> int:
        """Draws one sheet a network, in a folder of its name."""
        task = models.card(self.networks[0]).task
        for network in available(self.networks, task):
            print(f"{network}:")
            Locations(
                image=self.image,
                model=network,
                rows=self.rows,
                iterations=self.iterations,
                colours=self.colours,
                out=self.out / network,
                progress=self.progress,
            )()
        return 0
