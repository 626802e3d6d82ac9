"""Every metric by name, with what it needs, costs and comes from, for `fame score`, the docs and the tests.

A metric of the table is a function of one record, `measure(network, subject, **options)`, to named figures: one number
each, or one a share of the pixels or a threshold. `vmap` it for many records.

Example:
    >>> row = METRICS["road_delete"]
    >>> row.measure(network, Subject(image, attribution, label=285, digest=0))["drop"]
"""

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

from fame_jax.metrics import measures, road
from fame_jax.metrics.deletion import deletion, insertion
from fame_jax.metrics.measures import Subject, Values
from fame_jax.words import did_you_mean, markdown

__all__ = ["METRICS", "Figure", "Metric", "Subject", "UnknownMetricError", "metric", "metrics_table"]

Need = Literal["network", "boxes", "genuine", "label"]
Better = Literal["higher", "lower"]

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
        measure: network and `Subject` to figures; None where finished maps are not enough, since the metric has images
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


def metric(name: str | Metric | Callable[..., Any], task: Literal["class", "pair"] = "class") -> Metric:
    """The row of a name, or a metric of your own: a `Metric`, or a function, see `of_your_own`.

    Raises:
        UnknownMetricError: with the nearest names.
    """
    if isinstance(name, Metric):
        return name
    if not isinstance(name, str):
        return of_your_own(name, task)
    able = [name for name, row in METRICS.items() if row.measure is not None]
    if name not in METRICS:
        raise UnknownMetricError(f"unknown metric {name!r}; {did_you_mean(name, able)}")
    if METRICS[name].measure is None:
        raise UnknownMetricError(
            f"{name} makes images of its own to explain, so that finished maps are not enough: "
            f"call fame_jax.metrics.{name}. Of finished maps there are {', '.join(able)}."
        )
    return METRICS[name]


def own_figure(title: str) -> tuple[Figure, ...]:
    """What a metric of your own has to show: one number a record."""
    return (Figure("value", title, "higher", "your own"),)


def of_your_own(function: Callable[..., Any], task: Literal["class", "pair"]) -> Metric:
    """A function `(network, subject, **options)` to one number as a metric of maps; `Subject` says what it sees."""
    name = getattr(function, "__name__", type(function).__name__)
    title = name.replace("_", " ").strip()

    @functools.wraps(function)
    def measure(network: Any, subject: Subject, **options: Any) -> Values:
        return {"value": function(network, subject, **options)}

    return Metric(name, title, task, own_figure(title), function.__module__, frozenset({"network"}), measure=measure)


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
        measure=measures.iou,
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
        measure=measures.energy,
    ),
    Metric(
        name="pointing_game",
        title="Pointing game",
        task="class",
        figures=(Figure("hit", "hits", "higher", "0 to 1"),),
        source="Zhang et al., ECCV 2016",
        needs=frozenset({"boxes"}),
        measure=measures.hit,
    ),
    Metric(
        name="road_delete",
        title="ROAD-Delete, most relevant first",
        task="class",
        figures=(Figure("drop", "drop", "higher", "logits"),),
        source=_ROAD,
        needs=_OF_CLASS,
        passes=(1, 1),
        measure=_bound(measures.drop, road.road_delete),
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
        measure=_bound(measures.drop, road.road_insert),
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
        measure=measures.combined,
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
        measure=_bound(measures.curve, deletion),
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
        measure=_bound(measures.curve, insertion),
        along="fractions",
        preset="masks",
    ),
    Metric(
        name="rise_deletion",
        title="Causal metric by deletion, predicted class",
        task="class",
        figures=(Figure("auc", "AUC", "lower", "0 to 1, probability"),),
        source=_RISE,
        needs=frozenset({"network"}),
        passes=(0, 226),
        measure=measures.causal_deletion,
    ),
    Metric(
        name="rise_insertion",
        title="Causal metric by insertion into a blur, predicted class",
        task="class",
        figures=(Figure("auc", "AUC", "higher", "0 to 1, probability"),),
        source=_RISE,
        needs=frozenset({"network"}),
        passes=(0, 226),
        measure=measures.causal_insertion,
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
        measure=measures.similarities,
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
        name="map_similarity",
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
    rows = [("metric", "figure", "better", "range", "passes", "source")]
    for row in METRICS.values():
        for figure in row.figures:
            arrow = "↑" if figure.better == "higher" else "↓"
            name = f"`{row.name}`" if row.measure else f"`fame_jax.metrics.{row.name}`"
            rows.append((name, figure.title, arrow, figure.range, _passes(row), row.source))
    return markdown(rows)


def _passes(row: Metric) -> str:
    """Forward passes at k shares, in words."""
    if row.measure is None:
        return "a map or two of its own"
    of_each, fixed = row.passes
    parts = [f"{of_each if of_each > 1 else ''}k"] * bool(of_each) + [str(fixed)] * bool(fixed)
    return " + ".join(parts) or "none"
