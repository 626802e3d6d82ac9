"""A whole data set into a store of maps, block by block, so that a crash costs one block and nothing is mixed.

Example:
    >>> dataset = read("folder", pathlib.Path("photographs"))
    >>> network = models.load("mobilenet_v2")
    >>> finished = run(dataset, models.card("mobilenet_v2"), network, "fame", pathlib.Path("maps"))
    >>> finished.map(0), finished.column("label")[0], finished.failures()
"""

import contextlib
import functools
import os
import pathlib
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax
import numpy as np

from fame_jax import models
from fame_jax.data.images import Pixels
from fame_jax.data.records import ClassRecord, Dataset, PairRecord, Picture, Record, pictures_of
from fame_jax.experiments import settings as of_run
from fame_jax.experiments.inputs import PictureError, geometry_of, image
from fame_jax.experiments.lock import locked
from fame_jax.experiments.maps import Input, Method
from fame_jax.experiments.opening import Say, is_finished, note_environment, opened, sha256s
from fame_jax.experiments.processes import ALONE, PATIENCE, Processes
from fame_jax.experiments.settings import DEFAULTS, Settings
from fame_jax.experiments.store import DONE, FAILED, Run, RunError, block_arrays

_READERS = 2
"""Threads that read the pictures of the next block while this one is computed."""

_FACES_KEPT = 512
"""A face occurs in many pairs: so many are kept rather than read and aligned again."""


def run(
    dataset: Dataset,
    card: models.Card,
    network: Any,
    method: str,
    folder: pathlib.Path,
    settings: Settings = DEFAULTS,
    **how: Any,
) -> Run:
    """Explains every record of a data set into a folder; one that was interrupted continues.

    Args:
        dataset: the records.
        card: the network's entry in the registry; for one of your own, an `Entry` with its name, task and size.
        network: image `[H, W, 3]` in [0, 1] to logits, or to an embedding for pairs.
        method: in `fame_jax.explainers.EXPLAINERS`.
        folder: of the run: new, empty, or holding this very run.
        settings: what else decides the numbers.
        **how: `weights_sha256`, `processes`, `repair`, `patience` and `say` of `prepared`, `progress` of `Job.finish`.

    Returns:
        The run; `failures()` has a reason for every record that could not be explained.

    Raises:
        RunError: for a folder that holds something else, a method or network that does not fit, or a disk that is full.
    """
    progress = how.pop("progress", lambda count: None)
    how.setdefault("weights_sha256", of_run.weights_of(network))
    with prepared(dataset, card, method, folder, settings, **how) as job:
        return job.finish(network, progress)


@contextlib.contextmanager
def prepared(
    dataset: Dataset,
    card: models.Card,
    method: str,
    folder: pathlib.Path,
    settings: Settings = DEFAULTS,
    *,
    weights_sha256: str,
    processes: Processes = ALONE,
    repair: bool = False,
    patience: int = PATIENCE,
    say: Say = lambda line: None,
) -> Iterator["Job"]:
    """Checks everything that can be checked before any long work, and holds the folder.

    Args:
        dataset: see `run`.
        card: see `run`.
        method: see `run`.
        folder: see `run`.
        settings: see `run`.
        weights_sha256: which weights the network has.
        processes: who else works at this run. Each needs the same arguments and sees the same folder.
        repair: also compute the blocks again that hold failed records, damaged files or pictures that have changed.
        patience: seconds to wait for process 0 to lay out a new run.
        say: told, line by line, what a user should know.

    Raises:
        RunError: see `run`; also if another process writes there.
    """
    of_run.check_method(method, dataset.task)
    of_run.check_network(card, dataset)
    if not dataset.records:
        reason = f": {dataset.problems[0].where}: {dataset.problems[0].reason}" if dataset.problems else ""
        raise RunError(f"{dataset.name}: nothing to explain{reason}")
    models.image_dtype(settings.precision)
    dataset = replace(dataset, records=tuple(_absolute(record) for record in dataset.records))
    manifest = of_run.manifest(dataset, card, weights_sha256, method, settings)
    with locked(folder / f".lock-{processes.index}"):
        store = opened(folder, manifest, dataset, processes, say, patience)
        pending = [block for block in processes.share(store.blocks) if not is_finished(store, block, repair)]
        if pending and processes.index == 0:
            note_environment(store, say)
        yield Job(store, of_run.method_options(method, dataset.task, settings), pending)


