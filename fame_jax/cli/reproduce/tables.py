"""Tables 1 to 3: a data set through every network and method, scored, and printed beside the paper's numbers."""

import pathlib
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import jax
import jax.numpy as jnp
import tyro

from fame_jax import files, models
from fame_jax.cli import output
from fame_jax.cli.console import InputError, at_least, say, say_error
from fame_jax.cli.reproduce.methods import photographs
from fame_jax.cli.reproduce.pairs import pairs
from fame_jax.cli.reproduce.program import available
from fame_jax.cli.run import Run as RunCommand
from fame_jax.experiments.inputs import geometry, images
from fame_jax.experiments.score import score
from fame_jax.experiments.store import Run
from fame_jax.experiments.tables import as_json, markdown, table_1, table_2, table_3
from fame_jax.explainers.fame import class_map
from fame_jax.explainers.table import explainer

Preset = Literal["paper", "official"]


@dataclass(frozen=True)
class ScoredTable:
    """Explain data sets with every network and method, measure, and print the paper's table beside it.

    Everything is kept in --out and continues where it was if it is interrupted.
    """

    data: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="DATASET[:PROTOCOL]=FOLDER ...")]
    """Data sets with their folders, such as imagenet=ILSVRC or cfp:FP-01=CFP; fame check lists them."""
    number: Annotated[Literal["1", "2"], tyro.conf.Suppress] = "1"
    networks: tuple[str, ...] = ()
    """Networks; those that are not installed are left out."""
    methods: tuple[str, ...] = ()
    """Explainers."""
    presets: tuple[Preset, ...] = ("paper",)
    """Masks, fill and boxes of the metrics; a table each."""
    iterations: int = 500
    """Number of FAME's steps."""
    limit: int | None = None
    """Only the first so many records of each data set."""
    aligned: bool = False
    """The faces are aligned: take them as they are."""
    out: pathlib.Path = pathlib.Path("fame-out")
    """Folder for the runs and the table (.md, .json)."""
    progress: bool = True
    """Show a progress bar."""

    def __call__(self) -> int:
        """Runs, scores and prints."""
        sets = [_data(text) for text in self.data]
        if not sets:
            raise InputError("expected a data set and its folder, such as imagenet=ILSVRC or cfp:FP-01=CFP.")
        folder = output.output_folder(self.out)
        networks = available(self.networks, "class" if self.number == "1" else "face")
        runs = [run for network in networks for name in sets for run in self._runs(name, network, folder)]
        metrics, table = (("iou", "road_delete"), table_1) if self.number == "1" else (("verification",), table_2)
        for preset in self.presets:
            for network in networks:
                self._score([run for run in runs if run.manifest["network"] == network], metrics, preset)
            printed = table([Run(run.folder) for run in runs], preset=preset)
            name = f"table_{self.number}" + ("" if preset == "paper" else f".{preset}")
            (folder / f"{name}.md").write_text(markdown(printed) + "\n", encoding="utf-8")
            files.write_json(folder / f"{name}.json", as_json(printed))
            say(markdown(printed) + f"\n\nwrote {folder / name}.md and .json")
        return 0

    def _runs(self, data: tuple[str, str | None, pathlib.Path], network: str, folder: pathlib.Path) -> list[Run]:
        dataset, protocol, root = data
        place = folder / "runs" / network / f"{dataset}-{protocol or 'default'}"
        for method in self.methods:
            RunCommand(
                dataset,
                root,
                place / method,
                protocol=protocol,
                model=network,
                method=method,
                iterations=self.iterations,
                limit=self.limit,
                aligned=self.aligned,
                progress=self.progress,
            )()
        return [Run(place / method) for method in self.methods]

    def _score(self, runs: list[Run], metrics: Iterable[str], preset: Preset) -> None:
        network = models.load(runs[0].manifest["network"])
        for run in runs:
            for metric in metrics:
                say_error(f"measuring {metric} of {run.folder}")
                score(run, metric, network=network, preset=preset)


