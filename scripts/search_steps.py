"""How few steps are enough, and in which precision? Variants of the walk against the paper's 500 steps of 1/255.

Judged by ROAD-Delete and deletion AUC on photographs (faces: deletion and insertion of the similarity), as the paired
difference from the 500-step map; the correlation with it, and of float32 with float64, is reported beside. Maps and
figures are kept in the output folder: a run that was cut short goes on where it stopped.
"""

import functools
import itertools
import pathlib
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from faithfulness import Store, faithfulness, interval, jsonable, noise_keys, photographs, readable
from walk_variants import EVERY, VARIANTS

from fame_jax import class_logit, metrics, models, similarity
from fame_jax.cli.console import InputError, say_error, switch_on
from fame_jax.data.faces import load_face
from fame_jax.files import write_json
from fame_jax.walk import Loss
from fame_jax.words import markdown

RULES = [(0.02, 10), (0.01, 10), (0.02, 25)]
"""Tolerances and windows of the stopping rule that are tried on the plain walk."""


@dataclass(frozen=True)
class Settings:
    """What is measured; see the module."""

    source: Annotated[pathlib.Path, tyro.conf.Positional]
    """Photographs: a folder of files whose names begin with the class index, or a CSV file of rows file,label. Faces,
    with a face network: a CSV file of rows probe,gallery."""
    out: pathlib.Path = pathlib.Path("steps")
    """Folder for maps, figures and the result."""
    model: str = "mobilenet_v2"
    """A classifier or a face network."""
    precision: models.Precision = "float32"
    """Of the walks; the network that scores them is in float32."""
    variants: tuple[str, ...] = tuple(name for name in VARIANTS if name != "plain to 25")
    """By the names of the table; the plain walk in float32 must be among those measured first."""
    number: int | None = None
    """Only the first so many photographs, which are a random part."""
    stopping: bool = True
    """Try the stopping rule as well."""
    batch_size: int = 8
    """Walks at a time."""


class Task(NamedTuple):
    """What walks and by what its maps are judged; arrays have one row a walk."""

    network: Any
    loss: Loss
    names: list[str]
    images: np.ndarray
    args: tuple[Any, ...]
    beside: Any
    figures: Callable[..., dict[str, Any]]


def classes(settings: Settings, network: Any, card: Any) -> Task:
    """Photographs of known classes."""
    kept, pixels = readable(photographs(settings.source)[: settings.number], card.resize, card.size)
    names, labels = [p.name for p in kept], np.asarray([p.label for p in kept])

    def figures(network: Any, image: Any, map: Any, label: Any, key: Any) -> dict[str, Any]:
        return faithfulness(network, image, map, label, key, inserted=False)

    return Task(network, class_logit, names, pixels, (labels,), noise_keys(names, 0), figures)


def faces(settings: Settings, network: Any, card: Any) -> Task:
    """Both faces of every pair, each with e+ and e-."""
    rows = [line.split(",") for line in settings.source.read_text().split()]
    crops = {file: load_face(settings.source.parent / file).image for file in itertools.chain(*rows)}
    both = [pair for probe, gallery in rows for pair in ((probe, gallery), (gallery, probe))]
    names = [
        f"{pathlib.Path(a).stem}-{pathlib.Path(b).stem}-{sign}" for a, b in both for sign in ("similar", "dissimilar")
    ]
    images, others = (np.repeat(np.stack([crops[pair[i]] for pair in both]), 2, axis=0) for i in (0, 1))
    signs = np.tile(np.asarray([1, -1], np.float32), len(both))
    references = np.asarray(jax.lax.map(network, jnp.asarray(others)))

    def figures(network: Any, image: Any, map: Any, reference: Any, sign: Any, other: Any) -> dict[str, Any]:
        scores = metrics.pair_scores(network, image, other, map)
        # Removing what makes faces dissimilar raises their similarity: with the sign, lower is better for both.
        area = lambda curve: sign * jnp.trapezoid(curve, dx=0.1)  # noqa: E731
        return {"deletion": area(scores.deletion), "insertion": area(scores.insertion)}

    return Task(network, similarity, names, images, (references, signs), others, figures)


