"""Ported networks: `load` one by name. Each takes one RGB image in [0, 1] and has `features` and `head`."""

from fame_jax.architectures.fold import Folding, fold_batch_norm
from fame_jax.architectures.precision import Precision, PrecisionError, image_dtype, with_precision
from fame_jax.architectures.standardized import Standardized
from fame_jax.models.checkpoint import CheckpointError
from fame_jax.models.load import WeightsNotFoundError, home, installed, load, weights_hash
from fame_jax.models.registry import REGISTRY, Entry, UnknownNetworkError, abstract, build, entry, parameter_count

__all__ = [
    "REGISTRY",
    "CheckpointError",
    "Entry",
    "Folding",
    "Precision",
    "PrecisionError",
    "Standardized",
    "UnknownNetworkError",
    "WeightsNotFoundError",
    "abstract",
    "build",
    "entry",
    "fold_batch_norm",
    "home",
    "image_dtype",
    "installed",
    "load",
    "parameter_count",
    "weights_hash",
    "with_precision",
]
