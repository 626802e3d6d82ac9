"""Decision thresholds: given, calibrated and stored, or published with the weights."""

import math
import pathlib
from typing import Any, NamedTuple

from fame_jax.files import read_json
from fame_jax.models import card, home

PUBLISHED = {"sface": (0.363, "published with SFace by OpenCV")}
"""By network: threshold on the cosine and where it comes from. It belongs to the published weights, whatever file they
come in, and to no others of that architecture."""


class Threshold(NamedTuple):
    """A similarity from which on two faces match, and where it comes from; NaN if none is known."""

    value: float
    source: str

    @property
    def known(self) -> bool:
        """Whether there is one."""
        return math.isfinite(self.value)

    @property
    def words(self) -> str:
        """For people."""
        return f"threshold {self.value:.3f} ({self.source})" if self.known else f"no threshold ({self.source})"

    def decision(self, similarity: float) -> str:
        """`match`, `no match`, or that it cannot be said."""
        if not math.isfinite(similarity):
            return "undecided, the similarity is not finite"
        if not self.known:
            return "undecided"
        return "match" if similarity >= self.value else "no match"


def _cosine(value: Any) -> float:
    if not -1.0001 <= value <= 1.0001:  # Rounding, or just above all scores.
        raise ValueError(f"{value} is no cosine")
    return float(value)


def threshold_file(model: str, weights_sha256: str) -> pathlib.Path:
    """Where the threshold of a network with certain weights is kept."""
    return home() / "thresholds" / f"{model}-{weights_sha256[:8]}.json"


def stored_threshold(model: str, weights_sha256: str) -> Threshold:
    """The calibrated threshold of a network, else the one published with just these weights, else none."""
    file = threshold_file(model, weights_sha256)
    if file.is_file():
        try:
            found = read_json(file)
            return Threshold(_cosine(found["threshold"]), f"calibrated by {found['rule']} on {found['pairs']} pairs")
        except (ValueError, KeyError, TypeError) as error:
            raise OSError(f"{file}: not a stored threshold ({error}); run fame calibrate again.") from error
    if model in PUBLISHED and weights_sha256 == card(model).sha256:
        return Threshold(*PUBLISHED[model])
    return Threshold(math.nan, "run fame calibrate, or give --threshold")
