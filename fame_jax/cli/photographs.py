"""The work of `fame explain`: every photograph through every method, each result written as soon as it is there."""

import pathlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from fame_jax import files, models, plots
from fame_jax.architectures.probes import Probed
from fame_jax.batching import perturb_many
from fame_jax.cli import output
from fame_jax.cli.console import progress_bar, say, say_error
from fame_jax.core import attribution, split_options
from fame_jax.data.classes import class_names
from fame_jax.data.images import ImageError, load
from fame_jax.explainers.table import explainer
from fame_jax.losses import class_logit
from fame_jax.metrics.evenness import remark
from fame_jax.metrics.sanity import similarity
from fame_jax.presets import AUTO_STOP, PRESETS
from fame_jax.walk import Status


@dataclass(frozen=True)
class Settings:
    """What decides the numbers."""

    preset: Literal["paper", "official"]
    iterations: int
    stop: Literal["off", "auto"]
    step_size: float
    sigma: float
    precision: models.Precision
    batch_size: int | None
    seed: int


class Photo(NamedTuple):
    """One readable photograph and what the network says of it."""

    path: pathlib.Path
    stem: str
    predicted: int
    probability: float
    target: int
    logit: float


class Outcome(NamedTuple):
    """A map and how it came about; `steps` is 0 and `last_loss` NaN for methods that do not walk."""

    attribution: np.ndarray
    steps: int
    first_loss: float
    last_loss: float
    status: str
    seconds: float


