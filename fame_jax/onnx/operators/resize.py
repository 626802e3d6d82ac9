"""Enlarging and reducing maps: along each axis a matrix that is known while tracing."""

import math
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np

from fame_jax.onnx.errors import GraphError
from fame_jax.onnx.operators.table import Axes, Call, Values, bounded, known, operator

_OUTWARD = "floor where it is enlarged, ceil where it is reduced"
"""Of files before opset 11, which do not say."""


@operator("Upsample", axes=Axes.CHANNELS_LAST)
def _upsample(call: Call, x: Values, scales: Values | None = None) -> Values:
    factors = call.get("scales") if scales is None else known(scales, "scales").tolist()
    sizes = [_scaled(n, f) for n, f in zip(_written(x.shape), factors, strict=True)]
    mode = {"nearest": "nearest", "linear": "linear", "bilinear": "linear"}[call.get("mode", "nearest")]
    return _resized(call, x, sizes, factors, mode=mode, coordinates="asymmetric", rounding=_OUTWARD)


@operator("Resize", axes=Axes.CHANNELS_LAST)
def _resize(call: Call, x: Values, *inputs: Values) -> Values:
    # Opset 10 has scales alone.
    given = (None, *inputs) if call.version < 11 else inputs
    _, scales, sizes = ((*given, None, None, None))[:3]
    # Of interpolation, and without an effect where there is none.
    call.asked.update(("antialias", "cubic_coeff_a", "exclude_outside"))
    shape = _written(x.shape)
    axes = [a % x.ndim for a in call.get("axes", range(x.ndim))]
    factors, wanted = [1.0] * x.ndim, list(shape)
    if sizes is not None and sizes.size:
        for axis, n in zip(axes, call.numbers(sizes, "sizes"), strict=True):
            factors[axis], wanted[axis] = n / shape[axis], n
        if call.get("keep_aspect_ratio_policy", "stretch") != "stretch":
            pick = min if call.get("keep_aspect_ratio_policy") == "not_larger" else max
            factor = pick(factors[a] for a in axes)
            for axis in axes:
                factors[axis], wanted[axis] = factor, math.floor(shape[axis] * factor + 0.5)
    elif scales is not None:
        for axis, factor in zip(axes, known(scales, "scales").tolist(), strict=True):
            factors[axis], wanted[axis] = factor, _scaled(shape[axis], factor)
    else:
        raise GraphError("neither scales nor sizes")
    old = call.version < 11
    return _resized(
        call,
        x,
        wanted,
        factors,
        mode=call.get("mode", "nearest"),
        coordinates=call.get("coordinate_transformation_mode", "asymmetric" if old else "half_pixel"),
        rounding=call.get("nearest_mode", _OUTWARD if old else "round_prefer_floor"),
    )


def _scaled(size: int, factor: float) -> int:
    """In 32 bits, as a file has its scales: there ten times 1.4 is 14, in 64 bits it is a little less."""
    return math.floor(np.float32(size) * np.float32(factor))


def _written(shape: Sequence[int]) -> tuple[int, ...]:
    return (shape[0], shape[-1], *shape[1:-1])


def _resized(
    call: Call, x: Values, sizes: Sequence[int], factors: Sequence[float], *, mode: str, coordinates: str, rounding: str
) -> Values:
    bounded(sizes)
    for written, (size, factor) in enumerate(zip(sizes, factors, strict=True)):
        axis = 0 if written == 0 else x.ndim - 1 if written == 1 else written - 1
        if factor == 1 and size == x.shape[axis]:
            continue
        if factor <= 0:
            raise GraphError(f"a scale of {factor}")
        if size < 1:
            raise GraphError(f"{x.shape[axis]} places by a scale of {factor}; none would be left")
        # Which pixel is nearest is decided in 32 bits, in which a file has its scales.
        kind = np.float32 if mode == "nearest" else np.float64
        places = _places(coordinates, size, x.shape[axis], kind(factor))
        if mode == "nearest":
            outward = "ceil" if factor < 1 else "floor"
            x = _nearest(x, axis, places.astype(np.float64), outward if rounding == _OUTWARD else rounding)
        else:
            bounded((size, x.shape[axis]))
            weights = _weights(call, places, x.shape[axis], factor, mode)
            x = jnp.moveaxis(jnp.tensordot(x, jnp.asarray(weights, x.dtype), axes=((axis,), (1,))), -1, axis)
    return x


def _places(mode: str, size: int, before: int, factor: np.floating) -> np.ndarray:
    """Where in the old axis each place of the new one lies, in the precision of the factor."""
    new = np.arange(size, dtype=factor.dtype)
    match mode:
        case "half_pixel":
            return (new + 0.5) / factor - 0.5
        case "pytorch_half_pixel":
            return (new + 0.5) / factor - 0.5 if size > 1 else np.zeros_like(new)
        case "half_pixel_symmetric":
            adjusted = size / (before * factor)
            return before / 2 * (1 - adjusted) + (new + 0.5) / factor - 0.5
        case "asymmetric":
            return new / factor
        case "align_corners":
            return new * (before - 1) / max(size - 1, 1)
    raise GraphError(f"coordinates by {mode}; not supported")


def _nearest(x: Values, axis: int, places: np.ndarray, rounding: str) -> Values:
    rounded = {
        "floor": np.floor(places),
        "ceil": np.ceil(places),
        "round_prefer_floor": np.ceil(places - 0.5),
        "round_prefer_ceil": np.floor(places + 0.5),
    }[rounding]
    chosen = np.clip(rounded, 0, x.shape[axis] - 1).astype(np.int64)
    times = len(chosen) // x.shape[axis]
    if np.array_equal(chosen, np.repeat(np.arange(x.shape[axis]), times)):
        return jnp.repeat(x, times, axis=axis)
    return jnp.take(x, chosen, axis=axis)


def _weights(call: Call, places: np.ndarray, before: int, factor: float, mode: str) -> np.ndarray:
    """The matrix `[new, old]` of a linear or cubic interpolation."""
    if mode not in ("linear", "cubic"):
        raise GraphError(f"mode {mode!r}")
    stretch = min(1.0, factor) if call.get("antialias", 0) else 1.0
    # Each place sees its neighbours, further ones where it is reduced; beyond the border they count for the border.
    reach = math.ceil((1 if mode == "linear" else 2) / stretch)
    neighbours = np.floor(places)[:, None] + np.arange(1 - reach, reach + 1)[None]
    distance = np.abs(neighbours - places[:, None]) * stretch
    weights = np.maximum(0, 1 - distance) if mode == "linear" else _cubic(distance, call.get("cubic_coeff_a", -0.75))
    outside = (neighbours < 0) | (neighbours >= before)
    if call.get("exclude_outside", 0):
        weights = np.where(outside, 0, weights)
    weights = weights / weights.sum(1, keepdims=True)
    matrix = np.zeros((len(places), before))
    columns = np.clip(neighbours, 0, before - 1).astype(np.int64)
    np.add.at(matrix, (np.arange(len(places))[:, None], columns), weights)
    return matrix


def _cubic(x: np.ndarray, a: float) -> np.ndarray:
    """Keys' kernel of distances."""
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    return np.where(x <= 1, near, np.where(x < 2, far, 0))
