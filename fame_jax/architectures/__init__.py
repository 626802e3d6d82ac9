"""Ported architectures, as Flax modules of one image, and the layers they are made of. They know nothing of files."""

from fame_jax.architectures.fold import Folding, fold_batch_norm
from fame_jax.architectures.precision import Precision, PrecisionError, image_dtype, precision_of, with_precision
from fame_jax.architectures.standardized import Standardized
from fame_jax.architectures.table import (
    ARCHITECTURES,
    Architecture,
    UnknownArchitectureError,
    abstract,
    architecture,
    build,
)

__all__ = [
    "ARCHITECTURES",
    "Architecture",
    "Folding",
    "Precision",
    "PrecisionError",
    "Standardized",
    "UnknownArchitectureError",
    "abstract",
    "architecture",
    "build",
    "fold_batch_norm",
    "image_dtype",
    "precision_of",
    "with_precision",
]
