"""From a name, and perhaps a path, to a network with weights."""

import os
import pathlib
from typing import Any

import jax

from fame_jax.architectures.precision import Precision, image_dtype, with_precision
from fame_jax.architectures.standardized import Standardized
from fame_jax.models import checkpoint
from fame_jax.models.card import Card
from fame_jax.models.registry import abstract, card, published
from weight_conversion import CheckpointError, convert_file, sha256

BUNDLED = pathlib.Path(__file__).resolve().parents[1] / "bundled"


class WeightsNotFoundError(FileNotFoundError):
    """A network whose weights are neither bundled nor installed."""


def home() -> pathlib.Path:
    """`$FAME_HOME`, by default `~/.cache/fame_jax`: where `fame download` and `fame convert` keep networks."""
    return pathlib.Path(os.environ.get("FAME_HOME", "~/.cache/fame_jax")).expanduser()


def installed(name: str) -> pathlib.Path | None:
    """The folder of converted weights of a network: under `home()` first, then bundled; None if there is none."""
    for folder in (home() / "models" / name, BUNDLED / name):
        if (folder / "network.json").is_file():
            return folder
    return None


def load(name: str, path: str | os.PathLike[str] | None = None, *, precision: Precision = "float32") -> Any:
    """A network with its weights, which maps one RGB image `[H, W, 3]` in [0, 1] to logits or an embedding.

    Args:
        name: in the registry; `fame models` prints it.
        path: folder of converted weights, or the publisher's own file (`.pth`, `.ckpt`, `.safetensors`, `.onnx`), which
            is converted in memory; None for what is installed or bundled.
        precision: `float64`, `float32`, `tf32` or `bfloat16`.

    Returns:
        A `fame_jax.models.Standardized` network: `features`, `head`, and their composition.

    Raises:
        UnknownNetworkError: for a name that is not in the registry.
        WeightsNotFoundError: if there are no weights; it says how to get them.
        ValueError: `CheckpointError` or `ConversionError`, naming the file, for weights that are not this network's.
        PrecisionError: for an unknown precision, or float64 in 32-bit JAX.
    """
    image_dtype(precision)
    folder = _whereabouts(name, path)
    network = _restored(name, folder) if folder.is_dir() else converted(card(name), folder)
    return with_precision(network, precision)


def weights_hash(name: str, path: str | os.PathLike[str] | None = None) -> str:
    """SHA-256 of the publisher's file that the weights come from; see `load` for the arguments and errors."""
    folder = _whereabouts(name, path)
    return checkpoint.about(folder)["sha256"] if folder.is_dir() else sha256(folder)


def _whereabouts(name: str, path: str | os.PathLike[str] | None) -> pathlib.Path:
    official = published(name)
    folder = installed(name) if path is None else pathlib.Path(path)
    if folder is None:
        how = f"`fame download {name}`" if official.address else f"`fame convert {name} {official.file or 'FILE'}`"
        raise WeightsNotFoundError(f"no weights of {name} are installed. Run {how}, or give the path of the weights.")
    if not folder.exists():
        raise WeightsNotFoundError(f"{folder}: no such file or folder; expected the weights of {name}.")
    if not folder.is_dir() and not folder.is_file():
        raise WeightsNotFoundError(f"{folder}: no regular file; expected the weights of {name}.")
    return folder


def _restored(name: str, folder: pathlib.Path) -> Any:
    about = checkpoint.about(folder)
    if about["network"] != name:
        raise CheckpointError(f"{folder}: holds the weights of {about['network']}, expected {name}.")
    values = checkpoint.restore(folder)
    try:
        network = checkpoint.with_weights(abstract(name), values)
    except CheckpointError as error:
        raise CheckpointError(f"{folder}: {error}") from error
    return jax.tree.map(jax.numpy.asarray, network)


def converted(card: Card, path: str | os.PathLike[str]) -> Standardized:
    """A network that takes RGB in [0, 1] by its card, with the weights of its publisher's file.

    Raises:
        CheckpointError: if the file cannot be read.
        ConversionError: if it holds other weights than the network's.
    """
    network = convert_file(card.architecture, path).network
    return Standardized(network, card.mean, card.std, reverse_channels=card.reverse_channels)
