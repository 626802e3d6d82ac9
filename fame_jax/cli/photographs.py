"""The work of `fame explain`: every photograph through every method, each result written as soon as it is there."""

import pathlib
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from fame_jax import files, models, plots
from fame_jax.cli import output
from fame_jax.cli.console import say, say_error
from fame_jax.core import Explanation
from fame_jax.data.records import Picture
from fame_jax.engine import Engine, Method, explained
from fame_jax.inputs import Geometry, PictureError, read
from fame_jax.metrics.evenness import remark
from fame_jax.questions import Question, Seen
from fame_jax.scores import scores_of
from fame_jax.walk import Status


class Photograph(NamedTuple):
    """A readable photograph, and the name of its results."""

    path: pathlib.Path
    stem: str
    sha256: str


class Photographs:
    """One run of the command: what is explained, what is done, what failed."""

    def __init__(
        self,
        card: models.Card,
        engine: Engine,
        methods: list[Method],
        geometry: Geometry,
        folder: pathlib.Path,
        *,
        target: int | None,
        random: Any = None,
        boxes: Sequence[list[float]] | None = None,
    ):
        """A run into a folder.

        `target` None explains the top class, `random` is a network for the sanity check, `boxes` are those of
        detections, whose numbers are the targets.
        """
        self.card, self.engine, self.methods, self.geometry, self.folder = card, engine, methods, geometry, folder
        self.target, self._random, self._boxes = target, random, boxes
        self.done: list[dict[str, Any]] = []
        self.failed: list[dict[str, Any]] = []
        self._read: list[Photograph] = []

    def explain(
        self,
        paths: tuple[pathlib.Path, ...],
        progress: Callable[[int], object],
        stems: Sequence[str] | None = None,
        targets: Sequence[int] | None = None,
    ) -> None:
        """Every photograph, by every method; one that cannot be read is reported and passed over.

        Args:
            paths: of the photographs.
            progress: called with the number of passes since the last call.
            stems: what the results of each are called; None for its own name.
            targets: in place of the one for all, one for each path.
        """
        compared = self._compared()
        start = time.perf_counter()
        stream = explained(self.engine, self.methods, self._questions(paths, stems, targets), progress)
        for number, (seen, results) in enumerate(stream):
            photograph, shown = self._read[number], np.asarray(seen.images[0], np.float32)
            seconds, start = time.perf_counter() - start, time.perf_counter()
            maps = {}
            others = compared(seen, progress)
            for method, (result,), other in zip(self.methods, results, others, strict=True):
                assert result is not None
                maps[method.row.title] = [np.asarray(result.attribution, np.float32)]
                self._finish(photograph, method, seen, result, seconds / len(results), other)
            if len(maps) > 1:
                figure = plots.method_grid([shown], maps)
                output.write_figure(self.folder / f"{photograph.stem}.methods.png", figure)

    def _questions(
        self, paths: tuple[pathlib.Path, ...], stems: Sequence[str] | None, targets: Sequence[int] | None
    ) -> Iterator[Question]:
        stems, each = stems or output.distinct_stems(paths), targets or [self.target] * len(paths)
        for path, stem, target in zip(paths, stems, each, strict=True):
            try:
                question = Question((read(Picture(path), self.geometry).image,), target)
                if reason := self.engine.refusal(question):
                    raise PictureError(f"{path}: {reason}")
            except PictureError as error:
                say_error(error)
                self.failed.append({"path": files.readable(str(path)), "error": files.readable(str(error))})
                continue
            self._read.append(Photograph(path, stem, files.sha256(path)))
            yield question

    def _compared(self) -> Callable[..., list[Explanation | None]]:
        """The results of a network of random weights for a question, or nothing where that is not asked for.

        Adebayo et al., "Sanity Checks for Saliency Maps", NeurIPS 2018, all layers at once.
        """
        if self._random is None:
            return lambda seen, progress: [None] * len(self.methods)
        engine = Engine(self._random, dtype=self.engine.dtype, batch_size=self.engine.batch_size, seed=self.engine.seed)
        methods = [Method(engine, method.row, method.options) for method in self.methods]
        return lambda seen, progress: [next(method.results([seen], progress))[0] for method in methods]

    def _finish(
        self,
        photograph: Photograph,
        method: Method,
        seen: Seen,
        result: Explanation,
        seconds: float,
        other: Explanation | None,
    ) -> None:
        """Writes one result and says so."""
        title, status = method.row.title, Status(int(result.status)).message
        noted = remark(np.asarray(result.attribution))
        shown, name = np.asarray(seen.images[0], np.float32), f"{photograph.stem}.{method.row.name}"
        walked = f", {int(result.steps)} steps" if method.walks else ""
        target, predicted = output.label(self.card, int(seen.target)), output.label(self.card, seen.predicted)
        attribution = np.asarray(result.attribution, np.float32)
        box = None if self._boxes is None else self._boxes[int(seen.target)]
        boxed = {} if box is None else {"box": box}
        loss = method.row.lowers(method.options) if box is None else "similarity"
        output.write_arrays(
            self.folder / f"{name}.npz",
            image=shown,
            attribution=attribution,
            target=seen.target,
            steps=result.steps,
            first_loss=result.first_loss,
            last_loss=result.last_loss,
            status=status,
            **boxed,
        )
        heading = f"{files.readable(photograph.path.name)}: {target} ({title}{walked}, {status})"
        output.write_figure(self.folder / f"{name}.png", plots.explanation(shown, attribution, title=heading, box=box))
        scores = jax.jit(scores_of, static_argnums=1)(seen.outputs[0], self.card.score)
        score = float(np.asarray(scores)[seen.predicted])
        kind = "logit" if box is None and self.card.score == "logit" else "probability"
        entry = {
            "path": files.readable(str(photograph.path)),
            "sha256": photograph.sha256,
            "method": method.row.name,
            "result": name,
            "predicted": seen.predicted,
            "predicted_name": predicted,
            kind: files.number(score),
            "target": int(seen.target),
            "target_name": target,
            **boxed,
            "loss": loss,
            "first_loss": files.number(result.first_loss),
            "last_loss": files.number(result.last_loss),
            "steps": int(result.steps),
            "status": status,
            "remark": noted.words,
            "seconds": round(seconds, 3),
        }
        self.done.append(entry)
        told = f"{score:.0%}" if kind == "probability" else f"{kind} {score:.2f}"
        about = f"{predicted} ({told}); {title} of {target} ({int(seen.target)}), {loss}"
        if box is not None:
            about = f"{title} of {target}, {loss}"
        losses = f"{result.first_loss:.2f}" + (f" -> {result.last_loss:.2f}" if walked else "")
        say(f"{photograph.path.name}: {about} {losses}{walked}, {seconds:.1f} s, {noted.beside(status)}")
        if other is not None:
            entry["randomised_network"] = self._alike(photograph, title, attribution, other)

    def _alike(self, photograph: Photograph, title: str, attribution: np.ndarray, other: Explanation) -> dict[str, Any]:
        """How alike a map is to that of random weights: it should not be."""
        from fame_jax.metrics.sanity import map_similarity

        alike = map_similarity(attribution, np.asarray(other.attribution, np.float32))
        status = Status(int(other.status)).message
        say(
            f"{photograph.path.name}: {title} with random weights ({status}), rank correlation {alike.spearman:.2f}, "
            f"SSIM {alike.ssim:.2f}"
        )
        return {**{name: files.number(value) for name, value in alike._asdict().items()}, "status": status}
