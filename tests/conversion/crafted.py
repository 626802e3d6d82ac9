"""Checkpoints written by hand: whatever a file may claim."""

import collections
import io
import pathlib
import pickle
import struct
import zipfile
from typing import Any, NamedTuple

import numpy as np
import pytest

from weight_conversion import CheckpointError, read_checkpoint

torch = pytest.importorskip("torch")

formats = pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])


class Call:
    """Pickles as a call, which an ordinary unpickler makes."""

    def __init__(self, function: Any, *args: Any):
        self.function, self.args = function, args

    def __reduce__(self) -> tuple[Any, ...]:
        return self.function, self.args


class Reference(NamedTuple):
    """Pickles as a persistent id."""

    identifier: Any


class _Pickler(pickle.Pickler):
    def persistent_id(self, obj: Any) -> Any:
        return obj.identifier if isinstance(obj, Reference) else None


def pickled(value: Any) -> bytes:
    stream = io.BytesIO()
    _Pickler(stream, protocol=2).dump(value)
    return stream.getvalue()


def claim(
    shape: Any, strides: Any, *, offset: Any = 0, elements: Any = 4, key: Any = "0", kind: Any = torch.FloatStorage
) -> Call:
    """A tensor as a file may claim it."""
    storage = Reference(("storage", kind, key, "cpu", elements))
    return Call(torch._utils._rebuild_tensor_v2, storage, offset, shape, strides, False, collections.OrderedDict())


def archive(path: pathlib.Path, data: bytes, storages: dict[str, bytes], compression: int = zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as file:
        file.writestr("weights/data.pkl", data)
        for key, raw in storages.items():
            file.writestr(f"weights/data/{key}", raw)
    return path


def hostile(path: pathlib.Path, data: bytes, zipped: bool) -> pathlib.Path:
    """A checkpoint whose object is this pickle, with one storage of four floats."""
    raw = np.arange(4, dtype="<f4").tobytes()
    if zipped:
        return archive(path, data, {"0": raw})
    header = [0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}]
    path.write_bytes(b"".join(map(pickled, header)) + data + pickled(["0"]) + struct.pack("<q", 4) + raw)
    return path


def refused(path: pathlib.Path, match: str | None = None) -> None:
    with pytest.raises(CheckpointError, match=match) as caught:
        read_checkpoint(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "; expected " in message
    assert "\n" not in message
    assert len(message) < 800
