"""What of a callable is code of a program and what is data: the arrays that it has got hold of.

To `jit` a function is code and so is an object with `__call__`: arrays that it closes over, holds or names of its
module are constants of the program, and others in their place would not be seen. A pytree's arrays are arguments,
and what else is among its leaves is code (`Coded`).
"""

import functools
import types
from collections.abc import Callable
from typing import Any

import jax

from fame_jax.identity import is_of_a_library, named


class Held:
    """A callable as code: equal to another if both are one callable that holds the very same arrays."""

    def __init__(self, function: Callable[..., Any], arrays: tuple[Any, ...]):
        self.function, self.arrays = function, arrays
        self._known = _itself(function), tuple(map(id, arrays))
        functools.update_wrapper(self, function, updated=())

    def __call__(self, *args: Any, **options: Any) -> Any:
        """What the callable returns."""
        return self.function(*args, **options)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Held) and self._known == other._known

    def __hash__(self) -> int:
        return hash(self._known)

    def identity_parts(self) -> list[Any]:
        """For `fame_jax.identity`."""
        return [self.function]


@jax.tree_util.register_pytree_node_class
class Coded:
    """A callable pytree whose arrays are traced and whose other leaves are code.

    Equinox keeps functions and switches among the leaves of a module.
    """

    def __init__(self, network: Any):
        self.network = network

    def __getattr__(self, name: str) -> Any:
        """`features` and what goes with them, if the network has them."""
        if name not in ("features", "head", "head_of", "extent") or "network" not in self.__dict__:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(self.network, name)

    def __call__(self, *args: Any) -> Any:
        """What the network, or the loss, returns."""
        return self.network(*args)

    def tree_flatten(self) -> tuple[tuple[list[Any]], Any]:
        """Arrays are children, all else is code."""
        arrays, code = without_code(self.network)
        return (arrays,), code

    @classmethod
    def tree_unflatten(cls, code: Any, children: tuple[list[Any]]) -> "Coded":
        """The inverse of `tree_flatten`."""
        return cls(with_code(code, *children))


def without_code(network: Any) -> tuple[list[Any], Any]:
    """The arrays of a pytree, None for its other leaves, and what is static: its structure and those leaves."""
    leaves, tree = jax.tree.flatten(network)
    arrays = [leaf if is_array(leaf) else None for leaf in leaves]
    return arrays, (tree, tuple(None if is_array(leaf) else leaf for leaf in leaves))


def with_code(static: Any, arrays: list[Any]) -> Any:
    """The inverse of `without_code`."""
    tree, code = static
    return jax.tree.unflatten(tree, [one if other is None else other for one, other in zip(code, arrays, strict=True)])


def as_code(function: Callable[..., Any]) -> Callable[..., Any]:
    """A callable that is no pytree as code: as it is, or with the arrays that it holds now.

    Of NumPy arrays that are changed in place nothing is seen.
    """
    if isinstance(function, Held):
        return function
    arrays = tuple(held_arrays(function))
    return Held(function, arrays) if arrays or _itself(function) is not function else function


def held_arrays(function: Callable[..., Any]) -> list[Any]:
    """The arrays that a callable closes over, has as attributes or names of its module, and those of what it calls."""
    found, seen = [], dict[int, Any]()
    ahead: list[Any] = [function]
    while ahead:
        thing = ahead.pop()
        if id(thing) in seen:
            continue
        seen[id(thing)] = thing
        for leaf in _leaves(_parts(thing)):
            if is_array(leaf):
                found.append(leaf)
            elif callable(leaf) and not isinstance(leaf, type):
                ahead.append(leaf)
        if isinstance(thing, types.MethodType):
            ahead.append(thing.__self__)
    return found


def is_array(leaf: Any) -> bool:
    """Whether a leaf has shape and dtype, as an array or one to be."""
    return hasattr(leaf, "shape") and hasattr(leaf, "dtype")


def _parts(thing: Any) -> list[Any]:
    if isinstance(thing, types.MethodType):
        return [thing.__func__, thing.__self__]
    if isinstance(thing, functools.partial):
        return [thing.func, thing.args, thing.keywords]
    if not isinstance(thing, types.FunctionType):
        return [*getattr(thing, "__dict__", {}).values(), getattr(thing, "__wrapped__", None)]
    closed = [_content(cell) for cell in thing.__closure__ or ()]
    own = [] if is_of_a_library(thing) else named(thing)
    return [*closed, thing.__defaults__, thing.__kwdefaults__, getattr(thing, "__wrapped__", None), *own]


def _content(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # Not filled yet.
        return None


def _leaves(parts: list[Any]) -> list[Any]:
    found = []
    for part in parts:
        try:
            found += jax.tree.leaves(part)
        except (TypeError, ValueError):  # A dictionary whose keys have no order.
            continue
    return found


def _itself(function: Any) -> Any:
    """A callable as a key: one without a hash, such as a dataclass, by its address."""
    try:
        hash(function)
    except TypeError:
        return id(function)
    return function
