"""Ported networks: `load` one by name. Each takes one RGB image in [0, 1] and has `features` and `head`."""

from fame_jax.architectures.fold import Folding, fold_batch_norm
from fame_jax.architectures.precision import Precision, PrecisionError, image_dtype, with_precision
from fame_jax.architectures.standardized import Standardized
from fame_jax.models.card import Card, CardError
from fame_jax.models.download import DownloadError, download
from fame_jax.models.install import install
from fame_jax.models.load import WeightsNotFoundError, converted, home, installed, load, weights_hash
from fame_jax.models.registry import (
    REGISTRY,
    Published,
    UnknownNetworkError,
    abstract,
    build,
    card,
    parameter_count,
    published,
)
from weight_conversion import CheckpointError, ConversionError

__all__ = [
    "REGISTRY",
    "Card",
    "CardError",
    "CheckpointError",
    "ConversionError",
    "DownloadError",
    "Folding",
    "Precision",
    "PrecisionError",
    "Published",
    "Standardized",
    "UnknownNetworkError",
    "WeightsNotFoundError",
    "abstract",
    "build",
    "card",
    "converted",
    "download",
    "fold_batch_norm",
    "home",
    "image_dtype",
    "install",
    "installed",
    "load",
    "parameter_count",
    "published",
    "weights_hash",
    "with_precision",
]
