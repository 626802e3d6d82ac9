"""What explainers share: `jax.jit` for a function of a network, and maps of what the network does not have."""

import functools
from collections.abc import Callable
from typing import Any, TypeVar, cast

import jax
import jax.numpy as jnp

from fame_jax._types import Attribution, Scalar
from fame_jax.network import traceable
from fame_jax.options import check_integers, check_options, check_pixels

Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(*static: str) -> Callable[[Function], Function]:
    """Compiles a function whose first argument is a network, and refuses values of options that cannot be meant.

    A network that is a pytree is traced, anything else is part of the program.

    Args:
        *static: names of the options that are part of the program; all others are traced.
    """

    def decorate(function: Function) -> Function:
        program = jax.jit(function, static_argnames=static)

        @functools.wraps(function)
        def call(network: Any, *args: Any, **options: Any) -> Any:
            check_options(**options)
            options |= {name: tuple(options[name]) for name in static if isinstance(options.get(name), list)}
            check_pixels(*(x for x in (*args, *options.values()) if getattr(x, "ndim", 0) == 3))
            check_integers(args, options)
            return program(traceable(network), *args, **options)

        return cast(Function, call)

    return decorate


def known(attribution: Attribution, value: Scalar) -> Attribution:
    """The map, or NaN where what it explains is no finite number: a class that the network does not have, for one."""
    return jnp.where(jnp.isfinite(value), attribution, jnp.nan)
