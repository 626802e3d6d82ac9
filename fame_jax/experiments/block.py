"""What a block takes once its pictures are there, whoever computes it: it is explained and written."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from fame_jax.engine import Method
from fame_jax.experiments.kept import UnkeptError, encoded
from fame_jax.experiments.store import DONE, FAILED, Run, RunError, block_arrays
from fame_jax.explainers.explainer import MAPS
from fame_jax.questions import Question, Seen

Progress = Callable[[int], object]


class BlockError(RunError):
    """Why a block cannot be computed, while others perhaps can; the message says what to do."""


class Found(NamedTuple):
    """What became of a record: a question, or the reason why there is none."""

    question: Question | None
    sha256: np.ndarray
    reason: str = ""


def explain_block(store: Run, method: Method, block: int, found: Sequence[Found], progress: Progress) -> None:
    """Explains the records of a block and writes it.

    Args:
        store: the run.
        method: its own.
        block: number of the block.
        found: its records.
        progress: called with the number of passes since the last call.

    Raises:
        BlockError: if it does not fit into the device's memory, or none of its maps is what the run's dtype can hold.
        RunError: if it cannot be written.
    """
    start = store.indices(block).start
    arrays = block_arrays(store, block)
    arrays["sha256"][:] = [one.sha256 for one in found]
    reasons = {row: one.reason for row, one in enumerate(found) if one.question is None}
    asked = [(row, one.question) for row, one in enumerate(found) if one.question is not None]
    for row, one in asked:
        if reason := method.engine.refusal(one):
            reasons[row] = reason
    kept = {row: one for row, one in asked if row not in reasons}
    progress(method.passes * len(reasons))
    with store.spent.on("computing"):
        unkept = _filled(arrays, store, method, kept, progress)
    if len(unkept) == len(kept) > 1:
        raise BlockError(f"{next(iter(unkept.values()))}; choose another --dtype, and a new folder.")
    reasons |= unkept
    arrays["state"][:] = [FAILED if row in reasons else DONE for row in range(len(found))]
    with store.spent.on("writing"):
        store.write_block(block, arrays, {start + row: reason for row, reason in sorted(reasons.items())})
    store.spent.add({"records": len(found)})


def _filled(
    arrays: dict[str, np.ndarray], store: Run, method: Method, kept: Mapping[int, Question], progress: Progress
) -> dict[int, str]:
    """Puts what is found of each row into the arrays; the reason by row where a map cannot be kept.

    Where the batch is too large for the device's memory and does not matter to the maps, smaller ones take its place.
    """
    while True:
        try:
            unkept = {}
            seen = method.engine.look(list(kept.values()))
            for row, one, results in zip(kept, seen, method.results(seen, progress), strict=True):
                try:
                    _fill(arrays, row, store.task, one, results)
                except UnkeptError as error:
                    unkept[row] = str(error)
            return unkept
        except jax.errors.JaxRuntimeError as error:
            if "RESOURCE_EXHAUSTED" not in str(error):
                raise
        # Not above, where the error still holds what is on the device.
        _halve(method, store.manifest["precision"])


def _halve(method: Method, precision: str) -> None:
    """From now on half as many images at once, if the maps of a precision do not depend on it.

    Raises:
        BlockError: if they do, or if there is nothing to halve.
    """
    size = method.engine.batch_size or 1
    half, least = size // 2, jax.local_device_count()
    if half < least:
        raise BlockError(
            f"the device has too little memory for {method.row.name}, even in a batch of {size}; free it of other "
            "programs, or take a smaller network."
        )
    if precision != "float64":
        raise BlockError(
            f"the device has too little memory for a batch of {size}; run with --batch-size {half} into a new folder "
            f"(in {precision} maps depend on it, if little; a run in float64 would halve it by itself)."
        )
    method.engine.batch_size = half


def _fill(arrays: dict[str, np.ndarray], row: int, task: str, seen: Seen, results: tuple[Any, ...]) -> None:
    """What is known of one record, into the arrays of its block.

    Raises:
        UnkeptError: for a map that the arrays cannot hold.
    """
    named = [(place, MAPS[task][place], result) for place, result in enumerate(results) if result is not None]
    maps = {name: encoded(result.attribution, arrays[name].dtype.name) for _, name, result in named}
    if task == "class":
        arrays["label"][row], arrays["predicted"][row] = seen.target, seen.predicted
    elif task == "detect":
        arrays["label"][row], arrays["shape"][row] = seen.target.label, seen.target.shape
    else:
        arrays["similarity"][row] = seen.similarity
    for place, name, result in named:
        arrays[name][row] = maps[name]
        for field in ("steps", "first_loss", "last_loss", "status"):
            arrays[field][row, place] = getattr(result, field)
