"""What decides the numbers of a run, as its manifest keeps it, and how two runs differ."""

import functools
import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple

from fame_jax.architectures import Precision
from fame_jax.batching.devices import usual_batch
from fame_jax.data.classes import called
from fame_jax.data.records import Dataset, Problem
from fame_jax.engine import batch_of
from fame_jax.experiments.kept import MapDtype
from fame_jax.experiments.store import RunError, records_file
from fame_jax.explainers.explainer import MAPS, Explainer
from fame_jax.explainers.table import EXPLAINERS
from fame_jax.files import environment
from fame_jax.identity import identity as identity_of
from fame_jax.image import IMAGENET_MEAN
from fame_jax.inputs import FaceDetector, geometry, geometry_as_json
from fame_jax.models import REGISTRY, Card


@dataclass(frozen=True)
class Settings:
    """The choices of a run. What is None is that of the run which is continued, or else the usual one.

    Attributes:
        preset: the paper's options of the method, or those of the authors' published code.
        options: options of the method that differ from the preset; `Explainer.options` lists them.
        precision: see `fame_jax.models.load`.
        resize: short side of a photograph before the central crop; None for the rule of the network's card.
        aligned: the faces are aligned already.
        detector: what looks for faces that are not.
        eyes: where annotated eyes are moved to.
        batch_size: images or walks on the devices at once; None for 1 on a CPU and 64 on each accelerator.
        block_size: records computed, written and, after a crash, repeated together; None for a few batches.
        dtype: of the stored maps, see `fame_jax.experiments.kept`; None for float32.
        seed: of the methods that draw random numbers; every image has a key of its own.
    """

    preset: Literal["paper", "official"] = "paper"
    options: Mapping[str, Any] = field(default_factory=dict)
    precision: Precision = "float32"
    resize: int | None = None
    aligned: bool = False
    detector: FaceDetector = "opencv"
    eyes: Literal["template", "bob"] = "template"
    batch_size: int | None = None
    block_size: int | None = None
    dtype: MapDtype | None = None
    seed: int = 0


DEFAULTS = Settings()
"""The paper's choices."""


class Device(NamedTuple):
    """What a run is computed with.

    Attributes:
        batch: images at once where nobody has asked, see `fame_jax.batching.devices.usual_batch`.
        environment: versions and device, for the manifest.
    """

    batch: int
    environment: dict[str, Any]


def this_device() -> Device:
    """What this process would compute with."""
    return Device(usual_batch(), environment())


_FEWEST = 8
"""Records in a block, at the least, where nothing else is asked for."""


def check_network(card: Card, dataset: Dataset) -> None:
    """Refuses a network of the other task.

    Raises:
        RunError: saying which kind is needed.
    """
    if card.task != {"pair": "face"}.get(dataset.task, dataset.task):
        wanted = {"class": "a classifier", "pair": "a face network", "detect": "a detector"}[dataset.task]
        raise RunError(f"{card.name} does not fit {dataset.name}: it needs {wanted}; fame models lists them.")


def in_classes_of(card: Card, dataset: Dataset) -> Dataset:
    """The data set with its classes counted as a network's card does, by name; records of others become problems."""
    if dataset.labels is None or card.labels is None or dataset.labels == card.labels:
        return dataset
    fits = functools.cache(functools.partial(called, names=card.labels))
    records, others = [], Counter()
    for record in dataset.records:
        label = record.label  # type: ignore[union-attr]
        if label is None:
            records.append(record)
            continue
        name = dataset.labels[label]
        if len(fits(name)) == 1:
            records.append(replace(record, label=fits(name)[0]))
        else:
            others[name] += 1
    few = ", ".join(card.labels[:3]) + ("" if len(card.labels) <= 3 else ", ...")
    what = "boxes" if dataset.task == "detect" else "records"
    problems = []
    for name, n in others.items():
        known = f"has {len(fits(name))} classes of that name" if fits(name) else f"knows {few}"
        problems.append(Problem(f"class {name}", f"{n} {what}: {card.name} {known}"))
    return replace(dataset, records=tuple(records), problems=(*dataset.problems, *problems), labels=card.labels)


