"""A whole data set into stores of maps, block by block, so that a crash costs one block and nothing is mixed.

Example:
    >>> dataset = read("folder", pathlib.Path("photographs"))
    >>> network = models.load("mobilenet_v2")
    >>> finished = run(network, dataset, "fame", pathlib.Path("maps"))
    >>> finished.map(0), finished.column("label")[0], finished.failures()
"""

import contextlib
import functools
import os
import pathlib
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fame_jax.architectures import image_dtype
from fame_jax.batching.ahead import Ahead
from fame_jax.data.records import Dataset, Record, absolute_paths, pictures_of
from fame_jax.engine import Engine, Method, passes_of
from fame_jax.experiments import settings as of_run
from fame_jax.experiments.block import BlockError, Found, Progress, explain_block
from fame_jax.experiments.detections import detector_of
from fame_jax.experiments.identity import network_identity
from fame_jax.experiments.lock import locked
from fame_jax.experiments.manifest import IN_A_ROW, read_manifest
from fame_jax.experiments.opening import Say, note_environment, opened, sha256s, unfinished, wait_for
from fame_jax.experiments.processes import ALONE, PATIENCE, Processes
from fame_jax.experiments.settings import DEFAULTS, Device, Settings
from fame_jax.experiments.spent import Times, note, side_by_side, this_worker
from fame_jax.experiments.store import Run, RunError
from fame_jax.explainers.explainer import Explainer
from fame_jax.explainers.table import explainer
from fame_jax.inputs import PictureError, geometry_of, question, read
from fame_jax.models import Card, Loaded
from fame_jax.questions import Question
from fame_jax.remote import located

_READERS = os.cpu_count() or 1
"""Threads that read the pictures of the next block while this one is computed."""

_KEPT = {"pair": 512, "detect": 8}
"""A face occurs in many pairs, a photograph has many boxes: so many are kept rather than read again."""


def run(
    network: Any,
    dataset: Dataset,
    method: str | Explainer | Callable[..., Any],
    folder: pathlib.Path,
    settings: Settings = DEFAULTS,
    *,
    card: Card | None = None,
    progress: Progress = lambda count: None,
    **how: Any,
) -> Run:
    """Explains every record of a data set into a folder; one that was interrupted continues.

    Args:
        network: image `[H, W, 3]` in [0, 1] to logits, to an embedding for pairs, to `detection.Candidates` for
            boxes; or what `models.find` returns.
        dataset: the records; `fame_jax.experiments.detections.detections_of` makes some of boxes that are found.
        method: in `fame_jax.explainers.EXPLAINERS`, or one of your own.
        folder: of the run: new, empty, or holding this very run.
        settings: what else decides the numbers.
        card: of a network of your own.
        progress: called with the number of passes since the last call, of `Job.passes`.
        **how: `identity`, `source`, `processes`, `repair`, `patience` and `say` of `prepared`.

    Returns:
        The run; `failures()` has a reason for every record that could not be explained, alone or with its block.

    Raises:
        RunError: for a folder that holds something else, a method or network that does not fit, or a disk that is full.
        MethodError: for a method or an option that does not exist.
        IdentityError: for a network that cannot be told from another.
    """
    if isinstance(network, Loaded):
        network, card = network.network, network.card
        how["identity"] = how.get("identity") or card.sha256
    if card is None:
        raise RunError(
            "run: the network has no card; expected card=Card(name, task, size, resize), or models.find(name) in place "
            "of the network."
        )
    how["identity"] = how.get("identity") or network_identity(network, card.name, settings.precision)
    with prepared(dataset, card, method, folder, settings, **how) as job:
        finish([job], network, progress)
        return job.store


@contextlib.contextmanager
def prepared(
    dataset: Dataset,
    card: Card,
    method: str | Explainer | Callable[..., Any],
    folder: pathlib.Path,
    settings: Settings = DEFAULTS,
    *,
    identity: str,
    source: str = "",
    processes: Processes = ALONE,
    repair: bool = False,
    patience: int = PATIENCE,
    say: Say = lambda line: None,
    device: Device | None = None,
) -> Iterator["Job"]:
    """Checks everything that can be checked before any long work, and holds the folder.

    Args:
        dataset: see `run`.
        card: see `run`.
        method: see `run`.
        folder: see `run`.
        settings: see `run`.
        identity: which network it is, see `settings.manifest`.
        source: from where commands load it again.
        processes: who else works at this run. Each needs the same arguments and sees the same folder.
        repair: also compute the blocks again that hold failed records, damaged files or pictures that have changed.
        patience: seconds to wait for process 0 to lay out a new run.
        say: told, line by line, what a user should know.
        device: what computes; None for what this process has.

    Raises:
        RunError: see `run`; also if another process writes there.
    """
    row = explainer(method, dataset.task)
    row.function(dataset.task)
    of_run.check_network(card, dataset)
    dataset = of_run.in_classes_of(card, dataset)
    if not dataset.records:
        reason = f": {dataset.problems[0].where}: {dataset.problems[0].reason}" if dataset.problems else ""
        raise RunError(f"{dataset.name}: nothing to explain{reason}")
    image_dtype(settings.precision)
    dataset = replace(dataset, records=tuple(map(absolute_paths, dataset.records)))
    folder, device = located(folder), device or of_run.this_device()
    with locked(folder / f".lock-{processes.index}"):
        if processes.index:
            # What nobody has asked for is as process 0 has it, whose devices may be others.
            wait_for(folder / "manifest.json", patience)
        there = read_manifest(folder) if (folder / "manifest.json").exists() else None
        manifest = of_run.manifest(
            dataset, card, row, settings, identity=identity, source=source, device=device, there=there
        )
        store = opened(folder, manifest, dataset, say, device.environment)
        pending = unfinished(store, processes.share(store.blocks), repair)
        if pending and processes.index == 0:
            note_environment(store, say, device.environment)
        yield Job(store, row, row.chosen(dataset.task, settings.options, settings.preset, card), pending)


