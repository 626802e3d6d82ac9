"""The metrics of a study. Some measure the maps of the photographs; others have maps of their own made, and compare.

- `grid`: the share of a map in the right quarter of a grid of four photographs.
- `float64`: Pearson's correlation with the map of the same walk in 64 bits.
- `sanity`: rank correlation with the map of the network with random weights; a map of the network should have none.
- `noise`: Pearson's correlation with the map of the photograph with uniform noise of one grey level, in whole levels
  as a file has them. A method that draws random numbers draws others, since they are those of the pixels.
- `swap`, `sunglasses`: see `region_swap.py`.
- `probe_similar` and so on: areas under the similarity as the first pixels of one of a pair's four maps are removed
  from its face, or shown. What makes faces similar should take similarity with it, what makes them dissimilar bring it.
"""

import functools
import pathlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import region_swap
from grid_pointing import composed, shares_of
from study_tables import Figures

from fame_jax import metrics, models
from fame_jax.data.images import save_png
from fame_jax.data.records import ClassRecord, Dataset, Picture
from fame_jax.engine import Engine
from fame_jax.experiments.score import score
from fame_jax.experiments.settings import Settings
from fame_jax.experiments.store import DONE, Run
from fame_jax.experiments.summary import by_record
from fame_jax.explainers.explainer import MAPS, Task, pixel_digest
from fame_jax.inputs import PictureError, geometry, images
from fame_jax.metrics.masks import TENTHS
from fame_jax.metrics.measures import similarities
from fame_jax.metrics.table import METRICS, Figure, Metric, Subject
from fame_jax.walk import Status


@dataclass(frozen=True)
class Part:
    """Maps that a metric needs: of what, by which network, and how, in words of `Settings`."""

    dataset: Dataset
    network: models.Loaded
    how: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Game:
    """A metric.

    Attributes:
        places: folders of the maps that it needs.
        parts: data set and folder of a study to what has to be explained there.
        figures: of these runs.
    """

    places: tuple[str, ...]
    parts: Callable[[Dataset, pathlib.Path], Sequence[Part]]
    figures: Callable[..., Figures]


def games(
    model: Any, network: models.Loaded, task: Task, settings: Settings, grids: int, again: int
) -> dict[str, Game]:
    """The metrics of a task by name.

    Args:
        model: which network, for `models.find`.
        network: the same, found.
        task: `class` or `pair`.
        settings: of all runs.
        grids: at most so many.
        again: at most so many maps are made once more.
    """
    kinds = ("deletion", "insertion") if task == "class" else ("verification",)
    rows = {f"{kind}_{fill}": _filled(kind, fill) for fill in ("black", "blur", "mean") for kind in kinds}
    road = {"road": METRICS["road_delete"]} if task == "class" else {}
    finished = {name: _of_maps(name, row, network) for name, row in {**road, **rows}.items()}
    own = _of_class(network, settings, grids) if task == "class" else _of_pair(network, settings)
    return {**finished, **own, **_once_more(model, network, settings, again)}


def _filled(name: str, fill: str) -> Metric:
    row, canvas = METRICS[name], {"black": 0.0}.get(fill, fill)
    return replace(row, name=f"{name}_{fill}", measure=functools.partial(row.measure, canvas=canvas))  # type: ignore


def _of_maps(name: str, row: Metric, network: models.Loaded, role: str | None = None) -> Game:
    def figures(maps: Run) -> Figures:
        if role is not None:
            maps = _OfRole(maps.folder, role)
            if (maps.column("status")[:, MAPS["pair"].index(role)] == Status.NO_MAP).all():
                return {}
        found = by_record(score(maps, row, network=network))
        return {(_title(name, f.name, at), f.better): values for (f, at), values in found.items()}

    return Game(("maps",), lambda dataset, folder: [Part(dataset, network)], figures)


def _title(metric: str, figure: str, at: float | None) -> str:
    kind = "" if figure in ("auc", "drop") else f" {figure.removesuffix('_auc')}"
    return metric.replace("_", " ") + kind + ("" if at is None else f" {at:.0%}")


def _of_class(network: models.Loaded, settings: Settings, grids: int) -> dict[str, Game]:
    @functools.cache
    def parts(dataset: Dataset, folder: pathlib.Path) -> list[Part]:
        quarters = composed(dataset, network.card, grids, settings.seed, folder / "grids")
        return [Part(quarters, network, {"resize": network.card.size})]

    def figures(maps: Run) -> Figures:
        return {
            ("grid", "higher"): {f"{i}": float(share) for i, share in enumerate(shares_of(maps)) if np.isfinite(share)}
        }

    return {"grid": Game(("grids",), parts, figures)}


def _of_pair(network: models.Loaded, settings: Settings) -> dict[str, Game]:
    @functools.cache
    def faces(dataset: Dataset, folder: pathlib.Path) -> dict[str, Part]:
        found = region_swap.datasets(dataset, network.card, settings.seed, folder / "swaps")
        return {name: Part(one, network, {"aligned": True}) for name, one in found.items()}

    def swap(after: Run, before: Run) -> Figures:
        return _columns("swap", region_swap.ratios(after, before, "probe_dissimilar"), "higher")

    def sunglasses(after: Run, before: Run) -> Figures:
        similar, dissimilar = (region_swap.ratios(after, before, role) for role in MAPS["pair"][:2])
        return {**_columns("sunglasses e+", similar, "lower"), **_columns("sunglasses e-", dissimilar, "higher")}

    def game(name: str, figures: Callable[..., Figures]) -> Game:
        names = (name, "before")
        return Game(
            tuple(f"swaps/{one}" for one in names), lambda *given: [faces(*given)[one] for one in names], figures
        )

    of_maps = {role: _of_maps(role, _of_role(role), network, role) for role in MAPS["pair"]}
    return {"swap": game("swapped", swap), "sunglasses": game("sunglasses", sunglasses), **of_maps}


