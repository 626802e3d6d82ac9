"""Ported architectures, as Flax modules of one image, and the layers they are made of. They know nothing of files."""

from fame_jax.architectures.fold import Folding, fold_batch_norm
from fame_jax.architectures.precision import Precision, PrecisionError, image_dtype, with_precision
from fame_jax.architectures.standardized import Standardized

__all__ = [
    "Folding",
    "Precision",
    "PrecisionError",
    "Standardized",
    "fold_batch_norm",
    "image_dtype",
    "with_precision",
]
