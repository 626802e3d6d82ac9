"""A folder becomes a run: laid out anew, or found to be the very run that is asked for."""

import contextlib
import json
import pathlib
import shutil
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from fame_jax import files
from fame_jax.data.records import Dataset, Picture, Record, pictures_of
from fame_jax.experiments.manifest import VERSION
from fame_jax.experiments.settings import differences
from fame_jax.experiments.store import Run, RunError, create_run, replace_manifest
from fame_jax.explainers.explainer import MAPS
from fame_jax.remote import Remote

Say = Callable[[str], object]

_OURS = {"records.jsonl", "arrays", "failures", "detections.json", "times.jsonl"}

_OTHERS = 20
"""Seconds that another process may take to lay out a run in object storage."""

_BEAT = 10.0
"""Seconds between two signs that process 0 is at work."""

_ASKED_AT_ONCE = 16
"""Blocks that are looked at together."""


def opened(
    folder: pathlib.Path, manifest: dict[str, Any], dataset: Dataset, say: Say, environment: dict[str, Any]
) -> Run:
    """The run of a manifest in a folder, laid out if there is none; of several processes only 0 comes here before that.

    Args:
        folder: new, empty, half laid out by an earlier process, or holding this very run.
        manifest: what decides the numbers, see `settings.manifest`.
        dataset: the records.
        say: told of what a user should know.
        environment: what a new one is computed with.

    Raises:
        RunError: for a folder that holds something else, naming what differs.
    """
    if not (folder / "manifest.json").exists():
        try:
            return _laid_out(folder, {**manifest, "provenance": [environment]}, dataset, say)
        except RunError:
            if not (isinstance(folder, Remote) and _comes(folder / "manifest.json", _OTHERS)):
                raise  # Else another process was laying out the same run, since nothing is locked there.
    store = Run(folder)
    if store.manifest["version"] != VERSION:
        raise RunError(
            f"{folder}: made by an earlier version: its maps can be scored and shown, but not added to. Run again into "
            "a new folder."
        )
    if differing := differences(store.manifest, manifest):
        raise RunError(
            f"{folder}: holds the maps of another run, and results are never mixed: {', '.join(differing)}"
            f"{_first_new_record(store.records, dataset.records)}. Give its options to continue it, or another folder."
        )
    return store


def unfinished(store: Run, blocks: Iterable[int], repair: bool) -> list[int]:
    """The blocks for which something is left to do.

    Args:
        store: the run.
        blocks: their numbers.
        repair: a block with failed records, damaged files or changed pictures is not finished.

    Raises:
        RunError: for a damaged file or a picture that has changed, unless they are repaired.
    """
    # Hashing pictures keeps cores busy, and object storage takes its time for every answer.
    with ThreadPoolExecutor(_ASKED_AT_ONCE, "fame-blocks") as pool:
        known = [(block, pool.submit(_is_finished, store, block, repair)) for block in blocks]
        return [block for block, finished in known if not finished.result()]


def _is_finished(store: Run, block: int, repair: bool) -> bool:
    try:
        if not store.is_complete(block):
            return False
    except RunError:
        if repair:
            return False
        raise
    if repair:
        return store.is_sound(block) and _changed_picture(store, block) is None
    if changed := _changed_picture(store, block):
        raise RunError(
            f"{changed}: the picture is not the one that was explained. Put that one back, or add --repair to explain "
            "this one in its place, or run into a new folder."
        )
    return True


def note_environment(store: Run, say: Say, now: dict[str, Any]) -> None:
    """Adds what is about to be computed with to the manifest, if it is new there."""
    earlier = store.manifest.get("provenance", [])
    if json.loads(json.dumps(now)) in earlier:
        return
    if earlier:
        say(
            f"{store.folder}: earlier blocks were computed with something else ({_words(earlier[-1], now)}); the maps "
            "agree as far as these do"
        )
    replace_manifest(store, {**store.manifest, "provenance": [*earlier, now]})


def sha256s(given: Iterable[Picture]) -> np.ndarray:
    """The hashes of pictures, 32 bytes each.

    Raises:
        OSError: for one that cannot be read.
    """
    return np.frombuffer(b"".join(bytes.fromhex(files.sha256(picture.path)) for picture in given), np.uint8)


