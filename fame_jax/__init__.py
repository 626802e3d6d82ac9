"""FAME in JAX: which pixels of an image would have to change for the network to change its mind?

`import fame_jax` needs jax, jaxtyping and optax only; networks, metrics, plots and data are imported when first used.
"""

import importlib
from typing import TYPE_CHECKING, Any

from fame_jax import image, losses
from fame_jax.core import Explanation, attribution, explain
from fame_jax.losses import (
    absolute_class_logit,
    class_logit,
    cosine,
    dissimilarity,
    feature_activation,
    similarity,
    similarity_free_norm,
)
from fame_jax.network import Network, Split, pick_output
from fame_jax.presets import PRESETS
from fame_jax.walk import Perturbation, Status, lots, perturb

if TYPE_CHECKING:
    from fame_jax import data, explainers, metrics, models, plots

__version__ = "0.1.0"

__all__ = [
    "PRESETS",
    "Explanation",
    "Network",
    "Perturbation",
    "Split",
    "Status",
    "absolute_class_logit",
    "attribution",
    "class_logit",
    "cosine",
    "data",
    "dissimilarity",
    "explain",
    "explainers",
    "feature_activation",
    "image",
    "losses",
    "lots",
    "metrics",
    "models",
    "perturb",
    "pick_output",
    "plots",
    "similarity",
    "similarity_free_norm",
]

_LAZY = {"data", "explainers", "metrics", "models", "plots"}


def __getattr__(name: str) -> Any:
    """Subpackages with requirements of their own are imported on first use."""
    if name in _LAZY:
        return importlib.import_module(f"fame_jax.{name}")
    raise AttributeError(f"module 'fame_jax' has no attribute {name!r}")
