"""Operators that treat every value by itself, after NumPy's broadcasting."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from fame_jax.architectures import layers
from fame_jax.onnx.errors import GraphError
from fame_jax.onnx.operators.table import Axes, Call, Values, bounded, known, operator
from fame_jax.onnx.tensors import dtype

elementwise = functools.partial(operator, axes=Axes.ANY)


def broadcast(call: Call, *arrays: Values) -> list[Values]:
    """Arrays of one shape."""
    shape = bounded(np.broadcast_shapes(*(array.shape for array in arrays)))
    return [array if array.shape == shape else call.np.broadcast_to(array, shape) for array in arrays]


def _simple(name: str, function: Callable[[Any], Any]) -> None:
    elementwise(name)(lambda call, x: function(x))


for _name, _function in {
    "Acos": jnp.arccos,
    "Asin": jnp.arcsin,
    "Atan": jnp.arctan,
    "Cosh": jnp.cosh,
    "Erf": lax.erf,
    "HardSwish": lambda x: x * jnp.clip(x / 6 + 0.5, 0, 1),
    "Mish": lambda x: x * jnp.tanh(jax.nn.softplus(x)),
    "Relu": jax.nn.relu,
    "Sigmoid": jax.nn.sigmoid,
    "Sinh": jnp.sinh,
    "Softplus": jax.nn.softplus,
    "Softsign": jax.nn.soft_sign,
    "Tan": jnp.tan,
}.items():
    _simple(_name, _function)


def _of_numpy(name: str, function: str) -> None:
    elementwise(name, folds=True)(lambda call, x: getattr(call.np, function)(x))


def magnitude(np_: Any, x: Values) -> Values:
    """`|x|`, whose gradient at zero is zero as torch has it, where JAX's is 1: black borders would be pushed."""
    return np.abs(x) if np_ is np else x * lax.stop_gradient(jnp.sign(x))


elementwise("Abs", folds=True)(lambda call, x: magnitude(call.np, x))


for _name, _function in {
    "Ceil": "ceil",
    "Cos": "cos",
    "Exp": "exp",
    "Floor": "floor",
    "IsNaN": "isnan",
    "Log": "log",
    "Neg": "negative",
    "Not": "logical_not",
    "Reciprocal": "reciprocal",
    "Round": "round",
    "Sign": "sign",
    "Sin": "sin",
    "Sqrt": "sqrt",
    "Tanh": "tanh",
}.items():
    _of_numpy(_name, _function)


def _of_two(name: str, function: str) -> None:
    elementwise(name, folds=True)(lambda call, a, b: getattr(call.np, function)(*broadcast(call, a, b)))


for _name, _function in {
    "Add": "add",
    "And": "logical_and",
    "Equal": "equal",
    "Greater": "greater",
    "GreaterOrEqual": "greater_equal",
    "Less": "less",
    "LessOrEqual": "less_equal",
    "Mul": "multiply",
    "Or": "logical_or",
    "Sub": "subtract",
    "Xor": "logical_xor",
}.items():
    _of_two(_name, _function)


def _of_many(name: str, function: str) -> None:
    elementwise(name, folds=True)(lambda call, *x: functools.reduce(getattr(call.np, function), broadcast(call, *x)))


for _name, _function in {"Max": "maximum", "Min": "minimum", "Sum": "add"}.items():
    _of_many(_name, _function)


@elementwise("Mean")
def _mean(call: Call, *x: Values) -> Values:
    return functools.reduce(jnp.add, broadcast(call, *x)) / len(x)


@elementwise("Relu of Add")
def _relu_of_sum(call: Call, a: Values, b: Values) -> Values:
    """Not in files: what a sum and the `Relu` after it become."""
    return layers.relu_of_sum(*broadcast(call, a, b))


