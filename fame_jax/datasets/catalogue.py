"""All data sets that are read: what they need, their protocols, and the counts that were published."""

import functools
import inspect
import pathlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from fame_jax.data.records import Dataset, DatasetError, Problem, Task, counts
from fame_jax.datasets.arface import read_arface
from fame_jax.datasets.bob import read_bob
from fame_jax.datasets.cfp import PROTOCOLS as CFP_PROTOCOLS
from fame_jax.datasets.cfp import read_cfp
from fame_jax.datasets.coco import read_coco
from fame_jax.datasets.imagenet import read_imagenet
from fame_jax.datasets.pairs import read_pairs
from fame_jax.datasets.photographs import PROTOCOLS as FOLDER_PROTOCOLS
from fame_jax.datasets.photographs import read_folder, read_list
from fame_jax.datasets.prepared import read_prepared
from fame_jax.datasets.scface import read_scface
from fame_jax.datasets.tfds import read_tfds
from fame_jax.remote import located
from fame_jax.words import did_you_mean

Counts = Mapping[str, int]
"""Expected values of `records.counts`, by name; those that are not there are not compared."""


@dataclass(frozen=True)
class Reader:
    """A row of the table of data sets.

    Attributes:
        read: `(root, protocol, **options) -> Dataset`; its docstring says how the files have to lie.
        task: of its records; None for any.
        protocols: by name, with the published counts; the first is the default. Names of lists are not among them.
        source: where the data set and its counts come from.
    """

    read: Callable[..., Dataset]
    task: Task | None
    protocols: Mapping[str, Counts]
    source: str

    @property
    def options(self) -> tuple[str, ...]:
        """Names of the options that `read` takes."""
        return tuple(
            name
            for name, parameter in inspect.signature(self.read).parameters.items()
            if parameter.kind is parameter.KEYWORD_ONLY
        )

    def expected(self, protocol: str | None) -> Counts:
        """The published counts of a protocol, a list, or the default; empty where there are none."""
        name = pathlib.Path(protocol).name.removesuffix(".csv") if protocol else next(iter(self.protocols), "")
        return self.protocols.get(name, {})


def _balanced(genuine: int) -> Counts:
    return {"records": 2 * genuine, "genuine": genuine, "impostor": genuine}


DATASETS: Mapping[str, Reader] = {
    "imagenet": Reader(
        read_imagenet,
        "class",
        {
            "validation": {"records": 50_000, "classes": 1000, "boxed": 50_000},
            "imagenet": {"records": 5000, "classes": 1000, "boxed": 5000},
            "imagenet_sub": {"records": 1000, "classes": 1000, "boxed": 1000},
        },
        "Russakovsky et al., ImageNet Large Scale Visual Recognition Challenge, 2015; "
        "the lists are those of the published FAME code, five and one photograph a class",
    ),
    "cfp": Reader(
        read_cfp,
        "pair",
        {name: _balanced(350 if "-" in name else 3500) for name in ("FP-01", *CFP_PROTOCOLS)},
        "Sengupta et al., Frontal to Profile Face Verification in the Wild, 2016",
    ),
    "arface": Reader(
        read_arface,
        "pair",
        {"neutral": _balanced(43), "glass": _balanced(86), "scarf": _balanced(86)},
        "Martinez and Benavente, The AR Face Database, 1998; 43 clients for evaluation as in bob.db.arface",
    ),
    "scface": Reader(
        read_scface,
        "pair",
        {name: _balanced(215) for name in ("close", "medium", "far")},
        "Grgic et al., SCface, 2011; 43 clients for evaluation as in bob.db.scface",
    ),
    "bob": Reader(read_bob, "pair", {}, "CSV protocols of bob.bio"),
    "pairs": Reader(read_pairs, "pair", {}, "a CSV file with the columns G, P and T"),
    "folder": Reader(read_folder, "class", {name: {} for name in FOLDER_PROTOCOLS}, "any photographs"),
    "list": Reader(read_list, "class", {}, "a CSV file with the columns image and maybe label and boxes"),
    "coco": Reader(read_coco, "detect", {}, "boxes for a detector in COCO's JSON: images, annotations, categories"),
    "prepared": Reader(read_prepared, None, {}, "what fame prepare has made of any of these"),
}
"""Reader by name of the data set; beside them, `tfds:NAME` stands for what TensorFlow Datasets has prepared."""

TFDS = "tfds:"


def reader(name: str) -> Reader:
    """A row of `DATASETS`.

    Raises:
        DatasetError: for an unknown name; the message gives the nearest ones.
    """
    if name in DATASETS:
        return DATASETS[name]
    if name.startswith(TFDS) and (of_tfds := name.removeprefix(TFDS)):
        read = functools.partial(read_tfds, of_tfds)
        return Reader(read, "class", {}, "TensorFlow Datasets, where it was prepared as ArrayRecord files")
    raise DatasetError(f"no data set is called {name[:40]!r}; {did_you_mean(name, [*DATASETS, f'{TFDS}NAME'])}")


def read(
    name: str,
    root: str | pathlib.Path,
    protocol: str | None = None,
    *,
    expected: Counts | None = None,
    **options: Any,
) -> Dataset:
    """Reads the lists of a data set; the photographs have to be there, and are not opened.

    Args:
        name: of the data set, one of `DATASETS`, or `tfds:NAME`.
        root: its folder, or its list; see the reader's docstring.
        protocol: one of its protocols, or the name of a list; None for the default.
        expected: counts to compare with; None for the published ones, `{}` for none, as with a part of a data set.
        options: of the reader, such as `allow_outside=True`.

    Returns:
        The records, with everything that was left out, and every count that is not the expected one, as problems.

    Raises:
        DatasetError: for an unknown name, protocol or option, and if the folder or a list lacks.
    """
    row = reader(name)
    for option in options:
        if option not in row.options:
            raise DatasetError(f"{name} has no option {option!r}; expected one of {', '.join(row.options)}.")
    dataset = row.read(located(root), protocol, **options)
    wrong = _wrong_counts(dataset, row.expected(protocol) if expected is None else expected)
    return replace(dataset, problems=(*dataset.problems, *wrong))


def _wrong_counts(dataset: Dataset, expected: Counts) -> Iterator[Problem]:
    found = counts(dataset)
    for name, number in expected.items():
        if found[name] != number:
            yield Problem(dataset.name, f"{found[name]} {name}, expected {number}")
