"""`fame calibrate`: the threshold of a face network from labelled pairs."""

import pathlib
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from fame_jax import files, models
from fame_jax.cli.console import InputError, progress_bar, say_error
from fame_jax.cli.thresholds import threshold_file
from fame_jax.data.faces import FaceError, load_face
from fame_jax.data.images import ImageError
from fame_jax.data.records import PairRecord, pictures_of
from fame_jax.datasets.pairs import read_pairs
from fame_jax.metrics import operating_point

CRITERIA: dict[str, Literal["equal_error_rate", "max_accuracy"]] = {
    "eer": "equal_error_rate",
    "accuracy": "max_accuracy",
}


@dataclass(frozen=True)
class Calibrate:
    """Compute and store the similarity threshold of a face network from a list of pairs.

    The list is a CSV file with the columns G (gallery image), P (probe image) and T (1 genuine, 0 impostor); paths are
    relative to the file. What cannot be used is reported and left out.
    """

    pairs: Annotated[pathlib.Path, tyro.conf.Positional, tyro.conf.arg(metavar="PAIRS")]
    """CSV file with columns G, P, T."""
    model: str = "sface"
    """Face network; fame models lists them."""
    weights: pathlib.Path | None = None
    """A converted folder or the publisher's own file, instead of what is installed."""
    rule: Literal["eer", "accuracy"] = "eer"
    """Equal error rate, or the highest accuracy."""
    aligned: bool = False
    """The images are aligned faces: take them as they are."""
    progress: bool = True
    """Show a progress bar."""

    def __call__(self) -> int:
        """Prints and stores the threshold; 2 if some pairs had to be left out."""
        if models.card(self.model).task != "face":
            raise InputError(f"--model {self.model} is a classifier; expected a face network.")
        # Whoever calls this wrote the list: it may name files anywhere.
        listed = read_pairs(self.pairs, allow_outside=True)
        for problem in listed.problems:
            say_error(f"{problem.where}: {problem.reason}")
        if not listed.records:
            raise InputError(f"{self.pairs}: no pairs.")
        network = models.load(self.model, self.weights)
        faces = {picture.path for record in listed.records for picture in pictures_of(record)}
        embeddings, failed = self._embeddings(network, sorted(faces))
        pairs = (record for record in listed.records if isinstance(record, PairRecord))
        kept = [pair for pair in pairs if pair.probe.path in embeddings and pair.gallery.path in embeddings]
        genuine = np.array([pair.genuine for pair in kept], bool)
        if not genuine.any() or genuine.all():
            raise InputError(
                f"{self.pairs}: {len(kept)} usable pairs; at least one genuine and one impostor pair are needed."
            )
        scores = np.array([float(embeddings[p.gallery.path] @ embeddings[p.probe.path]) for p in kept])
        point = operating_point(scores, genuine, CRITERIA[self.rule])
        file = threshold_file(self.model, models.weights_hash(self.model, self.weights))
        file.parent.mkdir(parents=True, exist_ok=True)
        record = {
            "threshold": float(point.threshold),
            "rule": self.rule,
            "pairs": len(kept),
            "false_match_rate": float(point.false_match_rate),
            "false_non_match_rate": float(point.false_non_match_rate),
            "source": self.pairs.name,
            "source_sha256": files.sha256(self.pairs),
        }
        files.write_json(file, record)
        print(
            f"threshold {point.threshold:.4f} by {self.rule} on {len(kept)} pairs ({int(genuine.sum())} genuine): "
            f"false match rate {point.false_match_rate:.2%}, false non-match rate {point.false_non_match_rate:.2%}"
        )
        print(f"stored in {file}")
        return 2 if failed or listed.problems else 0

    def _embeddings(self, network: Any, paths: list[pathlib.Path]) -> tuple[dict[pathlib.Path, np.ndarray], int]:
        """Unit embeddings by path, and how many images had to be left out."""
        found, failed = {}, 0
        with progress_bar(len(paths), "image", hide=not self.progress) as bar:
            for path in paths:
                try:
                    crop = load_face(path, aligned=True if self.aligned else "auto")
                    embedding = np.asarray(_embedding(network, jnp.asarray(crop.image)), np.float64)
                    norm = np.linalg.norm(embedding)
                    if not 0 < norm < np.inf:
                        raise FaceError(f"{path}: the embedding is all zeros or not finite")
                    found[path] = embedding / norm
                except (ImageError, FaceError) as error:
                    say_error(error)
                    failed += 1
                bar.update()
        return found, failed


@jax.jit
def _embedding(network: Any, image: jax.Array) -> jax.Array:
    return network(image)
