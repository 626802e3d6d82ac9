"""Boxes as records of a run: those that a detector finds in photographs, and the detector that a run asks."""

from collections.abc import Callable
from typing import Any

from fame_jax.data.records import ClassRecord, Dataset, Problem
from fame_jax.detection.candidates import THRESHOLD
from fame_jax.experiments.store import Run
from fame_jax.inputs import PictureError, geometry, on_canvas, read
from fame_jax.models import Card


def detections_of(
    network: Any,
    card: Card,
    photographs: Dataset,
    *,
    threshold: float = THRESHOLD,
    resize: int | None = None,
    progress: Callable[[int], object] = lambda count: None,
) -> Dataset:
    """What a detector finds in photographs, as boxes to explain: of each photograph the best first.

    Args:
        network: a detector, or an ONNX graph of which the card makes one.
        card: of the network.
        photographs: the records of which the pictures are searched.
        threshold: lowest score, in [0, 1].
        resize: longer side of a photograph, at most, in place of the card's.
        progress: called with the number of photographs since the last call.

    Returns:
        A data set of boxes, in pixels of the photographs. One that cannot be read is a problem; one without a detection
        has no record.

    Raises:
        ImportError: if the package `onnx` is not installed.
    """
    from fame_jax.detection import detections, of_network

    view = geometry(card, resize=resize)
    detector = of_network(network, card, view.size, view.size)
    records, problems = [], list(photographs.problems)
    for record in photographs.records:
        assert isinstance(record, ClassRecord)
        try:
            shown = read(record.picture, view)
        except PictureError as error:
            problems.append(Problem(record.name, str(error)))
        else:
            found = detections(detector, on_canvas(shown.image, view.size)[0], threshold=threshold)
            for number, one in enumerate(found, 1):
                left, top, right, bottom = (one.box / (shown.scale * 2)).round(3).tolist()
                box = left, top, right, bottom
                records.append(ClassRecord(f"{record.name} box {number}", record.picture, one.label, (box,)))
        progress(1)
    return Dataset(f"{photographs.name}, detections", "detect", tuple(records), tuple(problems), card.labels)


def detector_of(run: Run, network: Any) -> Any:
    """The network of a run of boxes as a detector of the run's canvas."""
    from fame_jax.detection import of_network

    size, told = run.manifest["size"], run.manifest.get("card")
    return of_network(network, None if told is None else Card.from_json(told), size, size)
