"""The flags of commands that explain, each written once and checked in one place."""

import contextlib
import math
import pathlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal

import jax
import tyro

from fame_jax.architectures import Precision, image_dtype
from fame_jax.cli.console import InputError, Number, at_least, positive, say, say_error
from fame_jax.cli.graphs import GraphFlags
from fame_jax.cli.thresholds import Threshold, stored_threshold
from fame_jax.engine import Engine, Method
from fame_jax.experiments.identity import network_identity
from fame_jax.explainers.explainer import WHAT, Explainer, Task, kind_of
from fame_jax.explainers.table import BEST, EXPLAINERS, explainer
from fame_jax.files import parse_json
from fame_jax.identity import IdentityError
from fame_jax.inputs import FaceDetector
from fame_jax.models import Card, Loaded, describe, find
from fame_jax.presets import AUTO_STOP

USUAL = {"class": "mobilenet_v2", "location": "mobilenet_v2", "pair": "sface", "detect": "yunet"}
"""The bundled network of each task."""

OF_CARDS = {"class": "class", "pair": "face", "detect": "detect"}
"""The task on the card of a network that answers a question."""

Flat = tyro.conf.OmitArgPrefixes
"""Flags of a group stand beside the others, without its name."""


@dataclass(frozen=True)
class NetworkFlags:
    """Which network, and how it computes."""

    model: str | None = None
    """Network: a name that fame models lists, a folder of converted weights, a publisher's file, any ONNX file, or one
    of your own as package.module:name or file.py:name. Omitted: mobilenet_v2 for classes, sface for faces, yunet for
    detections."""
    weights: pathlib.Path | None = None
    """A converted folder or the publisher's own file, instead of what is installed of the model."""
    precision: Precision = "float32"
    """Maps in float64 agree between machines, batch sizes and libraries; the others are faster."""
    graph: Flat[GraphFlags] = field(default_factory=GraphFlags)

    @property
    def source(self) -> str:
        """The model as it is found again from any folder; empty for the usual one."""
        name, colon, attribute = (self.model or "").partition(":")
        file = pathlib.Path(name)
        return f"{file.absolute()}{colon}{attribute}" if name and file.exists() else name + colon + attribute

    def given(self) -> bool:
        """Whether a network is told, in whatever way."""
        return self.model is not None or self.weights is not None or bool(self.graph.given())

    def words(self) -> list[str]:
        """What a command is told of the network beside --model, with paths that mean the same in any folder."""
        weights = [] if self.weights is None else ["--weights", str(self.weights.absolute())]
        return weights + self.graph.words()

    def anywhere(self) -> "NetworkFlags":
        """The same flags with paths that mean the same in any folder."""
        weights = None if self.weights is None else self.weights.absolute()
        return replace(self, model=self.source or None, weights=weights)

    def allow_precision(self) -> None:
        """Lets JAX compute in 64 bits where that is asked for."""
        if self.precision == "float64":
            jax.config.update("jax_enable_x64", True)

    def load(self, task: Task | None = None, *, detectors: bool = False) -> Loaded:
        """The network with its card; of a task, if one is given, or also a detector.

        Raises:
            InputError: for a network of another task.
        """
        self.allow_precision()
        name, wanted = self.model or USUAL[task or "class"], OF_CARDS.get(task or "")
        loaded = find(name, self.weights, precision=self.precision, card=self.graph.card_for(name, wanted))
        if task == "detect" and loaded.card.task != "detect":
            raise InputError(f"--model {name} is no detector; expected yunet, or one whose card has task='detect'.")
        if loaded.card.task == "detect" and (task == "detect" or detectors):
            return loaded
        if loaded.card.task == "detect":
            raise InputError(f"--model {name} is a detector: use fame detect, or fame explain --detection.")
        if wanted is not None and loaded.card.task != wanted:
            kind, command = ("face network", "verify") if task == "class" else ("classifier", "explain")
            raise InputError(f"--model {name} is a {kind}: use fame {command}, or fame run with records of that kind.")
        _check(loaded)
        if loaded.card.task == "face" and not loaded.card.sha256:
            # A threshold belongs to just this network.
            with contextlib.suppress(IdentityError):
                return loaded._replace(card=replace(loaded.card, sha256=self._identity(loaded)))
        return loaded

    def _identity(self, loaded: Loaded) -> str:
        """Of a network of one's own, the same in every precision: a threshold is stored for all of them."""
        if self.precision != "float32":
            name = self.model or ""
            loaded = find(name, self.weights, card=self.graph.card_for(name, loaded.card.task))
        return network_identity(loaded.network, loaded.card.name, "float32")

    def about(self, card: Card) -> dict[str, Any]:
        """What a manifest keeps of the network."""
        told: dict[str, Any] = {"card": {**card.to_json(), "labels": None}} if self.graph.given() else {}
        told |= {"network_flags": words} if (words := self.words()) else {}
        return {"network": card.name, "source": self.source, "weights_sha256": card.sha256, **told}


