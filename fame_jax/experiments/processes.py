"""Several processes at one run: who is who, and which blocks are whose.

Blocks need nothing of each other, so the processes only have to know how many they are. They meet once, through
`jax.distributed`, and part at once: one that dies takes nobody with it, and can be started again on its own.
"""

import os
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass

import jax

from fame_jax.experiments.store import RunError


@dataclass(frozen=True)
class Processes:
    """This process among all that share the work: its index from 0, and how many there are."""

    index: int = 0
    count: int = 1

    def share(self, blocks: int) -> range:
        """The blocks of this process: every `count`-th."""
        return range(self.index, blocks, self.count)

    @property
    def words(self) -> str:
        """For people: `process 1 of 2`, counted from 0 as on the command line; empty for one alone."""
        return f"process {self.index} of {self.count}" if self.count > 1 else ""


ALONE = Processes()

PATIENCE = 300
"""Seconds to wait for the other processes to start."""


def meet(
    coordinator: str | None = None,
    index: int | None = None,
    count: int | None = None,
    *,
    patience: int = PATIENCE,
    say: Callable[[str], object] = lambda line: None,
) -> Processes:
    """Finds out which of several processes this is; call it before anything is computed.

    Args:
        coordinator: `host:port` of process 0, at which all meet; None with `index` and `count` for processes that do
            not need to meet, and None without them to look for a Slurm job step or a TPU pod.
        index: of this process, from 0.
        count: number of processes; 1 does not look for others.
        patience: seconds until all must be there.
        say: told what is being waited for.

    Raises:
        RunError: for arguments that do not fit together, or if JAX cannot start.
    """
    if coordinator is not None and (index is None or count is None):
        raise RunError("--coordinator needs --process-id and --processes.")
    if index is not None and count is None:
        raise RunError("--process-id needs --processes.")
    if count is not None:
        if index is None and count > 1:
            raise RunError(
                f"--processes {count} needs --process-id: 0 for the first process, {count - 1} for the last."
            )
        index = index or 0
        if not 0 <= index < count:
            raise RunError(f"--process-id {index}: expected a number from 0 to {count - 1}.")
        if coordinator is not None and count > 1:
            _initialize(patience, say, coordinator_address=coordinator, num_processes=count, process_id=index)
            jax.distributed.shutdown()
        return Processes(index, count)
    return _found_in_slurm(patience, say) or _found_in_pod(patience, say) or ALONE


def _found_in_slurm(patience: int, say: Callable[[str], object]) -> Processes | None:
    if "SLURM_STEP_ID" not in os.environ or int(os.environ.get("SLURM_NTASKS", 1)) < 2:
        return None
    _initialize(patience, say, cluster_detection_method="slurm")
    jax.distributed.shutdown()
    if os.environ["SLURM_NTASKS"] == os.environ.get("SLURM_NNODES"):
        # JAX gives each task one of a node's GPUs; a task alone on its node is to use them all.
        jax.config.update("jax_cuda_visible_devices", "all")
    return Processes(int(os.environ["SLURM_PROCID"]), int(os.environ["SLURM_NTASKS"]))


def _found_in_pod(patience: int, say: Callable[[str], object]) -> Processes | None:
    if "," not in os.environ.get("TPU_WORKER_HOSTNAMES", ""):
        return None
    # The hosts of a pod are one machine to JAX and stay together.
    _initialize(patience, say)
    return Processes(jax.process_index(), jax.process_count())


def _initialize(patience: int, say: Callable[[str], object], **arguments: object) -> None:
    where = arguments.get("coordinator_address", "the coordinator")
    say(f"waiting for the other processes at {where}, for {patience} s at most")
    # If somebody stays away, JAX ends the process with a dump of its stack; these words come first.
    alarm = threading.Timer(patience, _give_up, [where, patience])
    alarm.daemon = True
    alarm.start()
    try:
        jax.distributed.initialize(**arguments, initialization_timeout=patience + 30)  # type: ignore[arg-type]
    except (ValueError, RuntimeError) as error:
        raise RunError(f"the processes cannot meet at {where}: {' '.join(str(error).split())[:200]}.") from error
    finally:
        alarm.cancel()


def _give_up(where: object, patience: int) -> None:
    print(
        f"fame: the other processes did not come to {where} within {patience} s. Start all of them with the same "
        "--coordinator and --processes; --processes 1 works alone.",
        file=sys.stderr,
        flush=True,
    )
    os._exit(2)
