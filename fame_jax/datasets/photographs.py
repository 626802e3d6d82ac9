"""Photographs of one's own: a folder, whose names may say their classes, or a list with labels and boxes."""

import pathlib
import re
from collections.abc import Callable, Sequence

from fame_jax.data.kinds import ENDINGS
from fame_jax.data.lists import LineError, each_row, existing_folder, list_and_folder, path_inside, whole_number
from fame_jax.data.records import ClassRecord, Dataset, DatasetError, Picture, Problem, dataset_of
from fame_jax.datasets.boxes import boxes
from fame_jax.datasets.imagenet import wordnet_ids
from fame_jax.datasets.picture_files import picture_files, with_ending
from fame_jax.remote import is_tar, located

PROTOCOLS = ("auto", "names", "subfolders", "cls", "none")
"""Where labels come from."""


def read_folder(root: pathlib.Path, protocol: str | None = None, *, allow_outside: bool = False) -> Dataset:
    """All photographs in a folder and its sub-folders, in alphabetical order of their paths.

    Args:
        root: the folder, or a tar archive, which counts as one.
        protocol: `names`: the label is the number that a file name starts with, as in `0285_cat.jpg`. `subfolders`:
            the first folder below root is named by label or WordNet id. `cls`: the number in a file beside it that has
            the same name and the ending `.cls`, as in shards of WebDataset. `none`: there are no labels, and whatever
            the network predicts is explained. `auto`, the default: `names` if all files are named like
            `0285_n02124075_cat.jpg`, `subfolders` if all lie below WordNet ids, otherwise `none`.
        allow_outside: follow links to files outside the folder.

    Returns:
        Records named by their paths from the root, with slashes; no boxes. Problems name what else lies there, see
        `picture_files`.

    Raises:
        DatasetError: if there is no such folder, no photograph in it, or no such protocol.
    """
    problems: list[Problem] = []
    names = picture_files(root if is_tar(root) else existing_folder(root), problems)
    if not names:
        first = f" ({problems[0].where}: {problems[0].reason})" if problems else ""
        raise DatasetError(f"{root}: no photographs ({', '.join(ENDINGS)}) are in it{first}.")
    if protocol not in (None, *PROTOCOLS):
        raise DatasetError(f"a folder has no protocol {protocol!r}; expected one of {', '.join(PROTOCOLS)}.")
    chosen = _told(names) if protocol in (None, "auto") else str(protocol)
    label = _labels(chosen, root)
    records = []
    for name in names:
        try:
            path = path_inside(root, name, allow_outside=allow_outside)
            records.append(ClassRecord(name, Picture(path), label(name)))
        except LineError as error:
            problems.append(Problem(name, str(error)))
    told = "no labels" if chosen == "none" else f"labels from {chosen}"
    return dataset_of(f"folder {root.resolve().name} ({told})", "class", records, problems)


def read_list(root: pathlib.Path, protocol: str | None = None, *, allow_outside: bool = False) -> Dataset:
    """Photographs of a list, in its order.

    Args:
        root: the list itself, whose paths are relative to its folder; or the folder of the photographs.
        protocol: where root is a folder: the list, by its name in root, with or without `.csv`, or by its path.
        allow_outside: accept files outside the folder.

    Returns:
        Records named by `image`, or `IMAGE class LABEL` where the list has a label. An empty label stands for whatever
        the network predicts; boxes are groups of `x_min y_min x_max y_max` in pixels, the maxima outside.

    Raises:
        DatasetError: if there is no such list.
    """
    path, folder = list_and_folder(root, protocol)
    problems: list[Problem] = []

    def parse(row: dict[str, str]) -> ClassRecord:
        label = whole_number(row["label"], "label") if row["label"] else None
        picture = Picture(with_ending(path_inside(folder, row["image"], allow_outside=allow_outside)))
        name = row["image"] if label is None else f"{row['image']} class {label}"
        return ClassRecord(name, picture, label, boxes(row["boxes"]))

    records = each_row(path, ("image",), parse, problems, defaults=("label", "boxes"))
    return dataset_of(f"list {path.stem}", "class", records, problems)


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
    if protocol == "cls":
        return lambda name: _label_beside(located(root / name))
    classes = {name: label for label, name in enumerate(wordnet_ids(root))}
    return lambda name: _label_of_folder(name, classes)


def _label_of_name(name: str) -> int:
    found = re.match(r"(\d{1,6})(?!\d)", name.rpartition("/")[2], re.ASCII)
    if not found:
        raise LineError("its name does not start with the number of its class")
    return int(found[1])


def _label_beside(path: pathlib.Path) -> int:
    try:
        return whole_number(path.with_suffix(".cls").read_text(encoding="utf-8").strip(), "its class")
    except (OSError, ValueError) as error:
        raise LineError(f"its class cannot be read from the .cls file beside it ({error})") from None


def _label_of_folder(name: str, classes: dict[str, int]) -> int:
    first = name.partition("/")[0] if "/" in name else ""
    if first in classes:
        return classes[first]
    if re.fullmatch(r"\d{1,6}", first, re.ASCII):
        return int(first)
    raise LineError(f"it lies in the folder {first!r}, expected the WordNet id or number of its class")
