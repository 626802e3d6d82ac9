"""From a publisher's state dict to a network, strictly and driven by the network.

Every weight of the network asks for one key of the checkpoint by name, and every key of the checkpoint has to be asked
for or be ignored for a stated reason. Nothing is matched by order or by shape.
"""

import hashlib
import os
import re
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from fame_jax.architectures import abstract, architecture
from fame_jax.architectures.layers import PReLU
from fame_jax.architectures.standardized import Standardized
from weight_conversion.errors import ConversionError
from weight_conversion.fit import Sources, fit, nearest, prefixes
from weight_conversion.layouts import CONVOLUTION, LINEAR, SAME, Layout, Shape
from weight_conversion.names import NAMES, TIMM, Names

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


class Provenance(NamedTuple):
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
    rows: list[Provenance]


class Counterpart(NamedTuple):
    """A layer of a checkpoint.

    Attributes:
        name: there.
        weights: the largest difference of its weights from ours, relative to their largest value; None without any.
    """

    name: str
    weights: float | None


class Wanted(NamedTuple):
    """A weight of the network and what it asks of the checkpoint."""

    path: tuple[Any, ...]
    layer: str
    source: str
    shape: Shape
    layout: Layout


def convert(
    network: Any, state: Mapping[str, np.ndarray], names: Names, *, dtype: Any = "float32", prefix: str | None = None
) -> Conversion:
    """Fills a network with the weights of a checkpoint.

    Args:
        network: an NNX module or its `Standardized` wrapper, with values or only shapes; it is not changed.
        state: arrays by the publisher's keys, as `read_checkpoint` gives them.
        names: of the network's layers in the checkpoint.
        dtype: of the weights.
        prefix: before every key that the network asks for; None for the one that most of them have.

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
    asked = _asked(network, names)
    if prefix is None:
        prefix = next(iter(prefixes(state, _sources(asked, names))), "")
    wanted = [weight._replace(source=_source(weight.source, names, prefix, state)) for weight in asked]
    _check_keys(wanted, state, names, prefix)
    _check_constants(state, names, prefix)
    graph, content = nnx.split(network)
    flat = dict(nnx.to_flat_state(content))
    rows = []
    for path, layer, source, shape, layout in wanted:
        value = _finite(source, state[source], dtype)
        flat[path] = flat[path].replace(jnp.asarray(np.ascontiguousarray(layout.ours(value))))
        rows.append(Provenance(layer, source, shape, hashlib.sha256(state[source].tobytes()).hexdigest()))
    return Conversion(nnx.merge(graph, nnx.from_flat_state(flat)), rows)


def convert_file(
    name: str, path: str | os.PathLike[str], *, key: str | None = None, dtype: Any = "float32"
) -> Conversion:
    """A network of normalised images with the weights of a checkpoint, with as many outputs as that has.

    Args:
        name: of the architecture, in `fame_jax.architectures`.
        path: of the file, see `read_checkpoint`.
        key: where in the file the weights are, if several fit: `model_ema.module`.
        dtype: of the weights.

    Raises:
        UnknownArchitectureError: for another name.
        CheckpointError: if the file cannot be read.
        ConversionError: if it holds other weights than the network's.
    """
    row, spellings = architecture(name), _spellings(abstract(name), name)
    try:
        found = fit(path, list(spellings), key)
        asked, names = spellings[found.sources]
        last = next(weight.source for weight in asked if weight.layer == f"{row.last}.kernel")
        head = found.state.get(_source(last, names, found.prefix, found.state))
        outputs = head.shape[0] if head is not None and head.ndim > 0 else row.outputs
        return convert(abstract(name, outputs=outputs), found.state, names, dtype=dtype, prefix=found.prefix)
    except ConversionError as error:
        raise ConversionError(f"{os.fspath(path)}: {name}: {error}") from error


def counterparts(network: Any, name: str, state: Mapping[str, np.ndarray]) -> dict[str, Counterpart]:
    """By the path of each layer of a network, the layer of that name in somebody's state dict; nothing is refused.

    Args:
        network: of the architecture, with values.
        name: of the architecture.
        state: arrays by the publisher's keys or timm's, behind any prefix.
    """
    spellings = _spellings(network, name)
    found = nearest(state, "", list(spellings))
    asked, names = spellings[found.sources]
    wrapper = 1 if isinstance(network, Standardized) else 0
    paths = [".".join(map(str, path[wrapper:])) for path, _ in nnx.iter_modules(network)]
    # As if a weight followed, which is what `renames` are made for.
    layers = {path: Counterpart(found.prefix + names.theirs(f"{path}.")[:-1], None) for path in paths if path}
    flat = dict(nnx.to_flat_state(nnx.split(network)[1]))
    for weight in asked:
        layer = weight.layer.rpartition(".")[0]
        value = state.get(_source(weight.source, names, found.prefix, state), np.empty(0))
        apart = float("inf")
        if value.shape == weight.shape:
            ours, theirs = np.asarray(flat[weight.path][...]), weight.layout.ours(value)
            apart = float(np.abs(ours - theirs).max() / (np.abs(theirs).max() or 1))
        if layer:
            layers[layer] = layers[layer]._replace(weights=max(apart, layers[layer].weights or 0))
    return layers


def _spellings(network: Any, name: str) -> dict[Sources, tuple[list[Wanted], Names]]:
    """What the network asks for in the publisher's words, and in timm's."""
    spellings = {}
    for names in (NAMES[name], TIMM[name]) if name in TIMM else (NAMES[name],):
        asked = _asked(network, names)
        spellings[_sources(asked, names)] = asked, names
    return spellings


def _asked(network: Any, names: Names) -> list[Wanted]:
    """What each weight of a network asks for, in the order of its layers, by keys without a prefix."""
    layers = dict(nnx.iter_modules(network))
    wrapper = 1 if isinstance(network, Standardized) else 0
    asked = []
    for path, variable in nnx.to_flat_state(nnx.split(network)[1]):
        ours = ".".join(map(str, path[wrapper:]))
        leaf, layout = _leaf(ours, str(path[-1]), layers[path[:-1]], names)
        source = names.theirs(ours.removesuffix(str(path[-1])) + leaf)
        asked.append(Wanted(path, ours, source, layout.theirs(variable.shape), layout))
    return asked


def _source(source: str, names: Names, prefix: str, keys: Collection[str]) -> str:
    """The key behind a prefix, or what it was called before if the checkpoint has that."""
    source = prefix + source
    for pattern, replacement in names.older:
        if (older := re.sub(pattern, replacement, source)) in keys:
            source = older
    return source


def _sources(asked: list[Wanted], names: Names) -> Sources:
    def sources(prefix: str, keys: Collection[str]) -> list[str]:
        return [_source(weight.source, names, prefix, keys) for weight in asked]

    return sources


def _leaf(ours: str, leaf: str, layer: nnx.Module, names: Names) -> tuple[str, Layout]:
    """Torch's name and layout of one weight."""
    for pattern, name, layout in names.leaves:
        if re.search(pattern, ours):
            return name, layout
    for kind in type(layer).__mro__:
        if leaf in LEAVES.get(kind, {}):
            return LEAVES[kind][leaf]
    raise TypeError(f"{ours}: neither LEAVES nor the network's names know the {leaf!r} of a {type(layer).__name__}.")


