"""`fame download`: published weights, fetched, checked, converted and installed."""

from dataclasses import dataclass
from typing import Annotated

import tyro

from fame_jax import models
from fame_jax.cli.console import progress_bar


@dataclass(frozen=True)
class Download:
    """Fetch a network's published weights, check their hash, convert and install them under $FAME_HOME."""

    model: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="NETWORK")]
    """Network; fame models lists them."""
    progress: bool = True
    """Show a progress bar."""

    def __call__(self) -> int:
        """Downloads and installs, and says where."""
        published = models.published(self.model)
        with progress_bar(0, "B", hide=not self.progress) as bar:

            def report(done: int, total: int) -> None:
                bar.total = total
                bar.update(done - bar.n)

            file = models.download(published, models.home() / "downloads", report)
        card = published.card
        folder = models.install(card.name, file)
        print(f"{card.name}: {published.file} ({card.licence}, {card.source}) installed in {folder}")
        return 0
