"""From a detector's name to detections, and from a detection to maps: what `fame detect` and `fame explain` share."""

import pathlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import jax

from fame_jax import detection, files, plots
from fame_jax.cli import output
from fame_jax.cli.console import InputError, lowest_score, say, say_error
from fame_jax.cli.flags import NetworkFlags
from fame_jax.cli.photographs import Photographs
from fame_jax.cli.progress import progress_bar
from fame_jax.core import Explanation
from fame_jax.core import explain as walked
from fame_jax.data.images import Pixels, sample_path
from fame_jax.data.records import Picture
from fame_jax.detection import Detection, detected, detections
from fame_jax.detection.candidates import THRESHOLD, Box
from fame_jax.explainers.explainer import Explainer
from fame_jax.inputs import Geometry, PictureError, geometry, read
from fame_jax.losses import class_logit
from fame_jax.models import Card, Loaded
from fame_jax.walk import Status

_FAINTEST, _STEPS = 0.1, 25  # Score of a face in a crop, and steps of its walk.


class Detector(NamedTuple):
    """A detector and its card."""

    card: Card
    network: Any
    """See `fame_jax.detection.detected.Detector`."""

    def of_size(self, height: int, width: int) -> Any:
        """The network for images of a size, in pixels."""
        return detection.of_network(self.network, self.card, height, width)

    def detections(self, image: Pixels, threshold: float) -> list[Detection]:
        """What is found in an image, best first."""
        return detections(self.of_size(*image.shape[:2]), image, threshold=threshold)

    def named(self, number: int, found: Detection) -> str:
        """A detection for people."""
        return f"{output.label(self.card, found.label)} {number} ({found.score:.2f})"


def detector(flags: NetworkFlags) -> Detector:
    """The detector that the flags name: an installed one, an ONNX file, or one of your own.

    Raises:
        InputError: for a network that detects nothing.
    """
    return as_detector(flags.load("detect"))


def as_detector(loaded: Loaded) -> Detector:
    """A network whose task is to detect, with its decoding."""
    card, network = loaded
    if card.architecture == "onnx":
        network = detection.of_graph(network, card)
    return Detector(card, network)


def explain(command: Any, which: str) -> int:
    """`fame explain --detection`: every asked detection of every photograph, by every method.

    Args:
        command: `fame explain` with its flags.
        which: a number, 1 being the best, or "all".
    """
    if which != "all" and not (which.isdigit() and int(which) > 0):
        raise InputError(f"--detection {which}: expected a number from 1, or all.")
    if command.target is not None or command.sanity:
        raise InputError("--detection goes with neither --class nor --sanity.")
    if command.threshold is not None:
        lowest_score(command.threshold)
    rows = command.methods.rows("detect")
    network, folder = detector(command.network), output.output_folder(command.out)
    view = geometry(network.card, resize=command.pixels.resize)
    done: list[dict[str, Any]] = []
    failed: list[dict[str, Any]] = []
    paths = command.images or (sample_path("portrait"),)
    try:
        for path, stem in zip(paths, output.distinct_stems(paths), strict=True):
            try:
                job, numbers = _job(command, rows, network, view, folder, path, which)
            except PictureError as error:
                say_error(error)
                failed.append({"path": files.readable(str(path)), "error": files.readable(str(error))})
                continue
            passes = sum(method.passes for method in job.methods) * len(numbers)
            with progress_bar(passes, "pass", hide=not command.progress) as bar:
                stems = [f"{stem}.{number + 1}" for number in numbers]
                job.explain((path,) * len(numbers), bar.update, stems, numbers)
            done += job.done
            failed += job.failed
    finally:
        output.write_manifest(folder, command.manifest([row.name for row in rows], network.card, done + failed))
    say(f"{len(done)} explained, {len(failed)} failed; results are in {folder}")
    return 2 if failed else 0


def _job(
    command: Any,
    rows: list[Explainer],
    network: Detector,
    view: Geometry,
    folder: pathlib.Path,
    path: pathlib.Path,
    which: str,
) -> tuple[Photographs, list[int]]:
    """The work on one photograph, and which of its detections are asked for."""
    image = read(Picture(path), view).image
    threshold = THRESHOLD if command.threshold is None else command.threshold
    found = network.detections(image, threshold)
    if not found:
        raise PictureError(f"{path}: nothing was detected above {threshold}; see --threshold.")
    numbers = list(range(len(found))) if which == "all" else [int(which) - 1]
    if numbers[-1] >= len(found):
        raise PictureError(f"{path}: there is no detection {which}: {len(found)} found, see fame detect.")
    labels = tuple(network.named(number, one) for number, one in enumerate(found, 1))
    # The score of a box is its own output.
    card = replace(network.card, labels=labels, score="logit")
    of_boxes = detected(network.of_size(*image.shape[:2]), found)
    engine = command.methods.engine(of_boxes, "class", command.network.precision)
    methods = command.methods.methods(engine, rows, card)
    for method in methods:
        method.check(*image.shape)
    boxes = [rounded(one.box) for one in found]
    return Photographs(card, engine, methods, view, folder, target=None, boxes=boxes), numbers


def why_detected(faces: Mapping[str, Pixels], result: pathlib.Path) -> None:
    """Writes why YuNet sees a face in aligned crops, by FAME in pixels of the crop: RESULT.detected.NAME.png and .npz.

    Args:
        faces: crops `[112, 112, 3]` by name.
        result: path without an ending.
    """
    for name, face in faces.items():
        network = detection.yunet(*face.shape[:2])
        found = detections(network, face, threshold=_FAINTEST)
        if not found:
            say(f"{name}: YuNet sees no face in the aligned crop")
            continue
        walk = _walked(detected(network, found[:1]), face)
        told = f"{name}: YuNet sees a face ({found[0].score:.2f}), {Status(int(walk.status)).message}"
        say(f"{told}, similarity {float(walk.first_loss):.3f} -> {float(walk.last_loss):.3f}")
        path, box = result.with_name(f"{result.name}.detected.{name}"), rounded(found[0].box)
        output.write_arrays(
            path.with_name(f"{path.name}.npz"), image=face, attribution=walk.attribution, box=box, score=found[0].score
        )
        figure = plots.explanation(face, walk.attribution, title=told, box=box)
        output.write_figure(path.with_name(f"{path.name}.png"), figure)


def rounded(box: Box) -> list[float]:
    """A box as files keep it, in tenths of a pixel."""
    return [round(float(side), 1) for side in box]


@jax.jit
def _walked(network: Any, image: Any) -> Explanation:
    return walked(class_logit, image, network, 0, iterations=_STEPS)
