"""From a converted folder or a publisher's file to a network with weights."""

import os
import pathlib
from dataclasses import replace
from typing import Any, NamedTuple

from fame_jax import architectures
from fame_jax.architectures import Precision, Standardized, with_precision
from fame_jax.files import home
from fame_jax.models import checkpoint
from fame_jax.models.card import Card
from fame_jax.models.describe import OutputError, check_outputs
from fame_jax.models.registry import REGISTRY, abstract, parameter_count
from weight_conversion import CheckpointError, convert_file, sha256

BUNDLED = pathlib.Path(__file__).resolve().parents[1] / "bundled"


class WeightsNotFoundError(FileNotFoundError):
    """A network whose weights are neither bundled nor installed."""


class Loaded(NamedTuple):
    """A network that takes one RGB image `[H, W, 3]` in [0, 1], and its card."""

    card: Card
    network: Any


def installed(name: str) -> pathlib.Path | None:
    """The folder of converted weights of a network: under `home()` first, then bundled; None if there is none."""
    for folder in (home() / "models" / name, BUNDLED / name):
        if (folder / checkpoint.ABOUT).is_file():
            return folder
    return None


def installed_names() -> list[str]:
    """Every network under `home()` or bundled, in the order of the alphabet."""
    folders = [*(home() / "models").glob(f"*/{checkpoint.ABOUT}"), *BUNDLED.glob(f"*/{checkpoint.ABOUT}")]
    return sorted({folder.parent.name for folder in folders})


def restored(folder: str | os.PathLike[str], precision: Precision = "float32") -> Loaded:
    """The network in a folder made by `fame convert` or `fame download`.

    Raises:
        CheckpointError: if the folder is incomplete, damaged, or holds other weights than its card says.
    """
    card = checkpoint.about(folder).card
    if card.architecture == "onnx":
        from fame_jax.models import graphs

        return Loaded(card, graphs.network(checkpoint.stored_in(folder), card, precision))
    values = checkpoint.restore(folder)
    last = f"network.{architectures.architecture(card.architecture).last}.kernel"
    try:
        if last not in values:
            raise CheckpointError(f"{last} is missing.")
        check_outputs(card, values[last].shape[-1])
        network = checkpoint.with_weights(abstract(card, outputs=values[last].shape[-1]), values)
    except (CheckpointError, OutputError) as error:
        raise CheckpointError(f"{folder}: {error}") from error
    return Loaded(card, with_precision(network, precision))


def converted(
    card: Card, path: str | os.PathLike[str], *, key: str | None = None, precision: Precision = "float32"
) -> Loaded:
    """A network with the weights of a publisher's or trainer's file, converted in memory.

    The number of outputs is the file's. Where it is not the number of the card's labels, the labels are not this
    network's and are left out.

    Args:
        card: of the network; its `architecture` says what the file holds.
        path: of the file, see `weight_conversion.read_checkpoint`.
        key: where in the file the weights are, if several fit.
        precision: of the network.

    Returns:
        The network, and the card with the file's hash and the number of parameters.

    Raises:
        UnknownArchitectureError: if the card names none.
        CheckpointError: if the file cannot be read.
        ConversionError: if it holds other weights than the architecture's.
    """
    conversion = convert_file(card.architecture, path, key=key)
    network = Standardized(conversion.network, card.mean, card.std, reverse_channels=card.reverse_channels)
    last = f"{architectures.architecture(card.architecture).last}.kernel"
    outputs = next(row.shape[0] for row in conversion.rows if row.layer == last)
    labels = card.labels if card.labels and len(card.labels) == outputs else None
    card = replace(card, labels=labels, sha256=sha256(path), key=key or "", parameters=parameter_count(network))
    return Loaded(card, with_precision(network, precision))


def card_of_file(path: pathlib.Path) -> Card | None:
    """The card of a published network whose official file this is, by its hash or its name."""
    digest = sha256(path)
    for published in REGISTRY.values():
        if (published.sha256 and digest.startswith(published.sha256)) or path.name == published.file:
            return published.card
    return None
