"""From a detector's name to detections, and from a detection to maps: what `fame detect` and `fame explain` share."""

import pathlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import jax

from fame_jax import files, plots
from fame_jax.cli import output
from fame_jax.cli.console import InputError, say, say_error
from fame_jax.cli.flags import NetworkFlags
from fame_jax.cli.photographs import Photographs
from fame_jax.cli.progress import progress_bar
from fame_jax.core import Explanation
from fame_jax.core import explain as walked
from fame_jax.data.images import Pixels, sample_path
from fame_jax.data.records import Picture
from fame_jax.detection import Candidates, Detection, chosen, detected, of_graph, yunet
from fame_jax.detection.candidates import Box
from fame_jax.detection.yunet import CARD
from fame_jax.inputs import Geometry, PictureError, geometry, read
from fame_jax.losses import class_logit
from fame_jax.models import Card, find
from fame_jax.walk import Status

_FAINTEST, _STEPS = 0.1, 25  # Score of a face in a crop, and steps of its walk.


class Detector(NamedTuple):
    """A detector by name.

    Attributes:
        card: of it.
        of_size: from height and width in pixels to a function of one image, see `fame_jax.detection.detected`.
        root: see `fame_jax.detection.chosen`.
    """

    card: Card
    of_size: Callable[[int, int], Any]
    root: bool

    def detections(self, image: Pixels, threshold: float) -> list[Detection]:
        """What is found in an image, best first."""
        found = _candidates(self.of_size(*image.shape[:2]), image)
        return chosen(found, threshold=threshold, root=self.root)

    def named(self, number: int, found: Detection) -> str:
        """A detection for people."""
        return f"{output.label(self.card, found.label)} {number} ({found.score:.2f})"


def detector(flags: NetworkFlags) -> Detector:
    """The detector that the flags name: YuNet, an ONNX file, or one of your own with a card of the task `detect`.

    Raises:
        InputError: for a network that detects nothing.
    """
    told = flags.graph.card_for(flags.model or "yunet", "detect")
    if flags.model in (None, "yunet"):
        return Detector(CARD, yunet, root=True)
    card, network = find(flags.model, flags.weights, flags.precision, card=told)
    if card.task != "detect":
        raise InputError(f"--model {flags.model} is no detector; expected yunet, or one whose card has task='detect'.")
    if card.architecture == "onnx":
        network = of_graph(network, card)
    return Detector(card, lambda height, width: network, root=getattr(network, "root", False))


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
    network, folder = detector(command.network), output.output_folder(command.out)
    view = geometry(network.card, resize=command.pixels.resize)
    done: list[dict[str, Any]] = []
    failed: list[dict[str, Any]] = []
    paths = command.images or (sample_path("portrait"),)
    try:
        for path, stem in zip(paths, output.distinct_stems(paths), strict=True):
            try:
                job, numbers = _job(command, network, view, folder, path, which)
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
        rows = [row.name for row in command.methods.rows("class")]
        about = {"command": "explain", "methods": rows, "network": network.card.name, "detection": which}
        output.write_manifest(folder, {**about, **files.environment(), "inputs": done + failed})
    say(f"{len(done)} explained, {len(failed)} failed; results are in {folder}")
    return 2 if failed else 0


def _job(
    command: Any, network: Detector, view: Geometry, folder: pathlib.Path, path: pathlib.Path, which: str
) -> tuple[Photographs, list[int]]:
    """The work on one photograph, and which of its detections are asked for."""
    image = read(Picture(path), view).image
    found = network.detections(image, command.threshold)
    if not found:
        raise PictureError(f"{path}: nothing was detected above {command.threshold}; see --threshold.")
    numbers = list(range(len(found))) if which == "all" else [int(which) - 1]
    if numbers[-1] >= len(found):
        raise PictureError(f"{path}: there is no detection {which}: {len(found)} found, see fame detect.")
    labels = tuple(network.named(number, one) for number, one in enumerate(found, 1))
    card = replace(network.card, labels=labels)
    of_boxes = detected(network.of_size(*image.shape[:2]), found)
    engine = command.methods.engine(of_boxes, "class", command.network.precision)
    methods = command.methods.methods(engine, card)
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
        found = Detector(CARD, yunet, root=True).detections(face, _FAINTEST)
        if not found:
            say(f"{name}: YuNet sees no face in the aligned crop")
            continue
        walk = _walked(detected(yunet(*face.shape[:2]), found[:1]), face)
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
def _candidates(network: Any, image: Any) -> Candidates:
    return network(image)


@jax.jit
def _walked(network: Any, image: Any) -> Explanation:
    return walked(class_logit, image, network, 0, iterations=_STEPS)
