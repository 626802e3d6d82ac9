"""Reads the runs of `fame run`: maps from the store, pictures from where the records say they lie."""

import pathlib
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from fame_jax.data.classes import class_names
from fame_jax.data.records import ClassRecord, Record, pictures_of
from fame_jax.experiments.store import DONE, FAILED, PENDING, Run, RunError
from fame_jax.explainers.table import EXPLAINERS
from fame_jax.files import sha256
from fame_jax.inputs import Geometry, PictureError, geometry_of, images, question
from fame_jax.report.content import Column, Failure, Item, Layer, Source, Verdict
from fame_jax.report.encoded import encoded_image, encoded_map, outlined
from fame_jax.report.scores import figures
from fame_jax.report.words import layer, method_title
from fame_jax.walk import Status


class _Opened(NamedTuple):
    """A run and what is known of all its records."""

    run: Run
    columns: Mapping[str, np.ndarray]
    figures: Mapping[int, Mapping[str, float]]


def source(folder: pathlib.Path, *, limit: int) -> Source:
    """A run; of its explained records the first `limit` are shown, while scores and failures are of all.

    Raises:
        RunError: for a run that cannot be read.
        ScoreError: for scores that cannot be read.
    """
    run = Run(folder)
    names = ("state", "label", "similarity", "status", "steps", "first_loss", "last_loss", "sha256")
    scores, of_records = figures(run)
    opened = _Opened(run, {name: run.column(name) for name in names}, of_records)
    states = opened.columns["state"]
    reasons = run.failures()
    failures = [
        Failure(run.records[index].name, reasons.get(index, "no reason was kept"))
        for index in np.flatnonzero(states == FAILED).tolist()
    ]
    items, shown = [], np.flatnonzero(states == DONE)[:limit].tolist()
    for index in shown:
        try:
            items.append(_item(opened, index))
        except RunError as error:
            failures.append(Failure(run.records[index].name, f"{error}"))
    return Source(
        folder=folder,
        file="manifest.json",
        title=f"fame run, {run.manifest.get('network', 'unknown network')}, {method_title(_method(run))}",
        manifest=run.manifest,
        items=tuple(items),
        failures=tuple(failures),
        scores=scores,
        total=len(run.records),
        unfinished=int((states == PENDING).sum()),
        inputs=tuple(pair for index in shown for pair in zip(*_hashes(opened, index), strict=True)),
    )


def _item(opened: _Opened, index: int) -> Item:
    record, method = opened.run.records[index], _method(opened.run)
    target = "" if opened.run.task == "pair" else _class_name(opened.run, int(opened.columns["label"][index]))
    layers = {role: _layer(opened, index, position) for position, role in enumerate(opened.run.roles)}
    figures, loss = opened.figures.get(index, {}), _lowered(opened.run)
    column = Column(method, method_title(method), target, layers, figures, loss=loss)
    pictures, problem = _pictures(opened, index)
    facts = [problem] if problem else []
    told = [digest or path for path, digest in zip(*_hashes(opened, index), strict=True)]
    if isinstance(record, ClassRecord):
        boxed = opened.run.task == "detect"
        key = ("class", *told, *(map(str, record.boxes[0]) if boxed else ()))
        return Item("class", record.name, key, pictures, (column,), tuple(facts))
    if record.genuine is not None:
        facts.append("one person" if record.genuine else "two persons")
    network = str(opened.run.manifest.get("network", "unknown network"))
    similarity = float(opened.columns["similarity"][index])
    return Item(
        kind="pair",
        name=record.name,
        key=("pair", *told),
        pictures=pictures,
        columns=(column,),
        facts=tuple(facts),
        verdicts=((network, Verdict(similarity)),) if np.isfinite(similarity) else (),
    )


def _lowered(run: Run) -> str:
    """What walks of classes descend, in a word; that of a method of one's own is a logit."""
    row = EXPLAINERS.get(_method(run))
    if run.task == "detect":
        return "similarity"
    return row.lowers(run.manifest.get("options", {})) if row else "logit"


def _layer(opened: _Opened, index: int, position: int) -> Layer:
    role = opened.run.roles[position]
    status = int(opened.columns["status"][index, position])
    if status == Status.NO_MAP:
        return layer(role, None, None, Status.NO_MAP.message)
    attribution = opened.run.map(index, role)
    first, last = (float(opened.columns[name][index, position]) for name in ("first_loss", "last_loss"))
    return layer(
        role,
        encoded_map(attribution),
        attribution,
        Status(status).message,
        first_loss=first,
        last_loss=last,
        steps=int(opened.columns["steps"][index, position]),
    )


def _pictures(opened: _Opened, index: int) -> tuple[dict[str, bytes], str]:
    """WebP by role, and what is to be said where a picture is not what was explained."""
    record, roles = opened.run.records[index], ("probe", "gallery") if opened.run.task == "pair" else ("photograph",)
    try:
        for path, digest in zip(*_hashes(opened, index), strict=True):
            if digest and sha256(pathlib.Path(path)) != digest:
                return {}, f"The picture cannot be shown: {path} is not the one that was explained"
        chosen = geometry_of(opened.run.manifest)
        found = _boxed(record, chosen) if chosen.task == "detect" else images(record, chosen)
    except (PictureError, ImportError, OSError, KeyError, TypeError) as error:
        return {}, f"The picture cannot be shown: {error}"
    return {role: encoded_image(image) for role, image in zip(roles, found, strict=True)}, ""


def _boxed(record: Record, chosen: Geometry) -> tuple[np.ndarray]:
    """The photograph with its box."""
    asked = question(record, chosen)
    rows, columns = asked.target.shape
    return (outlined(asked.images[0][:rows, :columns], asked.target.box.tolist()),)


def _hashes(opened: _Opened, index: int) -> tuple[list[str], list[str]]:
    """Paths of the pictures of a record and their SHA-256 when they were explained; empty where none was kept."""
    kept = opened.columns["sha256"][index].reshape(-1, 32)
    paths = [str(picture.path) for picture in pictures_of(opened.run.records[index])]
    return paths, [row.tobytes().hex() if row.any() else "" for row in kept]


def _method(run: Run) -> str:
    return str(run.manifest.get("method", "unknown method"))


def _class_name(run: Run, label: int) -> str:
    # Runs of 0.1.0, which keep no names, are of ImageNet's classes.
    names = run.manifest.get("labels", class_names()) or ()
    return names[label] if 0 <= label < len(names) else f"class {label}" if label >= 0 else "unknown class"
