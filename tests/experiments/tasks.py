"""Work for the workers of a cluster, which import it by name."""

import os


def begin():
    return square


def square(task: int) -> int:
    """Or the end of the process."""
    if task == 2:
        os._exit(1)
    return task * task


def cannot():
    raise ValueError("no weights")


def fills_up():
    from fame_jax.experiments.cluster import MachineError

    def work(task: int) -> int:
        if task == 2:
            raise MachineError("the disk is full")
        return task

    return work