@dataclass(frozen=True)
class MethodFlags:
    """Which methods, with which options."""

    method: Annotated[str, tyro.conf.arg(aliases=["--methods"])] = "fame"
    """An explainer, several with commas between them, "all", or "best": what our measurements favour for the task."""
    preset: Literal["paper", "official"] = "paper"
    """The paper's choices, or those of the authors' published code."""
    iterations: int | None = None
    """Number of steps of a walk, at most. Omitted: the method's own, 500 for FAME."""
    stop: Literal["off", "auto"] = "off"
    """auto ends a walk once its map hardly changes any more: some 40 steps, of classes as faithful as 500
    where we measured, e- of faces a little less."""
    step_size: Number | None = None
    """Largest change of a pixel in one step. Omitted: 1/255, one grey level."""
    sigma: Number | None = None
    """Standard deviation of the blur in pixels, for methods that blur. Omitted: the method's own, 7.7 for FAME."""
    kernel: int | None = None
    """Number of taps of the blur. Omitted: the method's own, 49 for FAME; with --sigma as many as the map allows."""
    option: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """NAME=VALUE, any other option of the methods, once for each: --option masks=1000 --option stop_loss=0.01."""
    seed: int = 0
    """Of the methods that draw random numbers."""
    batch_size: int | None = None
    """Images or walks on the devices at once. Omitted: 1 on CPU, elsewhere up to 64 a device."""

    def rows(self, task: Task) -> list[Explainer]:
        """The methods that are asked for.

        Raises:
            MethodError: for a name that does not exist.
            InputError: for a method of another task.
        """
        able = [row for row in EXPLAINERS.values() if getattr(row, f"of_{kind_of(task)}") is not None]
        if task == "detect":  # How much of a box is still seen has no biases to share it out among.
            able = [row for row in able if "probes" not in row.needs]
        if self.method == "all":
            return able
        names = [name.strip() for name in self.method.split(",")]
        if "best" in names:
            say(f"best is {BEST[task]}")
        rows = [explainer(name, task) for name in names]
        if unable := [row.name for row in rows if row not in able]:
            names = ", ".join(row.name for row in able)
            raise InputError(f"--method {unable[0]} does not explain {WHAT[task]}; expected any of {names}.")
        return list({row.name: row for row in rows}.values())

    def check(self) -> None:
        """Refuses numbers that nothing can be done with."""
        at_least(0, seed=self.seed, **self._given("iterations"))
        at_least(1, **self._given("batch_size", "kernel"))
        positive(**self._given("step_size", "sigma"))

    def options(
        self, rows: list[Explainer], task: Task, card: Card | None = None, threshold: Threshold | None = None
    ) -> dict[str, dict[str, Any]]:
        """By method, the options that were given and that it has.

        Args:
            rows: the methods.
            task: what is explained.
            card: of the network, whose threshold methods of faces may want.
            threshold: of the network, in place of the stored one.

        Raises:
            InputError: for an option that none of the methods has.
        """
        known = {row.name: row.options(task) for row in rows}
        flags = {name: name for name in ("iterations", "step_size", "sigma")} | {"kernel": "kernel_size"}
        given = {flags[name]: value for name, value in self._given(*flags).items()}
        given |= AUTO_STOP if self.stop == "auto" else {}
        for flag, name in {**flags, "stop": "stop_change"}.items():
            if name in given and not any(name in options for options in known.values()):
                raise InputError(f"--{flag.replace('_', '-')} means nothing to {' or '.join(known)}; leave it out.")
        given |= self._named({name for options in known.values() for name in options})
        usual = {}
        if card is not None and card.task == "face":
            threshold = threshold or stored_threshold(card.name, card.sha256)
            usual = {"threshold": threshold.value} if threshold.known else {}
        return {name: {n: v for n, v in (usual | given).items() if n in options} for name, options in known.items()}

    def methods(self, engine: Engine, rows: list[Explainer], card: Card | None = None) -> list[Method]:
        """The methods of an engine, with their options."""
        options = self.options(rows, engine.task, card)
        return [engine.method(row, options[row.name], self.preset, card) for row in rows]

    def engine(self, network: Any, task: Task, precision: Precision) -> Engine:
        """A network at work."""
        return Engine(network, task, dtype=image_dtype(precision), batch_size=self.batch_size, seed=self.seed)

    def _given(self, *names: str) -> dict[str, Any]:
        return {name: value for name in names if (value := getattr(self, name)) is not None}

    def _named(self, known: set[str]) -> dict[str, Any]:
        """The options of `--option`."""
        options = {}
        for text in self.option:
            name, equals, value = text.partition("=")
            name = name.strip().replace("-", "_")
            if not equals or name not in known:
                raise InputError(f"--option {text}: expected NAME=VALUE, NAME being one of {', '.join(sorted(known))}.")
            options[name] = _value(value)
        return options


