"""Several processes at one run: who is who, and which blocks are whose.

Blocks need nothing of each other, so the processes only have to know how many they are. They meet once, through
`jax.distributed`, and part at once: one that dies takes nobody with it, and can be started again on its own. A child
process does the meeting, since JAX ends a process whose partners do not come, and one that has met once remains one of
several in JAX's eyes.
"""

import json
import os
import subprocess
import sys
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
        RunError: for arguments that do not fit together, or if the others do not come.
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
            _wait(coordinator, patience, say, coordinator_address=coordinator, num_processes=count, process_id=index)
        return Processes(index, count)
    return _found_in_slurm(patience, say) or _found_in_pod() or ALONE


def _found_in_slurm(patience: int, say: Callable[[str], object]) -> Processes | None:
    step = os.environ
    count = int(step.get("SLURM_NTASKS", 1))
    if "SLURM_STEP_ID" not in step or count < 2:
        return None
    _wait("their Slurm step", patience, say, cluster_detection_method="slurm")
    if count > int(step.get("SLURM_NNODES", 1)) and "," in step.get("CUDA_VISIBLE_DEVICES", ","):
        # Tasks that share a node share out its GPUs.
        jax.config.update("jax_cuda_visible_devices", step.get("SLURM_LOCALID", "all"))
    return Processes(int(step["SLURM_PROCID"]), count)


def _found_in_pod() -> Processes | None:
    if "," not in os.environ.get("TPU_WORKER_HOSTNAMES", ""):
        return None
    # The hosts of a pod are one machine to JAX and stay together.
    jax.distributed.initialize()
    return Processes(jax.process_index(), jax.process_count())


_MEETING = """
import json, sys, jax
jax.distributed.initialize(**json.loads(sys.argv[1]))
jax.distributed.shutdown()
"""


def _wait(where: str, patience: int, say: Callable[[str], object], **arguments: object) -> None:
    say(f"waiting for the other processes at {where}, for {patience} s at most")
    given = json.dumps({**arguments, "initialization_timeout": patience})
    ended = subprocess.run([sys.executable, "-c", _MEETING, given], capture_output=True, text=True)
    if ended.returncode == 0:
        return
    if "coordination service" in ended.stderr or "DEADLINE_EXCEEDED" in ended.stderr:
        raise RunError(
            f"the other processes did not come to {where} within {patience} s. Start all of them with the same "
            "--coordinator and --processes; --processes 1 works alone."
        )
    last = ended.stderr.strip().splitlines()[-1:] or ["no reason given"]
    raise RunError(f"the processes cannot meet at {where} ({last[0][:200]}).")
