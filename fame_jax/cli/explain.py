"""`fame explain`: photographs in; maps, pictures and a manifest out."""

import pathlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from fame_jax import models, plots
from fame_jax.batching import perturb_many
from fame_jax.cli import output
from fame_jax.cli.console import InputError, Number, progress_bar, say, say_error, switch_on
from fame_jax.core import Status, attribution, split_options
from fame_jax.data.classes import class_names, resolve_class
from fame_jax.data.images import ImageError, load, sample_path
from fame_jax.losses import class_logit
from fame_jax.presets import PRESETS


@dataclass(frozen=True)
class Explain:
    """Explain photographs: which pixels would have to change for the network to lose the class?

    For photo.jpg this writes photo.fame.png (photograph, map, overlay), photo.fame.npz (the arrays) and one
    manifest.json. Without a photograph, a cat is explained.
    """

    images: Annotated[tuple[pathlib.Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="[IMAGE ...]")] = ()
    """Photographs: JPEG, PNG, WebP, TIFF, BMP or GIF, of any size."""
    model: str = "mobilenet_v2"
    """Network; fame models lists them."""
    weights: pathlib.Path | None = None
    """A converted folder or the publisher's own file, instead of what is installed."""
    target: str | None = None
    """Class to explain: an index, a name, or a part of one that is unambiguous ("egyptian"). Omitted: the top class."""
    preset: Literal["paper", "official"] = "paper"
    """The paper's choices, or those of the authors' published code."""
    iterations: int = 500
    """Number of steps."""
    step_size: Number = 1 / 255
    """Largest change of a pixel in one step; 1/255 is one grey level."""
    sigma: Number = 7.7
    """Standard deviation of the map's blur, in pixels."""
    precision: models.Precision = "float32"
    """Maps in float64 agree between machines, batch sizes and libraries; the others are faster."""
    batch_size: int | None = None
    """Photographs at a time. Omitted: 4 on CPU, 64 elsewhere."""
    out: pathlib.Path = pathlib.Path("fame-out")
    """Folder for the results."""
    progress: bool = True
    """Show a progress bar."""

    def __call__(self) -> int:
        """Runs the command; returns 2 if a photograph could not be explained, else 0."""
        self._check()
        switch_on(self.precision)
        card = models.entry(self.model)
        if card.task != "class":
            raise InputError(f"--model {self.model} is a face network: use fame verify.")
        target = None if self.target is None else resolve_class(self.target, class_names())
        network = models.load(self.model, self.weights, precision=self.precision)
        output.output_folder(self.out)
        job = _Job(self, card, network, target)
        photos = job.inspect(self.images or (sample_path("cat"),))
        try:
            job.explain(photos)
        finally:
            output.write_json(self.out / "manifest.json", job.manifest())
        print(f"{len(job.done)} explained, {len(job.failed)} failed; results are in {self.out}")
        return 2 if job.failed else 0

    def _check(self) -> None:
        for name, least in (("iterations", 0), ("batch_size", 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise InputError(f"--{name.replace('_', '-')} {value}: expected {least} or more.")
        for name in ("step_size", "sigma"):
            value = getattr(self, name)
            if not 0 < value < float("inf"):
                raise InputError(f"--{name.replace('_', '-')} {value}: expected a number above 0.")


@dataclass(frozen=True)
class _Photo:
    """One readable photograph and what the network says of it."""

    path: pathlib.Path
    stem: str
    predicted: int
    probability: float
    target: int


class _Job:
    """One run of the command: what is explained, what is done, what failed."""

    def __init__(self, options: Explain, card: models.Entry, network: Any, target: int | None):
        self.options = options
        self.card = card
        self.network = network
        self.target = target
        self.dtype = models.image_dtype(options.precision)
        self.done: list[dict[str, Any]] = []
        self.failed: list[dict[str, Any]] = []

    def inspect(self, paths: tuple[pathlib.Path, ...]) -> list[_Photo]:
        """Reads every photograph once, so that a bad one is reported before the long work."""
        photos = []
        for path, stem in zip(paths, output.distinct_stems(paths), strict=True):
            image = self._load(path)
            if image is not None:
                logits = np.asarray(_logits(self.network, image), np.float64)
                top = int(np.argmax(logits))
                probability = float(1 / np.sum(np.exp(logits - logits[top])))
                photos.append(_Photo(path, stem, top, probability, top if self.target is None else self.target))
        return photos

    def explain(self, photos: list[_Photo]) -> None:
        """Walks all photographs and writes each result as soon as it is there."""
        rules, of_map = split_options(
            {"iterations": self.options.iterations, "step_size": self.options.step_size, "sigma": self.options.sigma}
            | PRESETS[self.options.preset]["classification"]
        )
        size = self.options.batch_size or (4 if jax.default_backend() == "cpu" else 64)
        started: list[tuple[_Photo, jax.Array, float]] = []

        def examples() -> Iterator[tuple[jax.Array, tuple[jax.Array]]]:
            for photo in photos:
                image = self._load(photo.path)
                if image is not None:
                    started.append((photo, image, time.perf_counter()))
                    yield image, (jnp.int32(photo.target),)

        with progress_bar(len(photos) * self.options.iterations, "step", hide=not self.options.progress) as bar:
            walks = perturb_many(
                class_logit,
                examples(),
                self.network,
                batch_size=max(1, min(size, len(photos))),
                progress=bar.update,
                **rules,
            )
            for index, walk in walks:
                photo, image, start = started[index]
                seconds = time.perf_counter() - start
                self._finish(photo, image, walk, attribution(image, walk.perturbed, **of_map), seconds)

    def _load(self, path: pathlib.Path) -> jax.Array | None:
        try:
            return jnp.asarray(load(path, self.card.resize, self.card.size), self.dtype)
        except ImageError as error:
            say_error(error)
            self.failed.append({"path": str(path), "error": str(error)})
            return None

    def _finish(self, photo: _Photo, image: jax.Array, walk: Any, map: jax.Array, seconds: float) -> None:
        names = class_names()
        status = Status(int(walk.status)).message
        figure = plots.explanation(
            image, map, title=f"{photo.path.name}: {names[photo.target]} (FAME, {int(walk.steps)} steps, {status})"
        )
        output.write_arrays(
            self.options.out / f"{photo.stem}.fame.npz",
            image=np.asarray(image, np.float32),
            attribution=np.asarray(map, np.float32),
            target=photo.target,
            steps=walk.steps,
            first_loss=walk.first_loss,
            last_loss=walk.last_loss,
            status=status,
        )
        output.write_figure(self.options.out / f"{photo.stem}.fame.png", figure)
        record = {
            "path": str(photo.path),
            "sha256": output.sha256(photo.path),
            "result": f"{photo.stem}.fame",
            "predicted": photo.predicted,
            "predicted_name": names[photo.predicted],
            "probability": photo.probability,
            "target": photo.target,
            "target_name": names[photo.target],
            "first_loss": float(walk.first_loss),
            "last_loss": float(walk.last_loss),
            "steps": int(walk.steps),
            "status": status,
            "seconds": round(seconds, 3),
        }
        self.done.append(record)
        say(
            f"{photo.path.name}: {record['predicted_name']} ({photo.probability:.0%}); explained {record['target_name']} "
            f"({photo.target}), logit {record['first_loss']:.2f} -> {record['last_loss']:.2f}, {record['steps']} steps, "
            f"{seconds:.1f} s, {status}"
        )

    def manifest(self) -> dict[str, Any]:
        """What was run, on what, with what, and how each photograph went."""
        kept = ("target", "preset", "iterations", "step_size", "sigma", "precision", "batch_size")
        return {
            "command": "explain",
            "method": "fame",
            "network": self.options.model,
            "weights_sha256": models.weights_hash(self.options.model, self.options.weights),
            "options": {name: getattr(self.options, name) for name in kept},
            **output.environment(),
            "inputs": self.done + self.failed,
        }


@jax.jit
def _logits(network: Any, image: jax.Array) -> jax.Array:
    return network(image)
