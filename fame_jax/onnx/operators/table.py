"""How an operator is written: a function of arrays, and in which order of axes it takes them.

Inside, a feature map that a graph describes as `[N, C, H, W]` is held as `[N, H, W, C]`, which XLA's CPU backend runs
up to 20 times faster.
"""

import dataclasses
import enum
from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
import onnx
from jax.tree_util import register_dataclass

from fame_jax.onnx.errors import GraphError
from fame_jax.onnx.graph import Node
from fame_jax.onnx.tensors import LARGEST

Values = Any
"""A NumPy array where the pixels do not matter, else a JAX array."""


# Of training, of further outputs that are refused where they are used, or said by the inputs as well.
_WITHOUT_EFFECT = {
    *("kernel_shape", "momentum", "ratio", "seed", "saturate", "stash_type", "storage_order"),
    *("extrapolation_value", "precision", "softmax_precision", "num_outputs"),
}


class Axes(enum.Enum):
    """The order of axes in which an operator takes its inputs."""

    AS_WRITTEN = "the graph's"
    ANY = "one order for all inputs, which have equal ranks; axes are asked for by `Call.axis`"
    CHANNELS_LAST = "the first input with channels last, the rest as written"


@register_dataclass
@dataclasses.dataclass(frozen=True)
class ChannelsLast:
    """`[N, H, W, C]`, of what the graph calls `[N, C, H, W]`; other ranks likewise."""

    array: Any

    @property
    def as_written(self) -> Any:
        """`[N, C, H, W]`."""
        return jnp.moveaxis(self.array, -1, 1)


@dataclasses.dataclass(frozen=True)
class Call:
    """One use of an operator.

    Attributes:
        node: whose.
        np: NumPy if all inputs are, so that shapes are computed while tracing; else `jax.numpy`.
        dtype: of floating-point numbers in the network.
        channels_last: whether the arrays are, which the graph thinks are not.
        asked: the attributes that the operator has asked for.
    """

    node: Node
    np: Any
    dtype: Any
    channels_last: bool = False
    asked: set[str] = dataclasses.field(default_factory=set)

    def get(self, attribute: str, default: Any = None) -> Any:
        """An attribute; one that is never asked for is refused, unless it says what is the case anyway."""
        self.asked.add(attribute)
        return self.node.attributes.get(attribute, default)

    def refuse_the_rest(self) -> None:
        """Raises a `GraphError` for an attribute that would change the result and that the operator does not know."""
        for name, value in self.node.attributes.items():
            if name not in self.asked and name not in _WITHOUT_EFFECT and value != self._default(name):
                raise GraphError(f"attribute {name}={value!r} is not supported")

    def _default(self, attribute: str) -> Any:
        schema = onnx.defs.get_schema(self.node.operator, self.version)
        default = schema.attributes[attribute].default_value if attribute in schema.attributes else None
        value = onnx.helper.get_attribute_value(default) if default is not None and default.name else None
        return value.decode() if isinstance(value, bytes) else value

    @property
    def version(self) -> int:
        """The opset."""
        return self.node.version

    def axis(self, axis: int, rank: int) -> int:
        """Where an axis of the graph is in the arrays."""
        if not -rank <= axis < rank:
            raise GraphError(f"axis {axis} of {rank}")
        axis %= rank
        if not self.channels_last or axis == 0:
            return axis
        return rank - 1 if axis == 1 else axis - 1

    def numbers(self, values: Values, what: str) -> tuple[int, ...]:
        """Integers that do not depend on the pixels."""
        return tuple(int(n) for n in np.ravel(known(values, what)))


Function = Callable[..., Any]


@dataclasses.dataclass(frozen=True)
class Operator:
    """An operator: its function, the order of axes, and whether NumPy can run it."""

    function: Function
    axes: Axes
    folds: bool


OPERATORS: dict[str, Operator] = {}


def operator(*names: str, axes: Axes = Axes.AS_WRITTEN, folds: bool = False) -> Callable[[Function], Function]:
    """Puts a function into the table; `folds` if it is right for NumPy arrays, by `Call.np`."""

    def put(function: Function) -> Function:
        OPERATORS.update({name: Operator(function, axes, folds) for name in names})
        return function

    return put


def known(values: Values, what: str) -> np.ndarray:
    """Values that shapes depend on.

    Raises:
        GraphError: if they depend on the pixels.
    """
    if not isinstance(values, np.ndarray):
        raise GraphError(f"its {what} depends on the pixels")
    return values


def bounded(shape: Sequence[Any]) -> tuple[int, ...]:
    """A shape, before an array of it is made.

    Raises:
        GraphError: for one that is larger than any feature map.
    """
    size = 1
    for n in shape:
        size *= max(int(n), 1)  # An empty array does not excuse the length of its other axes.
        if n < 0 or size > LARGEST:
            raise GraphError(f"an array of shape {tuple(map(int, shape))}; expected at most {LARGEST} values")
    return tuple(map(int, shape))
