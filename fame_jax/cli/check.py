"""`fame check`: what is missing or damaged in a data set, before any long work."""

import pathlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated

import tyro

from fame_jax.cli.console import InputError, say, say_error
from fame_jax.cli.progress import progress_bar
from fame_jax.cli.records import RecordFlags
from fame_jax.data.images import ImageError, read_image
from fame_jax.data.records import ClassRecord, Dataset, Problem, Record, counts, pictures_of
from fame_jax.datasets.catalogue import DATASETS, TFDS, Counts, reader


@dataclass(frozen=True)
class Check:
    """Read a data set and report by name what is missing, damaged or other than published.

    All lists are read, all files have to be there, and all photographs are decoded. Without a data set, the data sets
    and their protocols are listed.
    """

    dataset: Annotated[str | None, tyro.conf.Positional, tyro.conf.arg(metavar="[DATASET]")] = None
    """Name of the data set: imagenet, cfp, arface, scface, bob, pairs, folder, list, coco, prepared or tfds:NAME."""
    root: Annotated[pathlib.Path | None, tyro.conf.Positional, tyro.conf.arg(metavar="[ROOT]")] = None
    """Its folder; or the list, for pairs, list and coco; or the data directory, for tfds:NAME."""
    quick: bool = False
    """Do not decode the photographs: lists and files only."""
    records: tyro.conf.OmitArgPrefixes[RecordFlags] = field(default_factory=RecordFlags)
    progress: bool = True
    """Show a progress bar."""

    def __call__(self) -> int:
        """Prints counts and problems; 2 if there is a problem."""
        if self.dataset is None:
            _list()
            return 0
        row = reader(self.dataset)
        if self.root is None:
            raise InputError(f"fame check {self.dataset}: the folder is missing; give it after the name.")
        dataset = self.records.read(self.dataset, self.root)
        problems = [*dataset.problems, *(() if self.quick else self._damaged(dataset))]
        for problem in problems:
            say_error(f"{problem.where}: {problem.reason}")
        expected: Counts = {} if self.records.partial else row.expected(self.records.protocol)
        say(f"{dataset.name}: {_listed_counts(dataset, expected)}")
        decoded = "not decoded" if self.quick else "decoded"
        say(f"{len(problems) or 'no'} problem{'' if len(problems) == 1 else 's'}; photographs were {decoded}")
        return 2 if problems else 0

    def _damaged(self, dataset: Dataset) -> Iterator[Problem]:
        """Decodes every photograph once, in the order of the records."""
        records: dict[pathlib.Path, list[Record]] = {}
        for record in dataset.records:
            for picture in pictures_of(record):
                records.setdefault(picture.path, []).append(record)
        with progress_bar(len(records), "photograph", hide=not self.progress) as bar:
            for path, shown in records.items():
                try:
                    height, width = read_image(path).shape[:2]
                    yield from _outside(shown, width, height)
                except ImageError as error:
                    yield Problem(str(path), str(error).removeprefix(f"{path}: "))
                bar.update()


def _outside(records: list[Record], width: int, height: int) -> Iterator[Problem]:
    """Boxes that no pixel of their photograph lies in."""
    for record in records:
        for box in record.boxes if isinstance(record, ClassRecord) else ():
            if box[0] >= width or box[1] >= height:
                yield Problem(record.name, f"the box {' '.join(map(str, box))} lies outside of {width}x{height} pixels")


def _listed_counts(dataset: Dataset, expected: Counts) -> str:
    """Counts, with the published ones beside those that are other."""
    found = counts(dataset).items()
    return ", ".join(f"{n} {name}" + (f" (of {expected[name]})" if name in expected else "") for name, n in found)


def _list() -> None:
    """All data sets, their protocols and sources."""
    for name, row in [*DATASETS.items(), (f"{TFDS}NAME", reader(f"{TFDS}NAME"))]:
        say(f"{name:<9} {row.source}")
        if row.protocols:
            say(f"{'':<9} protocols: {', '.join(row.protocols)}")
