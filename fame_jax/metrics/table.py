"""Every metric by name, with what it needs, costs and comes from, for `fame score`, the docs and the tests.

A metric of the table is a function of one record, `measure(network, example, **options)`, to named figures: one number
each, or one a share of the pixels or a threshold. `vmap` it for many records.

Example:
    >>> row = METRICS["road_delete"]
    >>> row.measure(network, Example(image, map, label=285, index=0))["drop"]
"""

import difflib
import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from fame_jax.metrics import road
from fame_jax.metrics.deletion import TENTHS, Curve, Score, deletion, insertion, rise_deletion, rise_insertion
from fame_jax.metrics.iou import Choice, energy_inside, masks_iou
from fame_jax.metrics.masks import Method
from fame_jax.metrics.pointing_game import pointing_game
from fame_jax.metrics.verification import pair_scores

Need = Literal["network", "boxes", "genuine", "label"]
Better = Literal["higher", "lower"]

IOU_THRESHOLDS = (0.3, 0.5, 0.7)
"""Of the FAME paper, Tab. 1."""


IMAGENET_MEAN = (0.485, 0.456, 0.406)
"""The colour that torchvision's normalisation maps to 0, which RISE's deletion leaves behind."""


class Example(NamedTuple):
    """What a metric may see of one record, as arrays or, under `vmap`, traced; what it does not need may be None.

    Attributes:
        image: `[H, W, C]` in [0, 1]; of a pair the probe.
        map: `[H, W]` in [0, 1]; of a pair the probe's e+.
        label: the explained class.
        index: of the record, which makes its random numbers its own.
        masks: the boxes of the class drawn as masks, `bool [boxes, H, W]`, empty ones last.
        gallery: the other face of a pair.
    """

    image: Any
    map: Any
    label: Any = None
    index: Any = 0
    masks: Any = None
    gallery: Any = None


Values = dict[str, Array]
"""Figures of one record by name: a number, or `[k]`."""

Measure = Callable[..., Values]


class Figure(NamedTuple):
    """What a metric's summary shows.

    Attributes:
        name: as in what `measure` returns.
        title: for people.
        better: which way.
        range: in words.
    """

    name: str
    title: str
    better: Better
    range: str


@dataclass(frozen=True)
class Metric:
    """A row of the table.

    Attributes:
        name: as in `METRICS` and on the command line.
        title: for people.
        task: `class` or `pair`.
        figures: what its summary shows, the most telling first.
        source: where it comes from.
        needs: what is asked for beyond the map: the `network` and its images, `boxes`, a `label`, or whether a pair is
            `genuine`.
        passes: forward passes of the network for one record, `(a, b)` for `a k + b` at k shares of the pixels.
        measure: network and `Example` to figures; None where finished maps are not enough, since the metric has images
            of its own to explain.
        along: the option that lists what figures of `[k]` numbers are given for.
        preset: the group of `fame_jax.presets` with its options.
    """

    name: str
    title: str
    task: Literal["class", "pair"]
    figures: tuple[Figure, ...]
    source: str
    needs: frozenset[Need] = frozenset()
    passes: tuple[int, int] = (0, 0)
    measure: Measure | None = None
    along: str | None = None
    preset: str | None = None

    def options(self) -> dict[str, Any]:
        """Names and default values of the options, read from the signature."""
        parameters = inspect.signature(self.measure).parameters.values() if self.measure else ()
        return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}

    def cost(self, **options: Any) -> int:
        """Forward passes for one record with these options."""
        shares = ({**self.options(), **options}).get(self.along or "", ())
        return self.passes[0] * len(shares) + self.passes[1]


class UnknownMetricError(ValueError):
    """A name that is not in the table, or that finished maps are not enough for."""


def metric(name: str) -> Metric:
    """The row of a name.

    Raises:
        UnknownMetricError: with the nearest names.
    """
    able = [name for name, row in METRICS.items() if row.measure is not None]
    if name not in METRICS:
        near = difflib.get_close_matches(name, able, n=3, cutoff=0.4) or able
        raise UnknownMetricError(f"unknown metric {name!r}; did you mean {' or '.join(near)}?")
    if METRICS[name].measure is None:
        raise UnknownMetricError(
            f"{name} makes images of its own to explain, so that finished maps are not enough: "
            f"call fame_jax.metrics.{name}. Of finished maps there are {', '.join(able)}."
        )
    return METRICS[name]


def _iou(
    network: Any, example: Example, *, thresholds: Sequence[float] = IOU_THRESHOLDS, choose: Choice = "union"
) -> Values:
    values = [masks_iou(example.map, example.masks, threshold, choose=choose) for threshold in thresholds]
    return {"iou": jnp.stack(values)}


