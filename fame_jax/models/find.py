"""The one door to a network: by name, folder, file, `module:attribute` or as a Python object."""

import os
import pathlib
from typing import Any

from fame_jax.architectures import Precision, image_dtype
from fame_jax.models import checkpoint, own
from fame_jax.models.card import Card
from fame_jax.models.hub import snapshot
from fame_jax.models.load import (
    Loaded,
    WeightsNotFoundError,
    card_of_file,
    converted,
    installed,
    installed_names,
    restored,
)
from fame_jax.models.registry import REGISTRY, UnknownNetworkError
from fame_jax.words import did_you_mean
from weight_conversion import CheckpointError, sha256

Path = str | os.PathLike[str]

_FILES = (".onnx", ".pt", ".pth", ".ckpt", ".bin", ".safetensors", ".py")
"""Endings of files with networks: a name that has one is no misspelt name of a network."""


def find(
    spec: Any, weights: Path | None = None, precision: Precision = "float32", *, card: Card | None = None
) -> Loaded:
    """A network and its card.

    Args:
        spec: one of

            * a name: of an installed or bundled network;
            * a folder made by `fame convert`;
            * `hf://OWNER/NAME[@REVISION]`: such a folder on the Hugging Face hub;
            * the official file of a published network, known by its hash or name;
            * any ONNX file, with a `card` that says what the file does not: its pixels;
            * `package.module:attribute` or `file.py:attribute`, found from the current folder: a network, a function
              or class without required arguments that makes one, or a pair of a network and its `Card`. This spelling
              alone runs code of others;
            * a network: any callable of one RGB image in [0, 1] that JAX can trace.
        weights: for a name: a converted folder or a publisher's file in place of what is installed.
        precision: `float64`, `float32`, `tf32` or `bfloat16`.
        card: of a network that brings none. Without it such a network is taken to classify 224 x 224 pixels.

    Raises:
        UnknownNetworkError: for a name that is nothing of all this, with the nearest names.
        WeightsNotFoundError: if there are no weights; it says how to get them.
        OwnNetworkError: for code that makes no network, or a network that JAX cannot trace.
        NetworkError: for a network in training mode.
        ValueError: `CheckpointError` or `ConversionError`, naming the file, for weights that are not this network's.
        PrecisionError: for an unknown precision, or float64 in 32-bit JAX.
    """
    image_dtype(precision)
    if not isinstance(spec, str | os.PathLike):
        return own.loaded(spec, card, precision)
    name = os.fspath(spec)
    if weights is not None:
        return _with_weights(name, pathlib.Path(weights), precision)
    if name in REGISTRY or (os.path.basename(name) == name and installed(name)):
        return restored(_folder_of(name), precision)
    if name.startswith("hf:"):
        return restored(snapshot(name), precision)
    if os.path.isdir(name):
        return restored(name, precision)
    if os.path.exists(name):
        return _file(pathlib.Path(name), card, precision)
    if ":" in name:
        return own.located(name, card, precision)
    if os.path.basename(name) != name or pathlib.Path(name).suffix in _FILES:
        raise WeightsNotFoundError(f"{name}: no such file or folder; expected a network.")
    raise UnknownNetworkError(_unknown(name))


def load(name: str, path: Path | None = None, *, precision: Precision = "float32") -> Any:
    """A network with its weights, which maps one RGB image `[H, W, 3]` in [0, 1] to logits or an embedding.

    `find(name, path, precision).network`; see there for what a name can be, and for errors.
    """
    return find(name, path, precision).network


def weights_hash(name: str, path: Path | None = None) -> str:
    """SHA-256 of the publisher's file that the weights of a name come from; see `find` for the errors."""
    folder = _folder_of(name) if path is None else pathlib.Path(path)
    return checkpoint.about(folder).card.sha256 if (folder / checkpoint.ABOUT).is_file() else sha256(folder)


def _folder_of(name: str) -> pathlib.Path:
    folder = installed(name)
    if folder is None:
        if name not in REGISTRY:
            raise UnknownNetworkError(_unknown(name))
        official = REGISTRY[name]
        how = f"`fame download {name}`" if official.address else f"`fame convert {name} {official.file or 'FILE'}`"
        raise WeightsNotFoundError(f"no weights of {name} are installed. Run {how}, or give the path of the weights.")
    return folder


def _with_weights(name: str, path: pathlib.Path, precision: Precision) -> Loaded:
    """A named network with other weights than the installed ones."""
    if name not in REGISTRY:
        raise UnknownNetworkError(
            f"{name!r} has its weights already; other weights go with the name of a published network."
        )
    if not path.exists():
        raise WeightsNotFoundError(f"{path}: no such file or folder; expected the weights of {name}.")
    if path.is_file() or not (path / checkpoint.ABOUT).is_file():
        return converted(REGISTRY[name].card, path, precision=precision)
    held = checkpoint.about(path).card
    if held.architecture != REGISTRY[name].card.architecture:
        raise CheckpointError(f"{path}: holds the weights of {held.name}, expected {name}.")
    return restored(path, precision)


def _file(path: pathlib.Path, card: Card | None, precision: Precision) -> Loaded:
    if not path.is_file():
        raise WeightsNotFoundError(f"{path}: no regular file; expected a network.")
    is_graph = path.suffix == ".onnx"
    published = None if is_graph and card else card_of_file(path)
    if is_graph and published is None:
        from fame_jax.models import graphs

        return graphs.loaded(path, card, precision)
    if path.suffix == ".py":
        raise own.OwnNetworkError(f"{path}: name what is in it, as in {path}:network.")
    if published is None:
        raise CheckpointError(
            f"{path}: not the official file of a published network, and nothing says what network it holds. "
            f"Run `fame convert ARCHITECTURE {path} --name NAME`, or give its name as well."
        )
    return converted(published, path, precision=precision)


def _unknown(name: str) -> str:
    known = dict.fromkeys([*installed_names(), *REGISTRY])
    return f"unknown network {name!r}; {did_you_mean(name, known)} `fame models` lists them all."
