"""What a network or method of one's own is, by its parameters and its code, so that two are never taken for one.

Arrays count by their bytes, functions and classes by their source and what they enclose or name of their module, those
of libraries by their names. What has neither is refused rather than given a constant or an address.
"""

import functools
import hashlib
import inspect
import itertools
import sys
import types
from collections.abc import Container
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

_PLAIN = (type(None), bool, int, float, complex, str, bytes, type(Ellipsis), slice, range)
_DTYPES = (np.dtype, type(jnp.float32))
_OF_LIBRARIES = ("_object__", "_pytree__", "_trace_state", "__")
"""Attributes that libraries keep for themselves begin so."""


class IdentityError(ValueError):
    """Something that cannot be told from another; the message says how to name it."""


def identity(thing: Any, what: str = "network") -> str:
    """64 hexadecimal digits that are the same for the same parameters and code, in any process on any machine.

    Args:
        thing: a function, a module of whatever library, a `Partial`, a pytree of arrays and functions.
        what: what it is, for the message.

    Raises:
        IdentityError: if some part of it has neither bytes nor source.
    """
    digest = hashlib.sha256()
    try:
        _add(thing, digest, {})
    except _Unknown as error:
        raise IdentityError(
            f"the {what} cannot be identified: {error}. Give it a name that changes when it does: identity='mine-1'."
        ) from None
    return digest.hexdigest()


def of_libraries(thing: Any, libraries: Container[str]) -> str | None:
    """`identity`, with the code of every function, of something made by these packages alone; None for anything else.

    Code of others can call what it does not hold, which may change unseen.
    """
    digest, seen = hashlib.sha256(), dict[int, tuple[int, Any]]()
    try:
        _add(thing, digest, seen)
    except _Unknown:
        return None
    for _, part in seen.values():
        if _root(part) not in libraries or _root(type(part)) not in libraries:
            return None
        # Two lambdas of one function are told apart by their lines.
        code = getattr(inspect.unwrap(part) if callable(part) else part, "__code__", None)
        _put(digest, f"{code.co_firstlineno}".encode() + code.co_code if code else b"")
    return digest.hexdigest()


def _root(thing: Any) -> str:
    return (getattr(thing, "__module__", None) or "builtins").split(".")[0]


def _put(digest: Any, content: bytes) -> None:
    """With its length, since 1 and 12 are not 11 and 2."""
    digest.update(f"{len(content)}:".encode() + content)


class _Unknown(Exception):
    """Names the part that cannot be identified."""


def _add(thing: Any, digest: Any, seen: dict[int, tuple[int, Any]]) -> None:
    if isinstance(thing, _DTYPES) or (isinstance(thing, type) and issubclass(thing, np.generic)):
        # Layers are given "float32", jnp.float32 or NumPy's, and are the same.
        thing = np.dtype(thing).name
    if isinstance(thing, _PLAIN):
        _put(digest, repr(thing).encode())
    elif id(thing) in seen:
        _put(digest, f"again {seen[id(thing)][0]}".encode())
    else:
        # The thing is kept, so that no other gets its address meanwhile.
        seen[id(thing)] = len(seen), thing
        _put(digest, _name(type(thing)).encode())
        parts = _parts(thing, digest)
        _put(digest, f"of {len(parts)}".encode())
        for part in parts:
            _add(part, digest, seen)


def _parts(thing: Any, digest: Any) -> list[Any]:
    """What a thing consists of; what is its own enters the digest at once."""
    if isinstance(thing, jax.Array | np.ndarray | np.generic):
        if isinstance(thing, jax.Array) and jnp.issubdtype(thing.dtype, jax.dtypes.prng_key):
            thing = jax.random.key_data(thing)
        array = np.asarray(thing)
        _put(digest, f"{array.dtype}{array.shape}".encode() + np.ascontiguousarray(array).tobytes())
        return []
    if hasattr(type(thing), "identity_parts"):
        return thing.identity_parts()
    if isinstance(thing, dict):
        return [part for key in sorted(thing, key=repr) for part in (key, thing[key])]
    if isinstance(thing, set | frozenset):
        return sorted(thing, key=repr)
    if isinstance(thing, list | tuple):
        return list(thing)
    if isinstance(thing, types.ModuleType):
        return _of_module(thing, digest)
    if isinstance(thing, functools.partial):
        return [thing.func, thing.args, thing.keywords]
    if isinstance(thing, types.MethodType):
        return [thing.__func__, thing.__self__]
    if hasattr(thing, "__wrapped__") or inspect.isroutine(thing) or isinstance(thing, type):
        return _of_code(thing, digest)
    return _of_object(thing)


