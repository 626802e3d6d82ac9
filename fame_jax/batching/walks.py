"""Many images through the walk: slots on the devices, each refilled as soon as its image is finished.

A slot holds one image's walk. All slots advance together in one compiled call, which returns as soon as enough of them
have finished to be worth it; those are taken out and their slots filled with the next images. So a batch never waits
for its slowest member, memory does not grow with the number of images, and the program is compiled once.
"""

import functools
import itertools
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from fame_jax.batching import devices, slots
from fame_jax.batching.ahead import Ahead
from fame_jax.batching.examples import Example, checked
from fame_jax.batching.slots import Program
from fame_jax.walk import Loss, Optimizer, Perturbation, code_and_arguments, lots, rules_from

_HELD = 8
"""In order, no example begins that is this many batches after the oldest one under way."""

_WORTH = 8
"""A call returns before its window is over once one in so many slots has finished."""


def perturb_many(
    loss: Loss,
    examples: Iterable[Example],
    *shared: Any,
    batch_size: int | None = None,
    mesh: Mesh | None = None,
    in_order: bool = True,
    count: int | None = None,
    optimizer: Optimizer = lots,
    progress: Callable[[int], object] | None = None,
    **options: Any,
) -> Iterator[tuple[int, Perturbation]]:
    """`perturb` over a stream of images, in bounded memory, on all devices of this process.

    Which slot an example gets depends on the examples alone, never on timing: a run repeated with the same batch size
    is the same to the last bit. Whether maps are the same for another batch size or number of devices is a question of
    precision: in float64 they are.

    Args:
        loss: `loss(image, *shared, *args) -> scalar`, static.
        examples: image `[H, W, C]` and the tuple of its own arguments, such as a label; all of one shape. A thread
            reads them and sends them to the devices, at most `batch_size` ahead.
        *shared: arguments common to all images, copied to every device once: the network.
        batch_size: number of slots over all devices, raised to a multiple of their number. None: on CPU one a device;
            on GPU and TPU up to 64 a device, as many as fit into free memory; no more than there are examples.
        mesh: devices of this process, whatever its axes; None for all of them.
        in_order: yield in the order of the examples. A result then waits on the host for those before it, at most 8
            batches of them: further examples do not begin before the oldest is finished. False yields in the order in
            which walks finish.
        count: number of examples, where they have no `len`; only the choice of the batch size looks at it.
        optimizer: see `fame_jax.perturb`.
        progress: called with the number of steps taken since the last call, or skipped by an early stop.
        **options: the other named arguments of `fame_jax.perturb`.

    Returns:
        Iterator over the index of an example and its result. An error in `examples` is raised once everything before it
        has been yielded; closing the iterator ends the thread.

    Raises:
        TypeError: for an unknown option.
        ValueError: for a batch size or window below 1, a mesh with devices of other processes, or, while iterating, an
            example whose shape differs from the first one's.
    """
    rules = rules_from(**options)
    if np.asarray(rules.window) < 1:
        raise ValueError(f"window={rules.window}: expected a number of steps, 1 or more.")
    mesh = devices.local_mesh(mesh)
    size = None if batch_size is None else devices.even(batch_size, mesh)
    loss, shared = code_and_arguments(loss, shared)
    program = Program(mesh, loss, optimizer, rules, shared)
    walks = _walks(program, examples, size, devices.number(examples, count), in_order, progress)
    return _ordered(walks) if in_order else walks


def _ordered(walks: Iterator[tuple[int, Perturbation]]) -> Iterator[tuple[int, Perturbation]]:
    waiting, following = {}, 0
    with closing(walks):  # type: ignore[type-var]
        for index, result in walks:
            waiting[index] = result
            while following in waiting:
                yield following, waiting.pop(following)
                following += 1


def _walks(
    program: Program,
    examples: Iterable[Example],
    size: int | None,
    count: int | None,
    in_order: bool,
    progress: Callable[[int], object] | None,
) -> Iterator[tuple[int, Perturbation]]:
    """Index and result in the order in which walks finish."""
    stream = checked(examples)
    first = next(stream, None)
    if first is None:
        return
    program = program._replace(shared=devices.replicated(program.mesh, program.shared))
    if size is None:
        size = devices.fitting(program.mesh, count, functools.partial(slots.compiled, program, first))
    sent = map(functools.partial(devices.replicated, program.mesh), itertools.chain([first], stream))
    with Ahead(sent, depth=size) as ahead:
        table = _Table(program, size, _HELD * size if in_order else None, progress)
        finished: list[tuple[int, Perturbation]] = []
        while True:
            table.fill(ahead)
            # The devices are at work again while the caller has the results.
            busy = table.advance()
            for index, result in finished:
                yield index, jax.tree.map(lambda x: jax.device_put(np.asarray(x)[0]), result)
            if not busy:
                return
            finished = table.finished()


class _Table:
    """Which example sits in each slot, and what the devices do with it."""

    def __init__(self, program: Program, size: int, span: int | None, progress: Callable[[int], object] | None):
        self.program, self.size, self.span, self.progress = program, size, span, progress
        self.limit = int(np.asarray(program.rules.iterations))
        self.held: list[int | None] = [None] * size
        self.reported = [0] * size
        self.begun = 0
        self.exhausted = False
        self.slots: Any = None

    def fill(self, ahead: Iterator[Example]) -> None:
        """Begins the next examples in the slots that are free."""
        for slot in range(self.size):
            if self.held[slot] is None and self._may_begin():
                example = next(ahead, None)
                if example is None:
                    self.exhausted = True
                    return
                mesh, _, optimizer, rules, _ = self.program
                if self.slots is None:
                    self.slots = slots.empty(mesh, optimizer, self.size, rules, *example)
                self.slots = slots.placed(mesh, optimizer, rules, self.slots, slot, *example)
                self.held[slot], self.reported[slot] = self.begun, 0
                self.begun += 1

    def advance(self) -> bool:
        """Sends the devices off for some steps; False where there is nothing left to do."""
        if all(index is None for index in self.held):
            return False
        worth = max(1, self.size // _WORTH) if self._may_begin() else self.size + 1
        self.slots = slots.advanced(*self.program, self.slots, worth)
        return True

    def finished(self) -> list[tuple[int, Perturbation]]:
        """Waits for the devices and takes the finished walks out of their slots."""
        walks = self.slots.walks
        moving, steps = jax.device_get((walks.moving, walks.result.steps))
        ended = []
        for slot, index in enumerate(self.held):
            if index is None:
                continue
            self._report(slot, int(steps[slot]) if moving[slot] else self.limit)
            if not moving[slot]:
                ended.append((index, self._taken(slot)))
                self.held[slot] = None
        return ended

    def _taken(self, slot: int) -> Perturbation:
        """The result in a slot, under way from its device to the host; with a leading axis of one."""
        rows = slots.rows(self.program.mesh, self.slots.walks.result, slot)
        owner = slot * self.program.mesh.size // self.size
        result = jax.tree.map(lambda x: x.addressable_data(owner), rows)
        for array in result:
            array.copy_to_host_async()
        return result

    def _may_begin(self) -> bool:
        oldest = min((index for index in self.held if index is not None), default=self.begun)
        return not self.exhausted and (self.span is None or self.begun < oldest + self.span)

    def _report(self, slot: int, done: int) -> None:
        if self.progress is not None:
            self.progress(done - self.reported[slot])
        self.reported[slot] = done
