"""`fame models`: the registry as a table."""

from dataclasses import dataclass

from fame_jax import models
from fame_jax.models.load import BUNDLED
from fame_jax.words import columns


@dataclass(frozen=True)
class Models:
    """List the networks: task, size, where their weights come from, and what is installed."""

    def __call__(self) -> int:
        """Prints the table."""
        rows = [("network", "task", "parameters", "input", "resize", "layer", "official file", "licence", "installed")]
        rows += [_row(published) for published in models.REGISTRY.values()]
        print(columns(rows))
        print("\nfame download NETWORK fetches official weights, fame convert NETWORK FILE takes yours;")
        print(f"both are kept in {models.home()}.")
        return 0


def _row(published: models.Published) -> tuple[str, ...]:
    card = published.card
    folder = models.installed(card.name)
    state = "no" if folder is None else "bundled" if folder.parent == BUNDLED else "yes"
    return (
        card.name,
        card.task,
        f"{card.parameters:,}",
        f"{card.size}",
        f"{card.resize}",
        card.layer,
        published.file or "none",
        card.licence,
        state,
    )
