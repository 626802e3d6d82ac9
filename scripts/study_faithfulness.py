"""How faithful are maps? Methods at equal cost and blur, measured on the same photographs or pairs.

Everything is kept in the output folder: what was cut short goes on where it stopped, and methods, costs, blurs and
metrics can be added later. Tables are Markdown: means, with letters for the floors that a method beats; and differences
from reference methods with bootstrap intervals, p-values corrected for the number of comparisons (Holm).
"""

import itertools
import json
import pathlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

import jax
import tyro
from evidence_ablations import ABLATIONS
from study_games import Game, Part, games
from study_tables import FLOORS, Figures, best, differences, means, pooled

from fame_jax import models
from fame_jax.cli.console import InputError
from fame_jax.cli.progress import progress_bar
from fame_jax.cli.thresholds import stored_threshold
from fame_jax.data.records import Dataset
from fame_jax.datasets.catalogue import read
from fame_jax.engine import passes_of
from fame_jax.experiments.run import run
from fame_jax.experiments.settings import Settings
from fame_jax.experiments.store import Run
from fame_jax.explainers.explainer import Explainer, Task
from fame_jax.explainers.table import explainer
from fame_jax.files import parse_json
from fame_jax.words import did_you_mean

OF_CLASSES = (
    *("fame", "fame_evidence", "fame_starts", "evidence_cam", "path_sums", "gradient", "smooth_grad_squared"),
    *("var_grad", "expected_gradients", "expected_gradients_cam", "refined_cam", "grad_cam", "layer_cam", "fullgrad"),
    *FLOORS,
)
OF_PAIRS = ("fame", "fame_evidence", "fame_starts", "grad_cam", "layer_cam", "fggb", "corrrise", "xssab", *FLOORS)


@dataclass(frozen=True, eq=False)
class Variant:
    """A method with options, and the name of its folder and row."""

    name: str
    method: Explainer
    options: Mapping[str, Any]


def main(
    photographs: Annotated[pathlib.Path, tyro.conf.Positional],
    model: str | None = None,
    methods: tuple[str, ...] = (),
    reference: tuple[str, ...] = ("grad_cam",),
    gradients: tuple[int, ...] = (25,),
    sigma: tuple[float, ...] = (),
    choose_on: pathlib.Path | None = None,
    metric: tuple[str, ...] = (),
    number: int | None = None,
    grids: int = 100,
    again: int = 20,
    also: tuple[pathlib.Path, ...] = (),
    precision: str = "float32",
    seed: int = 0,
    resamples: int = 10_000,
    out: pathlib.Path = pathlib.Path("study"),
) -> None:
    """Explains, measures and prints the tables.

    Args:
        photographs: a folder whose file names begin with the class index; or a CSV list, of photographs (image, label)
            or of pairs of faces (G, P, T).
        model: a classifier or a face network; the bundled one of the task if omitted.
        methods: explainers, each with options if need be: expected_gradients:signed=false,loss=evidence; or walks of
            `evidence_ablations.py`.
        reference: methods that all others are compared with.
        gradients: cost of a map, for methods that walk or sample: so many steps or samples, of all starts together.
            Grad-CAM's gradient in a product, and the last evaluation of a walk, which takes no step, are not counted.
        sigma: deviations of the blur in pixels, for methods that blur; the methods' own if omitted.
        choose_on: other photographs, on which the best sigma of each method is chosen (by ROAD-Delete, or verification
            with black), so that only that one is measured on these.
        metric: some of the columns, see `study_games.py`; all of the task if omitted.
        number: at most so many photographs or pairs.
        grids: at most so many grids of four photographs.
        again: at most so many maps are made once more, for float64, sanity and noise.
        also: output folders of this command with other photographs, whose figures are added as far as they are there.
        precision: of network and walk.
        seed: of methods that draw random numbers, and of the grids.
        resamples: of intervals and tests; more if there are so many comparisons that no p could be small enough.
        out: folder for maps and scores.
    """
    dataset = opened(photographs, number)
    task: Task = dataset.task  # type: ignore[assignment]
    model = model or {"class": "mobilenet_v2"}.get(task, "sface")
    with jax.enable_x64(precision == "float64"):
        network = models.find(model, precision=precision)  # type: ignore[arg-type]
    methods = methods or (OF_CLASSES if task == "class" else OF_PAIRS)
    settings = Settings(precision=precision, seed=seed)  # type: ignore[arg-type]
    study = Study(network.card.name, task, settings, games(model, network, task, settings, grids=grids, again=again))
    wanted = metric or tuple(study.games)
    if unknown := [name for name in wanted if name not in study.games]:
        raise InputError(f"--metric {unknown[0]}: no metric of a {task}; {did_you_mean(unknown[0], study.games)}")
    # As the commands do.
    known = stored_threshold(network.card.name, network.card.sha256)
    usual = {"threshold": known.value} if task == "pair" and known.known else {}
    variants = list(itertools.chain(*(variants_of(method, task, gradients, sigma, usual) for method in methods)))
    if choose_on is not None:
        other, chosen_by = opened(choose_on, number), ("road" if task == "class" else "verification_black",)
        kept = best({v.name: study.measured(other, v, chosen_by, out / "chosen") for v in variants})
        variants = [v for v in variants if v.name in kept]
    figures = {}
    for variant in variants:
        found = [study.measured(dataset, variant, wanted, out), *(study.stored(variant, wanted, a) for a in also)]
        figures[variant.name] = pooled(found) if also else found[0]
    print(f"{network.card.name}, {len(dataset.records)} records of {dataset.name}{', and more' if also else ''}\n")
    print(means(figures))
    print(differences(figures, reference, resamples))


