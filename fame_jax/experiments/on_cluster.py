"""Blocks of runs on a Ray cluster, explained and measured: what a worker does for one, and which of them failed."""

import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from fame_jax.experiments.block import Progress, explain_block
from fame_jax.experiments.cluster import Cluster, MachineError
from fame_jax.experiments.manifest import NoSpaceError
from fame_jax.experiments.rows import Row, Rows, Scores
from fame_jax.experiments.run import Job, ahead, note_times, reader
from fame_jax.experiments.score import Measuring, begun, same_network, scores_of
from fame_jax.experiments.settings import Device, this_device
from fame_jax.experiments.spent import Spent, Times, this_worker
from fame_jax.experiments.store import Run, RunError
from fame_jax.explainers.explainer import Explainer
from fame_jax.metrics.table import Metric

Task = tuple[int, tuple[int, ...]]
"""A block, and the numbers of the jobs that it is to be computed for."""


class Computed(NamedTuple):
    """What became of a task.

    Attributes:
        who: the worker.
        parts: what it has spent on each job of the task.
        raised: numbers of the jobs that failed, if others did not.
    """

    who: Times
    parts: list[Times]
    raised: tuple[int, ...]


def device_of(cluster: Cluster) -> Device:
    """What the workers of a cluster compute with, as far as the first one tells.

    Raises:
        RunError: if none can begin.
    """
    found: list[Device] = []
    failed = cluster.compute(_Asked, ["device"], lambda _, device: found.append(device))
    if failed:
        raise RunError(f"no worker can compute: {failed['device']}")
    return found[0]


