"""Where a batch lives: its devices, its placement on them, and how large it may be."""

import contextlib
import functools
import math
import operator
from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from fame_jax.batching.traced import carried_out

MOST_ON_CPU = 1
"""Examples a device, on CPU: one image keeps all cores busy, and its map then does not depend on how many there are."""

MOST_ON_ACCELERATOR = 64
"""Examples a device at the most, on GPU and TPU: a choice, not a measured best."""

_SHARE = 0.9
"""Of the free memory; the rest is for what the allocator cannot fit together."""


def local_mesh(mesh: Mesh | None = None) -> Mesh:
    """The given mesh, or one over all devices of this process, or over `jax.default_device` where that is set.

    Raises:
        ValueError: for a mesh with devices of another process.
    """
    if mesh is None:
        only = jax.config.jax_default_device  # type: ignore[attr-defined]
        if only is not None:
            one = only if isinstance(only, jax.Device) else jax.local_devices(backend=only)[0]
            return Mesh(np.array([one]), ("batch",))
        return Mesh(np.array(jax.local_devices()), ("batch",))
    if any(device.process_index != jax.process_index() for device in mesh.devices.flat):
        raise ValueError(
            "mesh: it has devices of other processes; expected local ones. Let each process run its own share of the "
            "examples on a mesh over jax.local_devices()."
        )
    return mesh


def on_each(mesh: Mesh, function: Callable[..., Any], split: tuple[bool, ...], *args: Any) -> Any:
    """The function on every device, with its share of the arguments that are split and all of the others.

    Each device runs a program of its own, which waits for the others only where it says so: a partitioned loop would at
    every step. A single device needs no sharing out, and without it finds what was traced elsewhere.
    """
    if mesh.size == 1:
        return function(*args)
    share = PartitionSpec(mesh.axis_names)
    specs = tuple(share if yes else PartitionSpec() for yes in split)
    # Not checked for what varies among devices: a loop of somebody's own that starts from zeros would be refused.
    return jax.shard_map(function, mesh=mesh, in_specs=specs, out_specs=share, check_vma=False)(*args)


def on_every_row(function: Callable[..., Any], *args: Any) -> Any:
    """`jax.vmap(function)(*args)`; for a single row the function itself, which takes half the time to trace."""
    if jax.tree.leaves(args)[0].shape[0] > 1:
        return jax.vmap(function)(*args)
    return jax.tree.map(lambda x: jnp.asarray(x)[None], function(*jax.tree.map(lambda x: x[0], args)))


def program(static: int, **options: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """A compiled function of a mesh and more, whatever mesh the caller has set for programs of their own.

    Args:
        static: so many of its arguments, the first ones, are code; the mesh is the first of all.
        **options: of `jax.jit`.
    """

    def decorated(function: Callable[..., Any]) -> Callable[..., Any]:
        jitted = jax.jit(function, static_argnums=tuple(range(static)), **options)

        @functools.wraps(jitted)
        def call(mesh: Mesh, *args: Any) -> Any:
            with _set(mesh):
                # On accelerators a program has been traced before, to know what memory it takes.
                alone = mesh.size == 1 and mesh.devices.flat[0].platform == "cpu"
                return carried_out(jitted, static, mesh, *args) if alone else jitted(mesh, *args)

        return call

    return decorated


def _set(mesh: Mesh) -> contextlib.AbstractContextManager[Any]:
    alone = mesh.size == 1 and jax.sharding.get_abstract_mesh().empty
    return contextlib.nullcontext() if alone else jax.set_mesh(mesh)


def compiled(made: Any, mesh: Mesh, *args: Any) -> jax.stages.Compiled:
    """The program of `program` for arguments of these shapes; a call with such finds it compiled."""
    with _set(mesh):
        return made.__wrapped__.lower(mesh, *args).compile()


def replicated(mesh: Mesh, tree: Any) -> Any:
    """Every device holds all of it."""
    return jax.device_put(tree, _placed(mesh, PartitionSpec()))


def shared_out(mesh: Mesh, tree: Any) -> Any:
    """Every device holds its share of the leading axis."""
    return jax.device_put(tree, _placed(mesh, PartitionSpec(mesh.axis_names)))


def shapes(mesh: Mesh, size: int, example: Any) -> Any:
    """Shapes of a batch of `size` examples, shared among the devices."""
    where = _placed(mesh, PartitionSpec(mesh.axis_names))
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct((size, *x.shape), x.dtype, sharding=where), example)


