"""Converted weights on disk: a folder with the arrays, and `network.json` with the network's card.

The arrays lie under a name of their own, which `network.json` gives. It is written last and in one step, so that a
folder holds the old network or the new one, whole, whenever an installation is interrupted.
"""

import os
import pathlib
import re
import secrets
import shutil
import time
from typing import Any, Literal, NamedTuple

import numpy as np
import tensorstore
from flax import nnx
from jaxtyping import ArrayLike

from fame_jax import files
from fame_jax.models.card import Card, CardError
from fame_jax.models.registry import UnknownNetworkError, card_of_format_1
from weight_conversion import CheckpointError, read_checkpoint

FORMAT = 2
ABOUT = "network.json"
_STORED = re.compile(r"weights(-[0-9a-f]{8}(\.safetensors|\.onnx)?)?")
_STALE = 3600
"""Seconds after which arrays that no `network.json` names are what an interrupted installation left."""

Form = Literal["orbax", "safetensors"]
Verified = Literal["sha256", "hub", "prefix", "unverified"]


_WORDS = {
    "sha256": "Verified by its whole SHA-256.",
    "hub": "Verified by the SHA-256 that the hub gives for it.",
    "prefix": "Verified by the first digits of its SHA-256 alone: the publisher gives no more.",
    "unverified": "UNVERIFIED: no hash of this file is known.",
}


def words_of(verified: str) -> str:
    """How far a file is known to be its publisher's, in a sentence."""
    return _WORDS.get(verified, _WORDS["unverified"])


class About(NamedTuple):
    """What `network.json` says.

    Attributes:
        card: of the network.
        file: name of the file that the weights were converted from.
        verified: whether that file had the hash that its publisher or the user gave, the one that the hub gives, only
            the first digits of its publisher's, or none was known.
        dtype: of the stored arrays.
        stored: name of the arrays' folder or file.
        files: SHA-256 of every stored file by its name.
    """

    card: Card
    file: str
    verified: str
    dtype: str
    stored: str
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
    network: nnx.Module | bytes,
    card: Card,
    *,
    file: str,
    verified: Verified = "unverified",
    dtype: Any = None,
    form: Form = "orbax",
) -> None:
    """Writes a network's weights and its card; a folder that holds some already has the old or the new at any moment.

    Args:
        folder: to be made.
        network: the network, or its `Standardized` wrapper (which has no weights of its own); or the content of an ONNX
            file.
        card: of the network.
        file: name of the file the weights come from.
        verified: see `About`.
        dtype: to store floating point values in; None for the network's own.
        form: an Orbax checkpoint, or one safetensors file under our names (needs the package).

    Raises:
        FileExistsError: if the folder holds something else than converted weights.
        ImportError: if the package safetensors is needed and not installed.
    """
    folder = pathlib.Path(folder).absolute()
    check_vacant(folder)
    before = _stored_before(folder)
    folder.mkdir(parents=True, exist_ok=True)
    stored, kinds = f"weights-{secrets.token_hex(4)}", ""
    if isinstance(network, bytes):
        stored += ".onnx"
        files.write(folder / stored, lambda opened: opened.write(network))
    else:
        values: dict[str, ArrayLike] = {key: np.asarray(value, dtype) for key, value in weights(network).items()}
        stored += ".safetensors" if form == "safetensors" else ""
        (_write_safetensors if form == "safetensors" else _write_orbax)(folder / stored, values)
        kinds = "/".join(sorted({str(np.asarray(value).dtype) for value in values.values()}))
    new = About(card, file, verified, kinds, stored, _hashes(folder / stored))
    files.write_json(folder / ABOUT, {"format": FORMAT, **new._asdict(), "card": card.to_json()})
    _remove_others(folder, stored, before)


def check_vacant(folder: pathlib.Path) -> None:
    """Refuses a folder that holds something else than converted weights.

    Raises:
        FileExistsError: naming it.
    """
    ours = folder.is_dir() and all(_is_ours(path.name) for path in folder.iterdir())
    if folder.exists() and not ours and not (folder / ABOUT).is_file():
        raise FileExistsError(f"{folder} exists and holds no converted weights; choose another folder.")


def about(folder: str | os.PathLike[str]) -> About:
    """What a folder of converted weights says of itself.

    Raises:
        CheckpointError: if it is none, or of a later format.
    """
    path = pathlib.Path(folder) / ABOUT
    if not path.is_file():
        raise CheckpointError(f"{folder}: no {ABOUT}; expected a folder made by `fame convert`.")
    try:
        found = files.read_json(path)
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: cannot be read ({error}).") from error
    if not isinstance(found, dict) or "format" not in found:
        raise CheckpointError(f"{path}: expected the key format.")
    if found["format"] not in (1, FORMAT):
        raise CheckpointError(
            f"{path}: format {found['format']}, this version reads 1 and {FORMAT}; convert the weights again."
        )
    try:
        return _format_1(found) if found["format"] == 1 else _format_2(found)
    except KeyError as error:
        raise CheckpointError(f"{path}: the key {error} is missing.") from error
    except (CardError, UnknownNetworkError, TypeError) as error:
        raise CheckpointError(f"{path}: {error}") from error


