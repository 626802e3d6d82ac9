"""PyTorch's checkpoints without PyTorch: `.pth`, `.pt` and Lightning's `.ckpt`, zipped (since 1.6) and legacy.

Both formats are a pickle that names storages, and the storages' bytes. The pickle is read by `pickled`, which runs
nothing; the tensors wanted are then made as views of the storages they lie in, each of which is read once.

A zip archive has one folder, with the pickle in `data.pkl`, the storages in `data/<key>` and `byteorder`. A legacy file
is a row of pickles (magic number, protocol, machine, the object, the keys of the storages) followed by each storage in
the order of the keys: the number of elements as int64, and their bytes.
"""

import io
import math
import mmap
import os
import struct
import zipfile
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import IO, Any, NamedTuple

import ml_dtypes
import numpy as np

from weight_conversion import pickled
from weight_conversion.errors import CheckpointError, reading
from weight_conversion.pickled import Placeholder

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
LEGACY_PROTOCOL = 1001

_DTYPES: dict[str, np.dtype] = {
    f"torch.{name}Storage": np.dtype(dtype)
    for name, dtype in {
        "Float": "<f4",
        "Half": "<f2",
        "BFloat16": ml_dtypes.bfloat16,
        "Double": "<f8",
        "Long": "<i8",
        "Int": "<i4",
        "Short": "<i2",
        "Char": "i1",
        "Byte": "u1",
        "Bool": "?",
    }.items()
}

# Where training loops put the state dict, the first that has tensors is taken; the last is the object itself.
_PLACES = ("state_dict", "model", "model.state_dict", "")

DEPTH = 4
"""Dictionaries in dictionaries are looked into so far."""


class Storage(NamedTuple):
    """A run of elements in the file, and where in it a view of it starts."""

    key: str
    dtype: np.dtype
    elements: int
    start: int


