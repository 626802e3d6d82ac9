"""The AR face database: one neutral face compared with later, covered ones.

Reference:
    Martinez and Benavente, "The AR Face Database", 1998. Names, shots and clients for evaluation: bob.db.arface.
"""

import pathlib
import re

from fame_jax.data.lists import LineError, each_line, existing_folder, path_inside
from fame_jax.data.records import Dataset, DatasetError, PairRecord, Picture, Problem, dataset_of
from fame_jax.datasets.eyes import Eyes, read_eyes
from fame_jax.datasets.impostors import with_impostors
from fame_jax.datasets.picture_files import picture_files

SHOTS = {"neutral": (14,), "glass": (8, 21), "scarf": (11, 24)}
"""The protocols, and the shots that are probes; shot 1, neutral too, is the gallery."""

GALLERY_SHOT = 1

_MEN = (3, 12, 14, 17, 19, 20, 31, 32, 36, 39, 41, 43, 46, 47, 51, 55, 56, 58, 60, 61, 65, 67, 71, 74)
_WOMEN = (2, 5, 8, 11, 15, 19, 21, 22, 25, 30, 32, 35, 39, 42, 45, 50, 53, 57, 60)

CLIENTS = (*(f"m-{number:03}" for number in _MEN), *(f"w-{number:03}" for number in _WOMEN))
"""The 43 clients for evaluation."""


def read_arface(
    root: pathlib.Path,
    protocol: str | None = None,
    *,
    clients: pathlib.Path | None = None,
    seed: int = 0,
    eyes: pathlib.Path | None = None,
    allow_outside: bool = False,
) -> Dataset:
    """Each client's shot 1 (gallery) with its probes, and as many impostor pairs.

    Args:
        root: with files named like `m-001-05` (man or woman, client, shot) and any ending, in any sub-folder.
        protocol: `neutral` (the default), `glass` or `scarf`.
        clients: list of other clients to evaluate, one a line, like `m-001`; None for `CLIENTS`.
        seed: decides who else each probe is compared with.
        eyes: annotated eyes by path from the root; see `eyes.read_eyes`.
        allow_outside: accept links to files outside root.

    Returns:
        Genuine records named like `m-001-14`, then impostors like `m-001-14 as w-020`.

    Raises:
        DatasetError: if there is no such folder, list or protocol.
    """
    existing_folder(root)
    chosen = protocol or "neutral"
    if chosen not in SHOTS:
        raise DatasetError(f"ARface has no protocol {protocol!r}; expected one of {', '.join(SHOTS)}.")
    problems: list[Problem] = []
    shots = _shots(root, read_eyes(eyes, problems), problems, allow_outside)
    names = CLIENTS if clients is None else each_line(clients, _client, problems)
    galleries, genuine, persons, absent = {}, [], [], []
    for client in dict.fromkeys(names):
        wanted = [f"{client}-{shot:02}" for shot in (GALLERY_SHOT, *SHOTS[chosen])]
        found = [name for name in wanted if name in shots]
        if not found:
            absent.append(client)
            continue
        problems += [Problem(name, "there is no such photograph") for name in wanted if name not in shots]
        if wanted[0] in shots:
            galleries[client] = shots[wanted[0]]
            genuine += [PairRecord(name, shots[name], galleries[client], True) for name in found[1:]]
            persons += [client] * len(found[1:])
    if absent:
        problems.append(Problem(str(root), f"no photographs of {len(absent)} clients: {', '.join(absent)}"))
    records = with_impostors(genuine, galleries, persons, seed)
    return dataset_of(f"arface {chosen}", "pair", records, problems)


def _shots(root: pathlib.Path, eyes: Eyes, problems: list[Problem], allow_outside: bool) -> dict[str, Picture]:
    """Pictures by names like `m-001-05`."""
    found: dict[str, Picture] = {}
    for text in picture_files(root, []):
        name = pathlib.PurePosixPath(text).stem.lower()
        if not re.fullmatch(r"[mw]-\d{3}-\d{2}", name, re.ASCII):
            continue
        try:
            if name in found:
                raise LineError(f"it is there twice, also as {found[name].path}")
            found[name] = eyes.picture(path_inside(root, text, allow_outside=allow_outside), text)
        except LineError as error:
            problems.append(Problem(text, str(error)))
    return found


def _client(line: str) -> str:
    if not re.fullmatch(r"[mw]-\d{3}", line, re.ASCII):
        raise LineError(f"{line[:40]!r} is no client, expected one like m-001")
    return line
