"""`fame convert`: a publisher's or trainer's file becomes an installed network."""

import pathlib
from dataclasses import dataclass, field, replace
from typing import Annotated, Literal

import tyro

from fame_jax import architectures, models
from fame_jax.cli.console import InputError
from fame_jax.cli.flags import Flat
from fame_jax.cli.graphs import GraphFlags

_OF_GRAPHS = ("--task", "--features", "--grid", "--output", "--decoding", "--anchors")


@dataclass(frozen=True)
class Convert:
    """Convert weights (.pth, .ckpt, .safetensors, .onnx) and install them. Needs no torch.

    A published network needs its name and the file. A network of your own (fine-tuned, trained from scratch) gets a
    --name; the number of its outputs is the file's, and what is not said is as in the published network.

    Any ONNX graph is a network by itself: fame convert onnx FILE --name mine --preset-input torchvision. It is kept as
    it is, with what you say of it.
    """

    model: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="ARCHITECTURE")]
    """Architecture, by the name of the published network; fame models lists them. Or onnx, for any graph."""
    checkpoint: Annotated[pathlib.Path, tyro.conf.Positional, tyro.conf.arg(metavar="FILE")]
    """The file; for sharded safetensors the index or the folder."""
    name: str | None = None
    """Install under this name, for fame explain --model NAME. Omitted: the published network's."""
    graph: Flat[GraphFlags] = field(default_factory=GraphFlags)
    resize: int | None = None
    """Short side before the centre crop."""
    rgb: bool = False
    """The weights take red, green, blue; without --bgr and --rgb, what the published ones take."""
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
        if self.graph.bgr and self.rgb:
            raise InputError("--bgr --rgb: expected one of them.")
        card = self._of_graph() if self.model == "onnx" else self._card()
        folder = models.install(
            card or self.model, self.checkpoint, self.out, key=self.key, sha256=self.sha256 or "", form=self.format
        )
        found = models.about(folder)
        print(f"{found.card.name}: {self.checkpoint.name} converted to {folder}")
        if found.verified != "sha256":
            print(f"{models.words_of(found.verified)} The file's SHA-256 is {found.card.sha256}.")
        return 0

    def _of_graph(self) -> models.Card:
        """The card of an ONNX file."""
        if self.name is None:
            raise InputError("--name: an ONNX file needs one, for fame explain --model NAME.")
        if self.key or self.format != "orbax":
            raise InputError("--key, --format: an ONNX file is kept as it is.")
        models.check_own_name(self.name)
        card = self.graph.card(self.checkpoint, None, self.name, self.resize)
        if self.resize is not None and card.task != "class":
            raise InputError("--resize: photographs are cropped for classifiers alone; give --size.")
        return replace(card, reverse_channels=False) if self.rgb else card

    def _card(self) -> models.Card | None:
        """The card of a network of one's own; None for the published one."""
        architectures.architecture(self.model)
        if of_graphs := sorted({*_OF_GRAPHS}.intersection(self.graph.given())):
            raise InputError(f"{of_graphs[0]}: is for ONNX graphs, as in fame convert onnx FILE.")
        changes = {
            "name": self.name,
            "labels": self.graph.names(),
            "size": self.graph.size,
            "resize": self.resize,
            "score": self.graph.score,
            **self.graph.pixels(),
            **({"reverse_channels": False} if self.rgb else {}),
        }
        changes = {name: value for name, value in changes.items() if value is not None}
        if not changes:
            return None
        if self.name is None:
            given = ", ".join("--bgr or --rgb" if name == "reverse_channels" else f"--{name}" for name in changes)
            raise InputError(f"{given}: a network other than the published one needs a --name of its own.")
        models.check_own_name(self.name)
        published = models.card(self.model)
        size = self.graph.size or published.size
        usual = {"labels": None, "source": "own", "licence": "", "size": size}
        usual["resize"] = size if published.task == "face" else round(size * published.resize / published.size)
        return replace(published, **(usual | changes))
