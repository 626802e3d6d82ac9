"""Any folder of photographs, whose names may say their classes."""

import pathlib
import re
from collections.abc import Callable, Sequence

from fame_jax.data.lists import LineError, existing_folder, path_inside
from fame_jax.data.records import ClassRecord, Dataset, DatasetError, Picture, Problem, dataset_of
from fame_jax.datasets.endings import ENDINGS, photographs
from fame_jax.datasets.imagenet import wordnet_ids

PROTOCOLS = ("auto", "names", "subfolders", "none")
"""Where labels come from."""


def read_folder(root: pathlib.Path, protocol: str | None = None, *, allow_outside: bool = False) -> Dataset:
    """All photographs in a folder and its sub-folders, in alphabetical order of their paths.

    Args:
        root: the folder.
        protocol: `names`: the label is the number that a file name starts with, as in `0285_cat.jpg`. `subfolders`:
            the first folder below root is named by label or WordNet id. `none`: there are no labels, and whatever the
            network predicts is explained. `auto`, the default: `names` if all files are named like
            `0285_n02124075_cat.jpg`, `subfolders` if all lie below WordNet ids, otherwise `none`.
        allow_outside: follow links to files outside the folder.

    Returns:
        Records named by their paths from the root, with slashes; no boxes.

    Raises:
        DatasetError: if there is no such folder, no photograph in it, or no such protocol.
    """
    names = photographs(existing_folder(root))
    if not names:
        raise DatasetError(f"{root}: no photographs ({', '.join(ENDINGS)}) are in it.")
    if protocol not in (None, *PROTOCOLS):
        raise DatasetError(f"a folder has no protocol {protocol!r}; expected one of {', '.join(PROTOCOLS)}.")
    chosen = _told(names) if protocol in (None, "auto") else str(protocol)
    label = _labels(chosen, root)
    problems: list[Problem] = []
    records = []
    for name in names:
        try:
            path = path_inside(root, name, allow_outside=allow_outside)
            records.append(ClassRecord(name, Picture(path), label(name)))
        except LineError as error:
            problems.append(Problem(name, str(error)))
    told = "no labels" if chosen == "none" else f"labels from {chosen}"
    return dataset_of(f"folder {root.resolve().name} ({told})", "class", records, problems)


def _told(names: Sequence[str]) -> str:
    if all(re.match(r"\d{1,4}_n\d{8}\b|\d{1,4}_n\d{8}_", name.rpartition("/")[2]) for name in names):
        return "names"
    return "subfolders" if all(re.match(r"n\d{8}/", name) for name in names) else "none"


def _labels(protocol: str, root: pathlib.Path) -> Callable[[str], int | None]:
    """The label of a photograph by its path from the root."""
    if protocol == "none":
        return lambda name: None
    if protocol == "names":
        return _label_of_name
    classes = {name: label for label, name in enumerate(wordnet_ids(root))}
    return lambda name: _label_of_folder(name, classes)


def _label_of_name(name: str) -> int:
    found = re.match(r"(\d{1,6})(?!\d)", name.rpartition("/")[2], re.ASCII)
    if not found:
        raise LineError("its name does not start with the number of its class")
    return int(found[1])


def _label_of_folder(name: str, classes: dict[str, int]) -> int:
    first = name.partition("/")[0] if "/" in name else ""
    if first in classes:
        return classes[first]
    if re.fullmatch(r"\d{1,6}", first, re.ASCII):
        return int(first)
    raise LineError(f"it lies in the folder {first!r}, expected the WordNet id or number of its class")