def stored_in(folder: str | os.PathLike[str]) -> pathlib.Path:
    """The file or folder of the arrays, whose every file is as it was written.

    Every file is compared with its hash first: Orbax reads in threads of its own, which a damaged file leaves behind
    with errors that nobody catches.

    Raises:
        CheckpointError: if the folder is incomplete or damaged.
    """
    said = about(folder)
    path = pathlib.Path(folder).absolute() / said.stored
    expected, found = said.files, _hashes(path)
    for name in expected.keys() | found.keys():
        if expected.get(name) != found.get(name):
            state = "is missing" if name not in found else "is damaged" if name in expected else "does not belong there"
            raise CheckpointError(f"{folder}: {said.stored}/{name} {state}; convert or download the weights again.")
    return path


def restore(folder: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """The stored arrays by their dotted paths; see `stored_in` for the errors."""
    path = stored_in(folder)
    if path.suffix == ".safetensors":
        return read_checkpoint(path)
    return _read_orbax(path)


def _stored_before(folder: pathlib.Path) -> str | None:
    """The name of the arrays that a folder holds, if it holds some and says so."""
    try:
        return about(folder).stored
    except CheckpointError:
        return None


def _format_1(found: dict[str, Any]) -> About:
    card = card_of_format_1(str(found["network"]), str(found["sha256"]), str(found["licence"]))
    return About(card, str(found["source"]), "sha256", str(found["dtype"]), "weights", _table(found["files"]))


def _format_2(found: dict[str, Any]) -> About:
    texts = {key: str(found[key]) for key in ("file", "verified", "dtype", "stored")}
    if not _STORED.fullmatch(texts["stored"]):
        raise CheckpointError(f"the arrays cannot lie under {texts['stored']!r}.")
    return About(card=Card.from_json(found["card"]), files=_table(found["files"]), **texts)


def _table(value: Any) -> dict[str, str]:
    if not isinstance(value, dict):
        raise TypeError("the key files is no table of hashes.")
    return {str(name): str(digest) for name, digest in value.items()}


def _read_orbax(path: pathlib.Path) -> dict[str, np.ndarray]:
    """What Orbax has written, by the library beneath it: that of Orbax takes a third of a second to begin with."""
    store = {"driver": "ocdbt", "base": {"driver": "file", "path": f"{path}/"}}
    names = {key.decode().split("/")[0] for key in tensorstore.KvStore.open(store).result().list().result()}
    opened = {name: tensorstore.open({"driver": "auto", "kvstore": {**store, "path": f"{name}/"}}) for name in names}
    return {name: array.result() for name, array in {n: one.result().read() for n, one in opened.items()}.items()}


def _write_orbax(path: pathlib.Path, values: dict[str, ArrayLike]) -> None:
    import orbax.checkpoint as ocp  # Not above: what only reads begins sooner without it.

    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(path, values)
    # Orbax writes the folder's path into this file, and reads only that the file is there.
    if (note := path / "commit_success.txt").exists():
        note.write_text("Checkpoint commit was successful\n")


def _write_safetensors(path: pathlib.Path, values: dict[str, ArrayLike]) -> None:
    try:
        from safetensors.numpy import save
    except ImportError as error:
        raise ImportError(
            "safetensors files are written by safetensors: pip install 'fame-jax[safetensors]'"
        ) from error
    content = save({name: np.ascontiguousarray(value) for name, value in values.items()}, {"format": "fame_jax"})
    files.write(path, lambda file: file.write(content))


def _is_ours(name: str) -> bool:
    return name == ABOUT or name.startswith(".writing.") or _STORED.match(name) is not None


def _remove_others(folder: pathlib.Path, stored: str, before: str | None) -> None:
    """The arrays of the network before, and what interrupted installations left; a running one's are young."""
    for path in folder.iterdir():
        old = _STORED.match(path.name) and path.name != stored
        if old and (path.name == before or time.time() - path.stat().st_mtime > _STALE):
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)


def _hashes(path: pathlib.Path) -> dict[str, str]:
    """SHA-256 of a file, or of every file below a folder, by its name in it."""
    if path.is_file():
        return {path.name: files.sha256(path)}
    return {p.relative_to(path).as_posix(): files.sha256(p) for p in sorted(path.rglob("*")) if p.is_file()}