@dataclass(frozen=True)
class Job:
    """A run that is about to go on.

    Attributes:
        store: the run on disk.
        options: of the method.
        pending: blocks that this process has still to compute.
    """

    store: Run
    options: dict[str, Any]
    pending: list[int]

    @property
    def records(self) -> int:
        """Records that this process has still to explain."""
        return sum(len(self.store.indices(block)) for block in self.pending)

    @property
    def unit(self) -> str:
        """What `progress` counts: `step` of walks, or `record`."""
        return "step" if self.store.manifest["method"] == "fame" else "record"

    @property
    def total(self) -> int:
        """How much there is to count."""
        return self.records * self._each

    @property
    def _each(self) -> int:
        """What one record adds to the count."""
        if self.unit == "record":
            return 1
        return len(self.store.maps) * self.store.manifest["options"]["iterations"]

    def finish(self, network: Any, progress: Callable[[int], object] = lambda count: None) -> Run:
        """Computes the pending blocks; whatever happens, finished blocks are on disk.

        Args:
            network: see `run`.
            progress: called with what was done since the last call, in `unit`s.

        Raises:
            RunError: if a block cannot be written, or does not fit into the device's memory.
        """
        manifest = self.store.manifest
        method = Method(
            name=manifest["method"],
            task=self.store.task,
            network=network,
            options=self.options,
            image_dtype=models.image_dtype(manifest["precision"]),
            batch_size=manifest["batch_size"],
            seed=manifest["seed"],
        )
        with contextlib.closing(_ahead(self.store, self.pending)) as blocks:
            for block, found in blocks:
                self._explain(method, block, found, progress)
        return self.store

    def _explain(self, method: Method, block: int, found: list["Found"], progress: Callable[[int], object]) -> None:
        start = self.store.indices(block).start
        arrays = block_arrays(self.store, block)
        arrays["sha256"][:] = [one.sha256 for one in found]
        arrays["state"][:] = [FAILED if one.images is None else DONE for one in found]
        rows = [row for row, one in enumerate(found) if one.images is not None]
        progress(self._each * (len(found) - len(rows)))
        if rows:
            inputs = [Input(start + row, found[row].images or (), found[row].label) for row in rows]
            for name, values in _within_memory(method, inputs, progress).items():
                arrays[name][rows] = values
        failures = {start + row: one.reason for row, one in enumerate(found) if one.images is None}
        self.store.write_block(block, arrays, failures)


def _within_memory(method: Method, inputs: list[Input], progress: Callable[[int], object]) -> dict[str, np.ndarray]:
    try:
        return method.rows(inputs, progress)
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        raise RunError(
            f"the device has too little memory for a batch of {method.batch_size}; run with a smaller --batch-size "
            "into a new folder."
        ) from error


class Found(NamedTuple):
    """What became of a record's pictures: their images, or the reason why there are none."""

    images: tuple[Pixels, ...] | None
    sha256: np.ndarray
    reason: str = ""
    label: int | None = None


def _ahead(store: Run, blocks: Iterable[int]) -> Generator[tuple[int, list[Found]]]:
    """The pictures of block after block, those of the next being read meanwhile."""
    one = functools.partial(image, chosen=geometry_of(store.manifest))
    if store.task == "pair":
        one = functools.lru_cache(maxsize=_FACES_KEPT)(one)
    with ThreadPoolExecutor(_READERS, "fame-pictures") as pool:
        under_way: deque[tuple[int, list[Future[Found]]]] = deque()
        try:
            for block in blocks:
                records = [store.records[index] for index in store.indices(block)]
                under_way.append((block, [pool.submit(_found, record, one) for record in records]))
                if len(under_way) == 2:
                    yield _arrived(*under_way.popleft())
            while under_way:
                yield _arrived(*under_way.popleft())
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _arrived(block: int, found: list[Future[Found]]) -> tuple[int, list[Found]]:
    return block, [future.result() for future in found]


def _found(record: Record, one: Callable[[Picture], Pixels]) -> Found:
    given = pictures_of(record)
    hashes = np.zeros(32 * len(given), np.uint8)
    try:
        images = tuple(one(picture) for picture in given)
        hashes[:] = sha256s(given)
    except ImportError:
        raise
    except (PictureError, OSError) as error:
        return Found(None, hashes, " ".join(str(error).split()))
    except Exception as error:  # One picture that a decoder or detector trips over must not end the job.
        where = ", ".join(str(picture.path) for picture in given)
        return Found(None, hashes, " ".join(f"{where}: {type(error).__name__}: {error}".split()))
    return Found(images, hashes, label=record.label if isinstance(record, ClassRecord) else None)


def _absolute(record: Record) -> Record:
    """Paths that mean the same wherever scores and reports are made."""

    def whole(picture: Picture) -> Picture:
        return replace(picture, path=pathlib.Path(os.path.abspath(picture.path)))

    if isinstance(record, PairRecord):
        return replace(record, probe=whole(record.probe), gallery=whole(record.gallery))
    return replace(record, picture=whole(record.picture))
