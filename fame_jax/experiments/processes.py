"""Several processes at one run: who is who, and which blocks are whose.

Blocks need nothing of each other, so the processes only have to know how many they are, and never meet: one that dies
takes nobody with it, and can be started again on its own.
"""

import os
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
"""Seconds to wait for process 0 to lay out a new run."""


def this_process(index: int | None = None, count: int | None = None) -> Processes:
    """Which of several processes this is; call it before anything is computed.

    Args:
        index: of this process, from 0.
        count: number of processes; None to look for a Slurm job step or a TPU pod.

    Raises:
        RunError: for arguments that do not fit together.
    """
    if index is not None and count is None:
        raise RunError("--process-id needs --processes.")
    if count is None:
        return _in_slurm() or _in_pod() or ALONE
    if index is None and count > 1:
        raise RunError(f"--processes {count} needs --process-id: 0 for the first process, {count - 1} for the last.")
    if not 0 <= (index or 0) < count:
        raise RunError(f"--process-id {index}: expected a number from 0 to {count - 1}.")
    return Processes(index or 0, count)


def _in_slurm() -> Processes | None:
    step = os.environ
    count = int(step.get("SLURM_NTASKS", 1))
    if "SLURM_STEP_ID" not in step or count < 2:
        return None
    if count > int(step.get("SLURM_NNODES", 1)) and "," in step.get("CUDA_VISIBLE_DEVICES", ","):
        # Tasks that share a node share out its GPUs.
        jax.config.update("jax_cuda_visible_devices", step.get("SLURM_LOCALID", "all"))
    return Processes(int(step["SLURM_PROCID"]), count)


def _in_pod() -> Processes | None:
    if "," not in os.environ.get("TPU_WORKER_HOSTNAMES", ""):
        return None
    # The hosts of a pod are one machine to JAX and stay together.
    jax.distributed.initialize()
    return Processes(jax.process_index(), jax.process_count())
