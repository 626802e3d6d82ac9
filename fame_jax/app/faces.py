"""Faces of photographs in memory: found once, aligned, covered by rectangles."""

from typing import NamedTuple

import numpy as np

from fame_jax.app.asked import Side
from fame_jax.app.memory import Photographs, Recent
from fame_jax.data.alignment import SIDE
from fame_jax.data.faces import FaceCrop, chosen_face, load_face
from fame_jax.data.images import Pixels, read_image
from fame_jax.data.searching import Face, detect_at_any_turn
from fame_jax.inputs import Input, crop_as_input


class Found(NamedTuple):
    """The faces of a photograph, the largest first; none of one that is an aligned face already."""

    faces: list[Face]
    aligned: bool


class FacesInMemory:
    """What was found in the photographs that were asked for last."""

    def __init__(self, photographs: Photographs) -> None:
        self._photographs = photographs
        self._found, self._crops = Recent[Found](64), Recent[FaceCrop](64)

    def found(self, photograph: str) -> tuple[Pixels, Found]:
        """A photograph `[H, W, 3]` and its faces.

        Raises:
            ImageError: if it cannot be read.
            ImportError: if OpenCV is not installed.
        """
        image = read_image(self._photographs.find(photograph))
        known = self._found.find(photograph)
        if known is None:
            aligned = image.shape == (SIDE, SIDE, 3)
            known = self._found.put(photograph, Found([] if aligned else detect_at_any_turn(image), aligned))
        return image, known

    def whole_crop(self, side: Side) -> FaceCrop:
        """The face of a side, aligned, without what covers it.

        Raises:
            ImageError: if the photograph cannot be read.
            FaceError: if there is no such face in it.
        """
        key = (side.photograph, side.face)
        crop = self._crops.find(key)
        if crop is None:
            image, found = self.found(side.photograph)
            held = self._photographs.find(side.photograph)
            crop = load_face(held, side.face) if found.aligned else chosen_face(image, found.faces, side.face)
            self._crops.put(key, crop)
        return crop

    def crop(self, side: Side) -> Input:
        """The face as the network sees it: aligned, and black under its rectangles."""
        crop = self.whole_crop(side)
        image = np.array(crop.image)
        for left, top, right, bottom in side.covered:
            image[top:bottom, left:right] = 0
        return crop_as_input(crop._replace(image=image))
