"""ArrayRecord files: many records in one file, written once, read by number through Grain, each with a checksum.

00000.array_record/17/cat.jpg                     record 17, the file of a picture, whose name is for people
cats-test.array_record-00000-of-00002/17/image    a feature of an example that TensorFlow Datasets wrote
"""

import contextlib
import errno
import functools
import os
import pathlib
import re
from collections.abc import Callable, Iterator
from typing import Any

_NEEDED = "ArrayRecord files need Grain: pip install 'fame-jax[data]'"
_OF_TFDS = re.compile(r"\.array_record-\d+-of-\d+$")

_OPEN = 64
"""Files that are kept open."""


def is_array_record(name: str) -> bool:
    """Whether a file is one, by its name."""
    return name.endswith(".array_record") or is_of_tfds(name)


def is_of_tfds(name: str) -> bool:
    """Whether its records are examples of TensorFlow Datasets, by its name."""
    return bool(_OF_TFDS.search(name))


def count(file: pathlib.Path) -> int:
    """How many records there are; see `record` for the errors."""
    return len(_source(file))


def record(file: pathlib.Path, number: int) -> bytes:
    """A record by its number, from 0; several threads may ask.

    Raises:
        OSError: if there is none, or it is damaged.
        ImportError: if Grain is not installed.
    """
    source = _source(file)
    if not 0 <= number < len(source):
        raise _error(file, f"it has no record {number}")
    with _reasons(file, f"record {number} is damaged"):
        return source[number]


def has(file: pathlib.Path, name: str) -> bool:
    """Whether there is such a record, by its name `NUMBER/...`."""
    number = name.partition("/")[0]
    return number.isascii() and number.isdigit() and len(number) < 10 and int(number) < count(file)


def contents(file: pathlib.Path, name: str) -> bytes:
    """What a name stands for: `NUMBER/...`, or `NUMBER/FEATURE` in a file of TensorFlow Datasets.

    Raises:
        OSError: if there is no such thing, or it is damaged.
    """
    number, _, feature = name.partition("/")
    if not has(file, name):
        raise _error(file, f"it has no record {number[:20]}")
    if not is_of_tfds(file.name):
        return record(file, int(number))
    values = features(file, int(number))[feature].bytes_list.value
    if len(values) != 1:
        raise _error(file, f"record {number} has no {feature[:40]}")
    return values[0]


def features(file: pathlib.Path, number: int) -> Any:
    """The features of an example of TensorFlow Datasets by name; one that lacks is empty.

    Raises:
        OSError: if the record is no example, or damaged.
    """
    from tensorflow_datasets.proto import tf_example_pb2

    data = record(file, number)
    try:
        return tf_example_pb2.Example.FromString(data).features.feature  # type: ignore[attr-defined]
    except Exception:  # Protocol buffers have errors of their own.
        raise _error(file, f"record {number} is no example of TensorFlow Datasets") from None


def writer_class() -> Any:
    """What writes files.

    Raises:
        ImportError: if it is not installed.
    """
    try:
        from array_record.python.array_record_module import ArrayRecordWriter
    except ImportError as error:
        raise ImportError(_NEEDED) from error
    return ArrayRecordWriter


@contextlib.contextmanager
def written(file: pathlib.Path) -> Iterator[Callable[[bytes], None]]:
    """Takes the records of a new file, which is there as a whole once the block is left, or else not at all.

    Raises:
        OSError: if it cannot be written.
        ImportError: if Grain is not installed.
    """
    beside, words = file.with_name(f".writing.{file.name}"), "it cannot be written"

    def write(data: bytes) -> None:
        with _reasons(file, words):
            writer.write(data)

    try:
        with _reasons(file, words):
            # Pictures are compressed already, and a whole group would be read for one of its records.
            writer = writer_class()(str(beside), "group_size:1,uncompressed")
        try:
            yield write
        finally:
            with _reasons(file, words):
                writer.close()
        os.replace(beside, file)
    finally:
        beside.unlink(missing_ok=True)


def _source(file: pathlib.Path) -> Any:
    about = file.stat()
    return _opened(file, about.st_mtime_ns, about.st_size)


@functools.lru_cache(maxsize=_OPEN)
def _opened(file: pathlib.Path, *version: int) -> Any:
    try:
        from grain.sources import ArrayRecordDataSource
    except ImportError as error:
        raise ImportError(_NEEDED) from error
    with _reasons(file, "it is damaged, or no ArrayRecord file"):
        return ArrayRecordDataSource(str(file))


@contextlib.contextmanager
def _reasons(file: pathlib.Path, words: str) -> Iterator[None]:
    """The library's errors, in one line."""
    try:
        yield
    except (RuntimeError, ValueError) as error:
        raise _error(file, f"{words} ({' '.join(str(error).split()).partition(';')[0][:120]})") from None


def _error(file: pathlib.Path, reason: str) -> OSError:
    return OSError(errno.EIO, reason, str(file))