def changed_picture(record: Record, hashes: np.ndarray) -> pathlib.Path | None:
    """A picture of a record whose file is another than when it was explained; one that has gone has not changed.

    Args:
        record: of a run.
        hashes: its pictures' when it was explained, `uint8 [32 * pictures]`; zeros where none was kept.
    """
    for picture, expected in zip(pictures_of(record), hashes.reshape(-1, 32), strict=True):
        if isinstance(picture.path, Remote):
            continue  # All pictures of a large run would come over the network once more.
        with contextlib.suppress(OSError):
            if expected.any() and not np.array_equal(sha256s([picture]), expected):
                return picture.path
    return None


def _changed_picture(store: Run, block: int) -> pathlib.Path | None:
    """The first picture of a block that has changed."""
    indices = store.indices(block)
    kept = zip(indices, store.column("sha256", indices), strict=True)
    found = (changed_picture(store.records[index], hashes) for index, hashes in kept)
    return next((path for path in found if path is not None), None)


def _laid_out(folder: pathlib.Path, manifest: dict[str, Any], dataset: Dataset, say: Say) -> Run:
    if others := sorted(path.name for path in folder.iterdir() if path.name not in _OURS and path.name[0] != "."):
        raise RunError(f"{folder}: holds other files ({others[0]}); expected a new or empty folder.")
    missing = [
        p.path
        for record in dataset.records
        for p in pictures_of(record)
        if not (isinstance(p.path, Remote) or p.path.is_file())
    ]
    if missing:
        say(f"{len(missing)} pictures are missing, the first is {missing[0]}; their records are written down as failed")
    needed = (
        len(dataset.records) * len(MAPS[dataset.task]) * manifest["size"] ** 2 * np.dtype(manifest["dtype"]).itemsize
    )
    free = needed if isinstance(folder, Remote) else shutil.disk_usage(folder).free
    if needed > free:
        say(
            f"{folder}: the maps may need {needed / 1e6:,.0f} MB, and {free / 1e6:,.0f} are free; --dtype uint8 "
            "needs a quarter of float32"
        )
    return create_run(folder, manifest, dataset.records, size=manifest["size"], dtype=manifest["dtype"])


def wait_for(file: pathlib.Path, patience: int, sign: pathlib.Path | None = None) -> None:
    """Waits for what process 0 writes.

    Args:
        file: what it writes.
        patience: seconds.
        sign: a file of `at_work`, where process 0 takes long: as long as that changes the wait goes on.

    Raises:
        RunError: if neither comes within so many seconds.
    """
    seen = _content(sign)
    while not _comes(file, patience):
        before, seen = seen, _content(sign)
        if seen == before:
            raise RunError(
                f"{file.parent}: process 0 has not laid out the run within {patience} s; is it at work, and does it "
                "see the same folder?"
            )


def at_work(sign: pathlib.Path) -> Callable[[], None]:
    """What process 0 calls again and again to be waited for; it writes the time into a file, now and then."""
    last = -_BEAT

    def beat() -> None:
        nonlocal last
        if time.monotonic() - last >= _BEAT:
            last = time.monotonic()
            with contextlib.suppress(OSError):
                files.write_json(sign, time.time_ns())

    return beat


def _content(sign: pathlib.Path | None) -> str:
    """Of a file that may be absent, or just not readable."""
    with contextlib.suppress(OSError, ValueError):
        return "" if sign is None else files.read_text(sign)
    return ""


def _comes(file: pathlib.Path, patience: int) -> bool:
    """Whether a file is there within so many seconds."""
    deadline = time.monotonic() + patience
    while not file.exists():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def _words(then: dict[str, Any], now: dict[str, Any]) -> str:
    return ", ".join(differences({**then["versions"], **then["device"]}, {**now["versions"], **now["device"]}))


def _first_new_record(there: tuple[Record, ...], here: tuple[Record, ...]) -> str:
    for number, (old, new) in enumerate(zip(there, here, strict=False)):
        if old != new:
            return (
                f" (record {number} was {old.name}, is {new.name})"
                if old.name != new.name
                else f" (record {number}, {new.name}, differs)"
            )
    return ""
