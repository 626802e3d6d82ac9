"""Detectors as ONNX files, made by hand: one that looks at bright places of a grid, in the words of each family."""

import numpy as np
from onnx import save

from tests.onnx.graphs import model, node

SIZE, CELL = 64, 16
"""Pixels of the graphs' side, and of the places on it that they look at."""


def grid():
    """`x, y, width, height` of the sixteen places, in pixels, row by row."""
    rows, columns = np.mgrid[:4, :4].reshape(2, -1)
    centre = (np.stack([columns, rows], 1) + 0.5) * CELL
    return np.concatenate([centre, np.full((16, 2), CELL)], 1).astype(np.float32)


def yolo(path, *, form="rows", objectness=False):
    """Three classes: how red, green and blue a place is. `form`: YOLOv8's `columns`, YOLOv5's `rows`, or `flat`."""
    boxes, ones = grid().T[None], np.ones((1, 1, 16), np.float32)
    nodes = [
        node("AveragePool", "x", "means", kernel_shape=[CELL, CELL], strides=[CELL, CELL]),
        node("Reshape", "means three", "scores"),
        node("Concat", "boxes ones scores" if objectness else "boxes scores", "columns", axis=1),
        node("Transpose", "columns", "rows", perm=[0, 2, 1]),
        node("Reshape", "columns all", "flat"),
    ]
    constants = {"boxes": boxes, "ones": ones, "three": np.array([1, 3, 16]), "all": np.array([1, -1])}
    save(model(nodes, inputs={"x": (1, 3, SIZE, SIZE)}, outputs=(form,), constants=constants), path)
    return path


def detr(path, *, boxes="pred_boxes"):
    """The same as a set of queries: logits of three classes and of nothing, boxes as shares of the image."""
    shares = grid()[None] / SIZE
    nodes = [
        node("AveragePool", "x", "means", kernel_shape=[CELL, CELL], strides=[CELL, CELL]),
        node("Reshape", "means three", "columns"),
        node("Transpose", "columns", "colours", perm=[0, 2, 1]),
        node("Mul", "colours steep", "classes"),
        node("Concat", "classes nothing", "pred_logits", axis=2),
        node("Mul", "colours zero", "zeros"),
        node("ReduceSum", "zeros last", "none", keepdims=1),
        node("Add", "none shares", boxes),
    ]
    constants = {"three": np.array([1, 3, 16]), "steep": np.float32(20), "nothing": np.full((1, 16, 1), 10, np.float32)}
    constants |= {"zero": np.float32(0), "last": np.array([2]), "shares": shares}
    save(model(nodes, inputs={"x": (1, 3, SIZE, SIZE)}, outputs=("pred_logits", boxes), constants=constants), path)
    return path


def anchored(path, family):
    """The same relative to anchors: around the corners of places for RetinaNet and FCOS, the places for SSD.

    FCOS's are a constant of the graph, `corners`.
    """
    deltas = {"retinanet": (0.5, 0.5, 0, 0), "fcos": (0, 0, 1, 1), "ssd": (0, 0, 0, 0)}[family]
    middle = grid()[:, :2] - CELL / 2
    nodes = [
        node("AveragePool", "x", "means", kernel_shape=[CELL, CELL], strides=[CELL, CELL]),
        node("Reshape", "means three", "columns"),
        node("Transpose", "columns", "colours", perm=[0, 2, 1]),
        node("Mul", "colours steep", "classes"),
        node("Sub", "classes ten", "logits"),
        node("Concat", "nothing logits", "cls_logits_of_ssd", axis=2),
        node("Identity", "logits", "cls_logits"),
        node("Mul", "colours zero", "zeros"),
        node("ReduceSum", "zeros last", "none", keepdims=1),
        node("Add", "none deltas", "bbox_regression"),
        node("Add", "none ten", "bbox_ctrness"),
    ]
    constants = {"three": np.array([1, 3, 16]), "steep": np.float32(20), "ten": np.float32(10), "zero": np.float32(0)}
    constants |= {"nothing": np.zeros((1, 16, 1), np.float32), "last": np.array([2])}
    constants |= {"deltas": np.tile(np.float32(deltas), (1, 16, 1))}
    constants |= {"corners": np.concatenate([middle - CELL / 2, middle + CELL / 2], 1)}
    scores = "cls_logits_of_ssd" if family == "ssd" else "cls_logits"
    outputs = (scores, "bbox_regression", *(("bbox_ctrness",) if family == "fcos" else ()))
    save(model(nodes, inputs={"x": (1, 3, SIZE, SIZE)}, outputs=outputs, constants=constants), path)
    return path
