"""Celebrities in Frontal-Profile (CFP): pairs of two frontal faces (FF), or a frontal and a profile one (FP).

Reference:
    Sengupta et al., "Frontal to Profile Face Verification in the Wild", WACV 2016; the files' own Readme.
"""

import os
import pathlib

from fame_jax.data.lists import LineError, each_line, existing_folder, numbered_lines, path_inside, whole_number
from fame_jax.data.records import Dataset, DatasetError, PairRecord, Picture, Problem, dataset_of
from fame_jax.datasets.eyes import Eyes, read_eyes
from fame_jax.remote import Remote

FOLDS = tuple(f"{fold:02}" for fold in range(1, 11))
"""Names of the ten folds."""

PROTOCOLS = (*(f"{kind}-{fold}" for kind in ("FF", "FP") for fold in FOLDS), "FF", "FP")
"""One fold, as in the paper (01), or all ten, as the data set's authors have it."""


def read_cfp(
    root: pathlib.Path,
    protocol: str | None = None,
    *,
    eyes: pathlib.Path | None = None,
    allow_outside: bool = False,
) -> Dataset:
    """Pairs of one fold or of all; of a line `a,b`, a is the gallery face and b the probe.

    Args:
        root: with the folders `Data/Images` and `Protocol`.
        protocol: one of `PROTOCOLS`; `FP-01` by default.
        eyes: annotated eyes by path from the root; see `eyes.read_eyes`.
        allow_outside: accept files outside root.

    Returns:
        Records named like `FP-01 same 001`, after their line, in the order of the lists.

    Raises:
        DatasetError: if a list lacks, or there is no such protocol.
    """
    existing_folder(root)
    kind, folds = _parts(protocol or "FP-01")
    problems: list[Problem] = []
    annotated = read_eyes(eyes, problems)
    lists = {side: _pictures(root, side, annotated, problems, allow_outside) for side in sorted({"F", kind[1]})}
    records = []
    for fold in folds:
        for word, genuine in (("same", True), ("diff", False)):
            path = root / "Protocol" / "Split" / kind / fold / f"{word}.txt"
            pairs = numbered_lines(path, lambda line: _pair(line, lists["F"], lists[kind[1]]), problems)
            records += [
                PairRecord(f"{kind}-{fold} {word} {number:03}", probe, gallery, genuine)
                for number, (gallery, probe) in pairs
            ]
    return dataset_of(f"cfp {protocol or 'FP-01'}", "pair", records, problems)


def _parts(protocol: str) -> tuple[str, tuple[str, ...]]:
    """Kind and folds."""
    if protocol not in PROTOCOLS:
        raise DatasetError(f"CFP has no protocol {protocol!r}; expected FF-01 to FF-10, FP-01 to FP-10, FF or FP.")
    kind, _, fold = protocol.partition("-")
    return kind, (fold,) if fold else FOLDS


def _pictures(
    root: pathlib.Path, side: str, eyes: Eyes, problems: list[Problem], allow_outside: bool
) -> dict[int, Picture]:
    """Pictures of `Pair_list_F.txt` or `Pair_list_P.txt` by their number; paths are relative to the list."""
    # As `path_inside` has it.
    folder, base = root / "Protocol", root if isinstance(root, Remote) else pathlib.Path(os.path.normpath(root))

    def parse(line: str) -> tuple[int, Picture]:
        number, _, text = line.partition(" ")
        path = path_inside(root, text.strip(), start=folder, allow_outside=allow_outside)
        name = path.relative_to(base).as_posix() if path.is_relative_to(base) else str(path)
        return whole_number(number, "the number", least=1), eyes.picture(path, name)

    return dict(each_line(folder / f"Pair_list_{side}.txt", parse, problems))


def _pair(line: str, first: dict[int, Picture], second: dict[int, Picture]) -> tuple[Picture, Picture]:
    words = line.split(",")
    if len(words) != 2:
        raise LineError(f"{line[:40]!r} is no pair, expected two numbers with a comma between")
    numbers = [whole_number(word.strip(), "a number", least=1) for word in words]
    for number, pictures in zip(numbers, (first, second), strict=True):
        if number not in pictures:
            raise LineError(f"the list of pictures has no number {number}")
    return first[numbers[0]], second[numbers[1]]
