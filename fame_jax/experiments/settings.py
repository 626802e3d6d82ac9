"""What decides the numbers of a run, as its manifest keeps it, and how two runs differ."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import jax
import numpy as np

from fame_jax import models
from fame_jax.data.records import Dataset, Task
from fame_jax.experiments.inputs import geometry, geometry_as_json
from fame_jax.experiments.store import RunError, records_file
from fame_jax.explainers.table import EXPLAINERS, explainer
from fame_jax.presets import PRESETS


@dataclass(frozen=True)
class Settings:
    """The choices of a run.

    Attributes:
        preset: the paper's options of the method, or those of the authors' published code.
        options: options of the method that differ from the preset; `Explainer.options` lists them.
        precision: see `fame_jax.models.load`.
        resize: see `fame_jax.experiments.inputs.geometry`.
        aligned: the faces are aligned already.
        eyes: where annotated eyes are moved to.
        batch_size: images on the device at once; None for 4 on a CPU, 64 for each accelerator, and a sixteenth of that
            for methods that look at many copies of an image at once.
        block_size: records computed, written and, after a crash, repeated together; None for a few batches.
        dtype: of the stored maps.
        seed: of the methods that draw random numbers; every record has a key of its own.
    """

    preset: Literal["paper", "official"] = "paper"
    options: Mapping[str, Any] = field(default_factory=dict)
    precision: models.Precision = "float32"
    resize: Literal["232", "weights"] = "232"
    aligned: bool = False
    eyes: Literal["template", "bob"] = "template"
    batch_size: int | None = None
    block_size: int | None = None
    dtype: Literal["float16", "float32", "float64"] = "float32"
    seed: int = 0


DEFAULTS = Settings()
"""The paper's choices."""


def check_method(method: str, task: Task) -> None:
    """Refuses a method that does not exist or does not explain what the data set asks.

    Raises:
        UnknownMethodError: with the nearest names.
        RunError: naming the methods that do.
    """
    if getattr(explainer(method), f"of_{task}") is None:
        able = ", ".join(name for name, row in EXPLAINERS.items() if getattr(row, f"of_{task}") is not None)
        what = "classes" if task == "class" else "pairs of faces"
        raise RunError(f"{method} does not explain {what}; expected one of {able}.")


def check_network(card: models.Card, dataset: Dataset) -> None:
    """Refuses a network of the other task.

    Raises:
        RunError: saying which kind is needed.
    """
    if (card.task == "class") != (dataset.task == "class"):
        wanted = "a classifier" if dataset.task == "class" else "a face network"
        raise RunError(f"{card.name} does not fit {dataset.name}: it needs {wanted}; fame models lists them.")


def plain_options(method: str, task: Task) -> dict[str, Any]:
    """Names and default values of a method's options, without those that are code: a manifest cannot hold them."""
    return {name: value for name, value in explainer(method).options(task).items() if not callable(value)}


def method_options(method: str, task: Task, settings: Settings) -> dict[str, Any]:
    """The options to call the method with: the preset's, then those given.

    Raises:
        RunError: for an option that the method does not have.
    """
    if unknown := sorted(settings.options.keys() - plain_options(method, task).keys()):
        named = ", ".join(plain_options(method, task)) or "none"
        raise RunError(f"{method} has no option {unknown[0]!r}; its options are: {named}.")
    return {**PRESETS[settings.preset].get(_preset_group(method, task), {}), **settings.options}


def manifest(
    dataset: Dataset, card: models.Card, weights_sha256: str, method: str, settings: Settings
) -> dict[str, Any]:
    """Everything that decides the numbers of a run, as plain data; two runs whose manifests are equal may be mixed."""
    chosen = geometry(card, resize=settings.resize, aligned=settings.aligned, eyes=settings.eyes)
    options = plain_options(method, dataset.task) | method_options(method, dataset.task, settings)
    batch, block = _sizes(method, dataset, settings)
    content = {
        "task": dataset.task,
        "dataset": dataset.name,
        "records": len(dataset.records),
        "records_sha256": hashlib.sha256(records_file(dataset.records)).hexdigest(),
        "network": card.name,
        "weights_sha256": weights_sha256,
        "geometry": geometry_as_json(chosen),
        "method": method,
        "preset": settings.preset,
        "options": options,
        "precision": settings.precision,
        "seed": settings.seed,
        "batch_size": batch,
        "block_size": block,
        "size": chosen.size,
        "dtype": settings.dtype,
    }
    # Tuples become lists here, as in the manifest of the run that this one is compared with.
    return json.loads(json.dumps(content))


def differences(there: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    """What two manifests do not agree on, in words; provenance and version are not compared."""
    found = []
    for name, value in here.items():
        old = there.get(name)
        if isinstance(value, dict) and isinstance(old, dict):
            inner = sorted(value.keys() | old.keys())
            found += [
                f"{n} {_shown(old.get(n))} -> {_shown(value.get(n))}" for n in inner if old.get(n) != value.get(n)
            ]
        elif old != value and not (name == "records_sha256" and there.get("records") != here["records"]):
            found.append(f"{name} {_shown(old)} -> {_shown(value)}")
    return found


def weights_of(network: Any) -> str:
    """A hash of all arrays of a network that comes from no registry."""
    digest = hashlib.sha256()
    for leaf in jax.tree.leaves(network):
        array = np.asarray(leaf)
        digest.update(f"{array.dtype}{array.shape}".encode() + array.tobytes())
    return digest.hexdigest()


def _preset_group(method: str, task: Task) -> str:
    """Under which name the presets hold a method's options, if they do."""
    if method == "fame":
        return "classification" if task == "class" else "faces"
    return "face_cam" if "target" in explainer(method).options(task) else method


def _sizes(method: str, dataset: Dataset, settings: Settings) -> tuple[int, int]:
    """Images in a batch and records in a block, no more than there are."""
    walks = 4 if (method, dataset.task) == ("fame", "pair") else 1
    devices = jax.local_device_count()
    usual = 4 if jax.default_backend() == "cpu" else 64
    if "chunk" in explainer(method).options(dataset.task):
        usual = max(1, usual // 16)
    batch = settings.batch_size or usual * devices
    block = min(settings.block_size or max(1, 2 * batch // walks), len(dataset.records))
    # A batch is shared out evenly.
    return -(-min(batch, block * walks) // devices) * devices, block


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 20 else f"{text[:9]}...{text[-5:]}"
