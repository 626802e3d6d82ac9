"""`fame explain`: photographs in; maps, pictures and a manifest out."""

import pathlib
from dataclasses import dataclass, field
from typing import Annotated, Any

import jax
import tyro

from fame_jax import files, models
from fame_jax.cli import output
from fame_jax.cli.console import InputError, say
from fame_jax.cli.flags import Flat, MethodFlags, NetworkFlags, Number, SizeFlags
from fame_jax.cli.photographs import Photographs
from fame_jax.cli.progress import progress_bar
from fame_jax.data.classes import resolve_class
from fame_jax.data.images import sample_path
from fame_jax.inputs import geometry


@dataclass(frozen=True)
class Explain:
    """Explain photographs: which pixels would have to change for the network to lose the class?

    For photo.jpg this writes photo.fame.png (photograph, map, overlay), photo.fame.npz (the arrays) and one
    manifest.json; with several methods also photo.methods.png. Without a photograph, a cat is explained.
    """

    images: Annotated[tuple[pathlib.Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="[IMAGE ...]")] = ()
    """Photographs: JPEG, PNG, WebP, TIFF, BMP, PPM or GIF, of any size."""
    target: Annotated[str | None, tyro.conf.arg(aliases=["--class", "--label"], metavar="CLASS")] = None
    """Class to explain: an index, a name, or a part of one that is unambiguous ("egyptian"). Omitted: the top class."""
    network: Flat[NetworkFlags] = field(default_factory=NetworkFlags)
    methods: Flat[MethodFlags] = field(default_factory=MethodFlags)
    pixels: Flat[SizeFlags] = field(default_factory=SizeFlags)
    detection: str | None = None
    """Explain a detection, its number as fame detect prints it, or "all". The usual detector is yunet."""
    threshold: Number | None = None
    """Lowest score of a detection, from 0 to 1. Omitted: 0.6."""
    sanity: bool = False
    """Explain a second time with random weights and tell how alike the maps are: a map that hardly changes (a
    correlation near 1) does not depend on what the network has learned."""
    out: pathlib.Path = pathlib.Path("fame-out")
    """Folder for the results."""
    progress: bool = True
    """Show a progress bar."""

    def __call__(self) -> int:
        """Runs the command; returns 2 if a photograph could not be explained, else 0."""
        self.methods.check()
        if self.detection is not None:
            from fame_jax.cli import detections

            return detections.explain(self, self.detection)
        if self.threshold is not None:
            raise InputError("--threshold is that of --detection; add it.")
        rows = self.methods.rows("class")
        loaded = self.network.load("class")
        engine = self.methods.engine(loaded.network, "class", self.network.precision)
        methods = self.methods.methods(engine, rows, loaded.card)
        # Where the card names the outputs, nothing has to be traced to count them.
        outputs = len(loaded.card.labels or ()) or engine.outputs(loaded.card.size, loaded.card.size)
        names = [output.label(loaded.card, index) for index in range(outputs)]
        target = None if self.target is None else resolve_class(self.target, names)
        for method in methods:
            method.check(loaded.card.size, loaded.card.size, 3)
        random = self._random(loaded, outputs) if self.sanity else None
        job = Photographs(
            loaded.card,
            engine,
            methods,
            geometry(loaded.card, resize=self.pixels.resize),
            output.output_folder(self.out),
            target=target,
            random=random,
        )
        paths = self.images or (sample_path("cat"),)
        passes = sum(method.passes for method in methods) * len(paths) * (2 if self.sanity else 1)
        try:
            with progress_bar(passes, "pass", hide=not self.progress) as bar:
                job.explain(paths, bar.update)
        finally:
            output.write_manifest(
                self.out, self.manifest([row.name for row in rows], loaded.card, job.done + job.failed)
            )
        say(f"{len(job.done)} explained, {len(job.failed)} failed; results are in {self.out}")
        return 2 if job.failed else 0

    def _random(self, loaded: models.Loaded, outputs: int) -> Any:
        """The network with random weights; of a graph, with its own in random order."""
        from fame_jax.metrics.sanity import SMALLEST

        card = loaded.card
        if card.size < SMALLEST:
            raise InputError(f"--sanity: maps of {card.size} pixels cannot be compared; expected {SMALLEST} or more.")
        if card.architecture == "onnx":
            return loaded.network.shuffled(jax.random.key(self.methods.seed))
        if not card.architecture:
            raise InputError("--sanity: a network of your own has no random weights here; see fame_jax.metrics.sanity.")
        random = models.build(card, outputs=outputs, seed=self.methods.seed)
        return models.with_precision(random, self.network.precision)

    def manifest(self, methods: list[str], card: models.Card, inputs: list[dict[str, Any]]) -> dict[str, object]:
        """What was run, on what, with what, and how each photograph went."""
        flags = {**vars(self.methods), **vars(self.pixels), "precision": self.network.precision}
        del flags["method"]
        asked = {"target": self.target, "detection": self.detection, "threshold": self.threshold}
        return {
            "command": "explain",
            "methods": methods,
            **self.network.about(card),
            "options": {**asked, **flags, "sanity": self.sanity},
            **files.environment(),
            "inputs": inputs,
        }
