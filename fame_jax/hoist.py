"""What does not depend on a loop's variable, computed once before the loop.

XLA's CPU backend leaves such work inside: 5 to 10 % of a step went into turning kernels around for the input gradient,
which are the same in every step. A function is split here when it is traced, so that this holds for any network and
any loss, and networks need no second, prepared form.

What a program is made of, JAX promises nobody. Where it is not what is expected here, the loop gets the whole function.
"""

import contextlib
import functools
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import jax

eval_jaxpr: Any = None
Literal: Any = None
with contextlib.suppress(ImportError):  # where JAX has moved them, `_cut` fails for want of them
    from jax.core import eval_jaxpr
    from jax.extend.core import Literal

if TYPE_CHECKING:
    from jax.extend.core import JaxprEqn, Var

repeated = jax.make_user_context(False)
"""`repeated.value`: what is traced is computed many times for one set of weights, work on which is done once."""

_UNKNOWN = (AttributeError, KeyError, TypeError, ValueError)
"""What goes wrong where a program is not what is expected; the function itself has been traced before."""

_VIEWS = {"broadcast_in_dim", "reshape", "slice", "squeeze"}
"""Operations that XLA fuses into whatever reads them: keeping their results would cost memory and save nothing."""


def hoisted(function: Callable[..., Any], x: Any, *args: Any) -> Callable[[Any], Any]:
    """`lambda x: function(x, *args)`, of which whatever depends on `args` alone is already computed.

    Call it before a loop, under `jit`, and the result inside. An operation that makes more than twice the numbers it
    takes, such as a broadcast, or that has side effects stays in the loop.

    Args:
        function: `function(x, *args)`, traced once.
        x: what the loop varies, an array or a pytree of them; only shapes and dtypes matter.
        *args: pytrees of arrays that stay the same.

    Returns:
        A function of a value like `x`.
    """
    with repeated(True):
        program, shape = jax.make_jaxpr(function, return_shape=True)(x, *args)

    def whole(error: Exception, x: Any) -> Any:
        warnings.warn(f"hoisted: JAX {jax.__version__} is not known here, walks are slower ({error}).", stacklevel=3)
        return function(x, *args)

    try:
        leaves = _cut(program, len(jax.tree.leaves(x)), jax.tree.leaves((x, args)))
    except _UNKNOWN as error:
        return functools.partial(whole, error)

    def remaining(x: Any) -> Any:
        try:
            return jax.tree.unflatten(jax.tree.structure(shape), leaves(*jax.tree.leaves(x)))
        except _UNKNOWN as error:
            return whole(error, x)

    return remaining


def _cut(program: Any, number: int, leaves: list[Any]) -> Callable[..., Any]:
    """What is left of a program to do for its first `number` arguments, once all that only needs the others is done."""
    jaxpr, varying = program.jaxpr, program.jaxpr.invars[:number]
    before, inside = _split(jaxpr.eqns, varying)
    made = {variable for equation in inside for variable in equation.outvars}
    read = [*dict.fromkeys(v for v in (*_reads(inside), *_variables(jaxpr.outvars)) if v not in {*varying, *made})]
    first = jaxpr.replace(eqns=before, outvars=read)
    kept = eval_jaxpr(first, program.consts, *leaves)
    rest = jaxpr.replace(eqns=inside, constvars=read, invars=varying)
    return lambda *x: eval_jaxpr(rest, kept, *x)


def _split(equations: Sequence["JaxprEqn"], varying: Sequence["Var"]) -> tuple[list["JaxprEqn"], list["JaxprEqn"]]:
    """What can be done before the loop, and what has to be done inside; some of it is in both."""
    unknown, before, inside = set(varying), [], []
    for equation in equations:
        if equation.effects or not unknown.isdisjoint(_variables(equation.invars)):
            inside.append(equation)
            unknown.update(equation.outvars)
        else:
            before.append(equation)
    needed, again = set(_reads(inside)), []
    for equation in reversed(before):
        if not needed.isdisjoint(equation.outvars) and _stays(equation):
            again.append(equation)
            needed.update(_variables(equation.invars))
    return before, [*reversed(again), *inside]


def _stays(equation: "JaxprEqn") -> bool:
    return equation.primitive.name in _VIEWS or _size(equation.outvars) > 2 * _size(equation.invars)


def _size(atoms: Sequence[Any]) -> int:
    return sum(getattr(atom.aval, "size", 0) for atom in atoms)


def _reads(equations: Sequence["JaxprEqn"]) -> list["Var"]:
    return [variable for equation in equations for variable in _variables(equation.invars)]


def _variables(atoms: Sequence[Any]) -> list["Var"]:
    return [atom for atom in atoms if not isinstance(atom, Literal)]
