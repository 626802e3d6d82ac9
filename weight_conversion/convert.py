"""From a publisher's state dict to a network, strictly and driven by the network.

Every weight of the network asks for one key of the checkpoint by name, and every key of the checkpoint has to be asked
for or be ignored for a stated reason. Nothing is matched by order or by shape.
"""

import hashlib
import os
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from fame_jax.architectures import abstract
from fame_jax.architectures.layers import PReLU
from fame_jax.architectures.standardized import Standardized
from weight_conversion.checkpoint_file import read_checkpoint
from weight_conversion.errors import ConversionError
from weight_conversion.layouts import CONVOLUTION, LINEAR, SAME, Layout, Shape
from weight_conversion.names import NAMES, Names

LEAVES: dict[type[nnx.Module], dict[str, tuple[str, Layout]]] = {
    nnx.Conv: {"kernel": ("weight", CONVOLUTION), "bias": ("bias", SAME)},
    nnx.Linear: {"kernel": ("weight", LINEAR), "bias": ("bias", SAME)},
    nnx.BatchNorm: {
        "scale": ("weight", SAME),
        "bias": ("bias", SAME),
        "mean": ("running_mean", SAME),
        "var": ("running_var", SAME),
    },
    nnx.LayerNorm: {"scale": ("weight", SAME), "bias": ("bias", SAME)},
    PReLU: {"slope": ("weight", SAME)},
}
"""By type of layer and our name of a weight: torch's name and layout."""

LISTED = 5
"""Keys named in an error; the rest are counted."""


class Row(NamedTuple):
    """Where one weight came from.

    Attributes:
        layer: our path of the weight.
        source: its key in the checkpoint.
        shape: in the checkpoint.
        sha256: of its bytes as the checkpoint has them, in row-major order.
    """

    layer: str
    source: str
    shape: Shape
    sha256: str


class Conversion(NamedTuple):
    """A filled network, and a row for each of its weights."""

    network: Any
    rows: list[Row]


class Wanted(NamedTuple):
    """A weight of the network and what it asks of the checkpoint."""

    path: tuple[Any, ...]
    layer: str
    source: str
    shape: Shape
    layout: Layout


def convert(network: Any, state: Mapping[str, np.ndarray], names: Names, *, dtype: Any = "float32") -> Conversion:
    """Fills a network with the weights of a checkpoint.

    Args:
        network: an NNX module or its `Standardized` wrapper, with values or only shapes; it is not changed.
        state: arrays by the publisher's keys, as `read_checkpoint` gives them.
        names: of the network's layers in the checkpoint.
        dtype: of the weights.

    Returns:
        A new network with the values, and the evidence.

    Raises:
        ConversionError: if a weight is missing, left over, misshapen, not floating point or not finite, with the
            checkpoint's own key.
        TypeError: if neither `LEAVES` nor `names` knows a weight of the network.
        ValueError: for float64 while JAX is limited to 32 bits.
    """
    if jax.dtypes.canonicalize_dtype(dtype) != jnp.dtype(dtype):
        raise ValueError(f"dtype={dtype!r} needs 64-bit JAX: call jax.config.update('jax_enable_x64', True) first.")
    graph, flat, wanted = _wanted(network, names, state)
    _check_keys(wanted, state, names)
    _check_constants(state, names)
    rows = []
    for path, layer, source, shape, layout in wanted:
        value = _finite(source, state[source], dtype)
        flat[path] = flat[path].replace(jnp.asarray(np.ascontiguousarray(layout.ours(value))))
        rows.append(Row(layer, source, shape, hashlib.sha256(state[source].tobytes()).hexdigest()))
    return Conversion(nnx.merge(graph, nnx.from_flat_state(flat)), rows)


def convert_file(architecture: str, path: str | os.PathLike[str], *, dtype: Any = "float32") -> Conversion:
    """A network of normalised images with the weights of a publisher's file.

    Args:
        architecture: its name in `fame_jax.architectures`.
        path: of the file.
        dtype: of the weights.

    Raises:
        UnknownArchitectureError: for another name.
        CheckpointError: if the file cannot be read.
        ConversionError: if it holds other weights than the network's.
    """
    network = abstract(architecture)
    try:
        return convert(network, read_checkpoint(path), NAMES[architecture], dtype=dtype)
    except ConversionError as error:
        raise ConversionError(f"{os.fspath(path)}: {architecture}: {error}") from error