def _of_code(thing: Any, digest: Any) -> list[Any]:
    _put(digest, _name(thing).encode())
    library = is_of_a_library(thing)
    if library and "<locals>" not in _name(thing):
        return []
    if not library:
        try:
            _put(digest, inspect.getsource(inspect.unwrap(thing)).encode())
        except (OSError, TypeError):
            raise _Unknown(f"{_name(thing)} has no source file") from None
    if isinstance(thing, type):
        methods = () if library else (getattr(one, "fget", one) for one in vars(thing).values())
        return [*thing.__bases__, *itertools.chain(*map(named, filter(inspect.isroutine, methods)))]
    thing = inspect.unwrap(thing)
    cells = [cell.cell_contents for cell in getattr(thing, "__closure__", None) or ()]
    enclosed = [*cells, getattr(thing, "__defaults__", None), getattr(thing, "__kwdefaults__", None)]
    return enclosed if library else [*enclosed, *named(thing)]


def named(function: Any) -> list[Any]:
    """What the code of a function names of its module: its weights there, the functions that it calls."""
    function = inspect.unwrap(getattr(function, "__func__", function))
    around, codes = getattr(function, "__globals__", {}), [getattr(function, "__code__", None)]
    names: dict[str, None] = {}
    while codes:
        if (code := codes.pop()) is not None:
            names |= dict.fromkeys(code.co_names)
            codes += [one for one in code.co_consts if isinstance(one, types.CodeType)]
    return [around[name] for name in names if name in around]


def _of_module(module: types.ModuleType, digest: Any) -> list[Any]:
    _put(digest, module.__name__.encode())
    if not is_of_a_library(module):
        try:
            _put(digest, inspect.getsource(module).encode())
        except (OSError, TypeError):
            raise _Unknown(f"the module {module.__name__} has no source file") from None
    return []


def _of_object(thing: Any) -> list[Any]:
    slots = [name for kind in type(thing).__mro__ for name in getattr(kind, "__slots__", ())]
    if not hasattr(thing, "__dict__") and not slots:
        raise _Unknown(f"a {_name(type(thing))} tells nothing of itself")
    fields = {name: getattr(thing, name) for name in slots if hasattr(thing, name)} | getattr(thing, "__dict__", {})
    kept = {name: value for name, value in fields.items() if not name.startswith(_OF_LIBRARIES)}
    if any(kind.__module__.startswith("flax.linen") for kind in type(thing).__mro__):
        kept.pop("_id", None)  # Linen counts its modules.
    return [type(thing), kept]


def is_of_a_library(thing: Any) -> bool:
    """Whether it is of Python, of this package or of an installed one, whose version the manifest has."""
    module = (thing.__name__ if isinstance(thing, types.ModuleType) else getattr(thing, "__module__", None)) or ""
    found = sys.modules.get(module)
    # A package without a file of its own has folders.
    file = getattr(found, "__file__", None) or next(iter(getattr(found, "__path__", ())), "")
    return (
        module.split(".")[0] in (*sys.stdlib_module_names, "fame_jax")
        or "site-packages" in file
        or inspect.isbuiltin(thing)
    )


def _name(thing: Any) -> str:
    """Of somebody's own without the module, which is another where a file is run or has moved."""
    module = f"{thing.__module__}." if is_of_a_library(thing) and hasattr(thing, "__module__") else ""
    return module + getattr(thing, "__qualname__", type(thing).__qualname__)
