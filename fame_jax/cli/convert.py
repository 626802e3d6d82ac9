"""`fame convert`: a publisher's file becomes an installed network."""

import pathlib
from dataclasses import dataclass
from typing import Annotated

import tyro

from fame_jax import models
from fame_jax.cli.console import InputError


@dataclass(frozen=True)
class Convert:
    """Convert a publisher's weights (.pth, .ckpt, .safetensors, .onnx) and install them. Needs no torch."""

    model: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="NETWORK")]
    """Network; fame models lists them."""
    checkpoint: Annotated[pathlib.Path, tyro.conf.Positional, tyro.conf.arg(metavar="FILE")]
    """The publisher's file."""
    out: pathlib.Path | None = None
    """Folder for the converted weights. Omitted: where fame finds them by the network's name."""

    def __call__(self) -> int:
        """Converts, saves, and says where."""
        models.card(self.model)
        if not self.checkpoint.is_file():
            raise InputError(f"{self.checkpoint}: no such file; expected the weights of {self.model}.")
        folder = models.install(self.model, self.checkpoint, self.out)
        print(f"{self.model}: {self.checkpoint.name} converted to {folder}")
        return 0