@dataclass(frozen=True)
class SizeFlags:
    """How photographs become pixels."""

    resize: int | None = None
    """Short side of a photograph before the central crop; of a detector the longer side, at most. Omitted: the rule of
    the network's card, 640 for yunet; 232 is the paper's protocol, for all classifiers alike."""


@dataclass(frozen=True)
class InputFlags(SizeFlags):
    """How pictures become pixels, faces included."""

    aligned: bool = False
    """The faces are aligned: take them as they are."""
    detector: FaceDetector = "opencv"
    """What finds faces: YuNet by OpenCV, or by this library, on the device and without OpenCV."""


def _check(loaded: Loaded) -> None:
    """Refuses a network of one's own that does not return what its card says for a photograph."""
    card = loaded.card
    if len(card.mean) != 3:
        raise InputError(
            f"{card.name}: its card has {len(card.mean)} channels, and photographs have three: let the network turn "
            "them into its own, and give mean and std three numbers."
        )
    if not card.architecture:
        describe(loaded.network, card)


@dataclass(frozen=True)
class EngineFlags:
    """Who computes."""

    engine: Literal["process", "ray"] = "process"
    """ray has the blocks computed by the machines of a Ray cluster, which may come and go meanwhile."""
    address: str | None = None
    """Of the Ray cluster. Omitted: the one that this machine belongs to, or this machine alone."""
    workers: int | None = None
    """Ray workers at the most. Omitted: one a GPU, or else one a machine."""

    def check(self) -> None:
        """Refuses what does not fit together; the accelerators are left to the workers."""
        if self.workers is not None:
            at_least(1, workers=self.workers)
        if self.engine == "ray":
            jax.config.update("jax_platforms", "cpu")
        elif self.address is not None or self.workers is not None:
            raise InputError("--address and --workers are those of --engine ray; add it.")

    @contextlib.contextmanager
    def cluster(self) -> Iterator[Any]:
        """The cluster; None where this process computes."""
        if self.engine == "process":
            yield None
            return
        from fame_jax.experiments.cluster import cluster

        with cluster(self.address, self.workers, say_error) as found:
            yield found


Out = Annotated[pathlib.Path, tyro.conf.arg(help="Folder for the results.")]
Progress = Annotated[bool, tyro.conf.arg(help="Show a progress bar.")]


def _value(text: str) -> Any:
    """A number, true, false, null or a list as in JSON; anything else is a word."""
    try:
        value = parse_json(text)
    except ValueError:
        return text.strip()
    if isinstance(value, float) and not math.isfinite(value):
        raise InputError(f"--option: {text} is no finite number.")
    return tuple(value) if isinstance(value, list) else value
