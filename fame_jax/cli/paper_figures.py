"""The figures of `fame reproduce`."""

import pathlib
from dataclasses import dataclass
from typing import Annotated

import jax.numpy as jnp
import tyro

from fame_jax import models
from fame_jax.cli import output
from fame_jax.cli.console import InputError, at_least, say, say_error
from fame_jax.cli.flags import MethodFlags, NetworkFlags
from fame_jax.cli.locations import Locations
from fame_jax.cli.paper_items import PIXELS, Item, task_of, told
from fame_jax.cli.progress import progress_bar
from fame_jax.data.records import Dataset
from fame_jax.engine import passes_of
from fame_jax.experiments.run import run
from fame_jax.experiments.settings import Settings
from fame_jax.experiments.store import Run
from fame_jax.experiments.summary import remarks
from fame_jax.explainers.table import explainer
from fame_jax.inputs import geometry
from fame_jax.paper import figures, numbers, sweeps, tables


@dataclass(frozen=True)
class LocationSheets(Item):
    """A sheet of maps for each network."""

    image: Annotated[pathlib.Path | None, tyro.conf.Positional, tyro.conf.arg(metavar="[IMAGE]")] = None
    """Photograph, of a face for face networks. Omitted: the packaged cat or portrait."""
    rows: str | None = None
    """Rows of the feature map, from 0, with commas between them. Omitted: all."""

    def make(self, folder: pathlib.Path) -> None:
        """Draws one sheet a network, in a folder of its name."""
        for name in self.available():
            say(f"{name}:")
            Locations(
                self.image,
                self.rows,
                self.colours,
                NetworkFlags(name),
                MethodFlags(iterations=self.iterations),
                PIXELS,
                folder / name,
                self.progress,
            )()


@dataclass(frozen=True)
class MethodSheets(Item):
    """A sheet for each network: a column a method, for pairs of faces one of e+ and one of e-."""

    inputs: Annotated[tuple[pathlib.Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="[IMAGE ...|LIST]")] = ()
    """Photographs, of which the predicted class is explained, or a CSV list with the columns image and label; for face
    networks PROBE GALLERY ..., or a CSV list with the columns G, P and T. Omitted: the packaged cat, or the packaged
    portrait behind sunglasses and without."""
    methods: tuple[str, ...] = ()
    """Explainers."""
    masks: int = 500
    """Number of CorrRISE's masks."""

    def make(self, folder: pathlib.Path) -> bool:
        """Explains, then draws one sheet a network."""
        at_least(1, masks=self.masks)
        networks = self.available()
        dataset = figures.dataset(self.inputs, task_of(networks[0]), folder)
        left_out = told(dataset)
        for network in networks:
            loaded = models.find(network)
            runs = [self._run(loaded, dataset, method, folder / "runs" / network / method) for method in self.methods]
            for index, reason in sorted({i: reason for one in runs for i, reason in one.failures().items()}.items()):
                left_out = True
                say_error(f"{runs[0].records[index].name} is left out: {reason}")
            figure, arrays = figures.by_method(runs, self.colours)
            output.write_figure(folder / f"{network}.png", figure)
            output.write_arrays(folder / f"{network}.npz", **arrays)
            say(f"{network} by {', '.join(self.methods)}: wrote {folder / network}.png and .npz")
        return left_out

    def _run(self, network: models.Loaded, dataset: Dataset, method: str, folder: pathlib.Path) -> Run:
        wanted, row = {"iterations": self.iterations, "masks": self.masks}, explainer(method)
        options = MethodFlags(method).options([row], dataset.task, network.card)[row.name]
        options |= {name: value for name, value in wanted.items() if name in row.options(dataset.task)}
        settings, passes = Settings(options=options, resize=numbers.RESIZE), passes_of(row, dataset.task, options)
        with progress_bar(len(dataset.records) * passes, f"pass ({method})", hide=not self.progress) as bar:
            return run(network, dataset, method, folder, settings, progress=bar.update)


@dataclass(frozen=True)
class AccuracyCurves(Item):
    """Accuracy as ever more of the probe is removed or shown, with bootstrap bands over pairs."""

    runs: Annotated[tuple[pathlib.Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUN [RUN ...]")] = ()
    """Runs of pairs by different methods with one network, which are scored first: of table_2, or of fame run cfp CFP
    --protocol FP-01 --model iresnet101 --method grad_cam,grad_cam_ew,corrrise,fggb,fame --out RUNS."""

    def make(self, folder: pathlib.Path) -> None:
        """Scores what is not scored, draws, and prints the areas beside the paper's."""
        runs = [Run(path) for path in self.runs]
        if not runs or any(of.task != "pair" for of in runs):
            raise InputError("these curves are of face verification: expected runs of pairs, see --help.")
        scored = {of.manifest["method"]: self.scored(of, "verification") for of in runs}
        if len(scored) < len(runs):
            raise InputError("two runs are of one method; expected one run a method.")
        for what in ("network", "weights_sha256", "dataset", "records_sha256"):
            if len({of.manifest[what] for of in runs}) > 1:
                raise InputError(f"the runs differ in {what}; expected methods on the same pairs with one network.")
        figure, arrays = figures.accuracy(scored, f"{runs[0].manifest['dataset']}, {runs[0].manifest['network']}")
        output.write_figure(folder / "curves.png", figure)
        output.write_arrays(folder / "curves.npz", **arrays)
        say(tables.markdown(tables.table_2(runs)))
        say(f"\nclean accuracy in the paper: {numbers.CLEAN_ACCURACY} %, IResNet-101 on CFP FP-01")
        for method, scores in scored.items():
            for remark in remarks(scores):
                say(f"{method}: {remark}")
        say(f"wrote {folder / 'curves.png'}")


@dataclass(frozen=True)
class Sweeps(Item):
    """A row an image, a column a value of the option that is swept."""

    inputs: Annotated[tuple[pathlib.Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="[IMAGE ...]")] = ()
    """Photographs; for a face network PROBE GALLERY. Omitted: the packaged cat, or the portrait behind sunglasses."""
    options: tuple[sweeps.Option, ...] = ("steps", "step_size")
    """What is swept, a sheet each. The step size is swept at a fifth of the steps."""

    def make(self, folder: pathlib.Path) -> bool:
        """Draws a sheet an option, and prints how much the map still changes along it."""
        name = self.available()[0]
        loaded = models.find(name)
        network, how = loaded.network, geometry(loaded.card, resize=numbers.RESIZE)
        dataset = figures.dataset(self.inputs, task_of(name), folder)
        left_out = told(dataset)
        cases = [sweeps.case(network, record, how) for record in dataset.records]
        shown = [case.image for case in cases]
        for option in self.options:
            total = len(cases) * sweeps.walks(option, self.iterations)
            with progress_bar(total, f"walk ({option})", hide=not self.progress) as bar:
                swept = sweeps.sweep(option, network, cases, self.iterations, bar.update)
            output.write_figure(folder / f"{option}.png", swept.figure(option, shown, self.colours))
            output.write_arrays(folder / f"{option}.npz", images=jnp.stack(shown), **swept._asdict())
            say(f"{name}, {option}: correlation with the next value, mean over {len(shown)}: {swept.agreement()}")
            say(f"wrote {folder / option}.png")
        return left_out
