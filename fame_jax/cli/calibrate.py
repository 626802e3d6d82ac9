"""`fame calibrate`: the threshold of a face network from labelled pairs."""

import contextlib
import csv
import io
import math
import pathlib
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from fame_jax import files, models
from fame_jax.cli.console import InputError, say_error
from fame_jax.cli.flags import Flat, NetworkFlags
from fame_jax.cli.progress import progress_bar
from fame_jax.cli.thresholds import threshold_file
from fame_jax.data.records import PairRecord, Picture, pictures_of
from fame_jax.datasets.pairs import read_pairs
from fame_jax.experiments.identity import network_identity
from fame_jax.inputs import FaceDetector, Geometry, PictureError, face, geometry
from fame_jax.metrics.decisions import Criterion, operating_point

RULES: dict[str, Literal["equal_error_rate", "max_accuracy"]] = {
    "eer": "equal_error_rate",
    "accuracy": "max_accuracy",
    "max_accuracy": "max_accuracy",
}
RESAMPLES = 1000
"""Bootstrap samples of the pairs."""


@dataclass(frozen=True)
class Calibrate:
    """Compute and store the similarity threshold of a face network from a list of pairs.

    The list is a CSV file with the columns G (gallery image), P (probe image) and T (1 genuine, 0 impostor); paths are
    relative to the file. What cannot be used is reported and left out. The scores are kept too.
    """

    pairs: Annotated[pathlib.Path, tyro.conf.Positional, tyro.conf.arg(metavar="PAIRS")]
    """CSV file with columns G, P, T."""
    network: Flat[NetworkFlags] = field(default_factory=NetworkFlags)
    rule: str = "eer"
    """Equal error rate (eer), the highest accuracy (accuracy), or a false match rate, as in fmr=0.001."""
    aligned: bool = False
    """The images are aligned faces: take them as they are."""
    detector: FaceDetector = "opencv"
    """What finds the faces: YuNet by OpenCV, or by this library, on the device and without OpenCV."""
    progress: bool = True
    """Show a progress bar."""

    def __call__(self) -> int:
        """Prints and stores the threshold; 2 if some pairs had to be left out."""
        criterion = _criterion(self.rule)
        # Whoever calls this wrote the list: it may name files anywhere.
        listed = read_pairs(self.pairs, allow_outside=True)
        for problem in listed.problems:
            say_error(f"{problem.where}: {problem.reason}")
        if not listed.records:
            raise InputError(f"{self.pairs}: no pairs.")
        card, network = self.network.load("pair")
        # Whoever has no hash is asked for one before the long work.
        identity = card.sha256 or network_identity(network, card.name, self.network.precision)
        faces = {picture.path for record in listed.records for picture in pictures_of(record)}
        view = geometry(card, aligned=self.aligned, detector=self.detector)
        embeddings, failed = self._embeddings(network, sorted(faces), view)
        pairs = (record for record in listed.records if isinstance(record, PairRecord))
        kept = [pair for pair in pairs if pair.probe.path in embeddings and pair.gallery.path in embeddings]
        genuine = np.array([pair.genuine for pair in kept], bool)
        if not genuine.any() or genuine.all():
            raise InputError(
                f"{self.pairs}: {len(kept)} usable pairs; at least one genuine and one impostor pair are needed."
            )
        scores = np.array([float(embeddings[p.gallery.path] @ embeddings[p.probe.path]) for p in kept])
        point, (low, high) = operating_point(scores, genuine, criterion), _interval(scores, genuine, criterion)
        if isinstance(criterion, float) and criterion * (~genuine).sum() < 1:
            wanted = f"Give {math.ceil(1 / criterion)} or more." if criterion else "No number of pairs could."
            say_error(
                f"{self.pairs}: {(~genuine).sum()} impostor pairs cannot show a false match rate of {criterion:g}; "
                f"the threshold accepts none of them. {wanted}"
            )
        file = threshold_file(card.name, identity)
        kept_scores = models.home() / "scores" / f"{file.stem}.csv"
        for path in (file, kept_scores):
            path.parent.mkdir(parents=True, exist_ok=True)
        _write_scores(kept_scores, kept, scores)
        record = {
            "threshold": float(point.threshold),
            "interval": [files.number(low), files.number(high)],
            "rule": self.rule,
            "pairs": len(kept),
            "false_match_rate": float(point.false_match_rate),
            "false_non_match_rate": float(point.false_non_match_rate),
            "source": self.pairs.name,
            "source_sha256": files.sha256(self.pairs),
            "scores": str(kept_scores),
        }
        files.write_json(file, record)
        print(
            f"threshold {point.threshold:.4f} (95% of resampled pairs: {low:.4f} to {high:.4f}) by {self.rule} "
            f"on {len(kept)} pairs ({int(genuine.sum())} genuine): "
            f"false match rate {point.false_match_rate:.2%}, false non-match rate {point.false_non_match_rate:.2%}"
        )
        print(f"stored in {file}, the scores in {kept_scores}")
        return 2 if failed or listed.problems else 0

    def _embeddings(
        self, network: Any, paths: list[pathlib.Path], view: Geometry
    ) -> tuple[dict[pathlib.Path, np.ndarray], int]:
        """Unit embeddings by path, and how many images had to be left out."""
        found, failed = {}, 0
        with progress_bar(len(paths), "image", hide=not self.progress) as bar:
            for path in paths:
                try:
                    crop = face(Picture(path), view)
                    embedding = np.asarray(_embedding(network, jnp.asarray(crop.image)), np.float64)
                    norm = np.linalg.norm(embedding)
                    if not 0 < norm < np.inf:
                        raise PictureError(f"{path}: the embedding is all zeros or not finite")
                    found[path] = embedding / norm
                except PictureError as error:
                    say_error(error)
                    failed += 1
                bar.update()
        return found, failed


@jax.jit
def _embedding(network: Any, image: jax.Array) -> jax.Array:
    return network(image)


def _criterion(rule: str) -> Criterion:
    if rule in RULES:
        return RULES[rule]
    name, _, rate = rule.partition("=")
    with contextlib.suppress(ValueError):
        if name == "fmr" and 0 <= float(rate) < 1:
            return float(rate)
    raise InputError(f"--rule {rule}: expected {', '.join(RULES)} or a false match rate, as in fmr=0.001.")


def _interval(scores: np.ndarray, genuine: np.ndarray, criterion: Criterion) -> tuple[float, float]:
    """The middle 95 % of the thresholds of resampled pairs, genuine ones and impostors apart."""
    rng, kinds = np.random.default_rng(0), (np.flatnonzero(genuine), np.flatnonzero(~genuine))
    picks = (np.concatenate([rng.choice(kind, len(kind)) for kind in kinds]) for _ in range(RESAMPLES))
    thresholds = [operating_point(scores[pick], genuine[pick], criterion).threshold for pick in picks]
    low, high = np.quantile(thresholds, (0.025, 0.975))
    return float(low), float(high)


def _write_scores(path: pathlib.Path, pairs: list[PairRecord], scores: np.ndarray) -> None:
    """A list like the one that was given, with the score of each pair."""
    text = io.StringIO()
    rows = ((pair.gallery.path, pair.probe.path, int(bool(pair.genuine))) for pair in pairs)
    csv.writer(text).writerows(
        [("G", "P", "T", "score"), *((*row, repr(float(s))) for row, s in zip(rows, scores, strict=True))]
    )
    files.write(path, lambda file: file.write(text.getvalue().encode("utf-8", "surrogateescape")))