def _energy(network: Any, example: Example) -> Values:
    return {"energy": energy_inside(example.map, jnp.any(example.masks, axis=0))}


def _pointing_game(network: Any, example: Example) -> Values:
    return {"hit": pointing_game(example.map, jnp.any(example.masks, axis=0)).astype(float)}


def _road(
    measure: Callable[..., road.Road],
    network: Any,
    example: Example,
    *,
    fractions: Sequence[float] = road.PERCENTS,
    fill: road.Fill = "linear",
    method: Method = "rank",
    score: road.Score = "logit",
    noise: float = 0.01,
    scale: float | Sequence[float] = 1.0,
    seed: int = 0,
) -> Values:
    name = "fractions_removed" if measure is road.road_delete else "fractions_inserted"
    found = measure(
        network,
        example.image,
        example.map,
        example.label,
        _key(seed, example),
        **{name: fractions},
        fill=fill,
        method=method,
        score=score,
        noise=noise,
        scale=jnp.asarray(scale),
    )
    return {"drop": found.drops, "score": found.scores, "status": found.status, "residual": found.relative_residual}


def _road_combined(
    network: Any,
    example: Example,
    *,
    fractions: Sequence[float] = road.DECILES,
    fill: road.Fill = "linear",
    method: Method = "rank",
    score: road.Score = "logit",
    noise: float = 0.01,
    seed: int = 0,
) -> Values:
    arguments = network, example.image, example.map, example.label, _key(seed, example)
    options = {"fill": fill, "method": method, "score": score, "noise": noise}
    return {"combined": road.road_combined(*arguments, fractions_removed=fractions, **options)}


def _curve(
    measure: Callable[..., Curve],
    network: Any,
    example: Example,
    *,
    fractions: Sequence[float] = TENTHS,
    canvas: float | Sequence[float] = 0.0,
    method: Method = "rank",
    score: Score = "probability",
) -> Values:
    curve = measure(
        network,
        example.image,
        example.map,
        example.label,
        fractions=fractions,
        canvas=jnp.asarray(canvas),
        method=method,
        score=score,
    )
    return {"auc": curve.auc, "score": curve.scores}


def _rise_deletion(network: Any, example: Example, *, mean: Sequence[float] = IMAGENET_MEAN) -> Values:
    return {"auc": rise_deletion(network, example.image, example.map, mean=jnp.asarray(mean)).auc}


def _rise_insertion(network: Any, example: Example) -> Values:
    return {"auc": rise_insertion(network, example.image, example.map).auc}


def _verification(
    network: Any,
    example: Example,
    *,
    fractions: Sequence[float] = TENTHS,
    canvas: float | Sequence[float] = 0.0,
    method: Method = "rank",
) -> Values:
    scores = pair_scores(
        network,
        example.image,
        example.gallery,
        example.map,
        fractions=fractions,
        canvas=jnp.asarray(canvas),
        method=method,
    )
    return scores._asdict()


def _key(seed: int, example: Example) -> Array:
    return jax.random.fold_in(jax.random.key(seed), example.index)


def _bound(function: Callable[..., Values], measure: Callable[..., Any]) -> Measure:
    """A partial whose signature `inspect` still reads."""
    return functools.partial(function, measure)


_ROAD = "Rong et al., ICML 2022"
_RISE = "Petsiuk et al., BMVC 2018"
_OF_CLASS: frozenset[Need] = frozenset({"network", "label"})

