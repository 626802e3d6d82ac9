"""Numbers and maps in words: for captions, and for those who cannot see the picture."""

import numpy as np

from fame_jax.explainers.table import EXPLAINERS
from fame_jax.metrics.evenness import remark
from fame_jax.report.content import Layer

ROLES = {
    "attribution": "map",
    "probe_similar": "e+ of the probe",
    "probe_dissimilar": "e− of the probe",
    "gallery_similar": "e+ of the gallery face",
    "gallery_dissimilar": "e− of the gallery face",
}
"""Roles of maps, for people."""

_ROWS, _COLUMNS = ("upper", "middle", "lower"), ("left", "centre", "right")


def method_title(method: str) -> str:
    """As in the paper; a name that is no explainer's stays as it is."""
    return EXPLAINERS[method].title if method in EXPLAINERS else method


def place(attribution: np.ndarray) -> str:
    """Which ninth of the picture has the highest average: "upper left", "centre", ...; empty for a flat map."""
    if not np.isfinite(attribution).all() or np.ptp(attribution) == 0:
        return ""
    bands = np.array_split(attribution, 3, axis=0)
    ninths = [[part.mean() for part in np.array_split(band, 3, axis=1)] for band in bands]
    row, column = divmod(int(np.argmax(ninths)), 3)
    return "centre" if row == column == 1 else f"{_ROWS[row]} {_COLUMNS[column]}"


def layer(
    role: str,
    picture: bytes | None,
    attribution: np.ndarray | None,
    status: str,
    *,
    first_loss: float | None = None,
    last_loss: float | None = None,
    steps: int = 0,
) -> Layer:
    """A map with what is to be said of it; losses that are not finite become None."""
    said = None if attribution is None else remark(attribution)
    return Layer(
        role=role,
        picture=picture,
        status=status,
        place="" if attribution is None else place(attribution),
        remark=said.words if said else "",
        remark_kind=said.kind if said else "",
        first_loss=_finite(first_loss),
        last_loss=_finite(last_loss),
        steps=steps,
    )


def number(value: float | None, digits: int = 3) -> str:
    """With a minus sign that is as wide as a plus; `not known` for None and NaN."""
    return "not known" if _finite(value) is None else f"{value:.{digits}f}".replace("-", "−")


def loss_change(layer: Layer, loss: str) -> str:
    """`logit 28.470 → −14.930 (−43.400) in 50 steps`, or only the first value; empty if none is known."""
    if layer.first_loss is None:
        return ""
    if layer.last_loss is None:
        return f"{loss} {number(layer.first_loss)}"
    change = layer.last_loss - layer.first_loss
    sign = "+" if change > 0 else ""
    return (
        f"{loss} {number(layer.first_loss)} → {number(layer.last_loss)} ({sign}{number(change)}), "
        f"{layer.steps} step{'' if layer.steps == 1 else 's'}"
    )


def alternative(layer: Layer, title: str, target: str, name: str) -> str:
    """What stands for a map where it is not seen."""
    where = f", strongest in the {layer.place}" if layer.place else ""
    of = f" for {target}" if target else ""
    return f"{title}, {ROLES.get(layer.role, layer.role)}{of} over {name}: {layer.remark or layer.status}{where}"


def _finite(value: float | None) -> float | None:
    return None if value is None or not np.isfinite(value) else float(value)