def _data(text: str) -> tuple[str, str | None, pathlib.Path]:
    name, equals, folder = text.partition("=")
    dataset, _, protocol = name.partition(":")
    if not equals:
        raise InputError(f"{text}: expected DATASET=FOLDER or DATASET:PROTOCOL=FOLDER, such as cfp:FP-01=CFP.")
    return dataset, protocol or None, pathlib.Path(folder)


@dataclass(frozen=True)
class Seconds:
    """Time FAME by number of steps, and the methods of pairs, one image at a time as in the paper."""

    photograph: pathlib.Path | None = None
    """A photograph. Omitted: the packaged cat."""
    faces: tuple[pathlib.Path, pathlib.Path] | None = None
    """PROBE GALLERY. Omitted: the packaged portrait behind sunglasses and without."""
    networks: tuple[str, str] = ("resnet50", "iresnet101")
    """A classifier and a face network."""
    steps: tuple[int, ...] = (1, 25, 50, 75, 100, 200, 300, 400, 500)
    """Numbers of FAME's steps."""
    methods: tuple[str, ...] = ("grad_cam", "grad_cam_ew", "corrrise", "fggb", "fame")
    """Explainers of pairs."""
    iterations: int = 500
    """Number of steps of each of FAME's four walks of a pair."""
    stop_loss: float | None = 0.01
    """Loss at which FAME's walks of a pair stop, as in the authors' code; the paper's seconds need it."""
    repeats: int = 3
    """Measurements, of which the fastest counts; compilation comes before."""
    out: pathlib.Path = pathlib.Path("fame-out")
    """Folder for the tables (.md) and the seconds (.json), which fame table 3 reads."""

    def __call__(self) -> int:
        """Measures and prints."""
        at_least(1, repeats=self.repeats, iterations=self.iterations)
        folder = output.output_folder(self.out)
        device = jax.devices()[0].device_kind
        photograph = () if self.photograph is None else (self.photograph,)
        times = []
        classifier = available(self.networks[:1], "class")[0]
        (image,) = _images(classifier, photographs(photograph).records[0])
        times.append(
            {
                "network": classifier,
                "device": device,
                "number": 1,
                "seconds_a_photograph": self._steps(classifier, image),
            }
        )
        faces = available(self.networks[1:], "face")[0]
        pair = _images(faces, pairs(self.faces or (), folder).records[0])
        times.append({"network": faces, "device": device, "number": 1, "seconds_a_pair": self._pairs(faces, *pair)})
        for one in times:
            files.write_json(folder / f"seconds.{one['network']}.json", one)
        text = "\n\n".join(map(markdown, table_3(times)))
        (folder / "table_3.md").write_text(text + "\n", encoding="utf-8")
        say(f"{text}\n\nwrote {folder / 'table_3.md'}")
        return 0

    def _steps(self, name: str, image: jax.Array) -> dict[str, float]:
        network = models.load(name)
        label = jnp.argmax(network(image))
        explain = jax.jit(lambda network, image, label, steps: class_map(network, image, label, iterations=steps))
        return {str(steps): self._fastest(explain, network, image, label, steps) for steps in self.steps}

    def _pairs(self, name: str, probe: jax.Array, gallery: jax.Array) -> dict[str, float]:
        network = models.load(name)
        return {method: self._fastest(self._explain(method), network, probe, gallery) for method in self.methods}

    def _explain(self, method: str) -> Callable[..., Any]:
        row = explainer(method)
        wanted = {"iterations": self.iterations, "stop_loss": self.stop_loss}
        options = {name: value for name, value in wanted.items() if name in row.options("pair")}
        return jax.jit(lambda network, p, g: row.explain_pair(network, p, g, key=jax.random.key(0), **options))

    def _fastest(self, function: Callable[..., Any], *arguments: Any) -> float:
        """Seconds of the fastest of several calls after the first, which compiles."""
        jax.block_until_ready(function(*arguments))
        found = []
        for _ in range(self.repeats):
            start = time.perf_counter()
            jax.block_until_ready(function(*arguments))
            found.append(time.perf_counter() - start)
        return min(found)


def _images(network: str, record: Any) -> tuple[jax.Array, ...]:
    return tuple(jnp.asarray(image) for image in images(record, geometry(models.card(network))))
