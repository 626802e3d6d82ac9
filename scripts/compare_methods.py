"""Which method is more faithful? ROAD, deletion, insertion and grid pointing of all of them, on the same photographs.

Maps and figures are kept in the output folder: a run that was cut short goes on where it stopped, and more methods can
be added later. Prints Markdown tables and writes them as JSON.
"""

import functools
import pathlib
import sys
from dataclasses import dataclass
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from faithfulness import METRICS, Store, faithfulness, interval, jsonable, noise_keys, photographs, readable

from fame_jax import metrics, models
from fame_jax.architectures.probes import Probed
from fame_jax.cli.console import InputError, say_error
from fame_jax.explainers.table import Explainer, explainer
from fame_jax.files import write_json
from fame_jax.words import markdown

HEADINGS = METRICS | {"grid": "grid pointing ↑"}


@dataclass(frozen=True)
class Settings:
    """What is measured; see the module."""

    photographs: Annotated[pathlib.Path, tyro.conf.Positional]
    """A folder of photographs whose names begin with the class index, or a CSV file of rows file,label."""
    out: pathlib.Path = pathlib.Path("comparison")
    """Folder for maps, figures and the result."""
    model: str = "mobilenet_v2"
    """A classifier."""
    weights: pathlib.Path | None = None
    """Its weights, instead of what is installed."""
    methods: tuple[str, ...] = ("fame", "grad_cam", "grad_cam_ew", "fullgrad", "gradient", "random")
    """Explainers of classes; the first is compared with each of the others."""
    iterations: int = 500
    """Steps of FAME."""
    number: int | None = None
    """Only the first so many photographs, which are a random part; grids are made of all."""
    grids: int = 25
    """2x2 grids for grid pointing, at most as many as the photographs make; 0 for none."""
    batch_size: int = 8
    """Photographs at a time."""
    seed: int = 0
    """Of the grids, of ROAD's noise and of random methods."""


