"""`fame parity`: a network beside PyTorch, on one's own checkpoint and photographs."""

import os
import pathlib
import tempfile
from dataclasses import asdict, dataclass, field
from typing import Annotated

import jax
import tyro

from fame_jax import files, models, parity
from fame_jax.cli.console import InputError, at_least, say
from fame_jax.cli.flags import Flat, InputFlags
from fame_jax.cli.output import output_folder
from fame_jax.data.images import sample_path
from fame_jax.data.records import Picture
from fame_jax.inputs import geometry, read
from fame_jax.models.own import imported
from fame_jax.words import columns, markdown


@dataclass(frozen=True)
class Parity:
    """Run a network here and in PyTorch side by side, and say where they part: by rounding or by a fault.

    Compared are the outputs of all layers that both sides have, the output, the input gradient and walks of 1 to 5
    steps and more, in float64 and in float32. Exits with 0 if they are equal and with 2 if they part. Needs torch.
    """

    network: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="NETWORK")]
    """The architecture of FILE, which then brings the weights of both sides. Or a network of fame convert, by its name
    or folder: as it is installed, against FILE. Or one of your own, file.py:name."""
    file: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="FILE")]
    """What PyTorch runs: a checkpoint, in torchvision's or the publisher's layers; or your own torch module, as
    file.py:name or package.module:name."""
    images: Annotated[tuple[pathlib.Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="[IMAGE ...]")] = ()
    """Photographs or faces. Omitted: a packaged one."""
    raw: bool = False
    """The torch module takes RGB in [0, 1]: mean, standard deviation and the order of channels are its own."""
    iterations: int = 20
    """Steps of the longest walk."""
    pixels: Flat[InputFlags] = field(default_factory=InputFlags)
    out: pathlib.Path | None = None
    """Folder for parity.md. Omitted: the table is printed only."""

    def __call__(self) -> int:
        """Prints and writes the table and the verdict; 2 if the two part."""
        at_least(1, iterations=self.iterations)
        folder = None if self.out is None else output_folder(self.out)
        module = None if os.path.exists(self.file) or ":" not in self.file else self._module()
        if module is None and not os.path.exists(self.file):
            raise InputError(f"{self.file}: no such file; expected a checkpoint, or file.py:name of a torch module.")
        card, networks = self._networks(module)
        twin = module or self._checkpoint(card)
        view = geometry(card, **asdict(self.pixels))
        paths = self.images or (sample_path("portrait" if card.task == "face" else "cat"),)
        images = [read(Picture(path), view).image for path in paths]
        rows = parity.compare(networks, card.architecture, twin, images, raw=self.raw, iterations=self.iterations)
        table, verdict = parity.table(rows), f"{self.network}: {parity.verdict(rows)}"
        say(f"{columns(table)}\n\n{verdict}")
        if folder is not None:
            page = self._page(twin, paths, table, verdict)
            files.write(folder / "parity.md", lambda file: file.write(page.encode("utf-8", "replace")))
            say(f"wrote {folder / 'parity.md'}")
        return 2 if parity.parting(rows) else 0

    def _module(self) -> parity.Twin:
        return parity.of_module(imported(self.file), self.file)

    def _checkpoint(self, card: models.Card) -> parity.Twin:
        if card.architecture in ("", "onnx"):
            raise InputError(f"{self.network}: no architecture that torch has; give a torch module as file.py:name.")
        return parity.of_checkpoint(card.architecture, self.file)

    def _networks(self, module: parity.Twin | None) -> tuple[models.Card, dict[str, object]]:
        """The network in both precisions."""
        loaded = {}
        with tempfile.TemporaryDirectory() as folder:
            weights = pathlib.Path(self.file) if self.network in models.REGISTRY else None
            if weights is not None and module is not None:
                weights = module.saved(pathlib.Path(folder) / "module.pth")
            for precision in parity.PRECISIONS:
                with jax.enable_x64(precision == "float64"):
                    loaded[precision] = models.find(self.network, weights, precision=precision)
        card = loaded["float32"].card
        models.describe(loaded["float32"].network, card)
        return card, {precision: one.network for precision, one in loaded.items()}

    def _page(
        self, twin: parity.Twin, paths: tuple[pathlib.Path, ...], table: list[tuple[str, ...]], verdict: str
    ) -> str:
        versions = files.environment()["versions"]
        with_what = ", ".join(f"{name} {version}" for name, version in versions.items())
        photographs = ", ".join(path.name for path in paths)
        return (
            f"# {self.network} beside {self.file}\n\n{verdict}\n\n"
            f"- torch: {twin.description}\n- here: {with_what}\n- photographs: {photographs}\n\n"
            "Largest differences, relative to the largest value: of the weights, of outputs in float64 and in float32, "
            f"and of each side's float32 from its own float64 (the noise floor).\n\n{markdown(table)}\n"
        )
