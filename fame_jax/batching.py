"""Many images through the walk: a few slots on the device, each refilled as soon as its image is finished.

A slot holds one image's walk. All slots advance together by a few steps in one compiled call; then the finished walks
are handed out and their slots taken by the next images. So a batch never waits for its slowest member, memory does not
grow with the number of images, and the program is compiled once.
"""

import functools
import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from fame_jax._types import Image
from fame_jax.walk import Loss, Optimizer, Perturbation, Rules, Walk, advance, begin, compare, lots, rules_from


class Slots(NamedTuple):
    """What is on the device; every leaf has a leading axis of slots."""

    images: Any
    args: Any
    walks: Walk


def perturb_many(
    loss: Loss,
    examples: Iterable[tuple[Image, tuple[Any, ...]]],
    *shared: Any,
    batch_size: int = 8,
    optimizer: Optimizer = lots,
    progress: Callable[[int], object] | None = None,
    **options: Any,
) -> Iterator[tuple[int, Perturbation]]:
    """`perturb` over a stream of images, in bounded memory.

    Args:
        loss: `loss(image, *shared, *args) -> scalar`, static.
        examples: image `[H, W, C]` and the tuple of its own arguments, such as a label; all of one shape. Read as slots
            become free, so that decoding overlaps with the device's work.
        *shared: arguments common to all images: the network.
        batch_size: number of slots.
        optimizer: see `fame_jax.perturb`.
        progress: called with the number of steps taken since the last call, or skipped by an early stop.
        **options: the other named arguments of `fame_jax.perturb`.

    Yields:
        Index of the example and its result, in the order in which walks finish.
    """
    rules = rules_from(**options)
    queue = enumerate(examples)
    limit = int(np.asarray(rules.iterations))
    slots: Slots | None = None
    # Which example sits in each slot, and how many of its steps were reported.
    held: list[int | None] = [None] * batch_size
    reported = [0] * batch_size
    while True:
        for slot in range(batch_size):
            if held[slot] is None and (following := next(queue, None)) is not None:
                held[slot], (image, args) = following
                reported[slot] = 0
                slots = _filled(optimizer, rules, slots, slot, batch_size, jnp.asarray(image), args)
        if slots is None or all(index is None for index in held):
            return
        advanced: Slots = _advanced(loss, optimizer, rules, shared, slots)
        slots, walks = advanced, advanced.walks
        moving, steps = jax.device_get((walks.moving, walks.result.steps))
        for slot, index in enumerate(held):
            if index is None:
                continue
            done = limit if not moving[slot] else int(steps[slot])
            if progress is not None:
                progress(done - reported[slot])
            reported[slot] = done
            if not moving[slot]:
                held[slot] = None
                yield index, jax.tree.map(lambda x, slot=slot: x[slot], walks.result)


def _filled(
    optimizer: Optimizer, rules: Rules, slots: Slots | None, slot: int, size: int, image: Image, args: tuple[Any, ...]
) -> Slots:
    one = Slots(image, jax.tree.map(jnp.asarray, args), begin(optimizer, image, rules))
    if slots is None:
        # Slots that are never filled hold an ended walk of zeros.
        slots = jax.tree.map(lambda x: jnp.zeros((size, *x.shape), x.dtype), one)
    return _placed(slots, slot, one)


@functools.partial(jax.jit, donate_argnums=0)
def _placed(slots: Slots, slot: Any, one: Slots) -> Slots:
    return jax.tree.map(lambda many, x: many.at[slot].set(x), slots, one)


@functools.partial(jax.jit, static_argnums=(0, 1), donate_argnums=4)
def _advanced(loss: Loss, optimizer: Optimizer, rules: Rules, shared: tuple[Any, ...], slots: Slots) -> Slots:
    def one(image: Image, args: tuple[Any, ...], walk: Walk) -> Walk:
        walk = advance(loss, optimizer, (*shared, *args), rules, walk, rules.window)
        return walk if rules.stop_change is None else compare(image, rules, walk)

    return slots._replace(walks=jax.vmap(one)(slots.images, slots.args, slots.walks))


def map_many(
    function: Callable[..., Any],
    examples: Iterable[tuple[Any, tuple[Any, ...]]],
    *shared: Any,
    batch_size: int | None = None,
    mesh: jax.sharding.Mesh | None = None,
    progress: Callable[[int], object] | None = None,
) -> Iterator[tuple[int, Any]]:
    """A function of one example over a stream of examples, in batches of one size, so that it is compiled once.

    Args:
        function: `function(image, *shared, *args) -> pytree of arrays`, static.
        examples: image `[H, W, C]` (any pytree of arrays will do) and the tuple of its own arguments; all of one shape.
        *shared: arguments common to all examples: the network.
        batch_size: number of examples in a batch; the last batch is padded, and the padding is never seen.
        mesh: devices to use.
        progress: called with the number of examples finished since the last call.

    Yields:
        Index of the example and its result as NumPy arrays, in the order of the examples.
    """
    queue = enumerate(examples)
    size = batch_size or 4
    while members := list(itertools.islice(queue, size)):
        padded = [example for _, example in members] + [members[-1][1]] * (size - len(members))
        stacked = jax.tree.map(lambda *leaves: jnp.stack([jnp.asarray(leaf) for leaf in leaves]), *padded)
        results = jax.device_get(_mapped(function, shared, *stacked))
        for row, (index, _) in enumerate(members):
            yield index, jax.tree.map(lambda x, row=row: x[row], results)
        if progress is not None:
            progress(len(members))


@functools.partial(jax.jit, static_argnums=0)
def _mapped(function: Callable[..., Any], shared: tuple[Any, ...], images: Any, args: tuple[Any, ...]) -> Any:
    return jax.vmap(lambda image, args: function(image, *shared, *args))(images, args)
