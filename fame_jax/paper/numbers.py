"""The numbers that the FAME paper prints, as data, and what is known about them.

References:
    Zhang and Günther, "Feature Activation Map Explanation on Image Classification and Face Recognition", CVPRW 2026,
    Tab. 1 to 3.
"""

from collections.abc import Sequence
from typing import NamedTuple

RESIZE = 232
"""Short side of a photograph before the central crop, for all classifiers alike, as in the authors' published code."""

METHODS = ("grad_cam", "grad_cam_ew", "hires_cam", "fullgrad", "corrrise", "fggb", "fame")
"""The tables' methods by their names here, in the tables' order."""


class Classification(NamedTuple):
    """A row of Tab. 1: IoU in percent at thresholds 0.3, 0.5 and 0.7, ROAD-Delete at 10, 30 and 50 % removed."""

    iou: tuple[float, float, float]
    road_delete: tuple[float, float, float]


TABLE_1 = {
    "grad_cam": Classification((38.76, 23.38, 10.24), (0.2665, 1.0354, 2.2562)),
    "grad_cam_ew": Classification((40.15, 24.40, 10.70), (0.2518, 0.9749, 2.1243)),
    "hires_cam": Classification((38.76, 23.38, 10.24), (0.2665, 1.0354, 2.2563)),
    "fullgrad": Classification((48.81, 33.05, 13.14), (0.2527, 1.0200, 2.2888)),
    "fame": Classification((46.09, 29.09, 10.79), (0.4253, 1.1499, 2.1672)),
}
"""By method. The paper does not say of which networks these are means."""

PROTOCOLS = {
    "neutral": "arface neutral",
    "glass": "arface glass",
    "scarf": "arface scarf",
    "close": "scface close",
    "medium": "scface medium",
    "far": "scface far",
    "FF": "cfp FF-01",
    "FP": "cfp FP-01",
}
"""Columns of Tab. 2, and the data sets here."""

# Network, method, and deletion/insertion in the order of PROTOCOLS.
_TABLE_2 = """\
iresnet18  grad_cam    50.51/50.32 63.77/65.63 61.71/81.78 66.56/70.33 62.47/63.03 53.64/55.73 76.94/89.02 55.04/66.79
iresnet18  grad_cam_ew 50.47/52.48 54.35/84.80 57.42/90.96 58.17/85.90 55.95/78.74 51.88/60.90 64.51/95.45 52.31/78.54
iresnet18  corrrise    50.47/50.00 53.69/80.20 53.84/92.66 55.87/84.23 54.59/74.17 51.30/59.56 69.19/94.43 51.94/77.90
iresnet18  fggb        50.47/52.69 52.85/75.93 54.10/85.44 55.83/80.13 53.74/72.91 51.35/58.91 62.89/88.10 52.19/73.31
iresnet18  fame        50.47/52.78 53.06/85.43 53.41/92.86 56.80/86.22 55.05/78.53 52.40/60.67 60.75/95.58 51.87/79.96
iresnet50  grad_cam    50.90/50.81 75.23/75.21 68.85/78.29 69.62/75.81 63.00/67.12 54.63/57.34 79.11/88.60 70.09/83.29
iresnet50  grad_cam_ew 50.77/54.23 59.71/90.88 57.44/91.20 60.48/87.92 56.87/78.17 52.64/62.71 65.65/95.48 56.78/93.61
iresnet50  corrrise    50.77/50.00 59.55/91.18 55.07/92.64 60.07/88.62 56.30/76.53 52.06/60.20 72.68/96.27 55.69/94.68
iresnet50  fggb        50.77/54.02 57.34/82.54 57.40/85.11 59.59/82.78 56.48/72.01 52.31/59.97 64.78/88.36 57.55/88.91
iresnet50  fame        50.77/55.00 56.85/91.75 54.46/92.84 58.31/88.94 56.17/78.97 53.43/63.14 62.20/96.00 54.84/95.05
iresnet101 grad_cam    50.64/50.60 72.62/77.89 69.48/80.50 71.27/75.40 67.64/69.86 54.51/54.40 86.41/91.94 74.91/85.21
iresnet101 grad_cam_ew 50.60/52.91 60.44/90.09 59.12/90.80 60.57/87.17 59.05/80.56 52.41/59.48 70.17/96.70 59.26/94.36
iresnet101 corrrise    50.60/50.00 58.39/91.24 55.52/93.43 58.59/86.78 57.35/80.35 51.38/58.79 86.46/96.81 56.31/96.07
iresnet101 fggb        50.60/53.63 58.09/83.71 58.17/86.61 59.59/83.17 58.49/75.58 52.17/57.91 69.10/91.39 58.66/90.85
iresnet101 fame        50.60/54.06 56.12/92.07 55.13/93.43 58.10/88.22 57.19/82.02 52.73/60.15 65.70/96.71 55.82/96.24
"""


