"""What all commands share: dispatch, errors in one line, numbers as people write them."""

import contextlib
import gc
import importlib
import math
import os
import sys
from collections.abc import Sequence
from typing import Annotated

import jax
import tyro
from tqdm import tqdm

from fame_jax.batching import traced
from fame_jax.cli import interrupts
from fame_jax.files import forget_oldest, home, readable

# Name: module and class, which are imported when the command is called, and the line that `fame --help` shows.
# A command is a dataclass whose fields are its options; calling it runs it and returns the exit code.
COMMANDS = {
    "explain": ("fame_jax.cli.explain", "Explain", "Explain photographs: which pixels would have to change?"),
    "verify": ("fame_jax.cli.verify", "Verify", "Compare two faces: why do they match, or not?"),
    "locations": ("fame_jax.cli.locations", "Locations", "Explain every location of a network's feature map."),
    "detect": ("fame_jax.cli.detect", "Detect", "List and draw what a detector finds, for fame explain --detection."),
    "app": ("fame_jax.cli.app", "App", "Open a page to explore: drop a photograph, ask, look."),
    "check": (
        "fame_jax.cli.check",
        "Check",
        "Read a data set and report what is missing or damaged.",
    ),
    "prepare": ("fame_jax.cli.prepare", "Prepare", "Copy a data set into a few large files, for fame run prepared."),
    "run": ("fame_jax.cli.run", "Run", "Explain a whole data set into a resumable store of maps."),
    "score": ("fame_jax.cli.score", "Score", "Measure finished runs by metrics, with intervals."),
    "reproduce": ("fame_jax.cli.reproduce", "Reproduce", "Make a table or a figure of the paper from your data."),
    "report": ("fame_jax.cli.report", "Report", "Show runs or photographs as one HTML file."),
    "bench": ("fame_jax.cli.bench", "Bench", "Time steps and photographs on this machine, or say what a run has cost."),
    "calibrate": (
        "fame_jax.cli.calibrate",
        "Calibrate",
        "Compute and store a face network's threshold from labelled pairs.",
    ),
    "export": ("fame_jax.cli.export", "Export", "Write a method for a network as one program that JAX alone runs."),
    "models": ("fame_jax.cli.models", "Models", "List the networks and what is installed of them."),
    "convert": ("fame_jax.cli.convert", "Convert", "Convert a publisher's weights and install them."),
    "parity": ("fame_jax.cli.parity", "Parity", "Compare a network with PyTorch, layer by layer."),
    "inspect": ("fame_jax.cli.inspect", "Inspect", "Show what an ONNX file holds, and what has to be told of it."),
    "download": (
        "fame_jax.cli.download",
        "Download",
        "Fetch a network's official weights, check, convert and install them.",
    ),
}


COMPILED_BYTES = 2 * 2**30
"""Compiled programs that are kept; when a command begins, those beyond it that were used last go."""


class InputError(ValueError):
    """Bad input, in words that say what was wrong, what was expected and what to do."""


class _NoNumber(Exception):
    """What stands where a number should. The parser, which words every `ValueError` itself, lets it through."""


def at_least(least: int, **options: int) -> None:
    """Refuses options below a value, or beyond 32 bits, by the names they have on the command line."""
    for name, value in options.items():
        if not least <= value < 2**31 - 1:
            raise InputError(f"--{name.replace('_', '-')} {value}: expected a number from {least} to {2**31 - 2}.")


def positive(**options: float) -> None:
    """Refuses options that are not above zero and finite."""
    for name, value in options.items():
        if not 0 < value < float("inf"):
            raise InputError(f"--{name.replace('_', '-')} {value}: expected a number above 0.")


def lowest_score(threshold: float) -> None:
    """Refuses a threshold of detections that no score can be above, or that all are."""
    if not 0 < threshold <= 1:
        raise InputError(f"--threshold {threshold:g}: expected a score above 0, at most 1.")


def say(text: str) -> None:
    """One line on standard output, above a progress bar if there is one; if nobody reads it, the work goes on."""
    try:
        tqdm.write(readable(text), file=sys.stdout)
        sys.stdout.flush()
    except (OSError, AttributeError):
        # The reader (head, less) has gone, the disk behind it is full, or there never was one.
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - stands in for standard output until the end.


def say_error(error: BaseException | str) -> None:
    """One line on standard error."""
    text = readable(" ".join(str(error).split()) or type(error).__name__)
    if sys.stderr is not None:
        tqdm.write(f"fame: {text}", file=sys.stderr)


