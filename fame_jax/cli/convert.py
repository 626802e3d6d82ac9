"""`fame convert`: a publisher's or trainer's file becomes an installed network."""

import pathlib
import re
from dataclasses import dataclass, replace
from typing import Annotated, Literal

import tyro

from fame_jax import architectures, models
from fame_jax.cli.console import InputError
from fame_jax.models.labels import read_labels


@dataclass(frozen=True)
class Convert:
    """Convert weights (.pth, .ckpt, .safetensors, .onnx) and install them. Needs no torch.

    A published network needs its name and the file. A network of your own (fine-tuned, trained from scratch) gets a
    --name; the number of its outputs is the file's, and what is not said is as in the published network.
    """

    model: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="ARCHITECTURE")]
    """Architecture, by the name of the published network; fame models lists them."""
    checkpoint: Annotated[pathlib.Path, tyro.conf.Positional, tyro.conf.arg(metavar="FILE")]
    """The file; for sharded safetensors the index or the folder."""
    name: str | None = None
    """Install under this name, for fame explain --model NAME. Omitted: the published network's."""
    labels: pathlib.Path | None = None
    """Names of the outputs: one a line, a JSON list or map, or a config.json. Omitted: numbers, or as published."""
    size: int | None = None
    """Side of the square input in pixels."""
    resize: int | None = None
    """Short side before the centre crop."""
    mean: tuple[float, float, float] | None = None
    """Mean of red, green and blue in [0, 1], which was subtracted in training."""
    std: tuple[float, float, float] | None = None
    """Standard deviation of red, green and blue."""
    bgr: bool | None = None
    """The weights take blue, green, red."""
    score: Literal["softmax", "sigmoid", "logit"] | None = None
    """What an output means: one of classes that exclude each other, yes or no by itself, or no probability."""
    key: str | None = None
    """Where in the file the weights are, if several fit: model_ema."""
    sha256: str | None = None
    """What the file's hash has to be."""
    format: Literal["orbax", "safetensors"] = "orbax"
    """Of the installed weights; safetensors is one file, to be shared with network.json beside it."""
    out: pathlib.Path | None = None
    """Folder for the converted weights. Omitted: where fame finds them by the network's name."""

    def __call__(self) -> int:
        """Converts, saves, and says where."""
        if not self.checkpoint.exists():
            raise InputError(f"{self.checkpoint}: no such file; expected the weights of {self.model}.")
        architectures.architecture(self.model)
        card = self._card()
        folder = models.install(
            card or self.model, self.checkpoint, self.out, key=self.key, sha256=self.sha256 or "", form=self.format
        )
        found = models.about(folder)
        print(f"{found.card.name}: {self.checkpoint.name} converted to {folder}")
        if found.verified != "sha256":
            print(f"{models.words_of(found.verified)} The file's SHA-256 is {found.card.sha256}.")
        return 0

    def _card(self) -> models.Card | None:
        """The card of a network of one's own; None for the published one."""
        changes = {
            "name": self.name,
            "labels": read_labels(self.labels) if self.labels else None,
            "size": self.size,
            "resize": self.resize,
            "mean": self.mean,
            "std": self.std,
            "reverse_channels": self.bgr,
            "score": self.score,
        }
        changes = {name: value for name, value in changes.items() if value is not None}
        if not changes:
            return None
        if self.name is None:
            given = ", ".join(f"--{'bgr' if name == 'reverse_channels' else name}" for name in changes)
            raise InputError(f"{given}: a network other than the published one needs a --name of its own.")
        if self.name in models.REGISTRY or not re.fullmatch(r"[\w.+-]+", self.name) or self.name.startswith("."):
            raise InputError(f"--name {self.name}: expected letters, digits and '_-.+', no published network's name.")
        published = models.card(self.model)
        size = self.size or published.size
        usual = {"labels": None, "source": "own", "licence": "", "size": size}
        usual["resize"] = size if published.task == "face" else round(size * published.resize / published.size)
        return replace(published, **(usual | changes))