@dataclass(frozen=True)
class Job:
    """A run that is about to go on.

    Attributes:
        store: the run on disk.
        row: the method.
        options: it is called with.
        pending: blocks that this process has still to compute.
    """

    store: Run
    row: Explainer
    options: dict[str, Any]
    pending: list[int]

    @property
    def records(self) -> int:
        """Records that this process has still to explain."""
        return sum(len(self.store.indices(block)) for block in self.pending)

    @property
    def passes(self) -> int:
        """How much there is for `progress` to count."""
        return self.records * passes_of(self.row, self.store.task, self.options)

    def engine(self, network: Any) -> Engine:
        """The network at work as the manifest says."""
        manifest = self.store.manifest
        if self.store.task == "detect":
            network = detector_of(self.store, network)
        return Engine(
            network,
            self.store.task,
            dtype=image_dtype(manifest["precision"]),
            batch_size=manifest["batch_size"],
            seed=manifest["seed"],
        )

    def method(self, network: Any) -> Method:
        """The method, ready for any number of blocks.

        Raises:
            MethodError: for a value that an option cannot have.
        """
        method = self.engine(network).method(self.row, self.options)
        size = self.store.manifest["size"]
        method.check(size, size, 3)
        return method


def finish(jobs: Sequence[Job], network: Any, progress: Progress = lambda count: None) -> list[dict[int, str]]:
    """Computes the pending blocks of runs over the same records; each picture is read once for all of them.

    Whatever happens, finished blocks are on disk.

    Args:
        jobs: those with blocks of the same size share their pictures.
        network: see `run`.
        progress: called with the number of passes since the last call.

    Returns:
        The reason by number of every block that could not be computed, for each job: it does not fit into the device's
        memory, or none of its maps is what the run can keep. The failures of its run have it, too, until a later call
        computes it.

    Raises:
        RunError: if a block cannot be written, or block after block fails.
    """
    start = time.perf_counter()
    failed: list[dict[int, str]] = [{} for _ in jobs]
    try:
        waiting = [(job, job.method(network), of) for job, of in zip(jobs, failed, strict=True) if job.pending]
        for size in sorted({job.store.block_size for job, _, _ in waiting}):
            _finish_together([one for one in waiting if one[0].store.block_size == size], progress)
    finally:
        jobs[0].store.spent.add({"seconds": time.perf_counter() - start})
        note_times(jobs, [(this_worker(), [job.store.spent.taken() for job in jobs])])
    return failed


def _finish_together(waiting: Sequence[tuple[Job, Method, dict[int, str]]], progress: Progress) -> None:
    in_a_row = 0
    blocks = sorted({block for job, _, _ in waiting for block in job.pending})
    with contextlib.closing(ahead(waiting[0][0].store, blocks)) as pictures:
        for block, found in pictures:
            for job, method, failures in waiting:
                if block not in job.pending:
                    continue
                try:
                    explain_block(job.store, method, block, found, progress)
                    in_a_row = 0
                except BlockError as error:
                    failures[block] = str(error)
                    job.store.note_failure(block, str(error))
                    if (in_a_row := in_a_row + 1) == IN_A_ROW:
                        raise RunError(f"{in_a_row} blocks in a row failed, the last one: {error}") from error


def note_times(jobs: Sequence[Job], spent: Sequence[tuple[Times, Sequence[Times]]]) -> None:
    """Writes down beside the maps what each process has spent on each job."""
    lines = [(who, side_by_side(parts)) for who, parts in spent]
    for number, job in enumerate(jobs):
        if own := [{**who, **parts[number]} for who, parts in lines if parts[number]["records"]]:
            note(job.store.folder, own)
            job.store.times += own


def reader(store: Run) -> Callable[[Record], Question]:
    """How the run's records are read; a picture that occurs in several is kept for a while."""
    chosen = geometry_of(store.manifest)
    look = functools.partial(read, chosen=chosen)
    if kept := _KEPT.get(store.task):
        look = functools.lru_cache(maxsize=kept)(look)
    return functools.partial(question, chosen=chosen, look=look)


def ahead(
    store: Run, blocks: Iterable[int], one: Callable[[Record], Question] | None = None
) -> Generator[tuple[int, list[Found]]]:
    """The pictures of block after block, those of the next being read meanwhile; `one` is of `reader`, to be kept."""
    one, found = one or reader(store), store.spent.timed("reading", _found)

    def begun() -> Iterator[tuple[int, list[Future[Found]]]]:
        for block in blocks:
            records = (store.records[index] for index in store.indices(block))
            yield block, [pool.submit(found, record, one) for record in records]

    with ThreadPoolExecutor(_READERS, "fame-pictures") as pool, Ahead(begun(), depth=1) as under_way:
        try:
            for block, pictures in under_way:
                with store.spent.on("waiting"):
                    arrived = [picture.result() for picture in pictures]
                yield block, arrived
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _found(record: Record, one: Callable[[Record], Question]) -> Found:
    given = pictures_of(record)
    hashes = np.zeros(32 * len(given), np.uint8)
    try:
        asked = one(record)
        hashes[:] = sha256s(given)
    except ImportError:
        raise
    except (PictureError, OSError) as error:
        return Found(None, hashes, " ".join(str(error).split()))
    except Exception as error:  # One picture that a decoder or detector trips over must not end the job.
        where = ", ".join(str(picture.path) for picture in given)
        return Found(None, hashes, " ".join(f"{where}: {type(error).__name__}: {error}".split()))
    return Found(asked, hashes)