def _wanted(
    network: Any, names: Names, keys: Collection[str]
) -> tuple[Any, dict[tuple[Any, ...], nnx.Variable], list[Wanted]]:
    """The network taken apart, and what each of its weights asks for, in the order of its layers."""
    layers = dict(nnx.iter_modules(network))
    graph, state = nnx.split(network)
    flat = dict(nnx.to_flat_state(state))
    wrapper = 1 if isinstance(network, Standardized) else 0
    prefix = _prefix(names, keys)
    wanted = []
    for path, variable in flat.items():
        ours = ".".join(map(str, path[wrapper:]))
        name, layout = _leaf(ours, str(path[-1]), layers[path[:-1]], names)
        source = ours.removesuffix(str(path[-1])) + name
        for pattern, replacement in names.renames:
            source = re.sub(pattern, replacement, source)
        source = prefix + source
        for pattern, replacement in names.older:
            if (older := re.sub(pattern, replacement, source)) in keys:
                source = older
        wanted.append(Wanted(path, ours, source, layout.theirs(variable.shape), layout))
    return graph, flat, wanted


def _leaf(ours: str, leaf: str, layer: nnx.Module, names: Names) -> tuple[str, Layout]:
    """Torch's name and layout of one weight."""
    for pattern, name, layout in names.leaves:
        if re.search(pattern, ours):
            return name, layout
    for kind in type(layer).__mro__:
        if leaf in LEAVES.get(kind, {}):
            return LEAVES[kind][leaf]
    raise TypeError(f"{ours}: neither LEAVES nor the network's names know the {leaf!r} of a {type(layer).__name__}.")


def _prefix(names: Names, state: Iterable[str]) -> str:
    return names.prefix if names.prefix and any(key.startswith(names.prefix) for key in state) else ""


def _check_keys(wanted: list[Wanted], state: Mapping[str, np.ndarray], names: Names) -> None:
    """Refuses every difference and names the first: of shapes in the checkpoint's order, else of keys."""
    shapes = {w.source: w.shape for w in wanted}
    misshapen = [key for key in state if key in shapes and state[key].shape != shapes[key]]
    missing = [key for key in shapes if key not in state]
    extra = [key for key in state if key not in shapes and not _is_ignored(key, names)]
    if not misshapen and not missing and not extra:
        return
    if misshapen:
        key = misshapen[0]
        first = f"{key} has shape {state[key].shape} in the checkpoint, the network's is {shapes[key]}"
    elif missing:
        first = f"{missing[0]} is missing, of shape {shapes[missing[0]]} in the network"
    else:
        first = f"{extra[0]} of shape {state[extra[0]].shape} is in the checkpoint, not in the network"
    kinds = {"of another shape": misshapen, "missing": missing, "left over": extra}
    lists = "; ".join(f"{len(keys)} {kind}: {_listed(keys)}" for kind, keys in kinds.items() if keys)
    raise ConversionError(" ".join(f"not this network's weights: {first} ({lists}).".split()))


def _check_constants(state: Mapping[str, np.ndarray], names: Names) -> None:
    for key, value in names.constants:
        found = state.get(key, np.empty(0))
        if found.size == 0 or np.any(found != value):
            raise ConversionError(f"{key} is {found.tolist()} in the checkpoint, expected {value}.")


def _is_ignored(key: str, names: Names) -> bool:
    return key in dict(names.constants) or any(re.search(pattern, key) for pattern, _ in names.ignored)


def _listed(keys: list[str]) -> str:
    rest = f" and {len(keys) - LISTED} more" if len(keys) > LISTED else ""
    return ", ".join(keys[:LISTED]) + rest


def _finite(source: str, value: np.ndarray, dtype: Any) -> np.ndarray:
    """The value in another floating point type, in which it has to be finite."""
    if not jnp.issubdtype(value.dtype, jnp.floating):
        raise ConversionError(f"{source} has type {value.dtype}, expected floating point.")
    with np.errstate(over="ignore"):
        value = value.astype(jnp.dtype(dtype))
    if not np.isfinite(value).all():
        raise ConversionError(f"{source} has values that are not finite in {jnp.dtype(dtype)}.")
    return value