@elementwise("Div", folds=True)
def _div(call: Call, a: Values, b: Values) -> Values:
    a, b = broadcast(call, a, b)
    if np.issubdtype(a.dtype, np.integer):
        return call.np.sign(a) * call.np.sign(b) * (call.np.abs(a) // call.np.abs(b))
    return call.np.divide(a, b)


@elementwise("Mod", folds=True)
def _mod(call: Call, a: Values, b: Values) -> Values:
    return (call.np.fmod if call.get("fmod", 0) else call.np.mod)(*broadcast(call, a, b))


@elementwise("Pow", folds=True)
def _pow(call: Call, x: Values, exponent: Values) -> Values:
    kind = x.dtype
    if not jnp.issubdtype(kind, jnp.floating) and jnp.issubdtype(exponent.dtype, jnp.floating):
        x = x.astype(exponent.dtype)  # The root of an integer is none; it is cut at the end.
    if call.np is jnp and isinstance(exponent, np.ndarray) and exponent.size == 1:
        power = exponent.item()
        if power == int(power) and abs(power) <= 8:
            return lax.integer_pow(x, int(power)).astype(kind)
        if power == 0.5:
            return jnp.sqrt(x).astype(kind)
    x, exponent = broadcast(call, call.np.asarray(x), exponent)
    return call.np.power(x, exponent.astype(x.dtype)).astype(kind)


@elementwise("Where", folds=True)
def _where(call: Call, condition: Values, a: Values, b: Values) -> Values:
    return call.np.where(*broadcast(call, condition, a, b))


@elementwise("Identity", folds=True)
def _identity(call: Call, x: Values) -> Values:
    return x


@elementwise("Dropout", folds=True)
def _dropout(call: Call, x: Values, ratio: Values | None = None, training: Values | None = None) -> Values:
    if training is not None and np.any(known(training, "mode")):
        raise GraphError("it drops values at random; export the network in evaluation mode")
    return x


@elementwise("Cast", folds=True)
def _cast(call: Call, x: Values) -> Values:
    return _as_type(call, x, dtype(call.get("to")))


@operator("CastLike", folds=True)
def _cast_like(call: Call, x: Values, like: Values) -> Values:
    return _as_type(call, x, like.dtype)


def _as_type(call: Call, x: Values, to: Any) -> Values:
    """Between kinds of floating-point numbers nothing is done: a network computes in one."""
    if call.np is np:
        return x.astype(to)
    if jnp.issubdtype(to, jnp.floating):
        return x.astype(call.dtype)
    return x.astype(jax.dtypes.canonicalize_dtype(to))


@elementwise("IsInf")
def _is_inf(call: Call, x: Values) -> Values:
    negative, positive = call.get("detect_negative", 1), call.get("detect_positive", 1)
    return jnp.isinf(x) & (((x < 0) & bool(negative)) | ((x > 0) & bool(positive)))


@elementwise("Clip", folds=True)
def _clip(call: Call, x: Values, low: Values | None = None, high: Values | None = None) -> Values:
    """As torch's hard tanh: no gradient at the limits, but that of a limit which depends on the pixels."""
    low, high = (call.get(key) if limit is None else limit for key, limit in (("min", low), ("max", high)))
    if low is not None:
        low = call.np.asarray(low, x.dtype).reshape((1,) * x.ndim)
        x = call.np.where(x <= low, low, x)
    if high is not None:
        high = call.np.asarray(high, x.dtype).reshape((1,) * x.ndim)
        x = call.np.where(x >= high, high, x)
    return x


@elementwise("PRelu")
def _prelu(call: Call, x: Values, slope: Values) -> Values:
    return jnp.where(x > 0, x, x * broadcast(call, x, slope)[1])


@elementwise("LeakyRelu")
def _leaky_relu(call: Call, x: Values) -> Values:
    return jnp.where(x > 0, x, x * call.get("alpha", 0.01))


@elementwise("ThresholdedRelu")
def _thresholded_relu(call: Call, x: Values) -> Values:
    return jnp.where(x > call.get("alpha", 1.0), x, 0)


@elementwise("Elu", "Celu")
def _elu(call: Call, x: Values) -> Values:
    alpha = call.get("alpha", 1.0)
    scale = alpha if call.node.operator == "Celu" else 1.0
    negative = jnp.expm1(jnp.minimum(x, 0) / scale)
    return jnp.where(x > 0, x, alpha * negative)


@elementwise("Selu")
def _selu(call: Call, x: Values) -> Values:
    alpha, gamma = call.get("alpha", 1.67326319217681884765625), call.get("gamma", 1.05070102214813232421875)
    return gamma * jnp.where(x > 0, x, alpha * jnp.expm1(jnp.minimum(x, 0)))


@elementwise("HardSigmoid")
def _hard_sigmoid(call: Call, x: Values) -> Values:
    return jnp.clip(call.get("alpha", 0.2) * x + call.get("beta", 0.5), 0, 1)


@elementwise("Gelu")
def _gelu(call: Call, x: Values) -> Values:
    if call.get("approximate", "none") == "tanh":
        return jax.nn.gelu(x, approximate=True)
    return layers.gelu(x)


@elementwise("Swish")
def _swish(call: Call, x: Values) -> Values:
    return x * jax.nn.sigmoid(call.get("alpha", 1.0) * x)
