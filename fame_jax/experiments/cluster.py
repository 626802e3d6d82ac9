"""Work on the machines of a Ray cluster, which come and go while it is done.

A worker is an actor on a device of its own and begins once: it loads the network. A task is a block, given to whichever
worker is free. Which machines there are is looked at again and again: on a new one workers begin, and what a lost one
had under way goes to others.
"""

import logging
import time
import warnings
from collections import Counter, deque
from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from fame_jax.experiments.manifest import IN_A_ROW, RunError

try:
    import ray
    from ray.exceptions import RayError, RayTaskError
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
except ImportError as error:
    raise ImportError("--engine ray needs Ray: pip install 'fame-jax[ray]'") from error

Begin = Callable[[], Callable[[Any], Any]]
"""What a worker does once: it returns the function from a task to its result."""

_AT_ONCE = 2
"""Tasks that a worker has: of one the pictures are read while the other is computed."""

_TRIES = 2
"""Of a task that raises."""

_WORKERS = 3
"""Processes that may end at one task while their machines live on; then it is the task that ends them."""

_LONGEST = 500
"""Letters of a reason: Ray adds whole tracebacks."""

_LOOK = 2.0
"""Seconds between two looks at which machines there are."""

_REMIND = 60.0
"""Seconds after which it is said that there is no worker."""


class MachineError(RuntimeError):
    """What work raises where its machine is at fault: the task goes to another one, and this one gets no more."""


