"""`jax.jit` for explainers: a network that is a pytree is traced, anything else is part of the program."""

import functools
from collections.abc import Callable
from typing import Any, TypeVar, cast

import jax
from jax.tree_util import Partial

from fame_jax.network import Split

Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(*static: str) -> Callable[[Function], Function]:
    """Compiles a function whose first argument is a network.

    Args:
        *static: names of the options that are part of the program; all others are traced.
    """

    def decorate(function: Function) -> Function:
        program = jax.jit(function, static_argnames=static)

        @functools.wraps(function)
        def call(network: Any, *args: Any, **options: Any) -> Any:
            return program(traceable(network), *args, **options)

        return cast(Function, call)

    return decorate


def traceable(network: Any) -> Any:
    """A network that `jit` takes: itself if it is a pytree, else a pytree without leaves around its functions."""
    if not jax.tree_util.all_leaves([network]):
        return network
    return Split(network.features, network.head) if hasattr(network, "features") else Partial(network)
