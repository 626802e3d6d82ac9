"""`fame ...`: one typed function a command, each in a module of its own; see `fame --help`."""

import sys
from collections.abc import Sequence

from fame_jax.cli.console import run


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs one command and exits: 0 all good, 1 an error of the program, 2 bad input, 130 interrupted."""
    sys.exit(run(list(sys.argv[1:] if arguments is None else arguments)))


__all__ = ["main"]
