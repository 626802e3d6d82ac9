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
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax
import numpy as np

from fame_jax.architectures import image_dtype
from fame_jax.batching.ahead import Ahead
from fame_jax.data.records import Dataset, Record, absolute_paths, pictures_of
from fame_jax.engine import Engine, Method, passes_of
from fame_jax.experiments import settings as of_run
from fame_jax.experiments.detections import detector_of
from fame_jax.experiments.identity import network_identity
from fame_jax.experiments.lock import locked
from fame_jax.experiments.manifest import read_manifest
from fame_jax.experiments.opening import Say, note_environment, opened, sha256s, unfinished
from fame_jax.experiments.processes import ALONE, PATIENCE, Processes
from fame_jax.experiments.settings import DEFAULTS, Device, Settings
from fame_jax.experiments.store import DONE, FAILED, Run, RunError, block_arrays
from fame_jax.explainers.explainer import MAPS, Explainer
from fame_jax.explainers.table import explainer
from fame_jax.inputs import PictureError, geometry_of, question, read
from fame_jax.models import Card, Loaded
from fame_jax.questions import Question, Seen
from fame_jax.remote import located

_READERS = os.cpu_count() or 1
"""Threads that read the pictures of the next block while this one is computed."""

_KEPT = {"pair": 512, "detect": 8}
"""A face occurs in many pairs, a photograph has many boxes: so many are kept rather than read again."""

Progress = Callable[[int], object]


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
        The run; `failures()` has a reason for every record that could not be explained.

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
        there = read_manifest(folder) if (folder / "manifest.json").exists() else None
        manifest = of_run.manifest(
            dataset, card, row, settings, identity=identity, source=source, device=device, there=there
        )
        store = opened(folder, manifest, dataset, processes, say, device.environment, patience)
        pending = unfinished(store, processes.share(store.blocks), repair)
        if pending and processes.index == 0:
            note_environment(store, say, device.environment)
        yield Job(store, row, row.chosen(dataset.task, settings.options, settings.preset), pending)


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


def finish(jobs: Sequence[Job], network: Any, progress: Progress = lambda count: None) -> None:
    """Computes the pending blocks of runs over the same records; each picture is read once for all of them.

    Whatever happens, finished blocks are on disk.

    Args:
        jobs: those with blocks of the same size share their pictures.
        network: see `run`.
        progress: called with the number of passes since the last call.

    Raises:
        RunError: if a block cannot be written, or does not fit into the device's memory.
    """
    waiting = [(job, job.method(network)) for job in jobs if job.pending]
    for size in sorted({job.store.block_size for job, _ in waiting}):
        together = [(job, method) for job, method in waiting if job.store.block_size == size]
        blocks = sorted({block for job, _ in together for block in job.pending})
        with contextlib.closing(ahead(together[0][0].store, blocks)) as pictures:
            for block, found in pictures:
                for job, method in together:
                    if block in job.pending:
                        explain_block(job, method, block, found, progress)


def explain_block(job: Job, method: Method, block: int, found: list["Found"], progress: Progress) -> None:
    """All that a block takes once its pictures are there, whoever computes it: it is explained and written.

    Raises:
        RunError: see `finish`.
    """
    start = job.store.indices(block).start
    arrays = block_arrays(job.store, block)
    arrays["sha256"][:] = [one.sha256 for one in found]
    reasons = {row: one.reason for row, one in enumerate(found) if one.question is None}
    asked = [(row, one.question) for row, one in enumerate(found) if one.question is not None]
    for row, one in asked:
        if reason := method.engine.refusal(one):
            reasons[row] = reason
    kept = [(row, one) for row, one in asked if row not in reasons]
    progress(method.passes * len(reasons))
    spent = job.store.spent
    with spent.on("computing"), _enough_memory(job.store.manifest["batch_size"]):
        seen = method.engine.look([question for _, question in kept])
        for (row, _), one, results in zip(kept, seen, method.results(seen, progress), strict=True):
            _fill(arrays, row, job.store.task, one, results)
    arrays["state"][:] = [FAILED if row in reasons else DONE for row in range(len(found))]
    with spent.on("writing"):
        job.store.write_block(block, arrays, {start + row: reason for row, reason in sorted(reasons.items())})
    spent.add({"records": len(found)})


def _fill(arrays: dict[str, np.ndarray], row: int, task: str, seen: Seen, results: tuple[Any, ...]) -> None:
    """What is known of one record, into the arrays of its block."""
    if task == "class":
        arrays["label"][row], arrays["predicted"][row] = seen.target, seen.predicted
    elif task == "detect":
        arrays["label"][row], arrays["shape"][row] = seen.target.label, seen.target.shape
    else:
        arrays["similarity"][row] = seen.similarity
    for place, (name, result) in enumerate(zip(MAPS[task], results, strict=True)):
        if result is not None:
            arrays[name][row] = result.attribution
            for field in ("steps", "first_loss", "last_loss", "status"):
                arrays[field][row, place] = getattr(result, field)


@contextlib.contextmanager
def _enough_memory(batch_size: int) -> Iterator[None]:
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        raise RunError(
            f"the device has too little memory for a batch of {batch_size}; run with a smaller --batch-size into a new "
            "folder."
        ) from error


class Found(NamedTuple):
    """What became of a record: a question, or the reason why there is none."""

    question: Question | None
    sha256: np.ndarray
    reason: str = ""


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
