"""A list of one's own: a CSV file with the columns image and, if one likes, label and boxes."""

import pathlib

from fame_jax.data.lists import each_row, list_and_folder, path_inside, whole_number
from fame_jax.data.records import ClassRecord, Dataset, Picture, Problem, dataset_of
from fame_jax.datasets.boxes import boxes
from fame_jax.datasets.endings import with_ending


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
