"""`fame reproduce`: every table and figure of the paper, from data of your own."""

import pathlib
from dataclasses import dataclass, replace
from typing import Annotated, Literal

import jax.numpy as jnp
import tyro

from fame_jax import files, models, plots
from fame_jax.cli import output
from fame_jax.cli.console import InputError, at_least, say, say_error
from fame_jax.cli.flags import USUAL, InputFlags, MethodFlags, NetworkFlags
from fame_jax.cli.locations import Locations
from fame_jax.cli.progress import progress_bar
from fame_jax.cli.records import RecordFlags
from fame_jax.cli.run import Run as RunCommand
from fame_jax.data.records import Dataset
from fame_jax.engine import passes_of
from fame_jax.experiments.rows import Scores
from fame_jax.experiments.run import run
from fame_jax.experiments.score import score
from fame_jax.experiments.settings import Settings
from fame_jax.experiments.store import Run
from fame_jax.experiments.summary import remarks
from fame_jax.explainers.table import explainer
from fame_jax.inputs import geometry, images
from fame_jax.paper import figures, numbers, seconds, sweeps, tables

_PIXELS = InputFlags(resize=numbers.RESIZE)
_OF_FACES = ("grad_cam", "grad_cam_ew", "corrrise", "fggb", "fame")


@dataclass(frozen=True)
class _Item:
    networks: tuple[str, ...] = ()
    """Networks; those that are not installed are left out, and if none is, a bundled one stands in."""
    iterations: int = 500
    """Number of FAME's steps, of each walk."""
    colours: str = "jet"
    """Name of a Matplotlib colour map; jet is the paper's, inferno suits colour-blind people."""
    out: pathlib.Path = pathlib.Path("fame-out")
    """Folder for the results and the runs behind them, which continue where they were if interrupted."""
    progress: bool = True
    """Show a progress bar."""

    def __call__(self) -> int:
        """Checks what all have in common, and makes the item."""
        at_least(1, iterations=self.iterations)
        plots.check_colours(self.colours)
        return 2 if self.make(output.output_folder(self.out)) else 0

    def make(self, folder: pathlib.Path) -> bool | None:
        """Computes, writes into the folder, and says what and where; True if a record was left out."""
        raise NotImplementedError

    def available(self) -> list[str]:
        """The networks that are installed; the bundled one where none is, which is said."""
        found = [name for name in self.networks if models.installed(name) is not None]
        for name in self.networks:
            if name not in found:
                how = f"fame download {name}" if models.published(name).address else f"fame convert {name} FILE"
                say_error(f"{name} is not installed ({how})")
        if not found:
            found = [USUAL[_task(self.networks[0])]]
            say_error(f"{found[0]} stands in")
        return found

    def scored(self, of: Run, metric: str, preset: str = "paper") -> Scores:
        """Scores of a run; what is scored is not measured again."""
        with progress_bar(len(of.records), "record", hide=not self.progress) as bar:
            bar.set_description(f"{metric} of {of.folder.name}", refresh=False)
            return score(of, metric, preset=preset, progress=bar.update)


@dataclass(frozen=True)
class LocationSheets(_Item):
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
                _PIXELS,
                folder / name,
                self.progress,
            )()


@dataclass(frozen=True)
class MethodSheets(_Item):
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
        dataset = figures.dataset(self.inputs, _task(networks[0]), folder)
        left_out = _told(dataset)
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
class AccuracyCurves(_Item):
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
class Sweeps(_Item):
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
        dataset = figures.dataset(self.inputs, _task(name), folder)
        left_out = _told(dataset)
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