def finish(
    cluster: Cluster, jobs: Sequence[Job], load: Callable[[], Any], progress: Progress = lambda count: None
) -> list[dict[int, str]]:
    """Computes the pending blocks of runs over the same records; the work of a block is that of `run.finish`.

    Whatever happens, finished blocks are on disk. The workers have to see the runs' folders and the pictures.

    Args:
        cluster: see `cluster.cluster`.
        jobs: of `run.prepared`; those with blocks of the same size share their pictures.
        load: called by every worker, once: loads the network.
        progress: called with the number of passes since the last call.

    Returns:
        The reason by number of every block that could not be computed, for each job. The failures of its run have it,
        too, until a later call computes it.

    Raises:
        RunError: if no worker can begin, or block after block fails.
    """
    begin = _Begin(load, tuple((job.store.folder, job.row, job.options) for job in jobs))
    passes = [job.passes // max(1, job.records) for job in jobs]
    failed: list[dict[int, str]] = [{} for _ in jobs]

    spent: dict[tuple[Any, ...], list[Spent]] = {}

    def arrived(task: Task, found: Computed) -> None:
        block, numbers = task
        of_worker = spent.setdefault(tuple(found.who.items()), [Spent() for _ in jobs])
        for number, part in zip(numbers, found.parts, strict=True):
            of_worker[number].add(part)
            if number not in found.raised:
                progress(passes[number] * len(jobs[number].store.indices(block)))

    try:
        _finish(cluster, jobs, begin, arrived, progress, failed)
    finally:
        note_times(jobs, [(dict(who), [one.taken() for one in parts]) for who, parts in spent.items()])
    for job, reasons in zip(jobs, failed, strict=True):
        for block, reason in reasons.items():
            job.store.note_failure(block, reason)
    return failed


def _finish(
    cluster: Cluster,
    jobs: Sequence[Job],
    begin: "_Begin",
    arrived: Callable[[Task, Computed], object],
    progress: Progress,
    failed: list[dict[int, str]],
) -> None:
    """Of several methods of a block those that failed are tried again, each by itself: none is blamed for another."""
    # Not told from what is on disk: a block that is to be repaired is complete all the while.
    tasks, unsure = _tasks(jobs), set[tuple[int, int]]()

    def take(task: Task, found: Computed) -> None:
        unsure.update((task[0], number) for number in found.raised)
        arrived(task, found)

    while tasks:
        unsure.clear()
        for (block, numbers), reason in cluster.compute(begin, tasks, take, lambda: progress(0)).items():
            if len(numbers) == 1:
                failed[numbers[0]][block] = reason
            else:
                unsure.update((block, number) for number in numbers)
        tasks = [
            (block, (number,))
            for block, numbers in tasks
            for number in numbers
            if block not in failed[number]
            # Workers of a driver that was killed may have been at the same blocks.
            and ((block, number) in unsure or not jobs[number].store.is_complete(block))
        ]


def _tasks(jobs: Sequence[Job]) -> list[Task]:
    found: dict[tuple[int, int], list[int]] = {}
    for number, job in enumerate(jobs):
        for block in job.pending:
            found.setdefault((block, job.store.block_size), []).append(number)
    return [(block, tuple(found[block, size])) for block, size in sorted(found)]


def score(
    cluster: Cluster,
    run: Run,
    name: str,
    load: Callable[[Run], Any],
    *,
    preset: str = "paper",
    batch_size: int | None = None,
    progress: Progress = lambda count: None,
    **options: Any,
) -> Scores:
    """`score.score` on a cluster, whose workers have to see the run and its pictures.

    Args:
        cluster: see `cluster.cluster`.
        run: see there.
        name: of a metric.
        load: called by every worker, once, with the run, if the metric needs its network.
        preset: see there.
        batch_size: see there; the usual one is that of a worker.
        progress: see there.
        **options: see there.

    Raises:
        RunError: if no worker can begin, or a block fails; the rows of all others are there.
    """
    row, chosen, rows, pending = begun(run, name, preset, options)

    def arrived(block: int, found: list[Row]) -> None:
        rows.append(found)
        progress(len(found))

    begin = _Scoring(run.folder, row, chosen, load, batch_size)
    failed = cluster.compute(begin, pending, arrived, lambda: progress(0)) if pending else {}
    # They came as they were finished, and are kept in the order of the records.
    rows = Rows(run, row, preset, chosen)
    if failed:
        block, reason = min(failed.items())
        raise RunError(f"{row.name} of {len(failed)} blocks failed, the first is block {block}: {reason}")
    return scores_of(run, row, preset, chosen, rows)


@dataclass(frozen=True)
class _Scoring:
    """How a worker begins to measure: it loads the network and opens the run."""

    folder: Path
    row: Metric
    chosen: dict[str, Any]
    load: Callable[[Run], Any]
    batch_size: int | None

    def __call__(self) -> Callable[[int], list[Row]]:
        run, busy = Run(self.folder), threading.Lock()
        network = same_network(run, self.load(run)) if "network" in self.row.needs else None
        measuring = Measuring(run, self.row, self.chosen, network, self.batch_size)

        def measured(block: int) -> list[Row]:
            with busy:
                return next(measuring.rows([block]))

        return measured


class _Asked:
    """What a worker is asked that is to tell its device."""

    def __call__(self, task: str) -> Device:
        return this_device()


@dataclass(frozen=True)
class _Begin:
    """How a worker begins: it loads the network and opens the runs."""

    load: Callable[[], Any]
    runs: tuple[tuple[Path, Explainer, dict[str, Any]], ...]

    def __call__(self) -> "_Blocks":
        network = self.load()
        return _Blocks([Job(Run(folder), row, options, []) for folder, row, options in self.runs], network)


class _Blocks:
    """A worker at work: it reads the pictures of one block while another one is on its device."""

    def __init__(self, jobs: Sequence[Job], network: Any):
        self._jobs = [(job, job.method(network)) for job in jobs]
        self._read = reader(jobs[0].store)
        self._device, self._clock = threading.Lock(), threading.Lock()
        self._counted = time.perf_counter()

    def __call__(self, task: Task) -> Computed:
        block, numbers = task
        reasons: dict[int, str] = {}
        with contextlib.closing(ahead(self._jobs[numbers[0]][0].store, [block], self._read)) as pictures:
            _, found = next(pictures)
        for number in numbers:
            job, method = self._jobs[number]
            try:
                with self._device:
                    explain_block(job.store, method, block, found, lambda count: None)
            except NoSpaceError as error:
                raise MachineError(str(error)) from error
            except Exception as error:  # The other methods' maps of this block are computed all the same.
                reasons[number] = f"{job.row.name}: {type(error).__name__}: {error}"
        if len(reasons) == len(numbers):
            raise RunError("; ".join(reasons.values()))
        with self._clock:
            before, self._counted = self._counted, time.perf_counter()
        self._jobs[numbers[0]][0].store.spent.add({"seconds": self._counted - before})
        parts = [self._jobs[number][0].store.spent.taken() for number in numbers]
        return Computed(this_worker(), parts, tuple(reasons))
