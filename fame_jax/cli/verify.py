"""`fame verify`: two photographs in; whether the faces match, and why."""

import pathlib
import time
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from fame_jax import files, models, plots
from fame_jax.batching import perturb_many
from fame_jax.cli import output
from fame_jax.cli.console import (
    InputError,
    Number,
    at_least,
    positive,
    progress_bar,
    say,
    say_error,
    switch_on,
)
from fame_jax.cli.thresholds import Threshold, stored_threshold
from fame_jax.core import attribution, split_options
from fame_jax.data.faces import FaceCrop, load_face, sample_face, sunglasses
from fame_jax.explainers.fame import RUNS, pair_runs
from fame_jax.explainers.table import EXPLAINERS, explainer
from fame_jax.losses import cosine, similarity, similarity_free_norm
from fame_jax.metrics.evenness import Remark, remark
from fame_jax.presets import AUTO_STOP, PRESETS
from fame_jax.walk import Status


@dataclass(frozen=True)
class Verify:
    """Compare two faces and show why they match or do not: e+ is what makes them similar, e- dissimilar.

    Writes one picture (both faces, e+ and e- over each), one .npz and manifest.json. Without photographs, a portrait is
    compared with itself behind sunglasses.
    """

    faces: Annotated[tuple[pathlib.Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="[PROBE GALLERY]")] = ()
    """Two photographs, or two aligned faces of 112x112 pixels."""
    model: str = "sface"
    """Face network; fame models lists them."""
    weights: pathlib.Path | None = None
    """A converted folder or the publisher's own file, instead of what is installed."""
    method: str = "fame"
    """An explainer of pairs."""
    threshold: Number | None = None
    """Similarity from which on two faces match. Omitted: the one fame calibrate has stored, or the publisher's."""
    face: tuple[int, int] | None = None
    """Which face of each photograph, 1 being the largest. Omitted: the largest."""
    aligned: bool = False
    """The photographs are aligned faces: take them as they are."""
    preset: Literal["paper", "official"] = "paper"
    """The paper's choices, or those of the authors' published code."""
    iterations: int = 500
    """Number of steps of each of the four walks, at most."""
    stop: Literal["off", "auto"] = "off"
    """auto ends each of FAME's walks once its map hardly changes any more."""
    step_size: Number = 1 / 255
    """Largest change of a pixel in one step; 1/255 is one grey level."""
    sigma: Number = 7.7
    """Standard deviation of the maps' blur, in pixels."""
    precision: models.Precision = "float32"
    """Maps in float64 agree between machines, batch sizes and libraries; the others are faster."""
    seed: int = 0
    """Of the methods that draw random numbers."""
    out: pathlib.Path = pathlib.Path("fame-out")
    """Folder for the results."""
    progress: bool = True
    """Show a progress bar."""

    def __call__(self) -> int:
        """Runs the command; 0 whatever the decision, since a decision is not an error."""
        method = self._check()
        switch_on(self.precision)
        card = models.card(self.model)
        if card.task != "face":
            raise InputError(f"--model {self.model} is a classifier: use fame explain.")
        network = models.load(self.model, self.weights, precision=self.precision)
        threshold = self._threshold()
        folder = output.output_folder(self.out)
        (probe, gallery), stem = self._faces()
        dtype = models.image_dtype(self.precision)
        images = [jnp.asarray(crop.image, dtype) for crop in (probe, gallery)]
        score = float(_cosine(network, *images))
        decision = threshold.decision(score)
        say(f"similarity {score:.3f}, {threshold.words}: {decision}")
        start = time.perf_counter()
        maps, walks = (
            self._walked(network, images) if method == "fame" else self._mapped(method, network, images, threshold)
        )
        seconds = time.perf_counter() - start
        for name in RUNS:
            noted = remark(maps[name]) if name in maps else Remark()
            walks[name]["remark"] = noted.words
            say(f"{name.replace('_', ' ')}: {noted.beside(walks[name]['status'])}" + _losses(walks[name]))
        faces = {"probe": np.asarray(images[0], np.float32), "gallery": np.asarray(images[1], np.float32)}
        output.write_arrays(
            folder / f"{stem}.{method}.npz",
            **faces,
            **maps,
            similarity=score,
            **{f"status_{name}": walk["status"] for name, walk in walks.items()},
        )
        title = f"{explainer(method).title}: similarity {score:.3f}, {decision}"
        output.write_figure(
            folder / f"{stem}.{method}.png", plots.pair(faces["probe"], faces["gallery"], maps, title=title)
        )
        output.write_manifest(
            folder,
            self._manifest(method, stem, (probe, gallery), score, threshold, decision, walks, seconds),
        )
        say(f"{seconds:.1f} s; wrote {folder / f'{stem}.{method}.png'} and .npz")
        return 0

    def _check(self) -> str:
        at_least(0, iterations=self.iterations, seed=self.seed)
        positive(step_size=self.step_size, sigma=self.sigma)
        if self.threshold is not None and not -1 <= self.threshold <= 1:
            raise InputError(f"--threshold {self.threshold}: expected a cosine, from -1 to 1.")
        if len(self.faces) not in (0, 2):
            raise InputError(f"expected two photographs, PROBE and GALLERY, or none; got {len(self.faces)}.")
        row = explainer(self.method)
        if row.of_pair is None:
            able = ", ".join(name for name, other in EXPLAINERS.items() if other.of_pair is not None)
            raise InputError(f"--method {self.method} explains classes, not pairs of faces; expected one of {able}.")
        return row.name

    def _threshold(self) -> Threshold:
        if self.threshold is not None:
            return Threshold(self.threshold, "as given")
        return stored_threshold(self.model, models.weights_hash(self.model, self.weights))

    def _faces(self) -> tuple[tuple[FaceCrop, FaceCrop], str]:
        """Both crops, and a name for the pair."""
        if not self.faces:
            portrait = sample_face()
            return (
                portrait._replace(image=sunglasses(portrait.image).image, note="with sunglasses"),
                portrait,
            ), "portrait"
        numbers = self.face or (None, None)
        aligned = True if self.aligned else "auto"
        probe, gallery = (load_face(p, face=n, aligned=aligned) for p, n in zip(self.faces, numbers, strict=True))
        for path, crop in zip(self.faces, (probe, gallery), strict=True):
            if crop.note:
                say_error(f"{path}: {crop.note}")
        return (probe, gallery), "-".join(output.distinct_stems([face])[0][:100] for face in self.faces)

    def _walked(self, network: Any, images: list[jax.Array]) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
        """FAME: four walks in one batch."""
        options = {"iterations": self.iterations, "step_size": self.step_size, "sigma": self.sigma}
        preset = dict(PRESETS[self.preset]["faces"])
        loss = similarity_free_norm if preset.pop("free_norm", False) else similarity
        stop = dict(AUTO_STOP if self.stop == "auto" else {})
        rules, of_map = split_options(options | preset | stop)
        runs = pair_runs(network, *images)
        maps, walks = {}, {}
        with progress_bar(4 * self.iterations, "step", hide=not self.progress) as bar:
            examples = [(run.image, (run.reference, run.sign)) for run in runs]
            for index, walk in perturb_many(loss, examples, network, progress=bar.update, **rules):
                maps[RUNS[index]] = np.asarray(attribution(runs[index].image, walk.perturbed, **of_map), np.float32)
                walks[RUNS[index]] = {
                    "status": Status(int(walk.status)).message,
                    "steps": int(walk.steps),
                    "first_loss": files.number(walk.first_loss),
                    "last_loss": files.number(walk.last_loss),
                }
        return {name: maps[name] for name in RUNS}, walks

    def _mapped(
        self, method: str, network: Any, images: list[jax.Array], threshold: Threshold
    ) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
        """A method without walks."""
        row = explainer(method)
        options = {"threshold": threshold.value} if "threshold" in row.options("pair") and threshold.known else {}
        key = jax.random.key(self.seed)
        found = jax.jit(lambda n, p, g: row.explain_pair(n, p, g, key=key, **options))(network, *images)
        maps = {name: np.asarray(map, np.float32) for name, map in found._asdict().items() if map is not None}
        return maps, {name: {"status": _status(maps.get(name))} for name in RUNS}

    def _manifest(
        self,
        method: str,
        stem: str,
        crops: tuple[FaceCrop, FaceCrop],
        score: float,
        threshold: Threshold,
        decision: str,
        walks: dict[str, dict[str, Any]],
        seconds: float,
    ) -> dict[str, Any]:
        kept = ("preset", "iterations", "stop", "step_size", "sigma", "precision", "aligned", "face", "seed")
        paths = self.faces or (None, None)
        inputs = [
            {
                "path": None if path is None else files.readable(str(path)),
                "sha256": None if path is None else files.sha256(path),
                "note": c.note,
            }
            for path, c in zip(paths, crops, strict=True)
        ]
        return {
            "command": "verify",
            "methods": [method],
            "result": f"{stem}.{method}",
            "network": self.model,
            "weights_sha256": models.weights_hash(self.model, self.weights),
            "options": {name: getattr(self, name) for name in kept},
            **files.environment(),
            "inputs": inputs,
            "similarity": score,
            "threshold": threshold.value if threshold.known else None,
            "threshold_source": threshold.source,
            "decision": decision,
            "maps": walks,
            "seconds": round(seconds, 3),
        }


def _losses(walk: dict[str, Any]) -> str:
    if "steps" not in walk:
        return ""
    first, last = (float("nan") if walk[k] is None else walk[k] for k in ("first_loss", "last_loss"))
    return f", {walk['steps']} steps, loss {first:.3f} -> {last:.3f}"


def _status(map: np.ndarray | None) -> str:
    if map is None:
        return "the method has no such map"
    return "not finite" if not np.isfinite(map).all() else "ok" if map.any() else "blank map"


@jax.jit
def _cosine(network: Any, probe: jax.Array, gallery: jax.Array) -> jax.Array:
    return cosine(network(probe), network(gallery))
