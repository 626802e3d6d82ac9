"""`fame inspect`: what an ONNX file holds, and what has to be told of it."""

import math
import pathlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any

import tyro

from fame_jax.cli.console import at_least
from fame_jax.words import columns

_BEFORE = (0, 1, 2, 5)
"""Tokens in front of a grid's: none, a class token, another for distillation, four registers."""


@dataclass(frozen=True)
class Inspect:
    """Show an ONNX file: inputs, outputs, tensors for --features, operators, and what a command has to be told of it.

    Exits with 2 if an operator is missing here or the graph takes no image.
    """

    file: Annotated[pathlib.Path, tyro.conf.Positional, tyro.conf.arg(metavar="FILE")]
    """The file."""
    size: int | None = None
    """Side of the image, where the file leaves it open. Omitted: 224."""
    candidates: int = 20
    """Tensors for --features that are listed, the last ones."""

    def __call__(self) -> int:
        """Prints what was found."""
        from fame_jax.onnx import inspect

        at_least(1, candidates=self.candidates, **({} if self.size is None else {"size": self.size}))
        found = inspect(self.file, size=None if self.size is None else (self.size, self.size))
        print(columns([*self._rows(found)]))
        maps = [one.name for one in found.candidates if one.channels and max(one.shape[2:]) > 1]
        sides = found.size or (1, 1)
        shown = [
            (c.name, _shape(c.shape), "map" if c.name in maps else _grid(c, sides))
            for c in found.candidates[-self.candidates :]
        ]
        if shown:
            rows = len(found.candidates)
            print(f"\nfor --features, {len(shown)} of {rows} tensors (images of {'x'.join(map(str, sides))} pixels):")
            print(columns(shown))
        print("\n" + "\n".join(_told(self.file, found, maps[-1] if maps else None)))
        return 2 if found.missing or found.problem else 0

    def _rows(self, found: Any) -> Iterator[tuple[str, ...]]:
        yield "file", str(self.file)
        yield "producer", f"{found.producer or 'not named'}, opset {found.opset}"
        for what, tensors in (("input", found.inputs), ("output", found.outputs)):
            for tensor in tensors:
                yield what, f"{tensor.name} {tensor.dtype}{_shape(tensor.shape or ('?',))}"
        yield "parameters", f"{found.parameters:,}"
        yield "operators", ", ".join(f"{name} {count}" for name, count in sorted(found.operators.items()))
        for operator, nodes in found.missing.items():
            yield "missing", f"{operator}: {', '.join(nodes)}"
        if found.problem:
            yield "problem", found.problem


def _told(file: pathlib.Path, found: Any, last_map: str | None) -> Iterator[str]:
    """What a card of the network needs, as flags."""
    from fame_jax.onnx import PHOTOMETRY
    from fame_jax.onnx.photometry import hint

    yield f"to be told, for fame explain --model {file} or fame convert onnx {file} --name NAME:"
    yield f"  --preset-input, one of {', '.join(PHOTOMETRY)}; or --mean and --std.{hint(found.normalises)}"
    if len(found.outputs) > 1:
        yield f"  --output, one of {', '.join(tensor.name for tensor in found.outputs)}, or any tensor"
    shape = (found.inputs[0].shape or ()) if len(found.inputs) == 1 else ()
    if not all(isinstance(n, int) and n > 0 for n in shape[1:]):
        yield "  --size, the side of the image, which the file leaves open"
    yield f"  --features, unless the last map is meant: {last_map or 'none is known, so class activation maps need it'}"
    yield "  --grid, where those are tokens, to put them on a map: what is listed beside them"
    yield "  --labels, names of the outputs; --task face for a face network, --decoding for a detector"


def _grid(candidate: Any, size: tuple[int, int]) -> str:
    """The flag that puts a tensor's tokens on a map of the image's proportions, if they can be; else nothing."""
    tokens = candidate.shape[1] if len(candidate.shape) == 3 and candidate.shape[0] == 1 else 0
    for before in _BEFORE:
        rows = math.isqrt(max(tokens - before, 0) * size[0] // size[1])
        columns = rows * size[1] // size[0]
        if rows > 1 and rows * columns == tokens - before:
            return f"tokens, --grid {before}+{rows}x{columns}" if before else f"tokens, --grid {rows}x{columns}"
    return ""


def _shape(shape: tuple[int | str, ...]) -> str:
    return f"[{', '.join(map(str, shape))}]"