class Verification(NamedTuple):
    """A cell of Tab. 2: areas under accuracy in percent, over 0 to 100 % of the probe's pixels."""

    deletion: float
    insertion: float


def _cells(cells: Sequence[str]) -> dict[str, Verification]:
    pairs = (Verification(*map(float, cell.split("/"))) for cell in cells)
    return dict(zip(PROTOCOLS, pairs, strict=True))


def _table_2() -> dict[str, dict[str, dict[str, Verification]]]:
    table: dict[str, dict[str, dict[str, Verification]]] = {}
    for network, method, *cells in (line.split() for line in _TABLE_2.splitlines()):
        table.setdefault(network, {})[method] = _cells(cells)
    return table


TABLE_2 = _table_2()
"""By network, method and protocol."""

TABLE_3_STEPS = {1: 308, 25: 734, 50: 1232, 75: 1679, 100: 2043, 200: 3976, 300: 5891, 400: 7626, 500: 9552}
"""Seconds of FAME with ResNet-50 for 1000 photographs one by one, by number of steps (Tab. 3a)."""

TABLE_3_PHOTOGRAPHS = 1000

TABLE_3_PAIRS = {"grad_cam": 366, "grad_cam_ew": 456, "corrrise": 7426, "fggb": 9559, "fame": 2116}
"""Seconds with IResNet-101 for the 700 pairs of CFP FP-01, by method (Tab. 3b)."""

TABLE_3_PAIRS_NUMBER = 700

CLEAN_ACCURACY = 99.86
"""Of IResNet-101 on CFP FP-01 in percent: 699 of 700 pairs (Fig. 4)."""

_REWRITE = (
    "The authors say of their published code that it is a rewrite of lost scripts, with which no number of the paper "
    "was computed again. Compare rankings and orders of magnitude."
)

CAVEATS = {
    1: (
        _REWRITE,
        "Of the lost scripts they name two faults that touch this table: FAME's maps were ranked as colour pictures, "
        "and boxes were scaled by axis.",
        "Their code blackens removed pixels in place of imputing them, and compares with a percentile: "
        "--presets official. The default imputes, as ROAD is defined.",
        "Equal rows of Grad-CAM and HiResCAM rule out that VGG-19 is among the networks; which ones are is not said.",
    ),
    2: (
        _REWRITE,
        "Of the lost scripts they say that the face network's input was not normalised.",
        "The column neutral is degenerate: it implies clean accuracies of 59 to 65 %, and CorrRISE inserts to exactly "
        "50.00 with every network. It is no target.",
        "Deletion ends near 50 %: all probes are black then, and one decision for all pairs is right for half of them.",
    ),
    3: (
        "FAME's seconds a pair are too few for two or four walks of 500 steps, so that an early stop at a loss of 0.01 "
        "must have been on.",
        "The paper's device is not the one measured here.",
    ),
}
"""What a reader of each table has to know."""