def manifest(
    dataset: Dataset,
    card: Card,
    method: Explainer,
    settings: Settings,
    *,
    identity: str,
    source: str = "",
    device: Device | None = None,
    there: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Everything that decides the numbers of a run, as plain data; two runs whose manifests are equal may be mixed.

    Args:
        dataset: the records.
        card: of the network.
        method: of the run.
        settings: the choices.
        identity: of the network: the hash of its publisher's file, or `identity.identity` of one's own.
        source: from where a command can load the network again; empty if none can.
        device: what computes; None for what this process has.
        there: manifest of the run that is to be continued.
    """
    how = {name: getattr(settings, name) for name in ("resize", "aligned", "eyes", "detector")}
    chosen, labels = geometry(card, **how), card.labels or dataset.labels
    there, usual = there or {}, usual_batch() if device is None else device.batch
    batch = settings.batch_size or there.get("batch_size") or batch_of(method, dataset.task, usual)
    block = settings.block_size or there.get("block_size") or max(2 * usual, _FEWEST)
    block = min(block, len(dataset.records))
    content = {
        "task": dataset.task,
        "dataset": dataset.name,
        "records": len(dataset.records),
        "records_sha256": hashlib.sha256(records_file(dataset.records)).hexdigest(),
        "network": card.name,
        "score": card.score,
        "labels": None if labels is None else list(labels),
        "source": source,
        "weights_sha256": identity,
        "geometry": geometry_as_json(chosen),
        "method": method.name,
        "method_sha256": "" if EXPLAINERS.get(method.name) is method else identity_of(method, "method"),
        "preset": settings.preset,
        "options": method.options(dataset.task) | method.chosen(dataset.task, settings.options, settings.preset, card),
        "precision": settings.precision,
        "seed": settings.seed,
        "batch_size": min(batch, block * len(MAPS[dataset.task])),
        "block_size": block,
        "size": chosen.size,
        "dtype": settings.dtype or there.get("dtype") or "float32",
    }
    if dataset.task == "class" and tuple(card.mean) != IMAGENET_MEAN:
        # The colour that RISE's deletion puts in.
        content["mean"] = list(card.mean)
    if told := told_of(card):
        content["card"] = told
    # Tuples become lists here, as in the manifest of the run that this one is compared with.
    return json.loads(json.dumps(content))


DECIDING = ("mean", "std", "reverse_channels", "key")
"""What else than the publisher's file decides the numbers of a converted network."""


def told_of(card: Card) -> dict[str, Any] | None:
    """The card of a file that was told from outside, without its labels; None of a published network as it is.

    By it alone an ONNX file is read again, and of one file of weights several networks can be made.
    """
    published = REGISTRY.get(card.name)
    usual = published is not None and all(getattr(card, of) == getattr(published.card, of) for of in DECIDING)
    if card.architecture != "onnx" and (usual or not card.sha256):
        return None
    return {**card.to_json(), "labels": None}


def differences(there: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    """What two manifests do not agree on, in words; provenance and version are not compared."""
    found = []
    for name, value in here.items():
        old = there.get(name)
        if name == "labels":  # How classes are called decides no number.
            continue
        if isinstance(value, dict) and isinstance(old, dict):
            inner = sorted(value.keys() | old.keys())
            found += [
                f"{n} {_shown(old.get(n))} -> {_shown(value.get(n))}" for n in inner if old.get(n) != value.get(n)
            ]
        elif old != value and not (name == "records_sha256" and there.get("records") != here["records"]):
            found.append(f"{name} {_shown(old)} -> {_shown(value)}")
    return found


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 20 else f"{text[:9]}...{text[-5:]}"
