"""Any function of one example over a stream of them, in batches of one size."""

import functools
import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from fame_jax.batching import devices
from fame_jax.batching.ahead import Ahead
from fame_jax.batching.examples import Example, checked
from fame_jax.walk import code_and_arguments

_DEPTH = 2
"""Batches read ahead: one being sent, one ready."""


def map_many(
    function: Callable[..., Any],
    examples: Iterable[Example],
    *shared: Any,
    batch_size: int | None = None,
    mesh: Mesh | None = None,
    count: int | None = None,
    progress: Callable[[int], object] | None = None,
) -> Iterator[tuple[int, Any]]:
    """A function of one example over a stream of examples, in bounded memory, on all devices of this process.

    Args:
        function: `function(image, *shared, *args) -> pytree of arrays`, static: one made anew in a loop compiles anew.
        examples: image `[H, W, C]` (any pytree of arrays will do) and the tuple of its own arguments, such as a label
            or a random key; all of one shape. A thread reads them and sends them to the devices, at most two batches
            ahead.
        *shared: arguments common to all examples, copied to every device once: the network.
        batch_size: number of examples in a batch, over all devices, raised to a multiple of their number. The last
            batch is padded with its last example, and the padding is cut off. None: on CPU one a device; on GPU and TPU
            up to 64 a device, as many as fit into free memory; no more than there are examples.
        mesh: devices of this process, whatever its axes; None for all of them.
        count: number of examples, where they have no `len`; only the choice of the batch size looks at it.
        progress: called with the number of examples finished since the last call.

    Returns:
        Iterator over the index of an example and its result as NumPy arrays, in the order of the examples. An error in
        `examples` is raised once everything before it has been yielded; closing the iterator ends the thread.

    Raises:
        ValueError: for a batch size below 1, a mesh with devices of other processes, or, while iterating, an example
            whose shape differs from the first one's.
    """
    mesh = devices.local_mesh(mesh)
    size = None if batch_size is None else devices.even(batch_size, mesh)
    function, shared = code_and_arguments(function, shared)
    return _maps(function, examples, shared, size, mesh, devices.number(examples, count), progress)


def _maps(
    function: Callable[..., Any],
    examples: Iterable[Example],
    shared: tuple[Any, ...],
    size: int | None,
    mesh: Mesh,
    count: int | None,
    progress: Callable[[int], object] | None,
) -> Iterator[tuple[int, Any]]:
    stream = checked(examples)
    first = next(stream, None)
    if first is None:
        return
    shared = devices.replicated(mesh, shared)
    if size is None:
        size = devices.fitting(mesh, count, functools.partial(_compiled, mesh, function, shared, first))
    index = itertools.count()
    with Ahead(_batches(itertools.chain([first], stream), size, mesh), _DEPTH) as ahead:
        pending = None
        for batch in itertools.chain(ahead, [None]):
            # The devices are at work on this batch while the caller has the results of the last one.
            running = None if batch is None else (batch[0], _mapped(mesh, function, shared, *batch[1]))
            if pending is not None:
                members, results = pending[0], jax.device_get(pending[1])
                if progress is not None:
                    progress(members)
                for row in range(members):
                    yield next(index), jax.tree.map(lambda x, row=row: x[row], results)
            pending = running


def _batches(examples: Iterator[Example], size: int, mesh: Mesh) -> Iterator[tuple[int, Example]]:
    """Number of examples and the padded batch on the devices; an error comes after the examples before it."""
    failure = None
    members: list[Example] = []
    while failure is None:
        members = []
        try:
            for example in itertools.islice(examples, size):
                members.append(example)
        except Exception as error:
            failure = error
        if not members:
            break
        padded = members + members[-1:] * (size - len(members))
        yield len(members), devices.shared_out(mesh, _stacked(padded))
    if failure is not None:
        raise failure


def _stacked(members: list[Example]) -> Example:
    def stack(*leaves: Any) -> Any:
        return (np if all(isinstance(leaf, np.ndarray) for leaf in leaves) else jnp).stack(leaves)

    return jax.tree.map(stack, *members)


@devices.program(2)
def _mapped(
    mesh: Mesh, function: Callable[..., Any], shared: tuple[Any, ...], image: Any, args: tuple[Any, ...]
) -> Any:
    def local(shared: tuple[Any, ...], image: Any, args: tuple[Any, ...]) -> Any:
        return devices.on_every_row(lambda image, args: function(image, *shared, *args), image, args)

    return devices.on_each(mesh, local, (False, True, True), shared, image, args)


def _compiled(
    mesh: Mesh, function: Callable[..., Any], shared: tuple[Any, ...], example: Example, size: int
) -> jax.stages.Compiled:
    """`_mapped` for a batch size; the call with that one finds it compiled."""
    return devices.compiled(_mapped, mesh, function, shared, *devices.shapes(mesh, size, example))
