"""Detections in photographs in memory, each photograph with a network of its own: one output a box."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

from fame_jax import detection
from fame_jax.app.asked import AskedError
from fame_jax.app.desk import Desk
from fame_jax.app.memory import Photographs, Recent
from fame_jax.data.images import Pixels, load_whole
from fame_jax.detection import Detection, detected, detections
from fame_jax.detection.candidates import THRESHOLD

LONGEST = 640
"""Longer side of what a detector is shown, in pixels: a walk takes long in larger ones."""


class Boxed(NamedTuple):
    """A photograph as the detector sees it, what was found, and the desk that explains it; None if nothing was."""

    image: Pixels
    found: list[Detection]
    desk: Desk | None


class BoxesInMemory:
    """What was found in the photographs that were asked for last.

    Args:
        photographs: in memory.
        make: makes a desk with the detector, when it is first asked for.
    """

    def __init__(self, photographs: Photographs, make: Callable[[], Desk] | None) -> None:
        self._photographs, self._make = photographs, make
        self._detector: Desk | None = None
        self._known = Recent[Boxed](4)

    def of(self, photograph: str) -> Boxed:
        """What is found in a photograph.

        Raises:
            AskedError: if there is no detector.
            ImageError: if the photograph cannot be read.
        """
        return self._known.find(photograph) or self._known.put(photograph, self._boxed(photograph))

    def desk(self, photograph: str) -> Desk:
        """The desk that explains what is found.

        Raises:
            AskedError: if nothing is.
        """
        desk = self.of(photograph).desk
        if desk is None:
            raise AskedError("nothing was detected in this photograph.")
        return desk

    def about(self) -> dict[str, str]:
        """The detector's name, and what it finds as far as that is told in a few words."""
        assert self._detector is not None
        labels = self._detector.card.labels or ()
        more = " …" if len(labels) > 5 else ""
        return {"detector": self._detector.card.name, "finds": f"{', '.join(labels[:5])}{more}"}

    def _boxed(self, photograph: str) -> Boxed:
        if self._make is None:
            raise AskedError("this page has no detector.")
        self._detector = self._detector or self._make()
        card, network = self._detector.card, self._detector.network
        longest = min(LONGEST, card.size)
        image = load_whole(self._photographs.find(photograph), longest)
        sized: Any = detection.of_network(network, card, *image.shape[:2])
        found = detections(sized, image, threshold=THRESHOLD)
        if not found:
            return Boxed(image, found, None)
        names = tuple(f"{self._detector.name(one.label)} {i} ({one.score:.2f})" for i, one in enumerate(found, 1))
        of_boxes = replace(card, labels=names, size=longest, resize=longest)
        return Boxed(image, found, replace(self._detector, card=of_boxes, network=detected(sized, found)))