def say_errors(lines: Sequence[str], most: int, more: str) -> None:
    """Each on a line of its own, `most` of them, then how many `more` there are."""
    for line in lines[:most]:
        say_error(line)
    if len(lines) > most:
        say_error(f"{len(lines) - most} more {more}")


def run(arguments: list[str]) -> int:
    """Runs one command and returns its exit code."""
    try:
        return _carried_out(arguments)
    except BrokenPipeError:
        # The reader (head, less) has gone; nothing more can be said to it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _carried_out(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help"):
        # At once, so that a reader who has gone is noticed here and not on the way out.
        print(_overview(), flush=True)
        return 0
    if arguments[0] == "--version":
        from fame_jax import __version__

        print(f"fame {__version__}", flush=True)
        return 0
    name, rest = arguments[0], arguments[1:]
    if name not in COMMANDS:
        say_error(f"unknown command {name!r}; expected one of {', '.join(COMMANDS)}. See fame --help.")
        return 2
    module, command, _ = COMMANDS[name]
    if any("\0" in argument for argument in rest):
        say_error("an argument holds the character NUL; expected text.")
        return 2
    try:
        keep_compiled_programs()
        with interrupts.remembered():
            options = tyro.cli(getattr(importlib.import_module(module), command), args=rest, prog=f"fame {name}")
            if not gc.isenabled():
                gc.freeze()
                gc.enable()
            return options()
    except KeyboardInterrupt:
        say_error("interrupted; what was finished is kept.")
        return 130
    except BrokenPipeError:  # an OSError, but none that the user has to hear of
        raise
    except _NoNumber as error:
        say_error(f"{_option_of(str(error), rest)} {error}: expected a finite number, such as 0.5, 1e-3 or 1/255.")
        return 2
    except (ValueError, OSError, ImportError) as error:
        # Errors of ours have messages for people; a bug shows itself in full.
        if not for_people(error):
            raise
        say_error(error)
        return 2


def _option_of(value: str, arguments: list[str]) -> str:
    """The option that was given a value: before it, or in front of its equals sign."""
    for before, word in zip(["", *arguments], arguments, strict=False):
        option, _, given = word.partition("=")
        if (given == value and "=" in word) or word == value:
            return option if "=" in word else before
    return "an option"


def keep_compiled_programs() -> None:
    """A second run of the same program neither traces nor compiles: both are kept under `$FAME_HOME`.

    Unless `JAX_COMPILATION_CACHE_DIR` has named another folder already. JAX's own limit gives up on folders that were
    begun without it, and on those where it was interrupted, so the oldest go here.
    """
    if jax.config.jax_compilation_cache_dir:  # type: ignore[attr-defined]
        return
    folder = home() / "compiled"
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        forget_oldest(folder, COMPILED_BYTES)
        jax.config.update("jax_compilation_cache_dir", str(folder))
        # By default it keeps what took a second; fifty small programs take one, too.
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
        traced.folder = folder


def for_people(error: BaseException) -> bool:
    """Whether the message of an error was written for people; a bug shows itself in full."""
    if isinstance(error, ImportError):
        return "pip install" in str(error)
    return isinstance(error, OSError) or type(error).__module__.split(".")[0] in ("fame_jax", "weight_conversion")


def _overview() -> str:
    lines = [
        "usage: fame COMMAND [OPTIONS]",
        "",
        "Which pixels would have to change? FAME and its baselines, in JAX.",
        "",
    ]
    width = max(map(len, COMMANDS))
    lines += [f"  {name:<{width}}  {description}" for name, (_, _, description) in COMMANDS.items()]
    return "\n".join([*lines, "", "fame COMMAND --help says more. Without a photograph, fame explain explains a cat."])


def _number(texts: list[str]) -> float:
    above, slash, below = texts[0].partition("/")
    try:
        # Not through `Fraction`, which writes out the billion digits of 1e999999999.
        value = float(above) / (float(below) if slash else 1.0)
    except (ValueError, ZeroDivisionError):
        value = math.nan
    if not math.isfinite(value):
        raise _NoNumber(texts[0])
    return value


Number = Annotated[
    float,
    tyro.constructors.PrimitiveConstructorSpec(
        nargs=1,
        metavar="NUMBER",
        instance_from_str=_number,
        is_instance=lambda value: isinstance(value, float | int),
        str_from_instance=lambda value: [_fraction(value)],
    ),
]
"""A number as people write it: 0.5, 1e-3 or 1/255."""


def _fraction(value: float) -> str:
    return f"1/{round(1 / value)}" if 0 < value < 0.01 and abs(1 / value - round(1 / value)) < 1e-9 else f"{value:g}"