def opened(source: pathlib.Path, number: int | None) -> Dataset:
    """Photographs with their classes, or pairs: genuine ones and impostors alike if not all are taken."""
    if source.is_dir():
        found = read("folder", source, "names")
    else:
        pairs = source.read_text().split("\n", 1)[0].strip().split(",")[:3] == ["G", "P", "T"]
        found = read("pairs" if pairs else "list", source, expected={})
    records = found.records
    if number and found.task == "pair":
        halves = [[r for r in records if r.genuine is kind][: number // 2] for kind in (True, False)]  # type: ignore
        records = tuple(itertools.chain(*halves))
    return replace(found, records=records[:number])


def variants_of(
    text: str, task: Task, gradients: Sequence[int], sigma: Sequence[float], usual: Mapping[str, Any] | None = None
) -> Iterator[Variant]:
    """A method at all costs and blurs that it has, with the usual options where it has them and no others are given."""
    method, _, rest = text.partition(":")
    given = dict(_option(part) for part in rest.split(",") if part)
    row = ABLATIONS.get(method) or explainer(method, task)
    known = row.options(task)
    given = {name: value for name, value in (usual or {}).items() if name in known} | given
    blurs = sigma if "sigma" in known else ()
    for budget, blur in itertools.product(gradients if of_budget(known, 1) else (None,), blurs or (None,)):
        options = {**({} if budget is None else of_budget(known, budget)), **given}
        if blur is not None:
            options |= {"sigma": blur, "kernel_size": None}
        parts = (text, *(f"{n}{v:g}" for n, v in (("g", budget), ("s", blur)) if v is not None))
        yield Variant("-".join(parts).replace(":", "-"), row, options)


def of_budget(known: Mapping[str, Any], gradients: int) -> dict[str, int]:
    """The options that make a map cost so many gradients; none for a method whose cost is fixed."""
    if "starts" in known:
        steps = min(5, gradients)
        return {"starts": gradients // steps, "iterations": steps}
    return {name: gradients for name in ("iterations", "samples", "steps") if name in known}


def _option(text: str) -> tuple[str, Any]:
    name, _, value = text.partition("=")
    try:
        return name, parse_json(value)
    except ValueError:
        return name, value


class Study:
    """Methods of a network at the games of a study."""

    def __init__(self, name: str, task: Task, settings: Settings, rules: Mapping[str, Game]):
        self.settings, self.games = settings, rules
        self.task: Task = task
        self._folder = pathlib.Path(name) / settings.precision
        self._runs: dict[pathlib.Path, Run] = {}

    def measured(self, dataset: Dataset, variant: Variant, wanted: Sequence[str], out: pathlib.Path) -> Figures:
        """The figures of a variant."""
        folder = out / self._folder
        figures: Figures = {}
        for name in wanted:
            game = self.games[name]
            parts = zip(game.places, game.parts(dataset, folder), strict=True)
            runs = [self.explained(part, variant, folder / place) for place, part in parts]
            begun = time.perf_counter()
            figures |= game.figures(*runs)
            _note(folder, f"{variant.name}, {name}", begun, len(dataset.records))
        return figures

    def stored(self, variant: Variant, wanted: Sequence[str], out: pathlib.Path) -> Figures:
        """The same of what is in another folder, as far as it is there."""
        figures: Figures = {}
        for game in (self.games[name] for name in wanted):
            folders = [out / self._folder / place / variant.name for place in game.places]
            if all((folder / "manifest.json").is_file() for folder in folders):
                figures |= game.figures(*map(Run, folders))
        return figures

    def explained(self, part: Part, variant: Variant, folder: pathlib.Path) -> Run:
        """The maps of a variant; looked at once for all metrics."""
        if (place := folder / variant.name) not in self._runs:
            settings = replace(self.settings, **{"options": variant.options, **part.how})
            passes = len(part.dataset.records) * passes_of(variant.method, self.task, variant.options)
            begun = time.perf_counter()
            with (
                progress_bar(passes, f"pass ({variant.name})", hide=False) as bar,
                jax.enable_x64(settings.precision == "float64"),
            ):
                maps = run(part.network, part.dataset, variant.method, place, settings, progress=bar.update)
            _note(folder, f"{variant.name}, maps", begun, len(part.dataset.records))
            self._runs[place] = maps
        return self._runs[place]


def _note(folder: pathlib.Path, what: str, begun: float, records: int) -> None:
    """Keeps the time, which counts only what was not there already."""
    line = {"what": what, "seconds": round(time.perf_counter() - begun, 3), "records": records}
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "seconds.jsonl").open("a") as file:
        file.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