_ROWS = (
    Metric(
        name="iou",
        title="Intersection over union with the boxes",
        task="class",
        figures=(Figure("iou", "IoU", "higher", "0 to 1"),),
        source="Zhang and Günther, CVPRW 2026, Tab. 1",
        needs=frozenset({"boxes"}),
        measure=_iou,
        along="thresholds",
        preset="iou",
    ),
    Metric(
        name="energy",
        title="Share of the map inside the boxes",
        task="class",
        figures=(Figure("energy", "energy inside", "higher", "0 to 1"),),
        source="Wang et al., Score-CAM, 2020",
        needs=frozenset({"boxes"}),
        measure=_energy,
    ),
    Metric(
        name="pointing_game",
        title="Pointing game",
        task="class",
        figures=(Figure("hit", "hits", "higher", "0 to 1"),),
        source="Zhang et al., ECCV 2016",
        needs=frozenset({"boxes"}),
        measure=_pointing_game,
    ),
    Metric(
        name="road_delete",
        title="ROAD-Delete, most relevant first",
        task="class",
        figures=(Figure("drop", "drop", "higher", "logits"),),
        source=_ROAD,
        needs=_OF_CLASS,
        passes=(1, 1),
        measure=_bound(_road, road.road_delete),
        along="fractions",
        preset="road",
    ),
    Metric(
        name="road_insert",
        title="ROAD-Insert, most relevant first",
        task="class",
        figures=(Figure("drop", "drop", "lower", "logits"),),
        source=_ROAD,
        needs=_OF_CLASS,
        passes=(1, 1),
        measure=_bound(_road, road.road_insert),
        along="fractions",
        preset="road",
    ),
    Metric(
        name="road_combined",
        title="ROAD, least minus most relevant first",
        task="class",
        figures=(Figure("combined", "combined", "higher", "logits, 0 is chance"),),
        source=_ROAD + ", as in the grad-cam package",
        needs=_OF_CLASS,
        passes=(2, 2),
        measure=_road_combined,
        along="fractions",
        preset="road",
    ),
    Metric(
        name="deletion",
        title="Deletion of a class",
        task="class",
        figures=(Figure("auc", "AUC", "lower", "0 to 1, probability"),),
        source=_RISE,
        needs=_OF_CLASS,
        passes=(1, 0),
        measure=_bound(_curve, deletion),
        along="fractions",
        preset="masks",
    ),
    Metric(
        name="insertion",
        title="Insertion of a class",
        task="class",
        figures=(Figure("auc", "AUC", "higher", "0 to 1, probability"),),
        source=_RISE,
        needs=_OF_CLASS,
        passes=(1, 0),
        measure=_bound(_curve, insertion),
        along="fractions",
        preset="masks",
    ),
    Metric(
        name="rise_deletion",
        title="Causal metric by deletion, predicted class",
        task="class",
        figures=(Figure("auc", "AUC", "lower", "0 to 1, probability"),),
        source=_RISE + ", as published",
        needs=frozenset({"network"}),
        passes=(0, 226),
        measure=_rise_deletion,
    ),
    Metric(
        name="rise_insertion",
        title="Causal metric by insertion into a blur, predicted class",
        task="class",
        figures=(Figure("auc", "AUC", "higher", "0 to 1, probability"),),
        source=_RISE + ", as published",
        needs=frozenset({"network"}),
        passes=(0, 226),
        measure=_rise_insertion,
    ),
    Metric(
        name="verification",
        title="Deletion and insertion of a verification protocol",
        task="pair",
        figures=(
            Figure("deletion_auc", "deletion AUC", "lower", "0 to 100 % accuracy"),
            Figure("insertion_auc", "insertion AUC", "higher", "0 to 100 % accuracy"),
        ),
        source="Lu et al., WACV 2024",
        needs=frozenset({"network", "genuine"}),
        passes=(2, 2),
        measure=_verification,
        along="fractions",
        preset="masks",
    ),
    Metric(
        name="grid_pointing_game",
        title="Grid pointing game",
        task="class",
        figures=(Figure("share", "share in the right quarter", "higher", "0 to 1, chance 0.25"),),
        source="Böhle et al., CVPR 2021",
    ),
    Metric(
        name="concentration",
        title="Concentration of e+ on an occluder",
        task="pair",
        figures=(Figure("ratio", "share over area", "lower", "0 or more, 1 is even"),),
        source="this project",
    ),
    Metric(
        name="similarity",
        title="Similarity to the map of a randomised network",
        task="class",
        figures=(Figure("spearman", "rank correlation", "lower", "-1 to 1"),),
        source="Adebayo et al., NeurIPS 2018",
    ),
)

METRICS: Mapping[str, Metric] = MappingProxyType({row.name: row for row in _ROWS})
"""All metrics by name."""


def metrics_table() -> str:
    """`METRICS` as the Markdown table of `fame_jax/docs/choose_a_metric.md`."""
    lines = ["| metric | figure | better | range | passes | source |", "| --- | --- | --- | --- | --- | --- |"]
    for row in METRICS.values():
        for figure in row.figures:
            arrow = "↑" if figure.better == "higher" else "↓"
            name = f"`{row.name}`" if row.measure else f"`fame_jax.metrics.{row.name}`"
            lines.append(f"| {name} | {figure.title} | {arrow} | {figure.range} | {_passes(row)} | {row.source} |")
    return "\n".join(lines)


def _passes(row: Metric) -> str:
    """Forward passes at k shares, in words."""
    if row.measure is None:
        return "a map or two of its own"
    of_each, fixed = row.passes
    parts = [f"{of_each if of_each > 1 else ''}k"] * bool(of_each) + [str(fixed)] * bool(fixed)
    return " + ".join(parts) or "none"
