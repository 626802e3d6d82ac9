"""Metrics as `fame score` calls them: functions of one record to named figures, which `vmap`s them over many.

Their keyword arguments are the options of the table; everything else comes from the `Subject`.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from fame_jax.image import IMAGENET_MEAN
from fame_jax.metrics import road
from fame_jax.metrics.causal import rise_deletion, rise_insertion
from fame_jax.metrics.deletion import Curve
from fame_jax.metrics.iou import Choice, energy_inside, masks_iou
from fame_jax.metrics.masks import TENTHS, Canvas, Method, canvas_of
from fame_jax.metrics.pointing_game import pointing_game
from fame_jax.metrics.verification import pair_scores
from fame_jax.scores import Score

IOU_THRESHOLDS = (0.3, 0.5, 0.7)
"""Of the FAME paper, Tab. 1."""


class Subject(NamedTuple):
    """What a metric may see of one record, as arrays or, under `vmap`, traced; what it does not need may be None.

    Attributes:
        image: `[H, W, C]` in [0, 1]; of a pair the probe.
        attribution: `[H, W]` in [0, 1]; of a pair the probe's e+.
        label: the explained class.
        digest: of its pixels, which makes its random numbers its own wherever it stands.
        masks: the boxes of the class drawn as masks, `bool [boxes, H, W]`, empty ones last.
        gallery: the other face of a pair.
        filled: `bool [H, W]`, where the image is no part of a photograph, which lies at its upper left; shares are of
            the photograph's pixels, and nothing is known or measured elsewhere. None where it is all photograph.
        box: what is explained, a `fame_jax.questions.Boxed`; the network is then that of the box alone.
    """

    image: Any
    attribution: Any
    label: Any = None
    digest: Any = 0
    masks: Any = None
    gallery: Any = None
    filled: Any = None
    box: Any = None


Values = dict[str, Array]
"""Figures of one record by name: a number, or `[k]`."""


def iou(
    network: Any, subject: Subject, *, thresholds: Sequence[float] = IOU_THRESHOLDS, choose: Choice = "union"
) -> Values:
    """`iou` at thresholds `[k]`, see `fame_jax.metrics.box_iou`."""
    values = [masks_iou(subject.attribution, subject.masks, threshold, choose=choose) for threshold in thresholds]
    return {"iou": jnp.stack(values)}


def energy(network: Any, subject: Subject) -> Values:
    """`energy`, see `fame_jax.metrics.energy_inside`."""
    return {"energy": energy_inside(subject.attribution, jnp.any(subject.masks, axis=0))}


def hit(network: Any, subject: Subject) -> Values:
    """`hit`, 0 or 1 or NaN, see `fame_jax.metrics.pointing_game`."""
    return {"hit": pointing_game(subject.attribution, jnp.any(subject.masks, axis=0))}


def drop(
    measure: Callable[..., road.Road],
    network: Any,
    subject: Subject,
    *,
    fractions: Sequence[float] = road.PERCENTS,
    fill: road.Fill = "linear",
    method: Method = "rank",
    score: road.RoadScore = "logit",
    noise: float = 0.01,
    scale: float | Sequence[float] = 1.0,
    seed: int = 0,
) -> Values:
    """`drop`, `score`, `status` and `residual` at shares `[k]` by `road_delete` or `road_insert`."""
    name = "fractions_removed" if measure is road.road_delete else "fractions_inserted"
    image, attribution, shares = _of_photograph(subject, fractions)
    unknown = {"unknown": subject.filled} if measure is road.road_delete else {}
    found = measure(
        network,
        image,
        attribution,
        subject.label,
        _key(seed, subject),
        **{name: shares},
        **unknown,
        fill=fill,
        method=method,
        score=score,
        noise=noise,
        scale=jnp.asarray(scale),
    )
    return {"drop": found.drops, "score": found.scores, "status": found.status, "residual": found.relative_residual}


def combined(
    network: Any,
    subject: Subject,
    *,
    fractions: Sequence[float] = road.DECILES,
    fill: road.Fill = "linear",
    method: Method = "rank",
    score: road.RoadScore = "logit",
    noise: float = 0.01,
    seed: int = 0,
) -> Values:
    """`combined`, see `fame_jax.metrics.road_combined`."""
    arguments = network, subject.image, subject.attribution, subject.label, _key(seed, subject)
    options = {"fill": fill, "method": method, "score": score, "noise": noise}
    return {"combined": road.road_combined(*arguments, fractions_removed=fractions, **options)}


def curve(
    measure: Callable[..., Curve],
    network: Any,
    subject: Subject,
    *,
    fractions: Sequence[float] = TENTHS,
    canvas: Canvas = 0.0,
    canvas_sigma: float = 5.0,
    method: Method = "rank",
    score: Score = "softmax",
) -> Values:
    """`auc`, and `score` at shares `[k]`, by `deletion` or `insertion`; see `fame_jax.metrics.masks.canvas_of`."""
    image, attribution, shares = _of_photograph(subject, fractions)
    curve = measure(
        network,
        image,
        attribution,
        subject.label,
        fractions=shares,
        canvas=canvas_of(canvas, image, canvas_sigma),
        method=method,
        score=score,
    )
    return {"auc": curve.auc, "score": curve.scores}


def causal_deletion(
    network: Any, subject: Subject, *, mean: Sequence[float] = IMAGENET_MEAN, score: Score = "softmax"
) -> Values:
    """`auc` of `fame_jax.metrics.rise_deletion`."""
    return {"auc": rise_deletion(network, subject.image, subject.attribution, mean=jnp.asarray(mean), score=score).auc}


def causal_insertion(network: Any, subject: Subject, *, score: Score = "softmax") -> Values:
    """`auc` of `fame_jax.metrics.rise_insertion`."""
    return {"auc": rise_insertion(network, subject.image, subject.attribution, score=score).auc}


def similarities(
    network: Any,
    subject: Subject,
    *,
    fractions: Sequence[float] = TENTHS,
    canvas: Canvas = 0.0,
    canvas_sigma: float = 5.0,
    method: Method = "rank",
) -> Values:
    """`clean`, and `deletion` and `insertion` at shares `[k]`, see `fame_jax.metrics.pair_scores`."""
    scores = pair_scores(
        network,
        subject.image,
        subject.gallery,
        subject.attribution,
        fractions=fractions,
        canvas=canvas_of(canvas, subject.image, canvas_sigma),
        method=method,
    )
    return scores._asdict()


def _of_photograph(subject: Subject, fractions: Sequence[float]) -> tuple[Any, Any, Any]:
    """Image, map, and shares of the image.

    Beyond the photograph is its mean colour, which no figure looks at, and the map puts all of that last.
    """
    image, attribution, filled = subject.image, subject.attribution, subject.filled
    if filled is None:
        return image, attribution, fractions
    photograph = 1 - jnp.mean(filled.astype(image.dtype))
    outside = filled[..., None]
    colour = jnp.mean(jnp.where(outside, 0, image), axis=(0, 1), keepdims=True) / photograph
    image, attribution = jnp.where(outside, colour, image), jnp.where(filled, -1, attribution)
    return image, attribution, jnp.asarray(fractions) * photograph


def _key(seed: int, subject: Subject) -> Array:
    return jax.random.fold_in(jax.random.key(seed), subject.digest)
