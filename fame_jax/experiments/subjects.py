"""What a metric needs of the records of a run, on the host; or why one cannot be measured."""

import functools
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from fame_jax.data.images import ImageError, dimensions
from fame_jax.data.records import ClassRecord, PairRecord, Record
from fame_jax.experiments.opening import changed_picture
from fame_jax.experiments.rows import Row
from fame_jax.experiments.store import FAILED, Run, RunError
from fame_jax.explainers.explainer import pixel_digest
from fame_jax.inputs import PictureError, geometry_of, images, question
from fame_jax.metrics.iou import box_masks, cropped_boxes
from fame_jax.metrics.table import Metric, Subject


class Subjects:
    """The records of a run as a metric takes them."""

    def __init__(self, run: Run, row: Metric, chosen: Mapping[str, Any]):
        """Of `chosen`, all options of the metric, the convention of boxes is looked at."""
        self._run, self._row, self._chosen = run, row, chosen
        # So many boxes for all, since all examples have one shape.
        self._boxes = max((len(getattr(record, "boxes", ())) for record in run.records), default=0)

    def of(self, indices: range | np.ndarray) -> Iterator[tuple[int, Subject | Row]]:
        """Index after index with its subject, or with the row that says why there is none."""
        known = (self._run.column(name, indices) for name in ("state", "label", "sha256"))
        for index, state, label, hashes in zip(map(int, indices), *known, strict=True):
            try:
                found = self._subject(index, int(state), int(label), hashes)
            except (_LeftOut, PictureError, ImageError, RunError) as error:
                name, unread = self._run.records[index].name, not isinstance(error, _LeftOut)
                found = Row(index, name, {}, reason=" ".join(str(error).split()), unread=unread)
            yield index, found

    @functools.cached_property
    def _failures(self) -> dict[int, str]:
        return self._run.failures()

    def _subject(self, index: int, state: int, label: int, hashes: np.ndarray) -> Subject:
        """One record.

        Raises:
            _LeftOut: with the reason.
            PictureError, ImageError: for a picture that cannot be read, or is not what it was.
            RunError: for a map that cannot be read.
        """
        if state == FAILED:
            raise _LeftOut(self._failures.get(index, "could not be explained"))
        run, row, record, attribution = self._run, self._row, self._run.records[index], self._run.map(index)
        if not np.isfinite(attribution).all():
            raise _LeftOut("the map is not finite")
        if (changed := changed_picture(record, hashes)) is not None:
            raise PictureError(f"{changed}: the picture is not the one that was explained")
        if run.task == "detect":
            return _subject_of_box(run, record, attribution)
        if "label" in row.needs and label < 0:
            raise _LeftOut("the class is unknown")
        masks = self._masks(record, attribution.shape[0]) if "boxes" in row.needs else None
        if "genuine" in row.needs and isinstance(record, PairRecord) and record.genuine is None:
            raise _LeftOut("nobody said whether the pair is genuine")
        # A pair has two images, a photograph one; most metrics of boxes look at none.
        looks = "network" in row.needs
        image, gallery = (*images(record, geometry_of(run.manifest)), None)[:2] if looks else (None, None)
        digest = pixel_digest(*(one for one in (image, gallery) if one is not None))
        return Subject(image, attribution, np.asarray(label, np.int32), digest, masks, gallery)

    def _masks(self, record: Record, size: int) -> np.ndarray:
        """The boxes of a record as masks, filled up with empty ones to the number that all records have."""
        assert isinstance(record, ClassRecord)
        if not record.boxes:
            raise _LeftOut("no boxes")
        width, height = dimensions(record.picture.path)
        corners = cropped_boxes(
            np.asarray(record.boxes, np.float64),
            width,
            height,
            short_side=geometry_of(self._run.manifest).resize,
            crop=size,
            convention=self._chosen["convention"],
        )
        masks = np.zeros((self._boxes, size, size), bool)
        masks[: len(corners)] = box_masks(corners, size, size)
        return masks


class _LeftOut(Exception):
    """Why a record cannot be measured, and never will be as long as its map is this one."""


def _subject_of_box(run: Run, record: Record, attribution: np.ndarray) -> Subject:
    """A box on the canvas of its run. What is beyond the photograph counts for no metric."""
    asked = question(record, geometry_of(run.manifest))
    (image,), filled, (rows, columns) = asked.images, np.asarray(asked.filled[0]), asked.target.shape
    if attribution.shape != (rows, columns):
        raise PictureError("the photograph is not the one that was explained")
    whole = np.zeros(filled.shape, np.float32)
    whole[:rows, :columns] = attribution
    masks = box_masks(asked.target.box[None], *filled.shape) & ~filled
    box = asked.target.typed(np.float32)
    return Subject(image, whole, np.int32(0), pixel_digest(image), masks, None, filled, box)