@dataclass(frozen=True)
class ScoredTable(_Item):
    """Explain data sets with every network and method, measure, and print the paper's table with yours below it."""

    inputs: Annotated[
        tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="[DATASET[:PROTOCOL]=FOLDER ...] [RUN ...]")
    ] = ()
    """Data sets with their folders, such as imagenet=ILSVRC or cfp:FP-01=CFP (fame check lists them), or folders of
    fame run, which are measured as they are. Omitted: the paper's numbers alone."""
    number: Annotated[Literal[1, 2], tyro.conf.Suppress] = 1
    methods: tuple[str, ...] = ()
    """Explainers."""
    presets: tuple[Literal["paper", "official"], ...] = ("paper",)
    """Masks, fill and boxes of the metrics; a table each."""
    limit: int | None = None
    """Only the first so many records of each data set."""
    aligned: bool = False
    """The faces are aligned: take them as they are."""

    def make(self, folder: pathlib.Path) -> bool:
        """Runs, scores and prints."""
        of_table = {1: (("iou", "road_delete"), tables.table_1), 2: (("verification",), tables.table_2)}
        metrics, table = of_table[self.number]
        folders, left_out = self._runs(folder / "runs")
        runs = [Run(path) for path in folders]
        for preset in self.presets:
            for of in runs:
                for metric in metrics:
                    self.scored(of, metric, preset)
            name = f"table_{self.number}" + ("" if preset == "paper" else f".{preset}")
            _write_tables(folder, name, table(runs, preset=preset))
        return left_out

    def _runs(self, folder: pathlib.Path) -> tuple[list[pathlib.Path], bool]:
        """Folders of finished runs, those given and those of the data sets; and whether these left records out."""
        left_out = False
        given = [pathlib.Path(text) for text in self.inputs if "=" not in text or pathlib.Path(text).is_dir()]
        sets = [text.partition("=") for text in self.inputs if pathlib.Path(text) not in given]
        for network in self.available() if sets else ():
            for name, _, root in sets:
                # The name of a data set of TensorFlow begins with tfds: itself.
                prefix = "tfds:" if name.startswith("tfds:") else ""
                dataset, _, protocol = name.removeprefix(prefix).partition(":")
                dataset = prefix + dataset
                place = folder / network / f"{dataset.replace(':', '-')}-{protocol or 'default'}"
                folders = [place / method for method in self.methods]
                left_out |= (
                    RunCommand(
                        dataset,
                        pathlib.Path(root),
                        place if len(folders) > 1 else folders[0],
                        RecordFlags(protocol or None),
                        network=NetworkFlags(network),
                        methods=self._flags(_task(network)),
                        pixels=replace(_PIXELS, aligned=self.aligned),
                        limit=self.limit,
                        progress=self.progress,
                    )()
                    != 0
                )
                given += folders
        return given, left_out

    def _flags(self, task: Literal["class", "pair"]) -> MethodFlags:
        """The methods, with the steps if one of them walks."""
        walk = any("iterations" in explainer(method, task).options(task) for method in self.methods)
        return MethodFlags(",".join(self.methods), iterations=self.iterations if walk else None)


@dataclass(frozen=True)
class Seconds(_Item):
    """Time FAME by number of steps, and the methods of pairs, one image at a time as in the paper."""

    files: Annotated[tuple[pathlib.Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="[SECONDS.json ...]")] = ()
    """Seconds measured before, here or elsewhere, to be printed instead."""
    faces: tuple[pathlib.Path, ...] = ()
    """PROBE GALLERY. Omitted: the packaged portrait behind sunglasses and without."""
    steps: tuple[int, ...] = tuple(numbers.TABLE_3_STEPS)
    """Numbers of FAME's steps."""
    methods: tuple[str, ...] = _OF_FACES
    """Explainers of pairs."""
    stop_loss: float | None = 0.01
    """Loss at which FAME's walks of a pair stop, as in the authors' code; the paper's seconds need it."""
    repeats: int = 3
    """Measurements, of which the fastest counts; compilation comes before."""

    def make(self, folder: pathlib.Path) -> None:
        """Measures and prints."""
        at_least(1, repeats=self.repeats)
        found = [seconds.read_seconds(file) for file in self.files] or self._measured(folder)
        _write_tables(folder, "table_3", *tables.table_3(found))

    def _measured(self, folder: pathlib.Path) -> list[seconds.Seconds]:
        found = []
        for name in (network for each in self.networks for network in _Item((each,)).available()):
            dataset = figures.dataset(self.faces if _task(name) == "pair" else (), _task(name), folder)
            loaded = models.find(name)
            how = geometry(loaded.card, resize=numbers.RESIZE)
            shown = [jnp.asarray(image) for image in images(dataset.records[0], how)]
            timed = self.steps if len(shown) == 1 else self.methods
            with progress_bar(len(timed), f"timing ({name})", hide=not self.progress) as bar:
                how_often = {"repeats": self.repeats, "progress": bar.update}
                if len(shown) == 1:
                    found.append(seconds.of_steps(loaded, shown[0], self.steps, **how_often))
                else:
                    options = {"iterations": self.iterations, "stop_loss": self.stop_loss, **how_often}
                    found.append(seconds.of_pairs(loaded, *shown, methods=self.methods, **options))
            files.write_json(folder / f"seconds.{name}.json", found[-1])
        return found