def usual_batch(mesh: Mesh | None = None) -> int:
    """The batch size over all devices where nothing else is known: a choice, not a measured best."""
    mesh = local_mesh(mesh)
    return (MOST_ON_CPU if mesh.devices.flat[0].platform == "cpu" else MOST_ON_ACCELERATOR) * mesh.size


def number(examples: Iterable[Any], count: int | None) -> int | None:
    """How many examples there are, as far as they tell."""
    return operator.length_hint(examples) or None if count is None else count


def even(size: int, mesh: Mesh) -> int:
    """The next multiple of the number of devices."""
    if size < 1:
        raise ValueError(f"batch_size={size}: expected 1 or more, or None for one found from free memory.")
    return math.ceil(size / mesh.size) * mesh.size


def fitting(mesh: Mesh, count: int | None, compiled: Callable[[int], Any]) -> int:
    """The batch size for which nobody has asked.

    On CPU `MOST_ON_CPU` a device. Elsewhere up to `MOST_ON_ACCELERATOR` a device, as many as fit into the free memory
    by the compiler's own account. `count` examples are divided evenly among as few batches as that allows.

    Args:
        mesh: the devices.
        count: number of examples; None where that is not known.
        compiled: the program for a batch size, as `jax.stages.Compiled`.

    Returns:
        A multiple of the number of devices.
    """
    free = _free(mesh)
    most = _evenly(count, (MOST_ON_CPU if free is None else MOST_ON_ACCELERATOR) * mesh.size, mesh)
    if free is None:
        return most
    fits = largest(lambda share: _needed(compiled, share * mesh.size), free, most // mesh.size)
    return _evenly(count, fits * mesh.size, mesh)


def largest(needed: Callable[[int], float | int], free: float | int, most: int) -> int:
    """The largest number up to `most`, at least 1, that needs no more than is free; each try compiles a program.

    What a program needs grows almost linearly, so the first guess below `most` is in proportion; what still does not
    fit is halved.
    """
    size, first = most, True
    while size > 1 and (need := needed(size)) > free:
        size = max(1, min(size - 1, int(size * free / need)) if first and math.isfinite(need) else size // 2)
        first = False
    return size


def _placed(mesh: Mesh, spec: PartitionSpec) -> jax.sharding.Sharding:
    alone = mesh.size == 1
    return jax.sharding.SingleDeviceSharding(mesh.devices.flat[0]) if alone else NamedSharding(mesh, spec)


def _evenly(count: int | None, most: int, mesh: Mesh) -> int:
    return most if not count else even(math.ceil(count / math.ceil(count / most)), mesh)


def _free(mesh: Mesh) -> float | int | None:
    """Bytes that may be used on the fullest device; None where the platform does not tell, which is so on CPU."""
    told = [device.memory_stats() for device in mesh.devices.flat]
    if any(stats is None or "bytes_limit" not in stats for stats in told):
        return None
    return _SHARE * min(stats["bytes_limit"] - stats["bytes_in_use"] for stats in told)


def _needed(compiled: Callable[[int], Any], size: int) -> float | int:
    """Bytes a device; infinite where the compiler itself ran out of memory, zero where it does not tell."""
    try:
        plan = compiled(size).memory_analysis()
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" in str(error):
            return math.inf
        raise
    if plan is None:
        return 0
    return (
        plan.argument_size_in_bytes
        + plan.output_size_in_bytes
        - plan.alias_size_in_bytes
        + plan.temp_size_in_bytes
        + plan.generated_code_size_in_bytes
    )
