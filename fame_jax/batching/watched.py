"""One walk as it goes: the same program as for many, taken up again every few steps."""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fame_jax.batching import devices, slots
from fame_jax.batching.examples import Example, checked
from fame_jax.batching.slots import Program
from fame_jax.options import check_options
from fame_jax.walk import Loss, Optimizer, Perturbation, code_and_arguments, lots, rules_from


def watch(
    loss: Loss, example: Example, *shared: Any, every: int, optimizer: Optimizer = lots, **options: Any
) -> Iterator[Perturbation]:
    """What a walk has come to, every so many steps; the last one is what `perturb_many` makes of it, to the last bit.

    Args:
        loss: see `perturb_many`.
        example: image `[H, W, C]` and the tuple of its own arguments.
        *shared: the network.
        every: number of steps between two results, traced. With `stop_change` it is that option's `window`.
        optimizer: see `fame_jax.perturb`.
        **options: the other named arguments of `fame_jax.perturb`.

    Returns:
        Iterator. The last loss of all but the last result is that of the image one step before.
    """
    check_options(window=every)
    rules = rules_from(**options)
    if rules.stop_change is None:
        rules = rules._replace(window=every)
    mesh = devices.local_mesh()
    (image, args) = devices.replicated(mesh, next(checked([example])))
    loss, shared = code_and_arguments(loss, shared)
    program = Program(mesh, loss, optimizer, rules, devices.replicated(mesh, shared))
    held = slots.empty(mesh, optimizer, mesh.size, rules, image, args)
    held = slots.placed(mesh, optimizer, rules, held, 0, image, args)
    moving = True
    while moving:
        held = slots.advanced(*program, held, mesh.size + 1)
        rows = slots.rows(mesh, held.walks.result, 0)
        moving = bool(np.asarray(held.walks.moving)[0])
        yield jax.tree.map(lambda x: jnp.asarray(np.asarray(x.addressable_data(0))[0]), rows)
