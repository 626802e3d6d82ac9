"""`fame bench`: how long steps, images and compilation take on this machine, and what a run has cost."""

import pathlib
from dataclasses import dataclass, field, replace
from typing import Annotated, Any

import jax
import tyro
from matplotlib.figure import Figure

from fame_jax import bench, files, models
from fame_jax.cli import output
from fame_jax.cli.console import InputError, at_least
from fame_jax.cli.costs import tell_costs
from fame_jax.cli.flags import Flat, NetworkFlags
from fame_jax.cli.progress import progress_bar
from fame_jax.experiments.store import Run
from fame_jax.remote import located
from fame_jax.words import markdown


@dataclass(frozen=True)
class Bench:
    """Time the walk: compilation, a step and an image, by batch size; or say what a run has cost.

    A published network has random weights here, so that nothing is downloaded, unless --weights are given. Prints a
    table. Times say something beside others of the same machine and the same load. Of the folder of a run it prints
    what each process did in which time, and what --records would cost in bytes, files and hours.
    """

    name: Annotated[str | None, tyro.conf.Positional, tyro.conf.arg(metavar="[NETWORK|RUN]")] = None
    """The same as --model; or the folder of a run."""
    records: int | None = None
    """Of a run: for how many records to say the costs. Omitted: those it has."""
    network: Flat[NetworkFlags] = field(default_factory=NetworkFlags)
    batch_sizes: tuple[int, ...] = (1, 4)
    """Images at once, one row each."""
    iterations: int = 500
    """Number of steps of an image, for the column of seconds an image; not all of them are run."""
    steps: int = 6
    """Number of steps that are timed."""
    repeats: int = 3
    """Measurements, of which the median counts."""
    json: pathlib.Path | None = None
    """File for the numbers."""
    plot: pathlib.Path | None = None
    """File for a picture of images a second by batch size (.png)."""
    progress: bool = True
    """Show a progress bar."""

    def __call__(self) -> int:
        """Runs the command."""
        at_least(1, iterations=self.iterations, steps=self.steps, repeats=self.repeats)
        for size in self.batch_sizes:
            at_least(1, batch_sizes=size)
        for path in (self.json, self.plot):
            if path is not None:
                output.output_folder(path.parent)
        if self.name is not None and (located(self.name) / "manifest.json").is_file():
            return tell_costs(Run(located(self.name)), self.records, self.json)
        if self.records is not None:
            raise InputError(f"--records {self.records}: expected beside the folder of a run, as in fame bench maps.")
        card, network = self._loaded()
        found = []
        with progress_bar(len(self.batch_sizes), "batch size", hide=not self.progress) as bar:
            for size in self.batch_sizes:
                found.append(self._speed(network, card, size))
                bar.update()
        print(f"{self._title(card)}, JAX {jax.__version__}\n")
        print(markdown(self._rows(found)))
        if self.json is not None:
            files.write_json(self.json, self._record(found))
        if self.plot is not None:
            output.write_figure(self.plot, self._figure(found, card))
        return 0

    def _loaded(self) -> models.Loaded:
        name = self.network.model or self.name or "mobilenet_v2"
        flags = replace(self.network, model=name)
        flags.graph.card_for(name, None)  # Refuses what the network has no use for.
        if name in models.REGISTRY and flags.weights is None:
            flags.allow_precision()
            return models.Loaded(models.card(name), models.with_precision(models.build(name), flags.precision))
        loaded = flags.load()
        models.describe(loaded.network, loaded.card)
        return loaded

    def _speed(self, network: Any, card: models.Card, batch_size: int) -> bench.Speed:
        precision, evaluations = self.network.precision, self.steps + 1
        return bench.speed(network, card, precision, batch_size, evaluations=evaluations, repeats=self.repeats)

    def _title(self, card: models.Card) -> str:
        return f"{card.name}, {self.network.precision}, {jax.devices()[0].device_kind}"

    def _rows(self, found: list[bench.Speed]) -> list[tuple[str, ...]]:
        heading = ("batch", "compile, s", "step, ms", f"image of {self.iterations} steps, s", "images/h", "memory, MiB")
        rows: list[tuple[str, ...]] = [heading]
        for speed in found:
            image = speed.image_seconds(self.iterations)
            rows.append(
                (
                    f"{speed.batch_size}",
                    f"{speed.compile_seconds:.1f}",
                    f"{1e3 * speed.step_seconds:.1f}",
                    f"{image:.2f}",
                    f"{3600 / image:.0f}",
                    "-" if speed.temporary_bytes is None else f"{speed.temporary_bytes / 2**20:.0f}",
                )
            )
        return rows

    def _record(self, found: list[bench.Speed]) -> dict[str, Any]:
        rows = [{**speed._asdict(), "image_seconds": speed.image_seconds(self.iterations)} for speed in found]
        return {"command": "bench", "iterations": self.iterations, **files.environment(), "speeds": rows}

    def _figure(self, found: list[bench.Speed], card: models.Card) -> Figure:
        figure = Figure(figsize=(6, 4), layout="constrained")
        axes = figure.subplots()
        axes.plot([s.batch_size for s in found], [1 / s.image_seconds(self.iterations) for s in found], marker="o")
        axes.set(xlabel="images at once", ylabel=f"images of {self.iterations} steps a second", ylim=(0, None))
        axes.set_title(self._title(card))
        return figure
