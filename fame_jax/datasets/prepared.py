"""Any data set in a few large files in place of many small ones: its pictures as they are, and its records.

    DIR/manifest.json           which data set it is, and the sizes of its shards; those are named when it is finished
    DIR/00000.array_record      the files of pictures, one a record; the last record lists, one line of JSON each, the
                                data set's records whose pictures are here, or were already, and those left out

Nothing is decoded. A shard is whole or absent, so that one that was interrupted goes on, with the same bytes.
"""

import hashlib
import json
import pathlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, get_args

from fame_jax.array_records import count, record, writer_class, written
from fame_jax.data.images import ImageError, contents
from fame_jax.data.kinds import START, kind, why_unread
from fame_jax.data.lists import LineError, folder_on_disk
from fame_jax.data.records import (
    Dataset,
    DatasetError,
    PairRecord,
    Problem,
    Record,
    Task,
    absolute_paths,
    as_json,
    from_json,
    pictures_of,
)
from fame_jax.files import parse_json, read_json, write_json

VERSION = 1
"""Of this layout."""

SHARD_BYTES = 1 << 28
"""A shard is finished once it has as many: some 2,400 photographs of ImageNet."""

_AT_ONCE = 64
"""Records whose pictures are read together."""

_FILE = "manifest.json"
_SHARD = re.compile(r"[0-9]+\.array_record")


def prepare(
    dataset: Dataset,
    folder: pathlib.Path,
    progress: Callable[[int], object] = lambda number: None,
    *,
    shard_bytes: int = SHARD_BYTES,
) -> tuple[Problem, ...]:
    """Writes a data set into a folder, or what is left to write.

    Args:
        dataset: of any reader. Files that are no pictures are left out, and so are the records that need them; damaged
            ones are kept, since nothing is decoded.
        folder: new, empty, or begun with this data set.
        progress: called with the number of records since the last call.
        shard_bytes: see `SHARD_BYTES`.

    Returns:
        Problems of the data set, then what was left out.

    Raises:
        DatasetError: if the folder holds something else, or a damaged shard.
        OSError: if it cannot be written.
        ImportError: if Grain is not installed.
    """
    writer_class()  # What is missing is said before anything is begun.
    dataset = replace(dataset, records=tuple(map(absolute_paths, dataset.records)))
    about = _about(dataset, shard_bytes)
    _begin(folder, about)
    places: dict[str, str] = {}
    problems, shards, done = list(dataset.problems), {}, 0
    while done < len(dataset.records):
        shard = folder / f"{len(shards):05}.array_record"
        if not shard.exists():
            _write(shard, dataset.records[done:], places, shard_bytes, progress)
        else:
            progress(len(_lines(shard)))
        lines = [parse_json(line) for line in _lines(shard)]
        problems += [Problem(**line) for line in lines if "reason" in line]
        places |= {one["source"]: one["path"] for line in lines for one in _pictures(line)}
        shards[shard.name], done = shard.stat().st_size, done + len(lines)
    write_json(folder / _FILE, {**about, "shards": shards})
    return tuple(problems)


