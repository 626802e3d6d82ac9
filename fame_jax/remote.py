"""Paths that lead elsewhere than to files of this machine, and are read and written as those are.

    s3://BUCKET/KEY, gs://BUCKET/KEY    an object in object storage
    FOLDER/SHARD.tar/NAME               a file inside a tar archive, read only
    FOLDER/SHARD.array_record/NUMBER    a record of an ArrayRecord file, read only; see `fame_jax.array_records`

TensorStore carries the bytes, as it does those of arrays: with its retries, and with the credentials that the clouds'
own programs use. An object is whole or absent, and there are no folders: one is there as long as an object is below it.
"""

import errno
import fnmatch
import functools
import io
import os
import pathlib
import tarfile
from collections.abc import Callable, Generator, Mapping
from typing import Any, NamedTuple

from fame_jax import array_records

SCHEMES = ("s3:", "gs:")

_RETRIES = {"max_retries": 32, "initial_delay": "100ms", "max_delay": "8s"}
"""Storage that is away for three minutes is waited for."""

Place = tuple[int, int]
"""In a tar archive: where a file begins, and its size, in bytes."""


def located(path: str | os.PathLike[str]) -> pathlib.Path:
    """A path of this machine; or one in object storage, if that is how it begins, or inside an archive."""
    local = pathlib.Path(path)
    if local.parts[:1] and local.parts[0] in SCHEMES:
        return Remote(local)
    inside = any(map(_is_archive, local.parts[:-1])) and Member(local).archive.is_file()
    return Member(local) if inside else local


def absolute(path: str | os.PathLike[str]) -> pathlib.Path:
    """The path as it can be found from any folder."""
    found = located(path)
    return found if isinstance(found, Remote) else located(os.path.abspath(found))


class Remote(pathlib.PosixPath):
    """A path in object storage; its text is the address."""

    def __str__(self) -> str:
        scheme, _, rest = super().__str__().partition("/")
        return f"{scheme}//{rest.lstrip('/')}" if scheme in SCHEMES else super().__str__()

    @property
    def kvstore(self) -> dict[str, Any]:
        """What TensorStore takes for the folder that this path is."""
        key = "/".join(self.parts[2:])
        return _bucket(*self.parts[:2]) | {"path": f"{key}/" if key else ""}

    def absolute(self) -> "Remote":
        """The path itself, and so are `resolve` and `expanduser`."""
        return self

    resolve = expanduser = absolute  # type: ignore[assignment]

    def is_absolute(self) -> bool:
        """Always."""
        return True

    def is_symlink(self) -> bool:
        """Never."""
        return False

    def is_file(self, **how: Any) -> bool:
        """Whether there is such an object; its first byte is read."""
        try:
            return self._done(lambda store, key: store.read(key, byte_range=slice(0, 1))).state == "value"
        except OSError as error:
            if "OUT_OF_RANGE" in str(error):  # An empty object has no first byte.
                return True
            raise

    def is_dir(self, **how: Any) -> bool:
        """Whether an object is below it."""
        return next(self.iterdir(), None) is not None

    def exists(self, **how: Any) -> bool:
        """As an object, or by one below it."""
        return self.is_file() or self.is_dir()

    def below(self) -> list[str]:
        """What is below it, however deep: paths from here, sorted."""
        found = self._done(lambda _, key: _opened(self.kvstore).list())
        return sorted(key.decode() for key in found)

    def iterdir(self) -> Generator["Remote"]:
        """What is directly below it."""
        return (self / name for name in dict.fromkeys(key.partition("/")[0] for key in self.below()))

    def glob(self, pattern: str, **how: Any) -> Generator["Remote"]:
        """What is directly below it and has a name of the pattern."""
        return (path for path in self.iterdir() if fnmatch.fnmatchcase(path.name, pattern))

    def mkdir(self, *how: Any, **more: Any) -> None:
        """Nothing: there are no folders."""

    def unlink(self, missing_ok: bool = False) -> None:
        """Removes the object."""
        if not missing_ok and not self.is_file():
            raise self._absent()
        self._done(lambda store, key: store.write(key, None))

    def read_bytes(self) -> bytes:
        """The object.

        Raises:
            OSError: if there is none, or the storage does not answer.
        """
        found = self._done(lambda store, key: store.read(key))
        if found.state != "value":
            raise self._absent()
        return found.value

    def read_text(self, encoding: str | None = None, errors: str | None = None, **how: Any) -> str:
        """The object as text."""
        return self.read_bytes().decode(encoding or "utf-8", errors or "strict")

    def write_bytes(self, data: Any) -> int:
        """Puts the object in place, as a whole."""
        self._done(lambda store, key: store.write(key, bytes(data)))
        return len(data)

    def open(self, mode: str = "r", buffering: int = -1, encoding: str | None = None, *how: Any, **more: Any) -> Any:
        """The object as a file; what is written or added is there when the file is closed."""
        if mode.startswith("r"):
            data = io.BytesIO(self.read_bytes())
            return data if "b" in mode else io.TextIOWrapper(data, encoding or "utf-8")
        file = _Written(self, self.read_bytes() if mode.startswith("a") and self.is_file() else b"")
        return file if "b" in mode else io.TextIOWrapper(file, encoding or "utf-8")

    def _done(self, call: Callable[[Any, str], Any]) -> Any:
        """What a call to the bucket's store results in."""
        try:
            return call(_opened(_bucket(*self.parts[:2])), "/".join(self.parts[2:])).result()
        except ValueError as error:
            reason = " ".join(str(error).split()).partition(" [")[0]
            raise OSError(errno.EIO, reason, str(self)) from None

    def _absent(self) -> FileNotFoundError:
        return FileNotFoundError(errno.ENOENT, "there is no such object", str(self))


