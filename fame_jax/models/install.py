"""From a publisher's file to an installed network."""

import os
import pathlib
import shutil
import tempfile
from typing import Any

from fame_jax.models import checkpoint
from fame_jax.models.load import converted, home
from fame_jax.models.registry import card as card_of
from weight_conversion import sha256


def install(
    name: str, path: str | os.PathLike[str], folder: str | os.PathLike[str] | None = None, *, dtype: Any = None
) -> pathlib.Path:
    """Converts a publisher's file and saves it where `fame_jax.models.load` finds it.

    Args:
        name: in the registry.
        path: the publisher's file.
        folder: for the converted weights, replaced if it holds some; None for the network's own under `home()`.
        dtype: to store the weights in; None for float32.

    Returns:
        The folder.

    Raises:
        UnknownNetworkError: for a name that is not in the registry.
        CheckpointError: if the file cannot be read.
        ConversionError: if it holds other weights than the network's.
        FileExistsError: if the folder holds something else than converted weights.
    """
    card = card_of(name)
    network = converted(card, path)
    folder = pathlib.Path(folder) if folder is not None else home() / "models" / name
    if folder.exists() and not (folder / "network.json").is_file() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(f"{folder} exists and holds no converted weights; choose another folder.")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as beside:
        new = pathlib.Path(beside) / "new"
        source = pathlib.Path(path).name
        checkpoint.save(new, network, name=name, source=source, sha256=sha256(path), licence=card.licence, dtype=dtype)
        if folder.exists():
            shutil.move(folder, pathlib.Path(beside) / "old")
        shutil.move(new, folder)
    return folder