def _columns(name: str, found: Mapping[str, Mapping[str, float]], better: str) -> Figures:
    return {(f"{name} {figure}", better): values for figure, values in found.items() if values}


class _OfRole(Run):
    """A run of pairs whose first map is another one."""

    def __init__(self, folder: pathlib.Path, role: str):
        super().__init__(folder)
        self._role = role

    def map(self, index: Any, name: str | None = None) -> np.ndarray:
        return super().map(index, name or self._role)


def _of_role(role: str) -> Metric:
    falls, rises = ("lower", "higher") if role.endswith("_similar") else ("higher", "lower")
    return Metric(
        name=role,
        title=role,
        task="pair",
        figures=(
            Figure("deletion", "similarity, deletion", falls, "-1 to 1"),  # type: ignore[arg-type]
            Figure("insertion", "similarity, insertion", rises, "-1 to 1"),  # type: ignore[arg-type]
        ),
        source="this project",
        needs=frozenset({"network"}),
        measure=functools.partial(areas, role),
    )


def areas(role: str, network: Any, subject: Subject, *, fractions: Sequence[float] = TENTHS) -> dict[str, jax.Array]:
    """Areas under the similarity as the face of a map loses its first pixels, or as they are shown on black."""
    if role.startswith("gallery"):
        subject = subject._replace(image=subject.gallery, gallery=subject.image)
    found = similarities(network, subject, fractions=fractions)
    return {name: jnp.trapezoid(found[name], jnp.asarray(fractions)) for name in ("deletion", "insertion")}


def _once_more(model: Any, network: models.Loaded, settings: Settings, again: int) -> dict[str, Game]:
    @functools.cache
    def wide() -> models.Loaded:
        with jax.enable_x64(True):
            return models.find(model, precision="float64")

    random = functools.cache(lambda: forgetful(network, settings))
    few = lambda dataset: replace(dataset, records=labelled(dataset).records[:again])  # noqa: E731
    noise = functools.cache(lambda dataset, folder: noisy(few(dataset), network.card, settings.seed, folder / "noise"))
    # A file of the noise is what the network sees already.
    seen = {"aligned": True} if network.card.task == "face" else {"resize": network.card.size}
    parts = {
        "float64": lambda dataset, folder: Part(few(dataset), wide(), {"precision": "float64"}),
        "sanity": lambda dataset, folder: Part(few(dataset), random()),
        "noise": lambda dataset, folder: Part(noise(dataset, folder), network, seen),
    }

    def game(name: str, measure: Callable[..., float], better: str) -> Game:
        def both(dataset: Dataset, folder: pathlib.Path) -> list[Part]:
            return [Part(dataset, network), parts[name](dataset, folder)]

        return Game(("maps", name), both, lambda *runs: {(name, better): correlations(measure, *runs)})

    return {
        "float64": game("float64", metrics.pearson, "higher"),
        "sanity": game("sanity", metrics.spearman, "lower"),
        "noise": game("noise", metrics.pearson, "higher"),
    }


def labelled(dataset: Dataset) -> Dataset:
    """The records whose class is known: of another, two networks, or two precisions, may take two."""
    kept = (r for r in dataset.records if not isinstance(r, ClassRecord) or r.label is not None)
    return replace(dataset, records=tuple(kept))


def forgetful(network: models.Loaded, settings: Settings) -> models.Loaded:
    """The network with random weights, all layers at once."""
    card = replace(network.card, sha256="")
    if card.architecture == "onnx":
        return models.Loaded(card, network.network.shuffled(jax.random.key(settings.seed)))
    outputs = Engine(network.network).outputs(card.size, card.size)
    random = models.build(card, outputs=outputs, seed=settings.seed)
    return models.Loaded(card, models.with_precision(random, settings.precision))


def noisy(dataset: Dataset, card: models.Card, seed: int, folder: pathlib.Path) -> Dataset:
    """What the network sees of every record, with noise, as files."""
    folder.mkdir(parents=True, exist_ok=True)
    records = []
    for number, record in enumerate(dataset.records):
        try:
            seen = images(record, geometry(card))
        except PictureError:
            continue
        noise, pictures = np.random.default_rng([seed, int(pixel_digest(*seen))]), []
        for place, image in enumerate(seen):
            pictures.append(Picture(folder / f"{number}-{place}.png"))
            save_png(pictures[-1].path, (image + noise.uniform(-1, 1, image.shape) / 255).astype(np.float32))
        names = ("picture",) if isinstance(record, ClassRecord) else ("probe", "gallery")
        records.append(replace(record, **dict(zip(names, pictures, strict=True))))
    return replace(dataset, name=f"{dataset.name}, noisy", records=tuple(records))


def correlations(measure: Callable[..., float], first: Run, second: Run) -> dict[str, float]:
    """By record: how alike the maps of two runs are, of the records that both have; rounding is no difference."""
    places = {record.name: index for index, record in enumerate(first.records)}
    done = [run.column("state") == DONE for run in (first, second)]
    shared = [(places[record.name], index, record.name) for index, record in enumerate(second.records)]
    return {
        name: round(measure(first.map(one), second.map(other)), 6)
        for one, other, name in shared
        if done[0][one] and done[1][other]
    }