class Member(pathlib.PosixPath):
    """A file inside a tar archive or an ArrayRecord file."""

    @property
    def archive(self) -> pathlib.Path:
        """The archive."""
        return pathlib.Path(next(path for path in self.parents if _is_archive(path.name)))

    def is_file(self, **how: Any) -> bool:
        """Whether the archive has such a file."""
        if self._is_record:
            return array_records.has(self.archive, self._name)
        return self._name in members(self.archive).files

    exists = is_file

    def is_symlink(self) -> bool:
        """Never."""
        return False

    def is_dir(self, **how: Any) -> bool:
        """Never: an archive lists files."""
        return False

    def read_bytes(self) -> bytes:
        """The file.

        Raises:
            OSError: if the archive has none, or cannot be read.
        """
        if self._is_record:
            return array_records.contents(self.archive, self._name)
        if not self.is_file():
            raise FileNotFoundError(errno.ENOENT, "the archive has no such file", str(self))
        start, size = members(self.archive).files[self._name]
        with self.archive.open("rb") as file:
            file.seek(start)
            return file.read(size)

    def read_text(self, encoding: str | None = None, errors: str | None = None, **how: Any) -> str:
        """The file as text."""
        return self.read_bytes().decode(encoding or "utf-8", errors or "strict")

    def open(self, mode: str = "rb", *how: Any, **more: Any) -> Any:
        """The file, to be read."""
        return io.BytesIO(self.read_bytes())

    @property
    def _name(self) -> str:
        return pathlib.PurePath(self).relative_to(self.archive).as_posix()

    @property
    def _is_record(self) -> bool:
        return array_records.is_array_record(self.archive.name)


def is_tar(path: pathlib.Path) -> bool:
    """Whether there is a file on a disk that is called like a tar archive; a folder may be, too."""
    return path.name.endswith(".tar") and not isinstance(path, Remote) and path.is_file()


def _is_archive(name: str) -> bool:
    return name.endswith(".tar") or array_records.is_array_record(name)


class Members(NamedTuple):
    """What a tar archive holds, by name, in its order; of folders nothing.

    Attributes:
        files: the place of each; that of a hard link is its file's.
        unread: why something else is not read.
    """

    files: dict[str, Place]
    unread: dict[str, str]


def members(archive: pathlib.Path) -> Members:
    """What a tar archive holds.

    Raises:
        OSError: if it cannot be read.
    """
    about = archive.stat()
    return _members(archive, about.st_mtime_ns, about.st_size)


@functools.lru_cache(maxsize=256)
def _members(archive: pathlib.Path, *version: int) -> Members:
    found: dict[str, Place | str] = {}
    try:
        with tarfile.open(archive, "r:") as file:
            for one in file:
                if not one.isdir():
                    name = os.path.normpath(one.name)
                    found[name] = _place(name, one, found)
    except tarfile.TarError as error:
        raise OSError(errno.EIO, f"it is no tar archive that can be read ({error})", str(archive)) from None
    return Members(
        {name: place for name, place in found.items() if not isinstance(place, str)},
        {name: reason for name, reason in found.items() if isinstance(reason, str)},
    )


def _place(name: str, one: tarfile.TarInfo, before: Mapping[str, Place | str]) -> Place | str:
    """Where a member lies, or why it is not read."""
    if name.startswith(("/", "../")):
        return "its name leads out of the archive, expected a relative one; pack it again, without tar's -P"
    if one.isfile():
        return one.offset_data, one.size
    if one.islnk():
        # Its bytes are stored once, with the first of the names.
        place = before.get(os.path.normpath(one.linkname), "")
        told = f"it is a hard link to {one.linkname}, and no such file comes before it in the archive; pack it again"
        return told if isinstance(place, str) else place
    if one.issym():
        return "it is a link, which is not followed in an archive; tar --dereference packs what it leads to"
    return "it is no regular file"


class _Written(io.BytesIO):
    """Becomes an object when it is closed."""

    def __init__(self, path: Remote, start: bytes):
        super().__init__()
        self._path = path
        self.write(start)

    def close(self) -> None:
        """Writes it, once."""
        if not self.closed:
            self._path.write_bytes(self.getvalue())
        super().close()


def _bucket(scheme: str, bucket: str) -> dict[str, Any]:
    if scheme == "gs:":
        return {"driver": "gcs", "bucket": bucket, "gcs_request_retries": _RETRIES}
    named = os.environ.get
    found = {
        "endpoint": named("AWS_ENDPOINT_URL_S3") or named("AWS_ENDPOINT_URL"),
        "aws_region": named("AWS_REGION") or named("AWS_DEFAULT_REGION"),
        "aws_credentials": {"type": "environment"} if named("AWS_ACCESS_KEY_ID") else None,
    }
    return {
        "driver": "s3",
        "bucket": bucket,
        "s3_request_retries": _RETRIES,
        **{name: value for name, value in found.items() if value},
    }


def _opened(spec: dict[str, Any]) -> Any:
    import tensorstore

    return tensorstore.KvStore.open(spec, context=_context()).result()


@functools.cache
def _context() -> Any:
    """One for all, so that connections are kept."""
    import tensorstore

    return tensorstore.Context()
