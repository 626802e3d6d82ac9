"""Protocols of the Bob toolbox: CSV lists of the faces to enrol and the faces to compare with them.

Reference:
    bob.bio.base, "CSV interface": `PROTOCOL/GROUP/for_models.csv` and `for_probes.csv`.
"""

import pathlib
from typing import Literal, NamedTuple

from fame_jax.data.lists import LineError, each_row, existing_folder, path_inside
from fame_jax.data.records import Dataset, DatasetError, PairRecord, Picture, Problem, dataset_of
from fame_jax.datasets.eyes import eyes_of
from fame_jax.datasets.impostors import with_impostors
from fame_jax.datasets.picture_files import with_ending


class Face(NamedTuple):
    """A row of a list."""

    text: str
    picture: Picture
    person: str
    template: str


def read_bob(
    root: pathlib.Path,
    protocol: str | None = None,
    *,
    lists: pathlib.Path | None = None,
    group: Literal["dev", "eval"] = "eval",
    impostors: Literal["all", "balanced"] = "all",
    seed: int = 0,
    allow_outside: bool = False,
) -> Dataset:
    """Every model (gallery) with every probe; a pair is genuine where the REFERENCE_ID is one.

    A model of several faces is represented by the first of them.

    Args:
        root: folder of the images, which PATH is relative to, with or without ending.
        protocol: name of the folder with the lists; it may be left out if there is one only.
        lists: folder of the protocols, if it is not root.
        group: of clients.
        impostors: `balanced` takes as many impostor pairs as genuine ones, each probe with one other model.
        seed: decides which.
        allow_outside: accept files outside root.

    Returns:
        Records named `PROBE vs TEMPLATE`, or for balanced ones `PROBE` and `PROBE as PERSON`.

    Raises:
        DatasetError: if a folder or list lacks, or there is no such protocol.
    """
    existing_folder(root)
    folder = _protocol(existing_folder(lists) if lists else root, protocol, group)
    problems: list[Problem] = []

    def parse(row: dict[str, str]) -> Face:
        if not row["REFERENCE_ID"]:
            raise LineError("its REFERENCE_ID is empty")
        path = with_ending(path_inside(root, row["PATH"], allow_outside=allow_outside))
        return Face(row["PATH"], Picture(path, eyes_of(row)), row["REFERENCE_ID"], row["TEMPLATE_ID"])

    models, probes = (
        each_row(folder / group / name, ("PATH", "REFERENCE_ID"), parse, problems, defaults=("TEMPLATE_ID",))
        for name in ("for_models.csv", "for_probes.csv")
    )
    enrolled: dict[str, Face] = {}
    for face in models:
        enrolled.setdefault(face.template or face.person, face)
    records = _all(enrolled, probes) if impostors == "all" else _balanced(enrolled, probes, seed)
    return dataset_of(f"bob {folder.name} {group}", "pair", records, problems)


def _protocol(folder: pathlib.Path, name: str | None, group: str) -> pathlib.Path:
    known = sorted(path.parent.parent for path in folder.glob(f"*/{group}/for_models.csv"))
    if name is None and len(known) == 1:
        return known[0]
    chosen = [path for path in known if path.name == name]
    if not chosen:
        shown = ", ".join(path.name for path in known) or f"none (PROTOCOL/{group}/for_models.csv)"
        raise DatasetError(f"{folder}: no protocol {name!r}; there are {shown}.")
    return chosen[0]


def _all(models: dict[str, Face], probes: list[Face]) -> list[PairRecord]:
    return [
        PairRecord(f"{probe.text} vs {name}", probe.picture, model.picture, probe.person == model.person)
        for probe in probes
        for name, model in models.items()
    ]


def _balanced(models: dict[str, Face], probes: list[Face], seed: int) -> list[PairRecord]:
    galleries: dict[str, Picture] = {}
    for model in models.values():
        galleries.setdefault(model.person, model.picture)
    known = [probe for probe in probes if probe.person in galleries]
    genuine = [PairRecord(probe.text, probe.picture, galleries[probe.person], True) for probe in known]
    return with_impostors(genuine, galleries, [probe.person for probe in known], seed)