def _told(dataset: Dataset) -> bool:
    """Says what a list has lost; whether that is anything."""
    for problem in dataset.problems:
        say_error(f"{problem.where}: {problem.reason}")
    return bool(dataset.problems)


def _task(network: str) -> Literal["class", "pair"]:
    folder = models.installed(network)
    card = models.card(network) if folder is None else models.about(folder).card
    return "class" if card.task == "class" else "pair"


def _write_tables(folder: pathlib.Path, name: str, *made: tables.Table) -> None:
    text = "\n\n".join(map(tables.markdown, made))
    (folder / f"{name}.md").write_text(text + "\n", encoding="utf-8")
    files.write_json(folder / f"{name}.json", [tables.as_json(table) for table in made])
    say(f"{text}\n\nwrote {folder / name}.md and .json")


_CLASSIFIERS = ("resnet34", "resnet50", "resnet101", "vgg19", "convnext_tiny")
_FACES = ("iresnet18", "iresnet50", "iresnet101")
_OF_CLASSES = ("grad_cam", "grad_cam_ew", "hires_cam", "fullgrad", "fame")
_TWO, _FOUR = ("grad_cam_ew", "fame"), ("grad_cam", "fullgrad", "hires_cam", "fame")
_PAIRS = "genuine pairs of faces explained by five methods, with"

ITEMS: dict[str, tuple[_Item, str]] = {
    "table_1": (
        ScoredTable(_CLASSIFIERS, number=1, methods=_OF_CLASSES),
        "IoU with the boxes and ROAD-Delete of five methods. Needs ImageNet's validation set with its boxes.",
    ),
    "table_2": (
        ScoredTable(_FACES, number=2, methods=_OF_FACES),
        "areas under deletion and insertion of face verification. Needs ARface, SCface or CFP.",
    ),
    "table_3": (
        Seconds(("resnet50", "iresnet101")),
        "seconds of FAME by number of steps, and of five methods of pairs. Needs nothing.",
    ),
    "figure_1": (
        LocationSheets(("resnet101",), rows="1,4,6"),
        "what locations of a feature map look at, rows 1, 4 and 6 of 0 to 6. Needs a photograph; for (b) a profile "
        "face, and --networks iresnet50 iresnet101 --rows 1.",
    ),
    "figure_2": (
        MethodSheets(("resnet50", "resnet101"), methods=_TWO),
        "Grad-CAM element-wise and FAME on photographs. Needs photographs of ImageNet's validation set.",
    ),
    "figure_3": (MethodSheets(("iresnet101",), methods=_OF_FACES), f"{_PAIRS} IResNet-101. Needs pairs of CFP."),
    "figure_4": (AccuracyCurves(), "accuracy by deletion and insertion, by method. Needs runs of CFP FP-01."),
    "figure_5": (
        Sweeps(("iresnet101",), options=("blur",)),
        "e+ of a pair by the size of the blur's kernel, of which the paper prints one, 49. Needs a pair of ARface.",
    ),
    "figure_6": (
        Sweeps(("resnet50",)),
        "maps by number of steps, and by step size, which the paper does not print. Needs photographs.",
    ),
    "figure_7": (
        LocationSheets(("resnet34", "resnet50", "resnet101")),
        "what every location of the feature map looks at. Needs a photograph.",
    ),
    "figure_8": (
        LocationSheets(_FACES),
        "what every location of the feature map looks at. Needs a profile of CFP.",
    ),
    "figure_9": (
        MethodSheets(("resnet34", "vgg19", "convnext_tiny"), methods=_FOUR),
        "four methods on photographs. Needs photographs of ImageNet's validation set.",
    ),
    "figure_10": (MethodSheets(_FACES[:1], methods=_OF_FACES), f"{_PAIRS} IResNet-18. Needs pairs of faces."),
    "figure_11": (MethodSheets(_FACES[1:2], methods=_OF_FACES), f"{_PAIRS} IResNet-50. Needs pairs of faces."),
    "figure_12": (MethodSheets(_FACES[2:], methods=_OF_FACES), f"{_PAIRS} IResNet-101. Needs pairs of faces."),
}

Reproduce = tyro.extras.subcommand_type_from_defaults(
    {name: item for name, (item, _) in ITEMS.items()},
    {name: f"{name.replace('_', ' ').capitalize()}: {text}" for name, (_, text) in ITEMS.items()},
)
"""Make a table or a figure of the paper from your data, with the paper's networks, methods and options."""
