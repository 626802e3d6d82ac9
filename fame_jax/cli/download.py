"""`fame download`: published weights, fetched, checked, converted and installed."""

from dataclasses import dataclass
from typing import Annotated

import tyro

from fame_jax import models
from fame_jax.cli.console import InputError
from fame_jax.cli.progress import progress_bar


@dataclass(frozen=True)
class Download:
    """Fetch a network's published weights, check their hash, convert and install them under $FAME_HOME."""

    model: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="NETWORK")]
    """Network, fame models lists them; or hf:OWNER/NAME[@REVISION] on the Hugging Face hub."""
    name: str | None = None
    """Install what comes from the hub under this name. Omitted: the repository's."""
    sha256: str | None = None
    """What the file's hash has to be; needed where the publisher's is not known."""
    unverified: bool = False
    """Accept a file whose hash is not known; the network's card says so for ever."""
    progress: bool = True
    """Show a progress bar."""

    def __call__(self) -> int:
        """Downloads and installs, and says where."""
        if self.model.startswith("hf:"):
            folder = models.install_from_hub(self.model, name=self.name, sha256=self.sha256, unverified=self.unverified)
        elif self.name is not None:
            raise InputError(f"--name {self.name}: is for hf: addresses; {self.model} is installed under its own name.")
        else:
            folder = models.install(self.model, self._official_file(), sha256=self.sha256 or "")
        found = models.about(folder)
        card = found.card
        print(f"{card.name}: {found.file} ({card.licence or 'licence not said'}, {card.source}) installed in {folder}")
        if found.verified != "sha256":
            print(f"{models.words_of(found.verified)} The file's SHA-256 is {card.sha256}.")
        return 0

    def _official_file(self):
        published = models.published(self.model)
        with progress_bar(0, "B", hide=not self.progress) as bar:

            def report(done: int, total: int) -> None:
                bar.total = total
                bar.update(done - bar.n)

            return models.download(
                published, models.home() / "downloads", report, sha256=self.sha256, unverified=self.unverified
            )
