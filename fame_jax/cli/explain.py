"""`fame explain`: photographs in; maps, pictures and a manifest out."""

import pathlib
from dataclasses import dataclass
from typing import Annotated, Literal

import tyro

from fame_jax import files, models
from fame_jax.cli import output
from fame_jax.cli.console import InputError, Number, at_least, positive, say, switch_on
from fame_jax.cli.photographs import Photographs, Settings
from fame_jax.data.classes import class_names, resolve_class
from fame_jax.data.images import sample_path
from fame_jax.explainers.table import EXPLAINERS, explainer


@dataclass(frozen=True)
class Explain:
    """Explain photographs: which pixels would have to change for the network to lose the class?

    For photo.jpg this writes photo.fame.png (photograph, map, overlay), photo.fame.npz (the arrays) and one
    manifest.json; with several methods also photo.methods.png. Without a photograph, a cat is explained.
    """

    images: Annotated[tuple[pathlib.Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="[IMAGE ...]")] = ()
    """Photographs: JPEG, PNG, WebP, TIFF, BMP, PPM or GIF, of any size."""
    model: str = "mobilenet_v2"
    """Network; fame models lists them."""
    weights: pathlib.Path | None = None
    """A converted folder or the publisher's own file, instead of what is installed."""
    target: Annotated[str | None, tyro.conf.arg(aliases=["--class", "--label"], metavar="CLASS")] = None
    """Class to explain: an index, a name, or a part of one that is unambiguous ("egyptian"). Omitted: the top class."""
    method: str = "fame"
    """An explainer, several with commas between them, or "all"."""
    preset: Literal["paper", "official"] = "paper"
    """The paper's choices, or those of the authors' published code."""
    iterations: int = 500
    """Number of steps, at most."""
    stop: Literal["off", "auto"] = "off"
    """auto ends FAME once its map hardly changes any more: some 40 steps, as faithful as 500 where it was measured."""
    step_size: Number = 1 / 255
    """Largest change of a pixel in one step; 1/255 is one grey level."""
    sigma: Number = 7.7
    """Standard deviation of the map's blur, in pixels."""
    precision: models.Precision = "float32"
    """Maps in float64 agree between machines, batch sizes and libraries; the others are faster."""
    batch_size: int | None = None
    """Photographs at a time. Omitted: 4 on CPU, elsewhere up to 64 a device, as memory allows."""
    seed: int = 0
    """Of the methods that draw random numbers."""
    sanity: bool = False
    """Explain a second time with random weights and tell how alike the maps are: a map that hardly changes (a
    correlation near 1) does not depend on what the network has learned."""
    out: pathlib.Path = pathlib.Path("fame-out")
    """Folder for the results."""
    progress: bool = True
    """Show a progress bar."""

    def __call__(self) -> int:
        """Runs the command; returns 2 if a photograph could not be explained, else 0."""
        methods = _methods(self.method)
        at_least(0, iterations=self.iterations, seed=self.seed)
        positive(step_size=self.step_size, sigma=self.sigma)
        if self.batch_size is not None:
            at_least(1, batch_size=self.batch_size)
        switch_on(self.precision)
        card = models.card(self.model)
        if card.task != "class":
            raise InputError(f"--model {self.model} is a face network: use fame verify.")
        target = None if self.target is None else resolve_class(self.target, class_names())
        network = models.load(self.model, self.weights, precision=self.precision)
        settings = Settings(
            preset=self.preset,
            iterations=self.iterations,
            stop=self.stop,
            step_size=self.step_size,
            sigma=self.sigma,
            precision=self.precision,
            batch_size=self.batch_size,
            seed=self.seed,
        )
        job = Photographs(
            card, network, settings, output.output_folder(self.out), target=target, show_progress=self.progress
        )
        job.inspect(self.images or (sample_path("cat"),))
        try:
            for method in methods:
                job.explain(method)
            job.compare(methods)
            if self.sanity:
                random = models.with_precision(models.build(self.model, seed=self.seed), self.precision)
                for method in methods:
                    job.check(method, random)
        finally:
            output.write_manifest(self.out, self._manifest(job, methods, settings))
        say(f"{len(job.done)} explained, {len(job.failed)} failed; results are in {self.out}")
        return 2 if job.failed else 0

    def _manifest(self, job: Photographs, methods: list[str], settings: Settings) -> dict[str, object]:
        """What was run, on what, with what, and how each photograph went."""
        return {
            "command": "explain",
            "methods": methods,
            "network": self.model,
            "weights_sha256": models.weights_hash(self.model, self.weights),
            "options": {"target": self.target, **vars(settings), "sanity": self.sanity},
            **files.environment(),
            "inputs": job.done + job.failed,
        }


def _methods(text: str) -> list[str]:
    """Names from a list with commas; "all" is every explainer of classes."""
    able = [name for name, row in EXPLAINERS.items() if row.of_class is not None]
    names = able if text == "all" else [explainer(name.strip()).name for name in text.split(",")]
    if unable := [name for name in names if name not in able]:
        raise InputError(
            f"--method {unable[0]} explains pairs of faces, not classes; expected any of {', '.join(able)}."
        )
    return list(dict.fromkeys(names))
