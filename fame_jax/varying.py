"""What varies among the devices of a `jax.shard_map`, which asks that a loop is told so of whatever it starts from."""

from typing import Any

import jax


def varying_as(tree: Any, *others: Any) -> Any:
    """The same values, said to vary among devices wherever any of the others does; outside `shard_map` nothing.

    Args:
        tree: arrays that a loop starts from, such as zeros.
        *others: pytrees of arrays or shapes that the loop makes something of.
    """
    axes = frozenset().union(*(_axes(leaf) for leaf in jax.tree.leaves(others)))

    def one(x: Any) -> Any:
        new = axes - _axes(x)
        return jax.lax.pcast(x, tuple(sorted(new)), to="varying") if new else x

    return jax.tree.map(one, tree) if axes else tree


def _axes(leaf: Any) -> frozenset[Any]:
    shape = leaf if isinstance(leaf, jax.ShapeDtypeStruct) else jax.typeof(leaf)
    # JAX before 0.10.2 has `vma` instead.
    kinds = getattr(shape, "manual_axis_type", None)
    return getattr(kinds, "varying", None) or getattr(shape, "vma", None) or frozenset()
