"""The slots on the devices: walks begun, advanced together, and taken out, each in one compiled call."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from fame_jax._types import Image, Scalar
from fame_jax.batching import devices
from fame_jax.batching.examples import Example
from fame_jax.hoist import hoisted
from fame_jax.walk import Loss, Optimizer, Perturbation, Rules, Walk, begin, compare, step


class Slots(NamedTuple):
    """What is on the devices; every leaf has a leading axis of slots."""

    images: Any
    args: Any
    walks: Walk


class Program(NamedTuple):
    """All that is the same for every example; the first three are code."""

    mesh: Mesh
    loss: Loss
    optimizer: Optimizer
    rules: Rules
    shared: tuple[Any, ...]


@devices.program(3)
def empty(mesh: Mesh, optimizer: Optimizer, size: int, rules: Rules, image: Image, args: tuple[Any, ...]) -> Slots:
    """Slots of ended walks; they hold copies of an example, so that nothing unusual is computed in them."""

    def local(rules: Rules, image: Image, args: tuple[Any, ...]) -> Slots:
        one = Slots(image, args, begin(optimizer, image, rules)._replace(moving=jnp.bool_(False)))
        return jax.tree.map(lambda x: jnp.broadcast_to(x, (size // mesh.size, *x.shape)), one)

    return devices.on_each(mesh, local, (False, False, False), rules, image, args)


@devices.program(2, donate_argnums=3)
def placed(
    mesh: Mesh, optimizer: Optimizer, rules: Rules, slots: Slots, slot: Any, image: Image, args: tuple[Any, ...]
) -> Slots:
    """One example at its start in one slot; the other devices leave theirs as they are."""

    def local(rules: Rules, slots: Slots, slot: Scalar, image: Image, args: tuple[Any, ...]) -> Slots:
        one = Slots(image, args, begin(optimizer, image, rules))
        here, mine = _local(mesh, slots, slot)
        row = jnp.where(mine, here, slots.walks.moving.size)
        return jax.tree.map(lambda many, x: many.at[row].set(x, mode="drop"), slots, one)

    return devices.on_each(mesh, local, (False, True, False, False, False), rules, slots, slot, image, args)


@devices.program(3, donate_argnums=5)
def advanced(
    mesh: Mesh, loss: Loss, optimizer: Optimizer, rules: Rules, shared: tuple[Any, ...], slots: Slots, worth: Any
) -> Slots:
    """All walks up to `rules.window` steps on, fewer once `worth` of them have ended.

    Compared for `stop_change`, they go on for the whole window: comparisons of all slots fall on one step then. Walks
    that end by it are measured in one evaluation more, for which the others wait, so that no slot idles for a window.
    """

    def local(rules: Rules, shared: tuple[Any, ...], slots: Slots, worth: Scalar) -> Slots:
        def on_all(number: Scalar) -> Scalar:
            return number if mesh.size == 1 else jax.lax.psum(number, mesh.axis_names)

        def moving(walks: Walk) -> Scalar:
            return on_all(jnp.sum(walks.moving, dtype=jnp.int32))

        def compared(walks: Walk) -> Walk:
            return devices.on_every_row(lambda image, walk: compare(image, rules, walk), slots.images, walks)

        def unfinished(carry: tuple[Scalar, Scalar, Walk]) -> Scalar:
            count, left, walks = carry
            go = (count < rules.window) & (left > 0)
            if rules.stop_change is None:
                return go & (begun - left < worth)
            return go | ((count == rules.window) & (on_all(jnp.sum(walks.moving & walks.ending)) > 0))

        def next_step(carry: tuple[Scalar, Scalar, Walk]) -> tuple[Scalar, Scalar, Walk]:
            count, _, walks = carry

            def one(image: Image, args: tuple[Any, ...], walk: Walk) -> Walk:
                following = step(lambda image: evaluate((image, args)), optimizer, rules, walk)
                goes = walk.moving & ((count < rules.window) | walk.ending)
                return jax.tree.map(lambda new, old: jnp.where(goes, new, old), following, walk)

            walks = devices.on_every_row(one, slots.images, slots.args, walks)
            if rules.stop_change is not None:
                walks = jax.lax.cond(count + 1 == rules.window, compared, lambda walks: walks, walks)
            return count + 1, moving(walks), walks

        def evaluation(example: tuple[Image, tuple[Any, ...]], *shared: Any) -> tuple[Scalar, Image]:
            return jax.value_and_grad(loss)(example[0], *shared, *example[1])

        first = jax.tree.map(lambda x: x[0], (slots.walks.result.perturbed, slots.args))
        evaluate = hoisted(evaluation, first, *shared)
        begun = moving(slots.walks)
        walks = jax.lax.while_loop(unfinished, next_step, (jnp.int32(0), begun, slots.walks))[2]
        return slots._replace(walks=walks)

    return devices.on_each(mesh, local, (False, False, True, False), rules, shared, slots, worth)


@devices.program(1)
def rows(mesh: Mesh, result: Perturbation, slot: Any) -> Perturbation:
    """One row a device: the slot's result on the device that holds it."""

    def local(result: Perturbation, slot: Scalar) -> Perturbation:
        here, _ = _local(mesh, result, slot)
        return jax.tree.map(lambda x: jax.lax.dynamic_slice_in_dim(x, here, 1), result)

    return devices.on_each(mesh, local, (True, False), result, slot)


def _local(mesh: Mesh, tree: Any, slot: Scalar) -> tuple[Scalar, Scalar]:
    """Row of a slot among this device's, and whether it is one of them."""
    rows = jax.tree.leaves(tree)[0].shape[0]
    here = slot if mesh.size == 1 else slot - jax.lax.axis_index(mesh.axis_names) * rows
    return here, (here >= 0) & (here < rows)


def compiled(program: Program, example: Example, size: int) -> jax.stages.Compiled:
    """`advanced` for a number of slots; the call with that many finds it compiled."""
    mesh, _, optimizer, rules, _ = program
    one = jax.eval_shape(lambda image, args: Slots(image, args, begin(optimizer, image, rules)), *example)
    return devices.compiled(advanced, *program, devices.shapes(mesh, size, one), 1)