@contextmanager
def cluster(address: str | None, most: int | None, say: Callable[[str], object]) -> Iterator["Cluster"]:
    """A Ray cluster that is there, or one of this machine alone for as long as it is needed.

    Args:
        address: of the cluster, as `ray.init` takes it; None for the one that this machine belongs to, or a new one.
        most: workers at the most; None for one a device. A CPU counts as one device a machine, or, where `most` is
            given, as one a core.
        say: told when workers come and go.

    Raises:
        RunError: if there is no cluster at the address.
    """
    ours = not ray.is_initialized()
    try:
        if ours:
            with warnings.catch_warnings():
                # Ray's own processes are forked and then replaced: nothing of JAX runs in them.
                warnings.filterwarnings("ignore", r"os\.fork\(\) was called", RuntimeWarning)
                ray.init(address, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise RunError(f"--address {address}: no Ray cluster answers there ({' '.join(str(error).split())}).") from None
    found = Cluster(most, say)
    try:
        yield found
    finally:
        found.dismiss()
        if ours:
            ray.shutdown()


class _Worker:
    """The actor. What its work raises it returns in words, and whether another machine may do better: whatever else a
    call raises is its machine's doing.
    """

    def __init__(self) -> None:
        self._work: dict[int, Callable[[Any], Any]] = {}

    def begin(self, number: int, begin: Begin) -> tuple[None, str, bool]:
        try:
            self._work[number] = begin()
        except Exception as error:
            return None, _words(error), True
        return None, "", False

    def work(self, number: int, task: Any) -> tuple[Any, str, bool]:
        try:
            return self._work[number](task), "", False
        except Exception as error:
            return None, _words(error), isinstance(error, MachineError)


@dataclass(eq=False)
class _Hired:
    """A worker as the driver knows it."""

    node: str
    actor: Any
    ready: bool = False
    tasks: list[Hashable] = field(default_factory=list)


class Cluster:
    """Workers on the devices of a cluster; see `cluster`."""

    def __init__(self, most: int | None, say: Callable[[str], object]):
        self._most, self._say = most, say
        self._kind = ""
        self._workers: list[_Hired] = []
        self._unfit: Counter[str] = Counter()
        self._looked = self._reminded = time.monotonic() - _LOOK
        self._unfit_reason, self._worked, self._rounds = "", False, 0

    def compute(
        self,
        begin: Begin,
        tasks: Iterable[Hashable],
        arrived: Callable[[Any, Any], object],
        tick: Callable[[], object] = lambda: None,
    ) -> dict[Any, str]:
        """Has every task done by some worker.

        Args:
            begin: called by each worker before its first task.
            tasks: what is to be done, in about this order.
            arrived: called with a task and its result, in the order in which they are finished.
            tick: called about every second, so that an interrupt takes effect.

        Returns:
            The reason of every task that failed twice, or at which worker after worker ended.

        Raises:
            RunError: if no worker can begin, or tasks keep failing.
        """
        self._rounds += 1
        work = _Round(self._rounds, ray.put(begin), deque(tasks))
        for worker in self._workers:
            self._start(worker, work)
        while work.waiting or any(worker.tasks for worker in self._workers):
            self._look(work)
            tick()
            if not work.calls:
                time.sleep(0.1)
                continue
            for call in ray.wait(list(work.calls), timeout=_LOOK / 2)[0]:
                worker, task = work.calls.pop(call)
                if worker not in self._workers:
                    continue
                try:
                    result, reason, unfit = ray.get(call)
                except RayTaskError as error:
                    result, reason, unfit = None, _words(error.cause), not worker.ready
                except RayError as error:
                    self._lose(worker, work, error)
                    continue
                if unfit:
                    self._refuse(worker, work, reason)
                elif worker.ready:
                    worker.tasks.remove(task)
                    self._take(work, task, result, reason, arrived)
                else:
                    worker.ready = self._worked = True
            for worker in self._workers:
                _feed(worker, work)
        return work.failed

    def dismiss(self) -> None:
        """Ends all workers."""
        for worker in self._workers:
            _end(worker)
        self._workers.clear()

    def _look(self, work: "_Round") -> None:
        """Workers begin on devices that have none."""
        if time.monotonic() - self._looked < _LOOK:
            return
        self._looked = time.monotonic()
        nodes = {node["NodeID"]: node["Resources"] for node in ray.nodes() if node["Alive"]}
        if not self._kind:
            kinds = (kind for kind in ("GPU", "TPU", "CPU") if any(of.get(kind) for of in nodes.values()))
            self._kind = next(kinds, "")
        taken = Counter(worker.node for worker in self._workers)
        free = [(number, node) for node, of in nodes.items() for number in range(taken[node], self._devices(of))]
        for _, node in sorted(free)[: None if self._most is None else max(0, self._most - len(self._workers))]:
            if self._unfit[node] < _WORKERS:
                self._hire(node, nodes[node], work)
        refused = [node for node in nodes if self._unfit[node] >= _WORKERS]
        left = any(self._devices(of) for node, of in nodes.items() if node not in refused)
        if refused and not self._workers and not (left and self._worked):
            can = "go on" if self._worked else "begin"
            raise RunError(f"no worker can {can}, the last one for this reason: {self._unfit_reason}")
        if any(worker.ready for worker in self._workers):
            self._reminded = time.monotonic()
        elif time.monotonic() - self._reminded > _REMIND:
            self._reminded = time.monotonic()
            self._say("no worker has begun: the cluster has no device, or others have it; waiting for one")

    def _devices(self, resources: dict[str, float]) -> int:
        """How many workers a machine takes."""
        have = int(resources.get(self._kind, 0))
        alone = self._kind == "TPU" or (self._kind == "CPU" and self._most is None)
        return min(have, 1) if alone else have

    def _hire(self, node: str, resources: dict[str, float], work: "_Round") -> None:
        needs = {
            "GPU": {"num_gpus": 1, "num_cpus": 0},
            "TPU": {"resources": {"TPU": resources.get("TPU", 0)}, "num_cpus": 0},
            "CPU": {"num_cpus": 1},
        }[self._kind]
        where = NodeAffinitySchedulingStrategy(node, soft=False)
        actor = ray.remote(_Worker).options(scheduling_strategy=where, max_concurrency=_AT_ONCE, **needs).remote()
        self._workers.append(_Hired(node, actor))
        self._start(self._workers[-1], work)

    def _start(self, worker: _Hired, work: "_Round") -> None:
        worker.ready = False
        work.calls[worker.actor.begin.remote(work.number, work.begin)] = worker, None

    def _take(self, work: "_Round", task: Any, result: Any, reason: str, arrived: Callable[[Any, Any], object]) -> None:
        if not reason:
            work.in_a_row = 0
            arrived(task, result)
            return
        work.in_a_row += 1
        work.tries[task] += 1
        if work.tries[task] < _TRIES:
            work.waiting.append(task)
        else:
            work.failed[task] = reason
        if work.in_a_row >= max(IN_A_ROW, 4 * len(self._workers)) and work.waiting:
            raise RunError(f"{work.in_a_row} blocks in a row failed, the last one for this reason: {reason}")

    def _refuse(self, worker: _Hired, work: "_Round", reason: str) -> None:
        """Nothing is tried again on a machine where a worker could not begin or go on; what it had goes to others."""
        can = "go on" if worker.ready else "begin"
        self._say(f"a worker on machine {worker.node[:8]} cannot {can} and is left out: {reason}")
        self._unfit[worker.node], self._unfit_reason = _WORKERS, reason
        self._workers.remove(worker)
        work.waiting.extendleft(worker.tasks)
        _end(worker)

    def _lose(self, worker: _Hired, work: "_Round", error: Exception) -> None:
        """What a lost worker had goes to others."""
        self._workers.remove(worker)
        _end(worker)
        self._say(f"a worker on machine {worker.node[:8]} is lost; its blocks go to others")
        lives = _lives(worker.node)
        reason = f"the worker's process ended, {_WORKERS} times: {_words(error)}"
        if lives and not worker.ready:
            self._unfit[worker.node] += 1
            self._unfit_reason = reason
        for task in worker.tasks:
            work.lost[task] += lives
            if work.lost[task] < _WORKERS:
                work.waiting.appendleft(task)
            else:
                work.failed[task] = reason


@dataclass
class _Round:
    """One call of `Cluster.compute`: what is to be done, by whom, and what became of it."""

    number: int
    begin: Any
    waiting: deque[Hashable]
    calls: dict[Any, tuple[_Hired, Hashable]] = field(default_factory=dict)
    tries: Counter[Hashable] = field(default_factory=Counter)
    lost: Counter[Hashable] = field(default_factory=Counter)
    failed: dict[Hashable, str] = field(default_factory=dict)
    in_a_row: int = 0


def _feed(worker: _Hired, work: _Round) -> None:
    """Gives a worker what it can take; a task that a process has ended at goes alone, so that no other is blamed."""
    while worker.ready and work.waiting and len(worker.tasks) < _AT_ONCE:
        if worker.tasks and (work.lost[worker.tasks[0]] or work.lost[work.waiting[0]]):
            return
        task = work.waiting.popleft()
        worker.tasks.append(task)
        work.calls[worker.actor.work.remote(work.number, task)] = worker, task


def _end(worker: _Hired) -> None:
    with suppress(RayError):
        ray.kill(worker.actor)


def _lives(node: str) -> bool:
    return any(of["NodeID"] == node and of["Alive"] for of in ray.nodes())


def _words(error: BaseException) -> str:
    words = " ".join(str(error).split())[:_LONGEST]
    return words if isinstance(error, RunError) else f"{type(error).__name__}: {words}"
