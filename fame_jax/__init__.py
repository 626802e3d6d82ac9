"""FAME in JAX: which pixels of an image would have to change for the network to change its mind?

`import fame_jax` needs jax, jaxtyping and optax only; networks, metrics, plots and data are imported when first used.
What `__all__` lists is meant to stay; everything else is provisional until 1.0.
"""

import importlib
from typing import TYPE_CHECKING, Any

from fame_jax import image, losses
from fame_jax.core import Explanation, attribution, explain
from fame_jax.losses import (
    absolute_class_logit,
    class_evidence,
    class_logit,
    cosine,
    dissimilarity,
    feature_activation,
    pair_evidence,
    similarity,
    similarity_free_norm,
)
from fame_jax.network import Network, NetworkError, Picked, Split
from fame_jax.options import OptionError
from fame_jax.presets import PRESETS
from fame_jax.walk import Perturbation, Status, lots, perturb

if TYPE_CHECKING:
    from fame_jax import batching, bridges, data, explainers, metrics, models, plots
    from fame_jax.experiments.reading import read
    from fame_jax.explainers import EXPLAINERS, image_key
    from fame_jax.many import explain_many
    from fame_jax.metrics.table import METRICS

__version__ = "0.2.0"

__all__ = [
    "EXPLAINERS",
    "METRICS",
    "PRESETS",
    "Explanation",
    "Network",
    "NetworkError",
    "OptionError",
    "Perturbation",
    "Picked",
    "Split",
    "Status",
    "absolute_class_logit",
    "attribution",
    "batching",
    "bridges",
    "class_evidence",
    "class_logit",
    "cosine",
    "data",
    "dissimilarity",
    "explain",
    "explain_many",
    "explainers",
    "feature_activation",
    "image",
    "image_key",
    "losses",
    "lots",
    "metrics",
    "models",
    "pair_evidence",
    "perturb",
    "plots",
    "read",
    "similarity",
    "similarity_free_norm",
]

_ROOMS = {
    *("batching", "bridges", "data", "datasets", "detection", "engine"),
    *("explainers", "metrics", "models", "onnx", "plots"),
}

# Names that live in a room, and which.
_IN = {
    "EXPLAINERS": "explainers",
    "METRICS": "metrics.table",
    "explain_many": "many",
    "image_key": "explainers",
    "read": "experiments.reading",
}


def __getattr__(name: str) -> Any:
    """Rooms with requirements of their own are imported on first use."""
    if name in _ROOMS:
        return importlib.import_module(f"fame_jax.{name}")
    if name in _IN:
        return getattr(importlib.import_module(f"fame_jax.{_IN[name]}"), name)
    raise AttributeError(f"module 'fame_jax' has no attribute {name!r}")
