"""Traced programs kept on disk, so that the next process traces nothing.

Tracing a network and its gradient takes three times as long as reading what was compiled of them. A program is known by
all that tracing looks at: the code of this package and the versions of its libraries, what is static, and shapes. Where
code of anybody else takes part, nothing is kept.
"""

import contextlib
import functools
import hashlib
import io
import os
import pathlib
import pickle
import sys
from collections.abc import Callable
from typing import Any

import jax
import jax.export

from fame_jax import files
from fame_jax.identity import of_libraries

folder: pathlib.Path | None = None
"""Where; None keeps nothing. The command line names one."""

_PACKAGE = pathlib.Path(__file__).resolve().parents[1]
_LIBRARIES = {"builtins", "fame_jax", "flax", "jax", "jaxlib", "numpy", "optax", *sys.stdlib_module_names}

_Program = Callable[..., Any]

_programs: dict[Any, _Program] = {}
_refused: set[Any] = set()


def carried_out(program: Any, static: int, *args: Any) -> Any:
    """`program(*args)`, traced only if no process did so before.

    Args:
        program: made by `jax.jit`, for one device.
        static: so many of the arguments, the first ones, are code.
        *args: arrays and pytrees of them follow.
    """
    code, arrays = args[:static], args[static:]
    if folder is None or (program, code) in _refused:
        return program(*args)
    leaves, tree = jax.tree.flatten(arrays)
    known = program, code, tree, tuple(map(jax.typeof, leaves))
    if known not in _programs:
        _programs[known] = _found(folder, program, code, tree, leaves)
    return _programs[known](*leaves)


def _found(place: pathlib.Path, program: Any, code: tuple[Any, ...], tree: Any, leaves: list[Any]) -> _Program:
    def plain(*leaves: Any) -> Any:
        return program(*code, *jax.tree.unflatten(tree, leaves))

    shapes = jax.tree.unflatten(tree, [repr(jax.typeof(leaf)) for leaf in leaves])
    # The first is the mesh; the devices are those of the arrays.
    name = of_libraries((program.__name__, code[1:], shapes, _surroundings()), _LIBRARIES)
    if name is None:
        _refused.add((program, code))
        return plain
    path = place / f"traced-{name}"
    with contextlib.suppress(Exception), path.open("rb") as file:  # Whatever is wrong with it, it is made anew.
        digest, kept = file.read(32), file.read()
        if hashlib.sha256(kept).digest() == digest:
            return _called(*_Reader(io.BytesIO(kept)).load())
    try:
        made = _traced(plain, leaves)
    except Exception:  # A program that cannot leave this process; what is wrong with another is raised by the call.
        _refused.add((program, code))
        return plain
    with contextlib.suppress(OSError):
        kept = pickle.dumps(made)
        files.write(path, lambda file: file.write(hashlib.sha256(kept).digest() + kept))
    return _called(*made)


def _traced(plain: _Program, leaves: list[Any]) -> tuple[Any, bytes]:
    """The structure of what a program returns, with numbers for its arrays, and the program for arrays alone."""
    structures = []

    def flat(*leaves: Any) -> list[Any]:
        found, structure = jax.tree.flatten(plain(*leaves))
        structures.append(jax.tree.unflatten(structure, range(len(found))))
        return found

    exported = jax.export.export(jax.jit(flat))(*leaves)
    return structures[0], bytes(exported.serialize())


def _called(structure: Any, program: bytes) -> _Program:
    call = jax.jit(jax.export.deserialize(bytearray(program)).call)
    return lambda *leaves: jax.tree.unflatten(jax.tree.structure(structure), call(*leaves))


class _Reader(pickle.Unpickler):
    """Reads tuples and nothing that could run code."""

    def find_class(self, module: str, name: str) -> Any:
        """A named tuple of ours or of optax."""
        found = super().find_class(module, name) if module.split(".")[0] in ("fame_jax", "optax") else None
        if isinstance(found, type) and issubclass(found, tuple):
            return found
        raise pickle.UnpicklingError(f"{module}.{name} does not belong here.")


def _surroundings() -> tuple[Any, ...]:
    """What else tracing looks at: code, versions, settings."""
    told = {name: value for name, value in os.environ.items() if name.startswith("JAX_")}
    wide, precision = jax.config.read("jax_enable_x64"), jax.config.jax_default_matmul_precision  # type: ignore
    return _code(_PACKAGE), told, wide, precision


@functools.cache
def _code(package: pathlib.Path) -> tuple[Any, ...]:
    sources = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        about = path.stat()
        sources.update(f"{path.relative_to(package)} {about.st_size} {about.st_mtime_ns}\n".encode())
    return sources.hexdigest(), files.environment()