class Search:
    """The task, and what is known so far."""

    def __init__(self, settings: Settings):
        """Reads what walks, and the network in the precision of the walks."""
        if unknown := set(settings.variants) - set(VARIANTS):
            raise InputError(f"unknown variant {min(unknown)!r}; expected some of {', '.join(VARIANTS)}.")
        switch_on(settings.precision)
        card = models.card(settings.model)
        self.task = (classes if card.task == "class" else faces)(settings, models.load(settings.model), card)
        self.walking = models.load(settings.model, precision=settings.precision)
        self.settings, self.dtype = settings, models.image_dtype(settings.precision)

    def store(self, kind: str, precision: str | None = None) -> Store:
        """Where maps of a variant, or figures of a map, are."""
        return Store(self.settings.out / self.settings.model / (precision or self.settings.precision) / kind)

    def explain(self, variant: str) -> list[str]:
        """Makes the maps of a variant that are missing; the names of its maps."""
        task, store = self.task, self.store(variant)

        @jax.jit
        def program(network: Any, images: Any, args: Any) -> dict[str, jax.Array]:
            return jax.vmap(lambda image, args: VARIANTS[variant](task.loss, image, network, *args))(images, args)

        def compute(rows: list[int]) -> dict[str, Any]:
            images = jnp.asarray(task.images[rows], self.dtype)
            found = program(self.walking, images, tuple(jnp.asarray(a[rows]) for a in task.args))
            return {k: v if v.dtype == jnp.float16 else np.asarray(v, np.float32) for k, v in found.items()}

        store.fill(task.names, compute, self.settings.batch_size, f"walk ({variant})")
        keys = [key for key in store.read(task.names[0]) if key != "trace"]
        return sorted(keys, key=lambda key: (key.partition(",")[2], int(key.partition(",")[0])))

    def figures(self, name: str, map_of: Callable[[str], np.ndarray], precision: str) -> dict[str, np.ndarray]:
        """The figures of one map of every walk, `[n]` each; `map_of` finds the map by the name of the walk."""
        task, store = self.task, self.store(f"figures/{name}", precision)

        def compute(rows: list[int]) -> dict[str, Any]:
            maps = jnp.asarray(np.stack([map_of(task.names[i]) for i in rows]), jnp.float32)
            args = (jnp.asarray(a[rows]) for a in task.args)
            beside = jnp.asarray(task.beside[np.asarray(rows)])
            return _figures(task.figures, task.network, jnp.asarray(task.images[rows]), maps, *args, beside)

        store.fill(task.names, compute, self.settings.batch_size, f"map ({name})")
        found = store.stacked(task.names)
        if unsolved := int(found.pop("unsolved", np.zeros(1)).sum()):
            say_error(f"{name}: {unsolved} of ROAD's imputations did not converge.")
        return found

    def judged(self, variant: str, map: str) -> dict[str, Any]:
        """What is reported of one map: figures, paired differences from the reference, correlations.

        The reference is the 500-step map, in another precision than float32 that of float32 after as many steps.
        """
        precision = self.settings.precision
        reference = "500" if precision == "float32" else map
        store, plain, exact = self.store(variant), self.store("plain", "float32"), self.store(variant, "float64")
        theirs = self.figures(f"plain {reference}", lambda name: plain.array(name, reference), "float32")
        mine = self.figures(f"{variant} {map}", lambda name: store.array(name, map), precision)
        both = [n for n in self.task.names if n in exact]
        return compared(f"{variant}, {map}", mine, theirs) | {
            "correlation": mean_correlation(store, map, plain, reference, self.task.names),
            "with float64": mean_correlation(store, map, exact, map, both),
            "float64 maps": len(both),
        }

    def stopped(self) -> Iterator[dict[str, Any]]:
        """What is reported of the maps at which the stopping rule would have ended the plain walk, for all `RULES`."""
        plain, names = self.store("plain"), self.task.names
        theirs = self.figures("plain 500", lambda name: plain.array(name, "500"), "float32")
        steps = {rule: {} for rule in RULES}
        for name in names:
            trace = plain.array(name, "trace")
            for rule in RULES:
                steps[rule][name] = stopping_step(trace, *rule)
        for rule, at in steps.items():
            title = f"stop below {rule[0]} in {rule[1]} steps"
            mine = self.figures(title, lambda n, at=at: plain.array(n, "trace")[at[n] // EVERY - 1], "float32")
            yield (
                compared(title, mine, theirs)
                | {"steps": np.quantile([*at.values()], (0, 0.5, 1)).tolist()}
                | {"mean steps": float(np.mean([*at.values()]))}
            )


def compared(title: str, mine: Mapping[str, np.ndarray], theirs: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Means and paired differences of one map against the reference."""
    return {
        "title": title,
        "means": {key: metrics.estimate(values) for key, values in mine.items()},
        "differences": {key: metrics.compare(values, theirs[key]) for key, values in mine.items()},
    }


def mean_correlation(one: Store, mine: str, other: Store, theirs: str, names: list[str]) -> Any:
    """Of two maps over those walks, with its interval."""
    return metrics.estimate(np.asarray([metrics.pearson(one.array(n, mine), other.array(n, theirs)) for n in names]))


def stopping_step(trace: np.ndarray, tolerance: float, window: int) -> int:
    """Where `stop_change` would have ended a walk of which the map is known every 5 steps; its last step if nowhere."""
    shares = trace.astype(np.float64)
    shares /= shares.sum(axis=(1, 2), keepdims=True)
    seen = shares[window // EVERY - 1 :: window // EVERY]
    moved = np.abs(np.diff(seen, axis=0)).sum(axis=(1, 2)) / 2
    below = np.flatnonzero(moved < tolerance)
    return window * (int(below[0]) + 2) if below.size else EVERY * len(trace)


@functools.partial(jax.jit, static_argnums=0)
def _figures(figures: Callable[..., dict[str, Any]], network: Any, *each: Any) -> dict[str, Any]:
    return jax.vmap(lambda *one: figures(network, *one))(*each)


def main(settings: Settings) -> None:
    """Walks, scores, prints and writes."""
    search = Search(settings)
    maps = {variant: search.explain(variant) for variant in settings.variants}
    results = [search.judged(variant, map) for variant, names in maps.items() for map in names]
    if settings.precision == "float32" and settings.stopping:
        results += search.stopped()
    keys = list(results[0]["means"])
    extra = ("correlation", "with float64", "mean steps")
    print(
        f"{settings.model}, {settings.precision}, {len(search.task.names)} walks; mean, and paired difference from the"
    )
    print("500-step map (another precision: from float32) with its bootstrap 95 % interval.\n")
    lines = [["map", *keys, *extra]]
    for result in results:
        figures = [f"{result['means'][k].mean:.3f}; {interval(result['differences'][k])}" for k in keys]
        beside = [result.get(name, "") for name in extra]
        lines.append([result["title"], *figures, *(f"{b[0] if isinstance(b, tuple) else b}"[:5] for b in beside)])
    print(markdown(lines))
    write_json(settings.out / f"{settings.model}-{settings.precision}.json", jsonable(results))


if __name__ == "__main__":
    try:
        main(tyro.cli(Settings, description=__doc__))
    except InputError as error:
        say_error(error)
        sys.exit(2)
