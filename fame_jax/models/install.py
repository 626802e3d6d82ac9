"""From a publisher's or trainer's file to an installed network."""

import os
import pathlib
from dataclasses import replace
from typing import Any

from fame_jax.models import checkpoint
from fame_jax.models.card import Card
from fame_jax.models.describe import describe
from fame_jax.models.load import converted, home
from fame_jax.models.registry import REGISTRY
from fame_jax.models.registry import card as card_of
from weight_conversion import ConversionError


def install(
    name: str | Card,
    path: str | os.PathLike[str],
    folder: str | os.PathLike[str] | None = None,
    *,
    key: str | None = None,
    sha256: str = "",
    verified: checkpoint.Verified | None = None,
    dtype: Any = None,
    form: checkpoint.Form = "orbax",
) -> pathlib.Path:
    """Converts a file of weights and saves it where `fame_jax.models.find` finds it.

    Args:
        name: in the registry, or the card of a network of one's own; its `architecture` says what the file holds.
        path: of the file.
        folder: for the converted weights, replaced if it holds some; None for the network's own under `home()`.
        key: where in the file the weights are, if several fit.
        sha256: what the file's hash has to be; where it is not given, the publisher's is compared and noted.
        verified: what is known of the file, noted in the folder; None to find out.
        dtype: to store the weights in; None for float32.
        form: of the stored weights, see `checkpoint.save`.

    Returns:
        The folder, which holds the old network or the new one, whole, whenever this is interrupted.

    Raises:
        UnknownNetworkError, UnknownArchitectureError: for a name that is not known.
        CheckpointError: if the file cannot be read.
        ConversionError: if it holds other weights than the network's, or has another hash.
        OutputError: if the card does not fit the network: its size, or the number of labels.
        FileExistsError: if the folder holds something else than converted weights.
    """
    card = card_of(name) if isinstance(name, str) else name
    folder = pathlib.Path(folder) if folder is not None else home() / "models" / card.name
    checkpoint.check_vacant(folder)
    if card.architecture == "onnx":
        from fame_jax.models import graphs

        found, kept = graphs.loaded(path, card), graphs.content(path)
    else:
        found = converted(card, path, key=key)
        kept = found.network
    if not isinstance(name, str):
        # The labels are the user's: that they are too few or too many is said, not mended.
        found = found._replace(card=replace(found.card, labels=card.labels))
    if sha256 and found.card.sha256 != sha256.lower():
        raise ConversionError(f"{path}: SHA-256 is {found.card.sha256}, expected {sha256}; nothing was installed.")
    if card.task != "detect":
        describe(found.network, found.card)
    verified = verified or ("sha256" if sha256 else verification(found.card))
    file = pathlib.Path(path).name
    checkpoint.save(folder, kept, found.card, file=file, verified=verified, dtype=dtype, form=form)
    return folder


def verification(card: Card) -> checkpoint.Verified:
    """How far a file with the hash of a card is known to be its publisher's."""
    official = REGISTRY.get(card.name)
    if official is None or not official.sha256 or not card.sha256.startswith(official.sha256):
        return "unverified"
    return "sha256" if official.is_pinned else "prefix"
