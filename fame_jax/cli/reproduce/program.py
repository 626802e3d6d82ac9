"""What all scripts share: how they start, which networks they can have, and where maps are kept."""

import pathlib
import sys
from collections.abc import Sequence
from typing import Any

import tyro

from fame_jax import models
from fame_jax.cli.console import for_people, keep_compiled_programs, say_error
from fame_jax.data.records import Dataset
from fame_jax.experiments.run import run
from fame_jax.experiments.settings import Settings
from fame_jax.experiments.store import Run
from fame_jax.explainers.table import explainer

STAND_INS = {"class": "mobilenet_v2", "face": "sface"}
"""Bundled networks, where those of the paper are not installed."""


def start(program: Any, description: str | None, arguments: Sequence[str] | None = None) -> None:
    """Reads the command line over a program's own defaults, calls it and exits: 0 all good, 2 bad input.

    Args:
        program: a dataclass of options, made with the defaults of this script.
        description: the script's docstring, which `--help` shows.
        arguments: in place of the command line.
    """
    try:
        keep_compiled_programs()
        code = tyro.cli(type(program), args=arguments, default=program, description=description)()
    except KeyboardInterrupt:
        say_error("interrupted; what was finished is kept.")
        code = 130
    except (ValueError, OSError, ImportError) as error:
        if not for_people(error):
            raise
        say_error(error)
        code = 2
    sys.exit(code)


def available(names: Sequence[str], task: str) -> list[str]:
    """The networks that are installed; the bundled one where none is, which is said."""
    found = []
    for name in names:
        if models.installed(name) is not None:
            found.append(name)
        else:
            official = models.published(name)
            how = f"fame download {name}" if official.address else f"fame convert {name} FILE"
            say_error(f"{name} is not installed ({how})")
    if not found:
        say_error(f"{STAND_INS[task]} stands in")
    return found or [STAND_INS[task]]


def maps_of(dataset: Dataset, network: str, method: str, folder: pathlib.Path, **options: Any) -> Run:
    """A finished run of one network and one method, kept in a folder and continued if it is there.

    Args:
        dataset: the records.
        network: installed or bundled.
        method: an explainer.
        folder: of all runs.
        **options: of any method; those that this one does not have are left out.
    """
    known = explainer(method).options(dataset.task)
    return run(
        dataset,
        models.card(network),
        models.load(network),
        method,
        folder / network / method,
        Settings(options={name: value for name, value in options.items() if name in known}),
        weights_sha256=models.weights_hash(network),
    )
