"""Publishers' checkpoints, read without their libraries and converted strictly: `convert_file` is all in one."""

from weight_conversion.checkpoint_file import read_checkpoint, sha256
from weight_conversion.convert import Conversion, Provenance, convert, convert_file
from weight_conversion.errors import CheckpointError, ConversionError
from weight_conversion.names import NAMES, Names

__all__ = [
    "NAMES",
    "CheckpointError",
    "Conversion",
    "ConversionError",
    "Names",
    "Provenance",
    "convert",
    "convert_file",
    "read_checkpoint",
    "sha256",
]