def read_prepared(root: pathlib.Path, protocol: str | None = None, *, allow_outside: bool = False) -> Dataset:
    """What `fame prepare` has written.

    Args:
        root: the folder.
        protocol: None; a part of a data set is chosen when it is prepared.
        allow_outside: as all readers have it; a set holds its pictures itself.

    Returns:
        The records in the order of the data set; a line of a shard that is none is a problem. Their pictures are read
        out of the shards, so paths name shard and record.

    Raises:
        DatasetError: if there is no such set, it is of another version or not finished, or a shard lacks or is damaged.
    """
    about = _manifest(folder_on_disk(root))
    if protocol:
        raise DatasetError(f"{root}: a prepared set has no protocol {protocol!r}; choose one when it is prepared.")
    if not about["shards"]:
        raise DatasetError(f"{root}: it is not finished; give its fame prepare again, which goes on.")
    records: list[Record] = []
    problems: list[Problem] = []
    for name, size in about["shards"].items():
        shard = root / name
        if not shard.is_file():
            raise DatasetError(f"{shard}: the shard is missing; copy it there, or prepare the set again.")
        if shard.stat().st_size != size:
            raise DatasetError(f"{shard}: {shard.stat().st_size} bytes, expected {size}; copy or prepare it again.")
        for number, line in enumerate(_lines(shard), 1):
            try:
                one = _record(root, about, line)
            except (LineError, KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
                problems.append(Problem(f"{shard}, line {number} of its list", f"it is no record ({error})"))
            else:
                records += [] if one is None else [one]
    labels = about["labels"] and tuple(about["labels"])
    return Dataset(about["name"], about["task"], tuple(records), tuple(problems), labels)


def _about(dataset: Dataset, shard_bytes: int) -> dict[str, Any]:
    listed = "\n".join(json.dumps(as_json(record)) for record in dataset.records)
    return {
        "prepared": VERSION,
        "name": dataset.name,
        "task": dataset.task,
        "labels": dataset.labels and list(dataset.labels),
        "records": len(dataset.records),
        "records_sha256": hashlib.sha256(listed.encode()).hexdigest(),
        "shard_bytes": shard_bytes,
    }


def _begin(folder: pathlib.Path, about: dict[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    if not about["records"]:
        raise DatasetError(f"{about['name']}: no records to prepare.")
    if (folder / _FILE).exists():
        there = _manifest(folder)
        if differing := [name for name, value in about.items() if there.get(name) != value]:
            raise DatasetError(
                f"{folder}: another data set was prepared there ({there['name']}, {differing[0]} differs); choose "
                "another folder."
            )
    elif others := sorted(path.name for path in folder.iterdir() if path.name[0] != "."):
        raise DatasetError(f"{folder}: holds other files ({others[0]}); expected a new or empty folder.")
    else:
        write_json(folder / _FILE, {**about, "shards": {}})


def _manifest(folder: pathlib.Path) -> dict[str, Any]:
    file = folder / _FILE
    try:
        about = read_json(file)
        version = about["prepared"]
        fits = version != VERSION or _fits(about)
    except FileNotFoundError:
        raise DatasetError(f"{folder}: no prepared set is there (no {_FILE}); fame prepare makes one.") from None
    except (OSError, ValueError, KeyError, TypeError):
        raise DatasetError(f"{file}: it is not that of a prepared set; fame prepare makes one.") from None
    if version != VERSION:
        raise DatasetError(f"{file}: version {str(version)[:20]}, expected {VERSION}; prepare the set again.")
    if not fits:
        raise DatasetError(f"{file}: it is damaged; prepare the set again.")
    return about


def _fits(about: dict[str, Any]) -> bool:
    """Whether a manifest has what its readers rely on."""
    names = [about["name"], *(about["labels"] or ())]
    shards = [*dict(about["shards"])]
    task = about["task"] in get_args(Task)
    return task and all(isinstance(one, str) for one in names) and all(map(_SHARD.fullmatch, shards))


def _write(
    shard: pathlib.Path,
    records: Sequence[Record],
    places: dict[str, str],
    shard_bytes: int,
    progress: Callable[[int], object],
) -> None:
    """One shard, of as many records as it takes; `places` gets those of its pictures, by their paths."""
    lines: list[str] = []
    size = number = 0
    with written(shard) as write:
        for one, found, reason in _with_new_pictures(records, places):
            if reason:
                lines.append(json.dumps({"where": one.name, "reason": reason}))
            else:
                for path, data in found.items():
                    if path not in places:
                        name = re.sub(r"[\x00-\x1f\x7f]", "_", pathlib.PurePath(path).name)
                        places[path] = f"{shard.name}/{number}/{name}"
                        write(data)
                        size, number = size + len(data), number + 1
                lines.append(_line(one, places))
            size += len(lines[-1])
            progress(1)
            if size >= shard_bytes:
                break
        write("\n".join(lines).encode())


def _with_new_pictures(
    records: Sequence[Record], places: Mapping[str, str]
) -> Iterator[tuple[Record, dict[str, bytes], str]]:
    """Records, the files of their pictures without a place by path, and the reason why one is none, or nothing."""
    with ThreadPoolExecutor(_AT_ONCE // 4, "fame-files") as pool:
        for start in range(0, len(records), _AT_ONCE):
            some = [
                (one, [str(picture.path) for picture in pictures_of(one)]) for one in records[start : start + _AT_ONCE]
            ]
            new = list(dict.fromkeys(path for _, paths in some for path in paths if path not in places))
            found = dict(zip(new, pool.map(_file, new), strict=True))
            for one, paths in some:
                files = {path: found[path] for path in paths if path in found}
                reason = next((why for why in files.values() if isinstance(why, str)), "")
                yield one, {path: data for path, data in files.items() if isinstance(data, bytes)}, reason


def _file(path: str) -> bytes | str:
    try:
        data = contents(path)
    except ImageError as error:
        return str(error)
    if kind(data[:START]) is None:
        return f"{path}: {why_unread(data[:START]) if data else 'the file is empty'}"
    return data


def _line(one: Record, places: Mapping[str, str]) -> str:
    content = as_json(one)
    for picture in _pictures(content):
        picture |= {"path": places[picture["path"]], "source": picture["path"]}
    return json.dumps(content)


def _pictures(content: dict[str, Any]) -> list[dict[str, Any]]:
    return [content[role] for role in ("picture", "probe", "gallery") if role in content]


def _lines(shard: pathlib.Path) -> list[str]:
    try:
        return record(shard, count(shard) - 1).decode().split("\n")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DatasetError(f"{shard}: {reason}; remove it, and give its fame prepare again.") from None


def _record(root: pathlib.Path, about: dict[str, Any], line: str) -> Record | None:
    """What a line means; None for what was left out."""
    content = parse_json(line)
    if "reason" in content:
        return None
    for picture in _pictures(content):
        shard, _, rest = picture["path"].partition("/")
        if shard not in about["shards"] or not re.fullmatch(r"[0-9]+/[^/\x00-\x1f]+", rest):
            raise LineError(f"its picture {picture['path'][:40]!r} is in no shard")
        picture["path"] = str(root / shard / rest)
    found, labels = from_json(content), about["labels"]
    if isinstance(found, PairRecord) != (about["task"] == "pair"):
        raise LineError(f"expected one of the task {about['task']}")
    label = getattr(found, "label", None)
    if labels is not None and label is not None and not 0 <= label < len(labels):
        raise LineError(f"its label is {label}, expected 0 to {len(labels) - 1}")
    return found
