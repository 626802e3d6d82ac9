"""Reads the runs of `fame run`: maps from the store, pictures from where the records say they lie."""

import pathlib
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from fame_jax import models
from fame_jax.data.classes import class_names
from fame_jax.data.encoded import encoded_image, encoded_map
from fame_jax.data.faces import align_eyes, load_face
from fame_jax.data.images import load, read_image
from fame_jax.data.records import ClassRecord, Picture, Record
from fame_jax.experiments.store import DONE, FAILED, PENDING, Run, RunError
from fame_jax.report.content import Column, Failure, Item, Layer, Source
from fame_jax.report.scores import Scores, read_scores, summary
from fame_jax.report.words import layer, method_title
from fame_jax.walk import Status

_NO_MAP = -1
_OTHER_STATUSES = {_NO_MAP: "the method has no such map", 100: "blank map"}


class _Opened(NamedTuple):
    """A run and what is known of all its records."""

    run: Run
    manifest: Mapping[str, Any]
    columns: Mapping[str, np.ndarray]
    scores: Scores


def source(folder: pathlib.Path, *, limit: int) -> Source:
    """A run; of its explained records the first `limit` are shown, while scores and failures are of all.

    Raises:
        RunError: for a run that cannot be read.
    """
    run = Run(folder)
    manifest = {**run.manifest.get("provenance", {}), **run.manifest}
    names = ("state", "label", "similarity", "status", "steps", "first_loss", "last_loss")
    opened = _Opened(run, manifest, {name: run.column(name) for name in names}, read_scores(folder))
    states = opened.columns["state"]
    reasons = run.failures()
    failures = [
        Failure(run.records[index].name, reasons.get(index, "no reason was kept"))
        for index in np.flatnonzero(states == FAILED).tolist()
    ]
    items = []
    for index in np.flatnonzero(states == DONE)[:limit].tolist():
        try:
            items.append(_item(opened, index))
        except RunError as error:
            failures.append(Failure(run.records[index].name, f"{error}"))
    return Source(
        folder=folder,
        file="manifest.json",
        title=f"fame run, {manifest.get('network', 'unknown network')}, {method_title(_method(manifest))}",
        manifest=manifest,
        items=tuple(items),
        failures=tuple(failures),
        scores=summary(opened.scores),
        total=len(run.records),
        unfinished=int((states == PENDING).sum()),
    )


def _item(opened: _Opened, index: int) -> Item:
    record, method = opened.run.records[index], _method(opened.manifest)
    target = "" if opened.run.task == "pair" else _class_name(int(opened.columns["label"][index]))
    layers = {role: _layer(opened, index, position) for position, role in enumerate(opened.run.maps)}
    column = Column(method, method_title(method), target, layers, opened.scores.of_record(index))
    pictures, problem = _pictures(record, opened.manifest)
    facts = [problem] if problem else []
    if isinstance(record, ClassRecord):
        return Item("class", record.name, ("class", str(record.picture.path)), pictures, (column,), tuple(facts))
    if record.genuine is not None:
        facts.append("one person" if record.genuine else "two persons")
    similarity = float(opened.columns["similarity"][index])
    return Item(
        kind="pair",
        name=record.name,
        key=("pair", str(record.probe.path), str(record.gallery.path)),
        pictures=pictures,
        columns=(column,),
        facts=tuple(facts),
        similarity=similarity if np.isfinite(similarity) else None,
    )


def _layer(opened: _Opened, index: int, position: int) -> Layer:
    role = opened.run.maps[position]
    status = int(opened.columns["status"][index, position])
    if status == _NO_MAP:
        return layer(role, None, None, _OTHER_STATUSES[status])
    map = opened.run.map(index, role)
    first, last = (float(opened.columns[name][index, position]) for name in ("first_loss", "last_loss"))
    return layer(
        role,
        encoded_map(map),
        map,
        _status(status),
        first_loss=first,
        last_loss=last,
        steps=int(opened.columns["steps"][index, position]),
    )


def _status(code: int) -> str:
    return _OTHER_STATUSES.get(code) or (Status(code).message if code in list(Status) else f"unknown status {code}")


def _pictures(record: Record, manifest: Mapping[str, Any]) -> tuple[dict[str, bytes], str]:
    """WebP by role, and what is to be said where a picture is not what it was."""
    try:
        return {role: encoded_image(image) for role, image in _images(record, manifest)}, ""
    except (ValueError, OSError, KeyError) as error:
        return {}, f"The picture cannot be shown: {error}"


def _images(record: Record, manifest: Mapping[str, Any]) -> Iterator[tuple[str, np.ndarray]]:
    if isinstance(record, ClassRecord):
        card = models.entry(manifest["network"])
        yield "photograph", load(record.picture.path, manifest.get("resize") or card.resize, card.size)
    else:
        yield "probe", _face(record.probe)
        yield "gallery", _face(record.gallery)


def _face(picture: Picture) -> np.ndarray:
    if picture.eyes is None:
        return load_face(picture.path).image
    return align_eyes(read_image(picture.path), *map(np.asarray, picture.eyes))


def _method(manifest: Mapping[str, Any]) -> str:
    return str(manifest.get("method", "unknown method"))


def _class_name(label: int) -> str:
    names = class_names()
    return names[label] if 0 <= label < len(names) else f"class {label}" if label >= 0 else "unknown class"
