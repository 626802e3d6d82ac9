"""`python -m weight_conversion ARCHITECTURE CHECKPOINT`: the evidence that a publisher's file is converted rightly."""

import argparse
import pathlib
import sys
from collections.abc import Sequence

from fame_jax.words import columns
from weight_conversion import NAMES, convert_file, sha256


def main(arguments: Sequence[str] | None = None) -> int:
    """Converts and prints the evidence; 2 and one line on standard error if that is not possible."""
    parser = argparse.ArgumentParser(
        prog="python -m weight_conversion",
        description="Convert a checkpoint (.pth, .ckpt, .safetensors, .onnx) in memory and print every layer, its "
        "source key, shape and checksum. `fame convert` installs one, `fame parity` compares it with torch.",
    )
    parser.add_argument("architecture", metavar="ARCHITECTURE", help=f"one of {', '.join(NAMES)}")
    parser.add_argument("checkpoint", metavar="CHECKPOINT", type=pathlib.Path, help="the publisher's file")
    options = parser.parse_args(arguments)
    name, file = options.architecture, options.checkpoint
    try:
        rows = convert_file(name, file).rows
        print(f"{file.name}: sha256 {sha256(file)}")
        cells = [(row.layer, row.source, "x".join(map(str, row.shape)), row.sha256) for row in rows]
        print(columns([("layer", "source", "shape", "sha256"), *cells]))
        print(f"fame parity {name} {file} compares the network with its torch twin, layer by layer.")
    except (ValueError, OSError, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