def _check_keys(wanted: list[Wanted], state: Mapping[str, np.ndarray], names: Names, prefix: str) -> None:
    """Refuses every difference and names the first: of shapes in the checkpoint's order, else of keys."""
    shapes = {w.source: w.shape for w in wanted}
    misshapen = [key for key in state if key in shapes and state[key].shape != shapes[key]]
    missing = [key for key in shapes if key not in state]
    extra = [key for key in state if key not in shapes and not _is_ignored(key, names, prefix)]
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
    behind = f" (with the prefix {prefix!r})" if prefix else ""
    beside = bool(prefix) and bool(extra) and not any(key.startswith(prefix) for key in extra)
    hint = f" To leave out what is beside them: --key {prefix[:-1]}." if beside else ""
    raise ConversionError(" ".join(f"not this network's weights{behind}: {first} ({lists}).{hint}".split()))


def _check_constants(state: Mapping[str, np.ndarray], names: Names, prefix: str) -> None:
    for key, value in names.constants:
        found = state.get(prefix + key, np.empty(0))
        if found.size == 0 or np.any(found != value):
            raise ConversionError(f"{key} is {found.tolist()} in the checkpoint, expected {value}.")


def _is_ignored(key: str, names: Names, prefix: str) -> bool:
    is_constant = key.removeprefix(prefix) in dict(names.constants)
    return is_constant or any(re.search(pattern, key) for pattern, _ in names.ignored)


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
