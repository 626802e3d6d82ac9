"""`jax.jit` for explainers: a network that is a pytree is traced, anything else is part of the program."""

import functools
from collections.abc import Callable
from typing import Any, TypeVar, cast

import jax

from fame_jax.network import traceable

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