class Tensor(NamedTuple):
    """What the pickle says of a tensor; offset and strides count elements."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


Fetch = Callable[[Storage], bytes]
Fits = Callable[[Collection[str]], bool]
"""Whether a dictionary with these keys is what is looked for."""


def read(path: str | os.PathLike[str], fits: Fits = lambda keys: False) -> dict[str, dict[str, np.ndarray]]:
    """The state dicts in a torch checkpoint, in the file's order; nothing in the file is imported or called.

    Args:
        path: a file written by `torch.save`: a state dict, or dictionaries with some in them.
        fits: chooses among the dictionaries with tensors by their keys. If none fits, or without it, it is the one
            under `state_dict` or `model`, the file's own, or the first.

    Returns:
        By the name of the dictionary (`model`, `model.state_dict`; empty for the file's own): read-only arrays by
        torch's own keys, with the file's dtypes (`ml_dtypes.bfloat16` for bfloat16). Tensors that share a storage
        share memory. Entries that are not tensors are left out.

    Raises:
        CheckpointError: if the file cannot be read, is cut short, is no checkpoint, or has no tensors in it.
    """
    with reading(path, "a PyTorch checkpoint with a state dict"), open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size == 0:
            raise CheckpointError("the file is empty")
        zipped = file.read(4) == b"PK\x03\x04"
        file.seek(0)
        return _read_zip(file, size, fits) if zipped else _read_legacy(file, fits)


Found = dict[str, dict[str, np.ndarray]]


def _read_zip(file: IO[bytes], size: int, fits: Fits) -> Found:
    with zipfile.ZipFile(file) as archive:
        records = {info.filename: info for info in archive.infolist()}
        left = size

        def record(name: str) -> bytes:
            """Each record lies in the file as it is, so that all together are no larger than the file."""
            nonlocal left
            if name not in records:
                raise CheckpointError(f"the archive has no record {name!r}")
            info = records[name]
            left -= info.file_size
            if info.compress_type != zipfile.ZIP_STORED or left < 0:
                raise CheckpointError(f"the archive's record {name!r} is compressed or larger than the file")
            return archive.read(info)

        pickles = [name for name in records if name.endswith("/data.pkl") and name.count("/") == 1]
        if len(pickles) != 1:
            raise CheckpointError(f"a zip archive with {len(pickles)} records */data.pkl, not one")
        folder = pickles[0].removesuffix("data.pkl")
        if f"{folder}byteorder" in records and (order := record(f"{folder}byteorder")) != b"little":
            raise CheckpointError(f"the archive's byte order is {order!r}, not little")
        root = pickled.load(io.BytesIO(record(pickles[0])), _construct, _storage)
        return _arrays(_state_dicts(root, fits), lambda storage: record(f"{folder}data/{storage.key}"))


def _read_legacy(file: IO[bytes], fits: Fits) -> Found:
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        _check_legacy_header(data)
        storages: dict[str, Storage] = {}

        def persistent(identifier: Any) -> Any:
            storage = _storage(identifier)
            if isinstance(storage, Storage):
                storages[storage.key] = storage
            return storage

        states = _state_dicts(pickled.load(data, _construct, persistent), fits)
        spans = _legacy_spans(data, pickled.load(data, _construct, _storage), storages)

        def fetch(storage: Storage) -> bytes:
            if storage.key not in spans:
                raise CheckpointError(f"storage {storage.key!r} is not in the file")
            return data[spans[storage.key]]

        return _arrays(states, fetch)


def _check_legacy_header(data: mmap.mmap) -> None:
    start = data[:8]
    try:
        magic, protocol, machine = (pickled.load(data, _construct, _storage) for _ in range(3))
    except Exception as error:
        raise CheckpointError(f"no header of a checkpoint, the file begins with {start!r}") from error
    if magic != LEGACY_MAGIC or protocol != LEGACY_PROTOCOL:
        raise CheckpointError(f"no header of a checkpoint, the file begins with {start!r}")
    if not isinstance(machine, dict) or machine.get("little_endian") is not True:
        raise CheckpointError("the file was not written by a little-endian machine")


def _legacy_spans(data: mmap.mmap, keys: Any, storages: Mapping[str, Storage]) -> dict[str, slice]:
    """Where the bytes of each storage are, in the order of the keys, from the stream's position on."""
    if not isinstance(keys, list):
        raise CheckpointError("no list of storages behind the object")
    spans: dict[str, slice] = {}
    position = data.tell()
    for key in keys:
        if not isinstance(key, str) or key not in storages:
            raise CheckpointError(f"an unknown storage in the list of {len(keys)} storages")
        if position + 8 > len(data):
            raise CheckpointError(f"the file is cut short: {len(data)} bytes, storage {key!r} begins at {position}")
        (elements,) = struct.unpack_from("<q", data, position)
        if elements != storages[key].elements:
            raise CheckpointError(f"storage {key!r} has {elements} elements, its tensors say {storages[key].elements}")
        start = position + 8
        position = start + elements * storages[key].dtype.itemsize
        if position > len(data):
            raise CheckpointError(f"the file is cut short: {len(data)} bytes, storage {key!r} ends at {position}")
        spans[key] = slice(start, position)
    return spans


def _storage(identifier: Any) -> Any:
    """A storage from its persistent id; of a module, which legacy files save with its source code, only the class.

    `("storage", class, key, device, elements)`, in legacy files with None or `(view key, start, elements)` behind.
    """
    match identifier:
        case ("module", Placeholder() as module, *_):
            return module
        case ("storage", Placeholder(name), str(key), _, int(elements), *view) if name in _DTYPES and elements >= 0:
            match view:
                case [] | [None]:
                    return Storage(key, _DTYPES[name], elements, 0)
                case [(_, int(start), int())] if start >= 0:
                    return Storage(key, _DTYPES[name], elements, start)
        case ("storage", Placeholder(name), *_) if name not in _DTYPES:
            raise CheckpointError(f"a storage of the unknown type {name!r}")
    raise CheckpointError("a persistent id that names no storage")


_TENSORS = ("torch._utils._rebuild_tensor", "torch._utils._rebuild_tensor_v2")
_PARAMETERS = ("torch._utils._rebuild_parameter", "torch._utils._rebuild_parameter_with_state")


def _construct(name: str, args: tuple[Any, ...]) -> Any:
    """The tensor that torch's rebuilding function of that name would make; a placeholder for any other name."""
    if name in _PARAMETERS and args and isinstance(args[0], Tensor):
        return args[0]
    if name not in _TENSORS:
        return Placeholder(name)
    storage, offset, shape, strides, *rest = args
    if not isinstance(storage, Storage) or not _counts((offset,)) or not _counts(shape) or not _counts(strides):
        raise CheckpointError("a tensor whose offset, shape or strides are no counts")
    if len(rest) > 2 and rest[2]:
        raise CheckpointError("a tensor stored as the negative or conjugate of its storage")
    return Tensor(storage, offset, tuple(shape), tuple(strides))


def _counts(values: Any) -> bool:
    """Whether these can be an array's shape or strides: numpy has at most 64 axes and 63-bit counts."""
    if not isinstance(values, tuple | list) or len(values) > 64:
        return False
    return all(isinstance(value, int) and 0 <= value < 2**63 for value in values)


def _state_dicts(root: Any, fits: Fits) -> dict[str, dict[str, Tensor]]:
    """The dictionaries with tensors that fit, without their other entries, by their place; else the usual one."""
    places = dict(_places(root))
    chosen = [place for place, value in places.items() if fits([key for key in value if isinstance(key, str)])]
    usual = next((place for place in (*_PLACES, *places) if place in places), None)
    if usual is not None:
        return {place: _tensors(places[place]) for place in chosen or [usual]}
    if isinstance(root, Placeholder):
        raise CheckpointError(f"a pickled {root.name!r} object, not its state_dict()")
    if isinstance(root, dict):
        raise CheckpointError(f"no tensors, but a dictionary with the {len(root)} keys {list(root)[:5]}")
    raise CheckpointError(f"no state dict, but a {type(root).__name__}")


def _places(value: Any, place: str = "", depth: int = 0) -> Iterator[tuple[str, dict[Any, Any]]]:
    """Every dictionary with a tensor in it, by the names that lead to it."""
    if not isinstance(value, dict):
        return
    if any(isinstance(entry, Tensor) for entry in value.values()):
        yield place, value
    for key, entry in value.items() if depth < DEPTH else ():
        if isinstance(key, str):
            yield from _places(entry, f"{place}.{key}".lstrip("."), depth + 1)


def _tensors(entries: Mapping[Any, Any]) -> dict[str, Tensor]:
    return {key: _tensor_of(key, entry) for key, entry in entries.items() if _is_tensor(entry)}


def _is_tensor(entry: Any) -> bool:
    return isinstance(entry, Tensor) or (isinstance(entry, Placeholder) and entry.name.startswith("torch._utils."))


def _tensor_of(key: str, entry: Tensor | Placeholder) -> Tensor:
    if isinstance(entry, Placeholder):
        raise CheckpointError(f"{key!r} is a tensor of a kind that is not read ({entry.name})")
    return entry


def _arrays(states: Mapping[str, Mapping[str, Tensor]], fetch: Fetch) -> Found:
    """Every tensor as a view of its storage, which is fetched once."""
    raw: dict[str, bytes] = {}

    def array(key: str, tensor: Tensor) -> np.ndarray:
        storage = tensor.storage
        if storage.key not in raw:
            raw[storage.key] = fetch(storage)
        if len(raw[storage.key]) != storage.elements * storage.dtype.itemsize:
            raise CheckpointError(
                f"storage {storage.key!r} of {key!r} has {len(raw[storage.key])} bytes, "
                f"not {storage.elements} elements of {storage.dtype}"
            )
        return _array(key, tensor, raw[storage.key])

    return {place: {key: array(key, tensor) for key, tensor in state.items()} for place, state in states.items()}


def _array(key: str, tensor: Tensor, raw: bytes) -> np.ndarray:
    storage, offset, shape, strides = tensor
    first = storage.start + offset
    last = first + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
    if math.prod(shape) == 0:
        return np.empty(shape, storage.dtype)
    if last >= storage.elements:
        raise CheckpointError(f"{key!r} reaches element {last} of a storage of {storage.elements}")
    itemsize = storage.dtype.itemsize
    return np.ndarray(shape, storage.dtype, raw, first * itemsize, [stride * itemsize for stride in strides])
