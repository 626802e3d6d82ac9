"""Ported networks: `load` one by name. Each takes one RGB image in [0, 1] and has `features` and `head`."""

from fame_jax.architectures.fold import Folding, fold_batch_norm
from fame_jax.architectures.precision import Precision, PrecisionError, image_dtype, with_precision
from fame_jax.architectures.standardized import Standardized
from fame_jax.models.card import Card, CardError
from fame_jax.models.checkpoint import about, words_of
from fame_jax.models.describe import Description, OutputError, describe
from fame_jax.models.download import DownloadError, download
from fame_jax.models.find import find, load, weights_hash
from fame_jax.models.hub import install_from_hub
from fame_jax.models.install import install
from fame_jax.models.load import Loaded, WeightsNotFoundError, converted, home, installed, installed_names
from fame_jax.models.own import OwnNetworkError
from fame_jax.models.registry import (
    REGISTRY,
    OwnNameError,
    Published,
    UnknownNetworkError,
    abstract,
    build,
    card,
    check_own_name,
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
    "Description",
    "DownloadError",
    "Folding",
    "Loaded",
    "OutputError",
    "OwnNameError",
    "OwnNetworkError",
    "Precision",
    "PrecisionError",
    "Published",
    "Standardized",
    "UnknownNetworkError",
    "WeightsNotFoundError",
    "about",
    "abstract",
    "build",
    "card",
    "check_own_name",
    "converted",
    "describe",
    "download",
    "find",
    "fold_batch_norm",
    "home",
    "image_dtype",
    "install",
    "install_from_hub",
    "installed",
    "installed_names",
    "load",
    "parameter_count",
    "published",
    "weights_hash",
    "with_precision",
    "words_of",
]
