"""How torch lays out the weights of a layer, and how this library does."""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

Shape = tuple[int, ...]


class Layout(NamedTuple):
    """From the publisher's layout to ours.

    Attributes:
        ours: the publisher's array in our layout.
        theirs: the publisher's shape, from ours.
    """

    ours: Callable[[np.ndarray], np.ndarray]
    theirs: Callable[[Shape], Shape]


SAME = Layout(lambda w: w, lambda shape: shape)
"""Vectors: biases, batch norm's and layer norm's, slopes."""

CONVOLUTION = Layout(lambda w: w.transpose(2, 3, 1, 0), lambda shape: (shape[3], shape[2], shape[0], shape[1]))
"""(out, in / groups, height, width) to (height, width, in / groups, out); a depthwise kernel has in / groups = 1."""

LINEAR = Layout(lambda w: w.T, lambda shape: shape[::-1])
"""(out, in) to (in, out)."""

CHANNELS = Layout(lambda w: w.reshape(-1), lambda shape: (math.prod(shape), 1, 1))
"""(channels, 1, 1), which broadcasts over torch's rows and columns, to (channels,)."""

ONE_IMAGE = Layout(lambda w: w[0], lambda shape: (1, *shape))
"""(1, ...), which broadcasts over torch's batch, to (...): there is no batch axis here."""


def flattened(rows: int, columns: int) -> Layout:
    """A linear layer behind a flattened feature map: torch flattens channel, row, column; we row, column, channel."""

    def ours(w: np.ndarray) -> np.ndarray:
        return w.reshape(len(w), -1, rows, columns).transpose(2, 3, 1, 0).reshape(-1, len(w))

    return Layout(ours, LINEAR.theirs)


def convolved(size: int) -> Layout:
    """The same layer as timm has it, a convolution of `size` x `size` over the whole map."""
    return Layout(flattened(size, size).ours, lambda shape: (shape[1], shape[0] // size**2, size, size))
