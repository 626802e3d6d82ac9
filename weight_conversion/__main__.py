"""`python -m weight_conversion MODEL CHECKPOINT --out DIR --report`: a publisher's file becomes a folder of weights."""

import argparse
import pathlib
import sys
from collections.abc import Sequence

from fame_jax.models import abstract
from weight_conversion import NAMES, convert, install, read_checkpoint, report, sha256


def main(arguments: Sequence[str] | None = None) -> int:
    """Converts as the command line says; 2 and one line on standard error if that is not possible."""
    parser = argparse.ArgumentParser(
        prog="python -m weight_conversion",
        description="Convert a publisher's weights (.pth, .ckpt, .safetensors, .onnx). Needs no torch.",
    )
    parser.add_argument("model", metavar="MODEL", help="network; `fame models` lists them")
    parser.add_argument("checkpoint", metavar="CHECKPOINT", type=pathlib.Path, help="the publisher's file")
    parser.add_argument("--out", metavar="DIR", type=pathlib.Path, help="folder for the weights; by default fame's own")
    parser.add_argument(
        "--report",
        action="store_true",
        help="print every layer, its source key, shape and checksum, and the differences from the torch twin",
    )
    options = parser.parse_args(arguments)
    try:
        folder = install(options.model, options.checkpoint, options.out)
        if options.report:
            print(_report(options.model, options.checkpoint, folder))
    except (ValueError, OSError, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{options.model}: {options.checkpoint.name} converted to {folder}")
    return 0


def _report(name: str, checkpoint: pathlib.Path, folder: pathlib.Path) -> str:
    """The evidence; the differences are those of the network restored from the folder."""
    rows = convert(abstract(name), read_checkpoint(checkpoint), NAMES[name]).rows
    return "\n".join(
        (
            report.origin(name, checkpoint, sha256(checkpoint)),
            report.table(rows),
            report.parity_lines(name, folder, checkpoint),
        )
    )


if __name__ == "__main__":
    sys.exit(main())
