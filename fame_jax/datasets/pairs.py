"""Lists of pairs: CSV files with the columns G (gallery), P (probe) and T (1 genuine, 0 impostor)."""

import importlib.util
import os
import pathlib

from fame_jax.data.lists import LineError, each_row, existing_folder, list_and_folder, path_inside
from fame_jax.data.records import Dataset, DatasetError, PairRecord, Picture, Problem, dataset_of
from fame_jax.datasets.eyes import read_eyes


def read_pairs(
    root: pathlib.Path,
    protocol: str | None = None,
    *,
    crops: pathlib.Path | None = None,
    eyes: pathlib.Path | None = None,
    allow_outside: bool = False,
) -> Dataset:
    """Pairs of a list, in its order.

    Args:
        root: the list itself, whose paths are relative to its folder; or the folder of the images.
        protocol: where root is a folder: the list, by its name in root, with or without `.csv`, or by its path.
        crops: folder of aligned faces in HDF5, for lists that come with such: the image `a/b.jpg` is
            `crops/a_b.h5`, whose `data` is `uint8 [H, W, 3]`, RGB. Needs h5py.
        eyes: annotated eyes; see `eyes.read_eyes`.
        allow_outside: accept files outside the folder.

    Returns:
        Records named `PROBE vs GALLERY`.

    Raises:
        DatasetError: if there is no such list, or h5py is needed and lacks.
    """
    path, folder = list_and_folder(root, protocol)
    if crops is not None and importlib.util.find_spec("h5py") is None:
        raise DatasetError(f"{crops}: reading HDF5 needs h5py: pip install h5py")
    if crops is not None:
        existing_folder(crops)
    problems: list[Problem] = []
    annotated = read_eyes(eyes, problems)

    def picture(text: str) -> Picture:
        if crops is None:
            return annotated.picture(path_inside(folder, text, allow_outside=allow_outside), text)
        crop = f"{os.path.splitext(text)[0].replace('/', '_')}.h5"
        return Picture(path_inside(crops, crop, allow_outside=allow_outside))

    def parse(row: dict[str, str]) -> PairRecord:
        if row["T"] not in ("0", "1"):
            raise LineError(f"T is {row['T'][:40]!r}, expected 1 (genuine) or 0 (impostor)")
        return PairRecord(f"{row['P']} vs {row['G']}", picture(row["P"]), picture(row["G"]), row["T"] == "1")

    records = each_row(path, ("G", "P", "T"), parse, problems)
    return dataset_of(f"pairs {path.stem}", "pair", records, problems)
