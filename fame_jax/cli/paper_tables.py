"""The tables of `fame reproduce`."""

import pathlib
from dataclasses import dataclass, replace
from typing import Annotated, Literal

import jax.numpy as jnp
import tyro

from fame_jax import files, models
from fame_jax.cli.console import at_least, say
from fame_jax.cli.flags import MethodFlags, NetworkFlags
from fame_jax.cli.paper_items import OF_FACES, PIXELS, Item, task_of
from fame_jax.cli.progress import progress_bar
from fame_jax.cli.records import RecordFlags
from fame_jax.cli.run import Run as RunCommand
from fame_jax.experiments.store import Run
from fame_jax.explainers.table import explainer
from fame_jax.inputs import geometry, images
from fame_jax.paper import figures, numbers, seconds, tables


@dataclass(frozen=True)
class ScoredTable(Item):
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
                        methods=self._flags(task_of(network)),
                        pixels=replace(PIXELS, aligned=self.aligned),
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
class Seconds(Item):
    """Time FAME by number of steps, and the methods of pairs, one image at a time as in the paper."""

    files: Annotated[tuple[pathlib.Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="[SECONDS.json ...]")] = ()
    """Seconds measured before, here or elsewhere, to be printed instead."""
    faces: tuple[pathlib.Path, ...] = ()
    """PROBE GALLERY. Omitted: the packaged portrait behind sunglasses and without."""
    steps: tuple[int, ...] = tuple(numbers.TABLE_3_STEPS)
    """Numbers of FAME's steps."""
    methods: tuple[str, ...] = OF_FACES
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
        for name in (network for each in self.networks for network in Item((each,)).available()):
            dataset = figures.dataset(self.faces if task_of(name) == "pair" else (), task_of(name), folder)
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


def _write_tables(folder: pathlib.Path, name: str, *made: tables.Table) -> None:
    text = "\n\n".join(map(tables.markdown, made))
    (folder / f"{name}.md").write_text(text + "\n", encoding="utf-8")
    files.write_json(folder / f"{name}.json", [tables.as_json(table) for table in made])
    say(f"{text}\n\nwrote {folder / name}.md and .json")
