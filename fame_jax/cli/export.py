"""`fame export`: a method for a fixed network becomes one file that JAX alone runs."""

import pathlib
from dataclasses import dataclass, field
from typing import Annotated, Literal

import tyro

from fame_jax import files
from fame_jax.cli.console import InputError, say
from fame_jax.cli.flags import Flat, MethodFlags, NetworkFlags
from fame_jax.export import PLATFORMS, exported


@dataclass(frozen=True)
class Export:
    """Write a method for a network as one program, which runs wherever JAX does, without this package.

    The file is an artefact of jax.export with the parameters inside. Methods that draw random numbers, --method best of
    classes among them, cannot be written. It takes an image and a label, for a face network
    probe and gallery, and returns a dictionary of maps.
    """

    what: Annotated[Literal["explain"], tyro.conf.Positional]
    """What is exported."""
    network: Flat[NetworkFlags] = field(default_factory=NetworkFlags)
    methods: Flat[MethodFlags] = field(default_factory=MethodFlags)
    platforms: tuple[Literal["cpu", "cuda", "rocm", "tpu"], ...] = PLATFORMS
    """Where it shall run."""
    out: pathlib.Path = pathlib.Path("explain.jax")
    """The file to write."""

    def __call__(self) -> int:
        """Writes the file and says how it is called."""
        self.methods.check()
        for name, given in (("--batch-size", self.methods.batch_size), ("--seed", self.methods.seed)):
            if given:
                raise InputError(f"{name} {given}: a program takes one image and draws nothing; leave it out.")
        if not self.out.absolute().parent.is_dir():
            raise InputError(f"--out {self.out}: its folder is not there.")
        loaded = self.network.load()
        task = "pair" if loaded.card.task == "face" else "class"
        rows = self.methods.rows(task)
        if len(rows) != 1:
            raise InputError(f"--method {self.methods.method}: a program is of one method.")
        engine = self.methods.engine(loaded.network, task, self.network.precision)
        (method,) = self.methods.methods(engine, rows, loaded.card)
        size = loaded.card.size
        method.check(size, size, 3)
        artefact = exported(method, size, platforms=self.platforms)
        files.write(self.out, lambda file: file.write(artefact))
        image = f"{engine.dtype}[{size}, {size}, 3]"
        inputs = f"probe {image}, gallery {image}" if task == "pair" else f"image {image}, label int32"
        say(f"{method.row.title} for {loaded.card.name}: wrote {self.out} ({len(artefact) / 1e6:.2f} MB), of {inputs}.")
        say(f'maps = jax.export.deserialize(bytearray(open("{self.out}", "rb").read())).call(...)')
        return 0
