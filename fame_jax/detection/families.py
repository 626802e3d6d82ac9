"""A graph's outputs, told apart and checked, to `Candidates`: each family's decoding, by the card's word for it."""

import itertools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from fame_jax.detection import decoding
from fame_jax.detection.candidates import Candidates
from fame_jax.models.card import Decoding
from fame_jax.onnx import GraphError


class Setting(NamedTuple):
    """What boxes are told against.

    Attributes:
        height: of the image that the graph was given, pixels.
        width: likewise.
        anchors: `left, top, right, bottom` in pixels, `[n, 4]`; None for families without.
        weights: of the four numbers of a box, see `decoding.anchored`; the family's if there are none.
    """

    height: int
    width: int
    anchors: Any = None
    weights: tuple[float, ...] = ()


def _yolo(outputs: decoding.Outputs, *, objectness: bool) -> Candidates:
    first = 5 if objectness else 4
    expected = f"one output [n, {first} + classes] or [{first} + classes, n], the longer axis n; name it by --output"
    if len(outputs) != 1:
        raise GraphError(f"the outputs are {_shown(outputs)}; YOLO's decoding expects {expected}.")
    (rows,) = outputs.values()
    if rows.ndim == 2 and rows.shape[0] < rows.shape[1]:
        rows = rows.T
    if rows.ndim != 2 or rows.shape[1] <= first:
        raise GraphError(f"the output is {_shown(outputs)}; YOLO's decoding expects {expected}.")
    return decoding.yolo(rows, objectness=objectness)


def _detr(outputs: decoding.Outputs, setting: Setting) -> Candidates:
    logits, boxes = _by_role(outputs, "DETR", {"logit": None, "box": 4})
    return decoding.detr(logits, boxes, setting.height, setting.width)


def _ssd(outputs: decoding.Outputs, setting: Setting) -> Candidates:
    logits, deltas = _by_role(outputs, "SSD", {"logit": None, "box": 4}, len(setting.anchors))
    scores, weights = jax.nn.softmax(logits)[:, 1:], setting.weights or (10.0, 10.0, 5.0, 5.0)
    return decoding.anchored(deltas, scores, setting.anchors.astype(deltas.dtype), weights)


def _retinanet(outputs: decoding.Outputs, setting: Setting) -> Candidates:
    logits, deltas = _by_role(outputs, "RetinaNet", {"logit": None, "box": 4}, len(setting.anchors))
    scores, weights = jax.nn.sigmoid(logits), setting.weights or (1.0,) * 4
    return decoding.anchored(deltas, scores, setting.anchors.astype(deltas.dtype), weights)


def _fcos(outputs: decoding.Outputs, setting: Setting) -> Candidates:
    roles = {"logit": None, "box": 4, "ctr": 1}
    logits, shares, centredness = _by_role(outputs, "FCOS", roles, len(setting.anchors))
    start, end = jnp.split(setting.anchors.astype(shares.dtype), 2, axis=1)
    sides = shares * jnp.tile(end - start, 2)
    return decoding.distances(sides, jax.nn.sigmoid(logits), jax.nn.sigmoid(centredness[:, 0]), (start + end) / 2)


def _yunet(outputs: decoding.Outputs, setting: Setting) -> Candidates:
    height, width = setting.height, setting.width
    ends = {"cls": 1, "obj": 1, "bbox": 4, "kps": 10}
    expected = {
        f"{name}_{stride}": (height // stride * (width // stride), values)
        for stride in decoding.STRIDES
        for name, values in ends.items()
    }
    for name, shape in expected.items():
        if name not in outputs or outputs[name].shape != shape:
            raise GraphError(f"the outputs are {_shown(outputs)}; YuNet's decoding expects {name} {list(shape)}.")
    return decoding.yunet(outputs, height, width)


FAMILIES: Mapping[Decoding, Callable[[decoding.Outputs, Setting], Candidates]] = {
    "yolo": lambda outputs, _: _yolo(outputs, objectness=False),
    "yolo_objectness": lambda outputs, _: _yolo(outputs, objectness=True),
    "detr": _detr,
    "yunet": _yunet,
    "ssd": _ssd,
    "retinanet": _retinanet,
    "fcos": _fcos,
}


def _by_role(
    outputs: decoding.Outputs, family: str, roles: Mapping[str, int | None], rows: int | None = None
) -> list[Float[Array, "rows values"]]:
    """The outputs in the order of their roles, by their shapes if these allow one order only, else by their names.

    Args:
        outputs: of the graph.
        family: for the message.
        roles: numbers in a row of each, by a word that its name holds; None for as many as there are.
        rows: of every output; None for as many as the others have.
    """

    def fits(names: tuple[str, ...]) -> bool:
        shapes = [outputs[name].shape for name in names]
        alike = all(len(shape) == 2 and shape[0] == (rows or shapes[0][0]) for shape in shapes)
        return alike and all(n in (None, shape[1]) for shape, n in zip(shapes, roles.values(), strict=True))

    orders = itertools.permutations(outputs) if len(outputs) == len(roles) else ()
    fitting = [names for names in orders if fits(names)]
    if len(fitting) > 1:
        fitting = [names for names in fitting if all(w in n.lower() for w, n in zip(roles, names, strict=True))]
    if len(fitting) != 1:
        every = ", ".join(
            f"one with '{word}' in its name [{rows or 'n'}, {n or 'classes'}]" for word, n in roles.items()
        )
        anchors = "" if rows is None else f", a row for each of {rows} anchors"
        raise GraphError(f"the outputs are {_shown(outputs)}; {family}'s decoding expects {every}{anchors}.")
    return [outputs[name] for name in fitting[0]]


def _shown(outputs: decoding.Outputs) -> str:
    return ", ".join(f"{name} {list(value.shape)}" for name, value in outputs.items())[:300]