class Photographs:
    """One run of the command: what is explained, what is done, what failed."""

    def __init__(
        self,
        card: models.Card,
        network: Any,
        settings: Settings,
        folder: pathlib.Path,
        *,
        target: int | None,
        show_progress: bool,
    ):
        """A run into a folder; `target` None explains the top class of each photograph."""
        self.card, self.network, self.settings, self.folder = card, network, settings, folder
        self.target, self.show_progress = target, show_progress
        self.dtype = models.image_dtype(settings.precision)
        self.photos: list[Photo] = []
        self.done: list[dict[str, Any]] = []
        self.failed: list[dict[str, Any]] = []

    def inspect(self, paths: tuple[pathlib.Path, ...]) -> None:
        """Reads every photograph once, so that a bad one is reported before the long work."""
        with progress_bar(len(paths), "photograph", hide=not self.show_progress) as bar:
            for path, stem in zip(paths, output.distinct_stems(paths), strict=True):
                image = self._load(path)
                if image is not None:
                    logits = np.asarray(_logits(self.network, image), np.float64)
                    top = int(np.argmax(logits))
                    probability = float(1 / np.sum(np.exp(logits - logits[top])))
                    target = top if self.target is None else self.target
                    self.photos.append(Photo(path, stem, top, probability, target, float(logits[target])))
                bar.update()

    def explain(self, method: str) -> None:
        """One method over all photographs."""
        for photo, image, outcome in self._outcomes(method, self.network):
            self._finish(method, photo, image, outcome)

    def check(self, method: str, network: Any) -> None:
        """How alike the maps of one method are to those of another network, one of random weights: they should not be.

        Adebayo et al., "Sanity Checks for Saliency Maps", NeurIPS 2018, all layers at once.
        """
        entries = {entry["result"]: entry for entry in self.done}
        for photo, _, outcome in self._outcomes(method, network):
            result = f"{photo.stem}.{method}"
            with np.load(self.folder / f"{result}.npz") as arrays:
                alike = similarity(arrays["attribution"], outcome.attribution)
            numbers = {name: files.number(value) for name, value in alike._asdict().items()}
            entries[result]["randomised_network"] = {**numbers, "status": outcome.status}
            say(
                f"{photo.path.name}: {explainer(method).title} with random weights ({outcome.status}), "
                f"rank correlation {alike.spearman:.2f}, SSIM {alike.ssim:.2f}"
            )

    def compare(self, methods: list[str]) -> None:
        """A sheet of all methods for each photograph, where there are several."""
        if len(methods) < 2:
            return
        titles = {method: explainer(method).title for method in methods}
        for photo in self.photos:
            files = [self.folder / f"{photo.stem}.{method}.npz" for method in methods]
            arrays = [dict(np.load(file)) for file in files if file.is_file()]
            if len(arrays) == len(methods):
                maps = {title: [a["attribution"]] for title, a in zip(titles.values(), arrays, strict=True)}
                figure = plots.method_grid([arrays[0]["image"]], maps)
                output.write_figure(self.folder / f"{photo.stem}.methods.png", figure)

    def _outcomes(self, method: str, network: Any) -> Iterator[tuple[Photo, jax.Array, Outcome]]:
        if not self.photos:
            return iter(())
        return self._walked(network) if method == "fame" else self._mapped(method, network)

    def _walked(self, network: Any) -> Iterator[tuple[Photo, jax.Array, Outcome]]:
        """FAME, several photographs at a time."""
        settings = self.settings
        rules, of_map = split_options(
            {"iterations": settings.iterations, "step_size": settings.step_size, "sigma": settings.sigma}
            | dict(PRESETS[settings.preset]["classification"])
            | dict(AUTO_STOP if settings.stop == "auto" else {})
        )
        started: list[tuple[Photo, jax.Array]] = []
        taken, start = 0, time.perf_counter()

        def examples() -> Iterator[tuple[jax.Array, tuple[jax.Array]]]:
            for photo in self.photos:
                image = self._load(photo.path)
                if image is not None:
                    started.append((photo, image))
                    yield image, (jnp.int32(photo.target),)

        with progress_bar(len(self.photos) * settings.iterations, "step", hide=not self.show_progress) as bar:

            def progress(steps: int) -> None:
                nonlocal taken
                taken += steps
                bar.update(steps)

            walks = perturb_many(
                class_logit,
                examples(),
                network,
                batch_size=None if settings.batch_size is None else min(settings.batch_size, len(self.photos)),
                in_order=False,
                count=len(self.photos),
                progress=progress,
                **rules,
            )
            for index, walk in walks:
                photo, image = started[index]
                map = np.asarray(attribution(image, walk.perturbed, **of_map), np.float32)
                status = Status(int(walk.status)).message
                # Its share: walks that go on at once have their time in common.
                seconds = (time.perf_counter() - start) * settings.iterations / max(taken, 1)
                losses = float(walk.first_loss), float(walk.last_loss)
                yield photo, image, Outcome(map, int(walk.steps), *losses, status, seconds)

    def _mapped(self, method: str, network: Any) -> Iterator[tuple[Photo, jax.Array, Outcome]]:
        """A method without a walk, one photograph at a time: most are done in a few passes."""
        row = explainer(method)
        network = Probed(network) if "probes" in row.needs else network
        key = jax.random.key(self.settings.seed)
        one = jax.jit(lambda network, image, label, key: row.explain(network, image, label, key=key))
        with progress_bar(len(self.photos), f"photograph ({method})", hide=not self.show_progress) as bar:
            for photo in self.photos:
                image = self._load(photo.path)
                if image is None:
                    continue
                start = time.perf_counter()
                map = np.asarray(one(network, image, photo.target, key), np.float32)
                status = "not finite" if not np.isfinite(map).all() else "ok" if map.any() else "blank map"
                yield photo, image, Outcome(map, 0, photo.logit, np.nan, status, time.perf_counter() - start)
                bar.update()

    def _load(self, path: pathlib.Path) -> jax.Array | None:
        try:
            return jnp.asarray(load(path, self.card.resize, self.card.size), self.dtype)
        except ImageError as error:
            say_error(error)
            self.failed.append({"path": files.readable(str(path)), "error": files.readable(str(error))})
            return None

    def _finish(self, method: str, photo: Photo, image: jax.Array, outcome: Outcome) -> None:
        """Writes one result and says so."""
        names, title, noted = class_names(), explainer(method).title, remark(outcome.attribution)
        shown, result = np.asarray(image, np.float32), f"{photo.stem}.{method}"
        walked = f", {outcome.steps} steps" if method == "fame" else ""
        output.write_arrays(
            self.folder / f"{result}.npz",
            image=shown,
            attribution=outcome.attribution,
            target=photo.target,
            steps=outcome.steps,
            first_loss=outcome.first_loss,
            last_loss=outcome.last_loss,
            status=outcome.status,
        )
        heading = f"{files.readable(photo.path.name)}: {names[photo.target]} ({title}{walked}, {outcome.status})"
        output.write_figure(self.folder / f"{result}.png", plots.explanation(shown, outcome.attribution, title=heading))
        self.done.append(
            {
                "path": files.readable(str(photo.path)),
                "sha256": files.sha256(photo.path),
                "method": method,
                "result": result,
                "predicted": photo.predicted,
                "predicted_name": names[photo.predicted],
                "probability": files.number(photo.probability),
                "target": photo.target,
                "target_name": names[photo.target],
                "first_loss": files.number(outcome.first_loss),
                "last_loss": files.number(outcome.last_loss),
                "steps": outcome.steps,
                "status": outcome.status,
                "remark": noted.words,
                "seconds": round(outcome.seconds, 3),
            }
        )
        logit = f"logit {outcome.first_loss:.2f}" + (f" -> {outcome.last_loss:.2f}" if walked else "")
        say(
            f"{photo.path.name}: {names[photo.predicted]} ({photo.probability:.0%}); {title} of {names[photo.target]} "
            f"({photo.target}), {logit}{walked}, {outcome.seconds:.1f} s, {noted.beside(outcome.status)}"
        )


@jax.jit
def _logits(network: Any, image: jax.Array) -> jax.Array:
    return network(image)
