"""Where results go: names that do not collide, arrays, pictures and the manifest."""

import pathlib
import tempfile
import warnings
from collections.abc import Iterable
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from fame_jax.files import write, write_json
from fame_jax.models import Card
from fame_jax.remote import Remote


def label(card: Card, index: int) -> str:
    """The name of an output; `class 7` where the card has none."""
    return card.labels[index] if card.labels and 0 <= index < len(card.labels) else f"class {index}"


def output_folder(path: pathlib.Path) -> pathlib.Path:
    """Makes the folder and checks that it can be written to, before any long work.

    Raises:
        OSError: naming the folder.
    """
    if isinstance(path, Remote):
        return path
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            return path
    except OSError as error:
        raise OSError(
            f"--out {path}: results cannot be written there ({error.strerror}); choose another folder."
        ) from error


def distinct_stems(paths: Iterable[pathlib.Path]) -> list[str]:
    """One name for each path: its stem, or with a number where stems are the same; short enough for an ending."""
    stems: list[str] = []
    taken: set[str] = set()
    for path in paths:
        whole = path.stem.encode("utf-8", "replace")[:200].decode("utf-8", "ignore")
        stem, n = whole, 1
        while stem.casefold() in taken:
            n += 1
            stem = f"{whole}-{n}"
        taken.add(stem.casefold())
        stems.append(stem)
    return stems


def write_arrays(path: pathlib.Path, **arrays: Any) -> None:
    """A compressed `.npz`."""
    named: dict[str, Any] = {key: np.asarray(value) for key, value in arrays.items()}
    write(path, lambda file: np.savez_compressed(file, **named))


def write_figure(path: pathlib.Path, figure: Figure) -> None:
    """A PNG; letters that Matplotlib's font lacks are drawn as boxes."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        write(path, lambda file: figure.savefig(file, format="png", dpi=120))


def write_manifest(folder: pathlib.Path, content: Any) -> None:
    """`manifest.json`; that of an earlier run into the same folder becomes `manifest-1.json`, `-2` and so on."""
    path, n = folder / "manifest.json", 1
    if path.exists():
        while (kept := folder / f"manifest-{n}.json").exists():
            n += 1
        path.rename(kept)
    write_json(path, content)
