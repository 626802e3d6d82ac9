"""`fame verify`: two photographs in; whether the faces match, and why."""

import pathlib
import time
from dataclasses import dataclass, field
from typing import Annotated, Any

import numpy as np
import tyro

from fame_jax import files, models, plots
from fame_jax.cli import output
from fame_jax.cli.console import InputError, Number, say, say_error
from fame_jax.cli.flags import Flat, MethodFlags, NetworkFlags
from fame_jax.cli.progress import progress_bar
from fame_jax.cli.thresholds import Threshold, stored_threshold
from fame_jax.core import Explanation
from fame_jax.data.faces import FaceCrop, sample_face, sunglasses
from fame_jax.data.records import Picture
from fame_jax.explainers.explainer import MAPS
from fame_jax.inputs import FaceDetector, crop_as_input, face, geometry
from fame_jax.metrics.evenness import remark
from fame_jax.questions import Question
from fame_jax.walk import Status


@dataclass(frozen=True)
class Verify:
    """Compare two faces and show why they match or do not: e+ is what makes them similar, e- dissimilar.

    Writes for each method one picture (both faces, e+ and e- over each), one .npz and a manifest.json. Without
    photographs, a portrait is compared with itself behind sunglasses.
    """

    faces: Annotated[tuple[pathlib.Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="[PROBE GALLERY]")] = ()
    """Two photographs, or two aligned faces of 112x112 pixels."""
    threshold: Number | None = None
    """Similarity from which on two faces match. Omitted: the one fame calibrate has stored, or the publisher's."""
    face: tuple[int, int] | None = None
    """Which face of each photograph, 1 being the largest. Omitted: the largest."""
    aligned: bool = False
    """The photographs are aligned faces: take them as they are."""
    detector: FaceDetector = "opencv"
    """What finds the faces: YuNet by OpenCV, or by this library, on the device and without OpenCV."""
    why_detected: bool = False
    """Also write why YuNet sees a face in each aligned crop: FAME with 25 steps, in pixels of the crop."""
    network: Flat[NetworkFlags] = field(default_factory=NetworkFlags)
    methods: Flat[MethodFlags] = field(default_factory=MethodFlags)
    out: pathlib.Path = pathlib.Path("fame-out")
    """Folder for the results."""
    progress: bool = True
    """Show a progress bar."""

    def __call__(self) -> int:
        """Runs the command; 0 whatever the decision, since a decision is not an error."""
        self._check()
        rows = self.methods.rows("pair")
        loaded = self.network.load("pair")
        threshold = Threshold(self.threshold or 0, "as given")
        if self.threshold is None:
            threshold = stored_threshold(loaded.card.name, loaded.card.sha256)
        engine = self.methods.engine(loaded.network, "pair", self.network.precision)
        options = self.methods.options(rows, "pair", loaded.card, threshold)
        methods = [engine.method(row, options[row.name], self.methods.preset) for row in rows]
        folder = output.output_folder(self.out)
        crops, stem = self._crops(loaded.card)
        inputs = [crop_as_input(crop) for crop in crops]
        question = Question(tuple(one.image for one in inputs), None, tuple(one.filled for one in inputs))
        (seen,) = engine.look([question])
        decision = threshold.decision(seen.similarity)
        say(f"similarity {seen.similarity:.3f}, {threshold.words}: {decision}")
        about = {
            **self.network.about(loaded.card),
            "options": self._options(),
            **files.environment(),
            "inputs": self._inputs(crops),
            "similarity": seen.similarity,
            "threshold": threshold.value if threshold.known else None,
            "threshold_source": threshold.source,
            "decision": decision,
        }
        if self.why_detected:
            from fame_jax.cli import detections

            faces = {name: np.asarray(crop.image) for name, crop in zip(("probe", "gallery"), crops, strict=True)}
            detections.why_detected(faces, folder / stem)
        for method in methods:
            start = time.perf_counter()
            with progress_bar(method.passes, "pass", hide=not self.progress) as bar:
                (results,) = method.results([seen], bar.update)
            found = dict(zip(MAPS["pair"], results, strict=True))
            title = f"{method.row.title}: similarity {seen.similarity:.3f}, {decision}"
            self._write(folder / f"{stem}.{method.row.name}", title, crops, found, seen.similarity)
            told = {name: _told(name, result) for name, result in found.items()}
            seconds = round(time.perf_counter() - start, 3)
            name = {"command": "verify", "methods": [method.row.name], "result": f"{stem}.{method.row.name}"}
            output.write_manifest(folder, {**name, **about, "maps": told, "seconds": seconds})
            say(f"{seconds:.1f} s; wrote {folder / stem}.{method.row.name}.png and .npz")
        return 0

    def _check(self) -> None:
        self.methods.check()
        if self.threshold is not None and not -1 <= self.threshold <= 1:
            raise InputError(f"--threshold {self.threshold}: expected a cosine, from -1 to 1.")
        if len(self.faces) not in (0, 2):
            raise InputError(f"expected two photographs, PROBE and GALLERY, or none; got {len(self.faces)}.")

    def _crops(self, card: models.Card) -> tuple[tuple[FaceCrop, FaceCrop], str]:
        """Both faces, and a name for the pair."""
        chosen = geometry(card, aligned=self.aligned, detector=self.detector)
        if not self.faces:
            portrait = sample_face()
            hidden = portrait._replace(image=sunglasses(portrait.image).image, note="with sunglasses")
            return (hidden, portrait), "portrait"
        numbers = self.face or (None, None)
        probe, gallery = (face(Picture(p), chosen, n) for p, n in zip(self.faces, numbers, strict=True))
        for path, crop in zip(self.faces, (probe, gallery), strict=True):
            if crop.note:
                say_error(f"{path}: {crop.note}")
        return (probe, gallery), "-".join(output.distinct_stems([path])[0][:100] for path in self.faces)

    def _write(
        self,
        path: pathlib.Path,
        title: str,
        crops: tuple[FaceCrop, FaceCrop],
        found: dict[str, Explanation | None],
        similarity: float,
    ) -> None:
        probe, gallery = (np.asarray(crop.image, np.float32) for crop in crops)
        maps = {name: np.asarray(result.attribution, np.float32) for name, result in found.items() if result}
        statuses = {f"status_{name}": _status(result).message for name, result in found.items()}
        output.write_arrays(
            path.with_name(f"{path.name}.npz"), probe=probe, gallery=gallery, **maps, similarity=similarity, **statuses
        )
        output.write_figure(path.with_name(f"{path.name}.png"), plots.pair(probe, gallery, maps, title=title))

    def _options(self) -> dict[str, Any]:
        flags = {**vars(self.methods), "precision": self.network.precision, "aligned": self.aligned, "face": self.face}
        flags |= {"detector": self.detector, "threshold": self.threshold}
        del flags["method"]
        return flags

    def _inputs(self, crops: tuple[FaceCrop, FaceCrop]) -> list[dict[str, Any]]:
        return [
            {
                "path": None if path is None else files.readable(str(path)),
                "sha256": None if path is None else files.sha256(path),
                "note": crop.note,
            }
            for path, crop in zip(self.faces or (None, None), crops, strict=True)
        ]


def _status(result: Explanation | None) -> Status:
    return Status.NO_MAP if result is None else Status(int(result.status))


def _told(name: str, result: Explanation | None) -> dict[str, Any]:
    """What the manifest keeps of a map, which is said, too."""
    status, words = _status(result).message, name.replace("_", " ")
    if result is None:
        say(f"{words}: {status}")
        return {"status": status}
    noted = remark(np.asarray(result.attribution))
    first, last, steps = float(result.first_loss), float(result.last_loss), int(result.steps)
    say(f"{words}: {noted.beside(status)}" + (f", {steps} steps, loss {first:.3f} -> {last:.3f}" if steps else ""))
    return {
        "status": status,
        "steps": steps,
        "first_loss": files.number(first),
        "last_loss": files.number(last),
        "remark": noted.words,
    }
