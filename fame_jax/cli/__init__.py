"""`fame ...`: one typed function a command, each in a module of its own; see `fame --help`."""

import gc
import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs one command and exits: 0 all good, 1 an error of the program, 2 bad input, 130 interrupted."""
    # What is imported stays; looking through it for garbage, again and again, takes half a second. See `run`.
    gc.disable()
    try:
        # Imported here, since it takes a second in which somebody may have thought better of it.
        from fame_jax.cli.console import run

        code = run(list(sys.argv[1:] if arguments is None else arguments))
    except KeyboardInterrupt:
        print("fame: interrupted.", file=sys.stderr)
        code = 130
    sys.exit(code)


__all__ = ["main"]
