"""What a method is asked: images and a target, before and after the network has looked at them."""

from typing import Any, NamedTuple

import numpy as np


class Boxed(NamedTuple):
    """What is asked of a detector: how much of one box it still sees, see `fame_jax.detection.Detected`.

    Attributes:
        box: `left, top, right, bottom` in pixels of the image, `[4]`.
        label: its class.
        shape: rows and columns of the photograph, which lies at the upper left of the image, `[2]`.
    """

    box: Any
    label: Any
    shape: Any

    def typed(self, dtype: Any) -> "Boxed":
        """With the box in a dtype, as arrays on the host."""
        return Boxed(np.asarray(self.box, dtype), np.int32(self.label), np.asarray(self.shape, np.int32))


class Question(NamedTuple):
    """What is asked.

    Attributes:
        images: one `[H, W, C]` in [0, 1], on the host; probe and gallery for a pair.
        target: index of a class, None for the top one; row and column of a location; a `Boxed`; None for a pair.
        filled: for each image, `[H, W]` where it is no part of a photograph, or None. Nothing there can be a reason, so
            maps are zero there.
    """

    images: tuple[np.ndarray, ...]
    target: Any = None
    filled: tuple[np.ndarray | None, ...] = (None, None)


class Seen(NamedTuple):
    """A question, and what the network says of its images before anything is explained.

    Attributes:
        images: in the dtype of the engine.
        target: never None for a class.
        outputs: logits or embedding of each image; none for a location or a box.
        digest: of the pixels, which the random key is made of.
        filled: see `Question`.
    """

    images: tuple[np.ndarray, ...]
    target: Any
    outputs: tuple[np.ndarray, ...]
    digest: np.uint32
    filled: tuple[np.ndarray | None, ...]

    @property
    def predicted(self) -> int:
        """The class with the largest output."""
        return int(np.argmax(self.outputs[0]))

    @property
    def similarity(self) -> float:
        """Cosine of the two embeddings of a pair; 0 where one is all zeros."""
        one, other = (np.asarray(output, np.float64) for output in self.outputs)
        norms = np.linalg.norm(one) * np.linalg.norm(other)
        return float(one @ other / norms) if norms else 0.0
