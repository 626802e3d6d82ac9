"""Whether a map says anything at all: how far it is from a flat one.

A map is looked at on the scale of its area, not of its pixels: fine noise over the whole image is flat too, and the
strongest pixels of noise are as strong as those of a map that has found something.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from fame_jax._types import Scalar
from fame_jax.metrics.masks import AnyMap, measured
from fame_jax.options import OptionError

CELLS = 10
"""Rows and columns of the grid on which a map is looked at, so that a tenth of the area is ten cells."""

FLAT = 0.1
"""`strongest_tenth` of a map that is the same everywhere."""

NEARLY_UNIFORM = 0.12
"""`strongest_tenth` below which a map is called nearly uniform; that of uniform noise is 0.105 at 224 by 224 pixels."""


class Remark(NamedTuple):
    """What a reader should know of a map; both are empty if it is neither blank nor flat nor damaged.

    Attributes:
        kind: `not finite`, `blank map` or `nearly uniform`.
        words: the same with its reason.
    """

    kind: str = ""
    words: str = ""

    def beside(self, status: str) -> str:
        """A status and the remark as one text, which does not say the same twice."""
        return ", ".join(part for part in ("" if status == self.kind else status, self.words) if part)


@jax.jit
def strongest_tenth(attribution: AnyMap) -> Scalar:
    """The share of a map's mass in the strongest tenth of its area: 0.1 for a flat map, 1 if a tenth holds all of it.

    The map is averaged over the cells of a 10 by 10 grid; the share is that of the ten strongest cells.

    Args:
        attribution: `[H, W]`, 0 or above, of at least 10 by 10 pixels.

    Returns:
        In [0.1, 1]; NaN for a blank map, or one with a pixel that is no finite number.

    Raises:
        OptionError: for a smaller map.
    """
    if min(attribution.shape) < CELLS:
        raise OptionError(f"strongest_tenth: a map of {attribution.shape}; expected at least {CELLS} by {CELLS}.")
    down, across = (_averages(side) for side in attribution.shape)
    cells = jnp.sort((down @ attribution @ across.T).reshape(-1))
    return measured(jnp.sum(cells[-CELLS:]) / jnp.sum(cells), attribution)


def remark(attribution: np.ndarray) -> Remark:
    """What to say beside a map `[H, W]`, in words; nothing of how even one is that has fewer pixels than cells."""
    if not np.isfinite(attribution).all():
        return Remark("not finite", "not finite: some pixels of the map are no numbers")
    if not attribution.any():
        return Remark("blank map", "blank map: every pixel is zero")
    if min(attribution.shape) < CELLS:
        return Remark()
    share = float(strongest_tenth(np.asarray(attribution, np.float32)))
    if share >= NEARLY_UNIFORM:
        return Remark()
    return Remark(
        "nearly uniform",
        f"nearly uniform: the strongest tenth of the area holds {share:.1%} of the map (flat: {FLAT:.0%})",
    )


def _averages(side: int) -> Float[Array, "cells side"]:
    """The matrix that averages a line of pixels over its cells."""
    cell = np.arange(side) * CELLS // side
    members = (cell == np.arange(CELLS)[:, None]).astype(np.float32)
    return jnp.asarray(members / members.sum(axis=1, keepdims=True))
