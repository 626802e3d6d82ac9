"""The flags that say of an ONNX file what the file does not."""

import pathlib
import re
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

from fame_jax import files
from fame_jax.cli.console import InputError, say_error
from fame_jax.data.classes import class_names
from fame_jax.models.anchors import Anchors
from fame_jax.models.card import Card, Decoding
from fame_jax.models.labels import read_labels
from fame_jax.models.load import card_of_file

_FACE = 112
"""Side of an aligned face, pixels."""
_CROPPED = 224 / 256
"""Side of the central crop over the short side of a photograph, where nothing is said: torchvision's."""


@dataclass(frozen=True)
class GraphFlags:
    """What no ONNX file says of itself; of any other network a card does."""

    preset_input: str | None = None
    """Pixels that it takes: torchvision, timm, timm_half, insightface, opencv_sface, opencv_yunet; unit or levels (0 to
    255), levels_bgr for graphs that normalise by themselves."""
    mean: tuple[float, float, float] | None = None
    """Mean of red, green and blue in [0, 1], which was subtracted in training; with --std, in place of a preset."""
    std: tuple[float, float, float] | None = None
    """Standard deviation of red, green and blue."""
    bgr: bool = False
    """The network takes blue, green, red."""
    size: int | None = None
    """Side of the square input in pixels. Omitted: the file's; 112 for faces."""
    task: Literal["class", "face", "detect"] | None = None
    """What the network does. Omitted: what the command explains, or the preset is for."""
    features: str | None = None
    """Tensor that is the feature map; fame inspect lists candidates. Omitted: the last map on the way."""
    grid: str | None = None
    """Rows and columns of the tokens of --features, where it is no map: 14x14, or 1+14x14 behind a class token; fame
    inspect proposes it."""
    output: str | None = None
    """Tensor with the logits or the embedding; of a detector several, with commas between. Omitted: the file's."""
    labels: str | None = None
    """Names of the outputs, or of a detector's classes: a file with one a line, a JSON list or map, or a config.json;
    or imagenet. Omitted: numbers."""
    score: Literal["softmax", "sigmoid", "logit"] | None = None
    """What an output means: one of classes that exclude each other, yes or no by itself, or no probability."""
    decoding: Decoding | None = None
    """What the outputs of a detector mean: yolo from v8 on (boxes and class scores), yolo_objectness up to v7, detr
    (logits, and boxes as shares of the image), ssd, retinanet and fcos (logits, and boxes relative to --anchors),
    yunet."""
    anchors: str | None = None
    """What boxes are relative to: a .json file with a list of boxes or the rule that makes them, or the tensor of the
    graph that holds them. Omitted: those of torchvision's network of that name."""

    def given(self) -> list[str]:
        """The flags that were given."""
        return [_flag(name) for name in self._told()]

    def _told(self) -> list[str]:
        return [field.name for field in fields(self) if getattr(self, field.name) != field.default]

    def words(self) -> list[str]:
        """The flags that were given with their values, as a command takes them from any folder."""
        found = []
        for name in self._told():
            value = getattr(self, name)
            values = () if value is True else value if isinstance(value, tuple) else (value,)
            found += [_flag(name), *map(_anywhere, values)]
        return found

    def pixels(self) -> dict[str, Any]:
        """Mean, standard deviation and order of the channels as a card has them, as far as they are told."""
        found: dict[str, Any] = {}
        if self.preset_input is not None:
            from fame_jax.onnx import PHOTOMETRY

            if self.preset_input not in PHOTOMETRY:
                raise InputError(f"--preset-input {self.preset_input}: expected one of {', '.join(PHOTOMETRY)}.")
            preset = PHOTOMETRY[self.preset_input]
            found = {name: _three(getattr(preset, name), preset.scale) for name in ("mean", "std")}
            found["reverse_channels"] = preset.reverse_channels
        given = {"mean": self.mean, "std": self.std, "reverse_channels": self.bgr or None}
        return found | {name: value for name, value in given.items() if value is not None}

    def names(self) -> tuple[str, ...] | None:
        """The names of the outputs."""
        if self.labels is None:
            return None
        return class_names() if self.labels == "imagenet" else read_labels(self.labels)

    def tokens(self) -> tuple[tuple[int, int] | None, int]:
        """The grid of the feature map's tokens, and how many stand in front of it."""
        if self.grid is None:
            return None, 0
        found = re.fullmatch(r"(?:(\d{1,4})\+)?(\d{1,4})x(\d{1,4})", self.grid)
        if found is None or self.features is None:
            raise InputError(f"--grid {self.grid}: expected 14x14 or 1+14x14, and --features with the tensor it is of.")
        before, rows, columns = (int(number or 0) for number in found.groups())
        return (rows, columns), before

    def boxes(self) -> Anchors | None:
        """What the boxes of a detector are relative to, where it is told."""
        if self.anchors is None:
            return None
        if not self.anchors.endswith(".json"):
            return Anchors(tensor=self.anchors)
        try:
            return Anchors.from_json(files.read_json(pathlib.Path(self.anchors)))
        except (OSError, ValueError) as error:
            raise InputError(f"--anchors {self.anchors}: {error}") from error

    def card_for(self, name: str, task: str | None) -> Card | None:
        """The card of an ONNX file; None for any other network, which has one.

        Raises:
            InputError: for flags that such a network has no use for; see `card`.
        """
        path, given = pathlib.Path(name), self.given()
        if path.suffix == ".onnx" and not path.exists() and ":" not in name:
            raise InputError(f"{name}: no such file; expected an ONNX file.")
        if path.suffix == ".onnx" and path.is_file() and (given or card_of_file(path) is None):
            return self.card(path, task)
        if given:
            raise InputError(f"{given[0]} is for ONNX files; {name} has a card that says it, see fame models.")
        return None

    def card(self, path: pathlib.Path, task: str | None, name: str | None = None, resize: int | None = None) -> Card:
        """The card of an ONNX file.

        Args:
            path: of the file.
            task: `class`, `face` or `detect`, where neither flag nor preset says it.
            name: of the network; None for the file's.
            resize: short side before the central crop.

        Raises:
            InputError: if the pixels that it expects are not told, or its size is unknown or no square.
            GraphError: for a file that cannot be read.
        """
        from fame_jax.models import graphs
        from fame_jax.onnx import PHOTOMETRY
        from fame_jax.onnx.photometry import FACES, hint

        image, begins = graphs.told(path)
        pixels = self.pixels()
        if not {"mean", "std"} <= pixels.keys():
            raise InputError(
                f"{path}: no ONNX file says which pixels it expects. Give --preset-input, one of "
                f"{', '.join(PHOTOMETRY)}; or --mean and --std, and --bgr if it takes blue first.{hint(begins)}"
            )
        if begins and any(pixels["mean"]):
            say_error(f"{path}:{hint(begins)} What is told is done in front of that.")
        task = self.task or ("detect" if self.decoding else "face" if self.preset_input in FACES else task) or "class"
        rows, columns = (self.size,) * 2 if self.size else image.size
        size = rows or columns or (_FACE if task == "face" else None)
        if size is None or (columns or size) != size:
            stated = "leaves the size open" if size is None else f"takes {rows}x{columns} pixels"
            raise InputError(f"{path}: the graph {stated}; give --size, the side of a square.")
        if task == "face" and size != _FACE:
            raise InputError(f"{path}: the graph takes {size}x{size} pixels; faces are aligned to {_FACE}x{_FACE}.")
        if task == "detect" and self.decoding is None:
            raise InputError(
                f"{path}: --decoding tells what a detector's outputs are: {', '.join(get_args(Decoding))}."
            )
        rows_columns, class_tokens = self.tokens()
        return Card(
            name=name or path.stem,
            task=task,  # type: ignore[arg-type]
            size=size,
            resize=size if task != "class" else resize or round(size / _CROPPED),
            score=self.score or ("softmax" if task == "class" else "logit"),
            labels=self.names(),
            architecture="onnx",
            layer=self.features or "",
            grid=rows_columns,
            class_tokens=class_tokens,
            output=self.output or "",
            decoding=self.decoding,
            anchors=self.boxes(),
            source="own",
            **pixels,
        )


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _anywhere(value: Any) -> str:
    """A value in words; of a file, its path from any folder."""
    return str(pathlib.Path(value).absolute()) if pathlib.Path(str(value)).is_file() else str(value)


def _three(value: float | tuple[float, ...], scale: float) -> tuple[float, ...]:
    """A number for each channel, of pixels in [0, 1]."""
    values = value if isinstance(value, tuple) else (value,) * 3
    return tuple(number / scale for number in values)
