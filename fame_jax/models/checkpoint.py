"""Converted weights on disk: an Orbax checkpoint and a small file that says what it is."""

import json
import os
import pathlib
from typing import Any, TypedDict

import jax
import numpy as np
import orbax.checkpoint as ocp
from flax import nnx
from jaxtyping import ArrayLike

from fame_jax import files
from weight_conversion import CheckpointError

FORMAT = 1
_ABOUT = "network.json"
_WEIGHTS = "weights"


class About(TypedDict):
    """What `network.json` says.

    `network` is the registry's name, `source` the file the weights were converted from, `sha256` that file's hash,
    `licence` that of the weights, `dtype` the stored one, `files` the hash of every stored file by its name.
    """

    format: int
    network: str
    source: str
    sha256: str
    licence: str
    dtype: str
    files: dict[str, str]


def weights(network: nnx.Module) -> dict[str, Any]:
    """Every array of a network by its dotted path, parameters and running statistics alike."""
    state = nnx.state(network, nnx.Any(nnx.Param, nnx.BatchStat))
    return {".".join(map(str, path)): leaf[...] for path, leaf in nnx.to_flat_state(state)}


def with_weights(network: nnx.Module, values: dict[str, Any]) -> Any:
    """A copy of a (possibly abstract) network that holds `values`, keyed as in `weights`.

    Raises:
        CheckpointError: if a name is missing or left over, or a shape differs.
    """
    graph, state = nnx.split(network)
    flat = dict(nnx.to_flat_state(state))
    names = {path: ".".join(map(str, path)) for path in flat}
    if missing := sorted(set(names.values()) - values.keys()):
        raise CheckpointError(f"{len(missing)} weights are missing, the first is {missing[0]}.")
    if extra := sorted(values.keys() - set(names.values())):
        raise CheckpointError(f"{len(extra)} weights are left over, the first is {extra[0]}.")
    for path, variable in flat.items():
        value = values[names[path]]
        if np.shape(value) != variable.shape:
            raise CheckpointError(f"{names[path]} has shape {np.shape(value)}, expected {variable.shape}.")
        flat[path] = variable.replace(value)
    return nnx.merge(graph, nnx.from_flat_state(flat))


def save(
    folder: str | os.PathLike[str],
    network: nnx.Module,
    *,
    name: str,
    source: str,
    sha256: str,
    licence: str,
    dtype: Any = None,
) -> None:
    """Writes a network's weights; a folder that holds some already is replaced.

    Args:
        folder: to be made.
        network: the network, or its `Standardized` wrapper (which has no weights of its own).
        name: in the registry.
        source: name of the file the weights come from.
        sha256: that file's hash.
        licence: of the weights.
        dtype: to store floating point values in; None for the network's own.
    """
    folder = pathlib.Path(folder).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    values: dict[str, ArrayLike] = {key: np.asarray(value) for key, value in weights(network).items()}
    if dtype is not None:
        values = {key: np.asarray(value, dtype) for key, value in values.items()}
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(folder / _WEIGHTS, values, force=True)
    # Orbax writes the folder's path into this file, and reads only that the file is there.
    if (note := folder / _WEIGHTS / "commit_success.txt").exists():
        note.write_text("Checkpoint commit was successful\n")
    stored = sorted({str(np.asarray(value).dtype) for value in values.values()})
    about = About(
        format=FORMAT,
        network=name,
        source=source,
        sha256=sha256,
        licence=licence,
        dtype="/".join(stored),
        files=_hashes(folder / _WEIGHTS),
    )
    (folder / _ABOUT).write_text(json.dumps(about, indent=2) + "\n")


def about(folder: str | os.PathLike[str]) -> About:
    """What a folder of converted weights says of itself.

    Raises:
        CheckpointError: if it is none, or of a later format.
    """
    path = pathlib.Path(folder) / _ABOUT
    if not path.is_file():
        raise CheckpointError(f"{folder}: no {_ABOUT}; expected a folder made by `fame convert`.")
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: cannot be read ({error}).") from error
    if (
        not isinstance(found, dict)
        or not About.__required_keys__ <= found.keys()
        or not isinstance(found["files"], dict)
    ):
        raise CheckpointError(f"{path}: expected the keys {', '.join(sorted(About.__required_keys__))}.")
    if found["format"] != FORMAT:
        raise CheckpointError(
            f"{path}: format {found['format']}, this version reads {FORMAT}; convert the weights again."
        )
    return About(**{key: found[key] for key in About.__required_keys__})  # type: ignore[typeddict-item]


def restore(folder: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """The stored arrays by their dotted paths.

    Every file is compared with its hash first: Orbax reads in threads of its own, which a damaged file leaves behind
    with errors that nobody catches.

    Raises:
        CheckpointError: if the folder is incomplete or damaged.
    """
    path = pathlib.Path(folder).absolute() / _WEIGHTS
    expected, found = about(folder)["files"], _hashes(path)
    for name in expected.keys() | found.keys():
        if expected.get(name) != found.get(name):
            state = "is missing" if name not in found else "is damaged" if name in expected else "does not belong there"
            raise CheckpointError(f"{folder}: {_WEIGHTS}/{name} {state}; convert or download the weights again.")
    with ocp.PyTreeCheckpointer() as checkpointer:
        tree = checkpointer.metadata(path).item_metadata.tree
        arguments = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), tree)
        return checkpointer.restore(path, ocp.args.PyTreeRestore(restore_args=arguments))


def _hashes(folder: pathlib.Path) -> dict[str, str]:
    """SHA-256 of every file below a folder, by its name in it."""
    return {path.relative_to(folder).as_posix(): files.sha256(path) for path in folder.rglob("*") if path.is_file()}