class Comparison:
    """The photographs, the network, and what is known of them so far."""

    def __init__(self, settings: Settings):
        """Reads photographs and network, and refuses methods that explain no classes."""
        self.settings = settings
        self.rows = [explainer(name) for name in settings.methods]
        if unable := [row.name for row in self.rows if row.of_class is None]:
            raise InputError(f"{unable[0]} explains pairs of faces, not classes.")
        card = models.card(settings.model)
        self.network = models.load(settings.model, settings.weights)
        self.photographs, self.pixels = readable(photographs(settings.photographs), card.resize, card.size)
        self.labels = np.asarray([p.label for p in self.photographs])
        self.names = [p.name for p in self.photographs][: settings.number]
        self.folder = settings.out / f"{settings.model}-{models.weights_hash(settings.model, settings.weights)[:8]}"

    def on_photographs(self, row: Explainer) -> dict[str, np.ndarray]:
        """The figures of `METRICS` of one method, `[photographs]` each."""
        program, keys = self._program(row), noise_keys(self.names, self.settings.seed)
        maps, scores = self._store(row, "maps"), self._store(row, "figures")

        def given(chosen: list[int]) -> list[jax.Array]:
            return [jnp.asarray(of[np.asarray(chosen)]) for of in (self.pixels, self.labels, keys)]

        def score(chosen: list[int]) -> dict[str, Any]:
            images, labels, noise = given(chosen)
            found = maps.stacked([self.names[i] for i in chosen])["attribution"]
            return _figures(self.network, images, jnp.asarray(found), labels, noise)

        explain = lambda chosen: {"attribution": program(*given(chosen))}  # noqa: E731
        maps.fill(self.names, explain, self.settings.batch_size, f"photograph ({row.name})")
        scores.fill(self.names, score, self.settings.batch_size, f"photograph scored ({row.name})")
        results = scores.stacked(self.names)
        if unsolved := int(results["unsolved"].sum()):
            say_error(f"{row.name}: {unsolved} of ROAD's imputations did not converge.")
        return {key: results[key] for key in METRICS}

    def on_grids(self, row: Explainer) -> np.ndarray:
        """The share of the map in the right quarter, averaged over the four quarters of each grid, `[grids]`."""
        store, program = self._store(row, f"grids-{self.settings.seed}"), self._program(row)
        members = metrics.grid_members(self.labels, self.settings.seed)[: self.settings.grids]
        quarters = [(grid, quarter) for grid in range(len(members)) for quarter in range(4)]
        names = [f"{'+'.join(str(self.labels[m]) for m in members[g])}-{q}" for g, q in quarters]
        keys = noise_keys(names, self.settings.seed)

        def compute(chosen: list[int]) -> dict[str, Any]:
            grids = [members[quarters[i][0]] for i in chosen]
            places = jnp.asarray([quarters[i][1] for i in chosen])
            images = jnp.stack([metrics.composed_grid(jnp.asarray(self.pixels[grid])) for grid in grids])
            labels = jnp.asarray([self.labels[grid[quarters[i][1]]] for grid, i in zip(grids, chosen, strict=True)])
            maps = program(images, labels, keys[jnp.asarray(chosen)])
            return {"attribution": maps, "share": jax.vmap(metrics.grid_pointing_game)(maps, places)}

        store.fill(names, compute, self.settings.batch_size, f"quarter ({row.name})")
        return np.asarray([store.read(name)["share"] for name in names]).reshape(-1, 4).mean(axis=1)

    def _program(self, row: Explainer) -> Any:
        """Images, labels and keys to maps."""
        network = Probed(self.network) if "probes" in row.needs else self.network
        options = {"iterations": self.settings.iterations} if "iterations" in row.options("class") else {}
        one = lambda network, image, label, key: row.explain(network, image, label, key=key, **options)  # noqa: E731
        program = jax.jit(jax.vmap(one, (None, 0, 0, 0)))
        return lambda images, labels, keys: program(network, images, labels, keys)

    def _store(self, row: Explainer, kind: str) -> Store:
        steps = f"-{self.settings.iterations}" if "iterations" in row.options("class") else ""
        return Store(self.folder / f"{row.name}{steps}" / kind)


@jax.jit
def _figures(network: Any, images: Any, maps: Any, labels: Any, keys: Any) -> dict[str, Any]:
    one = functools.partial(faithfulness, inserted=True)
    return jax.vmap(one, (None, 0, 0, 0, 0))(network, images, maps, labels, keys)


def main(settings: Settings) -> None:
    """Measures, prints and writes."""
    comparison = Comparison(settings)
    figures = {row.name: comparison.on_photographs(row) for row in comparison.rows}
    if settings.grids:
        for row in reversed(comparison.rows):
            figures[row.name]["grid"] = comparison.on_grids(row)
    first, *others = settings.methods
    means = {name: {key: metrics.estimate(v) for key, v in of.items()} for name, of in figures.items()}
    against = {
        name: {key: metrics.compare(figures[first][key], v) for key, v in figures[name].items()} for name in others
    }
    heads = [HEADINGS[key] for key in means[first]]
    title = {row.name: row.title for row in comparison.rows}
    print(f"{settings.model}, {len(comparison.names)} photographs; mean and bootstrap 95 % interval.\n")
    print(markdown([["method", *heads], *([title[n], *map(interval, of.values())] for n, of in means.items())]))
    print(f"\n{title[first]} minus each, on the same photographs; p of a sign-flip test.\n")
    print(
        markdown(
            [
                ["method", *heads],
                *([title[n], *(f"{interval(c)}, p {c.p_value:.4f}" for c in of.values())] for n, of in against.items()),
            ]
        )
    )
    result = {
        "settings": vars(settings),
        "means": means,
        "differences": against,
        "figures": figures,
    }
    write_json(settings.out / "comparison.json", jsonable(result))


if __name__ == "__main__":
    try:
        main(tyro.cli(Settings, description=__doc__))
    except InputError as error:
        say_error(error)
        sys.exit(2)
