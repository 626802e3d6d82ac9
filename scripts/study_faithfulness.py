"""How faithful are maps? Methods at equal cost and blur, measured on the same photographs or pairs.

Everything is kept in the output folder: what was cut short goes on where it stopped, and methods, costs, blurs and
metrics can be added later. Tables are Markdown: means, with letters for the floors that a method beats; and differences
from a reference method with bootstrap intervals, p-values corrected for the number of comparisons (Holm).
"""

import functools
import itertools
import json
import pathlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

import region_swap
import tyro
from evidence_ablations import ABLATIONS
from grid_pointing import composed, shares_of
from study_tables import FLOORS, Figures, best, differences, means

from fame_jax import models
from fame_jax.cli.progress import progress_bar
from fame_jax.data.records import Dataset
from fame_jax.datasets.catalogue import read
from fame_jax.engine import passes_of
from fame_jax.experiments.run import run
from fame_jax.experiments.score import score
from fame_jax.experiments.settings import Settings
from fame_jax.experiments.store import Run
from fame_jax.experiments.summary import by_record
from fame_jax.explainers.explainer import Explainer, Task
from fame_jax.explainers.table import explainer
from fame_jax.files import parse_json
from fame_jax.metrics.table import METRICS, Metric

OF_CLASSES = (
    *("fame", "fame_evidence", "fame_starts", "evidence_cam", "path_sums", "gradient", "smooth_grad_squared"),
    *("var_grad", "expected_gradients", "expected_gradients_cam", "grad_cam", "layer_cam", "fullgrad", *FLOORS),
)
OF_PAIRS = ("fame", "fame_evidence", "fame_starts", "grad_cam", "layer_cam", "fggb", "corrrise", "xssab", *FLOORS)
GAMES = ("grid", "swap")
"""Metrics with pictures of their own."""


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
    reference: str = "grad_cam",
    gradients: tuple[int, ...] = (25,),
    sigma: tuple[float, ...] = (),
    choose_on: pathlib.Path | None = None,
    metric: tuple[str, ...] = (),
    number: int | None = None,
    grids: int = 100,
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
        reference: the method that all others are compared with.
        gradients: cost of a map, for methods that walk or sample: so many steps or samples, of all starts together.
            Grad-CAM's gradient in a product, and the last evaluation of a walk, which takes no step, are not counted.
        sigma: deviations of the blur in pixels, for methods that blur; the methods' own if omitted.
        choose_on: other photographs, on which the best sigma of each method is chosen (by ROAD-Delete, or the deletion
            of pairs), so that only that one is measured on these.
        metric: some of the columns; all of the task if omitted.
        number: at most so many photographs or pairs.
        grids: at most so many grids of four photographs.
        precision: of network and walk.
        seed: of methods that draw random numbers, and of the grids.
        resamples: of intervals and tests.
        out: folder for maps and scores.
    """
    dataset = opened(photographs, number)
    task: Task = dataset.task  # type: ignore[assignment]
    network = models.find(model or {"class": "mobilenet_v2"}.get(task, "sface"), precision=precision)  # type: ignore
    methods = methods or (OF_CLASSES if task == "class" else OF_PAIRS)
    study = Study(network, task, precision, seed, grids)
    variants = list(itertools.chain(*(variants_of(method, task, gradients, sigma) for method in methods)))
    chosen_by = ("road",) if task == "class" else ("verification_black",)
    if choose_on is not None:
        other = opened(choose_on, number)
        found = {v.name: study.measured(other, v, chosen_by, out / "chosen") for v in variants}
        kept = best(found)
        variants = [v for v in variants if v.name in kept]
    wanted = metric or tuple(study.metrics)
    figures = {v.name: study.measured(dataset, v, wanted, out) for v in variants}
    print(f"{network.card.name}, {len(dataset.records)} records of {dataset.name}\n")
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


def variants_of(text: str, task: Task, gradients: Sequence[int], sigma: Sequence[float]) -> Iterator[Variant]:
    """A method at all costs and blurs that it has."""
    method, _, rest = text.partition(":")
    given = dict(_option(part) for part in rest.split(",") if part)
    row = ABLATIONS.get(method) or explainer(method, task)
    known = row.options(task)
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
    """A network at work on a task, and the metrics of that."""

    def __init__(self, network: models.Loaded, task: Task, precision: str, seed: int, grids: int):
        self.network, self.seed, self.grids = network, seed, grids
        self.task: Task = task
        self.settings = Settings(precision=precision, seed=seed)  # type: ignore[arg-type]
        names = ("deletion", "insertion") if task == "class" else ("verification",)
        filled = {f"{name}_{fill}": _filled(name, fill) for fill in ("black", "blur", "mean") for name in names}
        games = {"grid": self._grids} if task == "class" else {"swap": self._swaps}
        road = {"road": METRICS["road_delete"]} if task == "class" else {}
        self.metrics: dict[str, Metric | Callable[..., Figures]] = {**road, **filled, **games}

    def measured(self, dataset: Dataset, variant: Variant, wanted: Sequence[str], out: pathlib.Path) -> Figures:
        """The figures of a variant."""
        folder = out / self.network.card.name / self.settings.precision
        figures: Figures = {}
        finished = any(isinstance(self.metrics[name], Metric) for name in wanted)
        maps = self.explained(dataset, variant, folder / "maps") if finished else None
        for name in wanted:
            how, begun = self.metrics[name], time.perf_counter()
            if isinstance(how, Metric):
                assert maps is not None
                rows = by_record(score(maps, how, network=self.network))
                figures |= {(_title(name, f.name, at), f.better): values for (f, at), values in rows.items()}
            else:
                figures |= how(dataset, variant, folder)
            _note(folder, f"{variant.name}, {name}", begun, len(dataset.records))
        return figures

    def explained(self, dataset: Dataset, variant: Variant, folder: pathlib.Path, **how: Any) -> Run:
        """The maps of a variant."""
        settings, begun = replace(self.settings, options=variant.options, **how), time.perf_counter()
        passes = len(dataset.records) * passes_of(variant.method, self.task, variant.options)
        with progress_bar(passes, f"pass ({variant.name})", hide=False) as bar:
            found = run(self.network, dataset, variant.method, folder / variant.name, settings, progress=bar.update)
        _note(folder, f"{variant.name}, maps", begun, len(dataset.records))
        return found

    def _grids(self, dataset: Dataset, variant: Variant, folder: pathlib.Path) -> Figures:
        quarters = composed(dataset, self.network.card, self.grids, self.seed, folder / "grids")
        found = shares_of(self.explained(quarters, variant, folder / "grids", resize=self.network.card.size))
        return {("grid", "higher"): {f"{index}": float(value) for index, value in enumerate(found)}}

    def _swaps(self, dataset: Dataset, variant: Variant, folder: pathlib.Path) -> Figures:
        swapped, before = region_swap.datasets(dataset, self.network.card, self.seed, folder / "swaps")
        runs = (
            self.explained(one, variant, folder / "swaps" / name, aligned=True)
            for one, name in ((swapped, "swapped"), (before, "before"))
        )
        found = region_swap.ratios(*runs)
        return {(f"swap {name}", "higher"): values for name, values in found.items() if values}


def _note(folder: pathlib.Path, what: str, begun: float, records: int) -> None:
    """Keeps the time, which counts only what was not there already."""
    line = {"what": what, "seconds": round(time.perf_counter() - begun, 3), "records": records}
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "seconds.jsonl").open("a") as file:
        file.write(json.dumps(line) + "\n")


def _filled(name: str, fill: str) -> Metric:
    row, canvas = METRICS[name], {"black": 0.0}.get(fill, fill)
    return replace(row, name=f"{name}_{fill}", measure=functools.partial(row.measure, canvas=canvas))  # type: ignore


def _title(metric: str, figure: str, at: float | None) -> str:
    kind = f" {figure.removesuffix('_auc')}" if metric.startswith("verification") else ""
    return metric.replace("_", " ") + kind + ("" if at is None else f" {at:.0%}")


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
