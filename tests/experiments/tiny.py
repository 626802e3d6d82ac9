"""A data set of small random pictures and networks of one matrix, and a program that runs them: enough to be killed.

python -m tests.experiments.tiny PICTURES OUT TASK [--name value ...]
"""

import itertools
import json
import pathlib
import sys

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial
from PIL import Image

from fame_jax import models
from fame_jax.data.records import ClassRecord, Dataset, PairRecord, Picture
from fame_jax.experiments.processes import Processes, this_process
from fame_jax.experiments.run import finish, prepared, run
from fame_jax.experiments.settings import Settings
from fame_jax.identity import identity

SIZE = {"class": 32, "pair": 112}
"""Height and width of the images; aligned faces have a fixed one."""

OUTPUTS = 5


def pictures(folder: pathlib.Path, count: int) -> list[pathlib.Path]:
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    paths = [folder / f"{number:04}.png" for number in range(count)]
    for path in paths:
        Image.fromarray(random.integers(0, 256, (112, 112, 3), np.uint8)).save(path)
    return paths


def dataset(folder: pathlib.Path, task: str = "class") -> Dataset:
    """All pictures of a folder; every second with a label, or as pairs of neighbours."""
    paths = sorted(folder.glob("*.png"))
    if task == "class":
        labels = [number % OUTPUTS if number % 2 else None for number in range(len(paths))]
        records = [ClassRecord(path.stem, Picture(path), label) for path, label in zip(paths, labels, strict=True)]
    else:
        records = [PairRecord(f"{a.stem}-{b.stem}", Picture(a), Picture(b), True) for a, b in itertools.pairwise(paths)]
    return Dataset("tiny", task, tuple(records))


def card(task: str = "class") -> models.Card:
    return models.Card("tiny", "class" if task == "class" else "face", SIZE[task], SIZE[task])


def network(task: str = "class", dtype=jnp.float32, seed: int = 0):
    side = SIZE[task]
    return Partial(_outputs, jax.random.normal(jax.random.key(seed), (side * side * 3, OUTPUTS), dtype) / side)


def _outputs(weights, image):
    values = (image.reshape(-1) - 0.5) @ weights
    return jnp.tanh(values) + values


def settings(iterations: int | None = 3, **options) -> Settings:
    given = {"aligned": True, "batch_size": 2, "block_size": 2} | options
    return Settings(options={} if iterations is None else {"iterations": iterations}, **given)


def contents(folder: pathlib.Path) -> dict[str, bytes]:
    """Every file of a store but how long it took; what is hidden belongs to no store."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and not path.name.startswith(".")]
    files = [path for path in files if path.name != "times.jsonl"]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def main(folder: str, out: str, task: str, method: str = "fame", precision: str = "float32", **given) -> None:
    """A run in a process of its own; the first line it prints says that it is about to compute."""
    processes = this_process(given.pop("index", None), given.pop("count", None))
    jax.config.update("jax_enable_x64", precision == "float64")
    chosen = settings(precision=precision, **given)
    used = network(task, models.image_dtype(precision))
    data = dataset(pathlib.Path(folder), task)
    how = {"identity": identity(used), "processes": processes}
    with prepared(data, card(task), method, pathlib.Path(out), chosen, **how) as job:
        print(f"{len(job.pending)} blocks", flush=True)
        finish([job], used)


if __name__ == "__main__":
    main(*sys.argv[1:4], **json.loads(sys.argv[4]) if len(sys.argv) > 4 else {})

__all__ = ["Processes", "card", "contents", "dataset", "network", "pictures", "run", "settings"]
