"""`fame models`: the networks as a table, or the card of one."""

import json
from dataclasses import dataclass
from typing import Annotated

import tyro

from fame_jax import models
from fame_jax.models.load import BUNDLED
from fame_jax.words import columns


@dataclass(frozen=True)
class Models:
    """List the networks: task, size, where their weights come from, and what is installed. Or print one's card."""

    model: Annotated[str | None, tyro.conf.Positional, tyro.conf.arg(metavar="[NETWORK]")] = None
    """Name, folder or module:attribute of the network whose card is wanted. Omitted: the table of all."""

    def __call__(self) -> int:
        """Prints the table or the card."""
        if self.model is not None:
            print(_described(self.model))
            return 0
        rows = [("network", "task", "parameters", "input", "resize", "layer", "official file", "licence", "installed")]
        rows += [_row(published.card, published.file) for published in models.REGISTRY.values()]
        for name in models.installed_names():
            if name not in models.REGISTRY:
                about = models.about(models.installed(name) or name)
                rows.append(_row(about.card, about.file))
        print(columns(rows))
        print("\nfame download NETWORK fetches official weights, fame convert NETWORK FILE takes yours;")
        print(f"both are kept in {models.home()}. fame models NETWORK prints a card.")
        return 0


def _described(name: str) -> str:
    """The card, and what the network returns if its weights are there."""
    folder = models.installed(name)
    more: dict[str, object] = {}
    if folder is None and name in models.REGISTRY:
        card, more["installed"] = models.card(name), "no"
    else:
        card, network = models.find(name)
        if card.task != "detect":
            description = models.describe(network, card)
            more = {"outputs": description.outputs, "features": list(description.features or ())}
        if folder is not None:
            about = models.about(folder)
            more |= {"file": about.file, "verified": about.verified, "dtype": about.dtype, "folder": str(folder)}
    content = card.to_json()
    if card.labels is not None and len(card.labels) > 8:
        content["labels"] = [*card.labels[:4], f"... {len(card.labels)} in all"]
    return "\n".join(f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in (content | more).items())


def _row(card: models.Card, file: str | None) -> tuple[str, ...]:
    folder = models.installed(card.name)
    state = "no" if folder is None else "bundled" if folder.parent == BUNDLED else "yes"
    return (
        card.name,
        card.task,
        f"{card.parameters:,}",
        f"{card.size}",
        f"{card.resize}",
        card.layer,
        file or "none",
        card.licence,
        state,
    )
