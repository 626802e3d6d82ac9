"""SCface: mug shots and surveillance cameras at three distances.

Reference:
    Grgic et al., "SCface: Surveillance Cameras Face Database", 2011. Groups of clients: bob.db.scface.
"""

import os
import pathlib

from fame_jax.data.lists import existing_folder, path_inside
from fame_jax.data.records import Dataset, DatasetError, PairRecord, Picture, Problem, dataset_of
from fame_jax.datasets.eyes import read_eyes
from fame_jax.datasets.impostors import with_impostors
from fame_jax.datasets.picture_files import with_ending

DISTANCES = {"far": 1, "medium": 2, "close": 3}
"""The protocols, and their numbers in the names of files."""

CLIENTS = {"world": range(1, 44), "dev": range(44, 88), "eval": range(88, 131)}
"""Numbers of the clients by group."""

CAMERAS = range(1, 6)
"""Those for daylight."""


def read_scface(
    root: pathlib.Path,
    protocol: str | None = None,
    *,
    group: str = "eval",
    seed: int = 0,
    eyes: pathlib.Path | None = None,
    allow_outside: bool = False,
) -> Dataset:
    """Each client's mug shot (gallery) with its five photographs at a distance (probe), and as many impostor pairs.

    Args:
        root: with the folders `mugshot_frontal_cropped_all` and `surveillance_cameras_distance_1` to `_3`.
        protocol: `close` (the default), `medium` or `far`.
        group: `eval`, `dev` or `world`.
        seed: decides who else each probe is compared with.
        eyes: annotated eyes by path from the root, which distant faces need; see `eyes.read_eyes`.
        allow_outside: accept links to files outside root.

    Returns:
        Genuine records named like `088_cam1_3`, then impostors like `088_cam1_3 as 099`.

    Raises:
        DatasetError: if there is no such folder, protocol or group.
    """
    existing_folder(root)
    chosen = protocol or "close"
    if chosen not in DISTANCES or group not in CLIENTS:
        raise DatasetError(
            f"SCface has no {chosen!r} of {group!r}; expected close, medium or far of eval, dev or world."
        )
    problems: list[Problem] = []
    annotated = read_eyes(eyes, problems)

    def picture(name: str) -> Picture:
        return annotated.picture(with_ending(path_inside(root, name, allow_outside=allow_outside)), name)

    distance = DISTANCES[chosen]
    folder = f"surveillance_cameras_distance_{distance}"
    cameras = {camera: f"{folder}/{_camera_folder(root / folder, camera)}" for camera in CAMERAS}
    galleries, genuine, persons, absent = {}, [], [], []
    for client in (f"{number:03}" for number in CLIENTS[group]):
        mug_shot = picture(f"mugshot_frontal_cropped_all/{client}_frontal")
        names = {camera: f"{client}_cam{camera}_{distance}" for camera in CAMERAS}
        probes = {name: picture(f"{cameras[camera]}/{name}") for camera, name in names.items()}
        if not any(os.path.isfile(one.path) for one in (mug_shot, *probes.values())):
            absent.append(client)
            continue
        galleries[client] = mug_shot
        genuine += [PairRecord(name, probe, mug_shot, True) for name, probe in probes.items()]
        persons += [client] * len(probes)
    if absent:
        problems.append(Problem(str(root), f"no photographs of {len(absent)} clients: {', '.join(absent)}"))
    records = with_impostors(genuine, galleries, persons, seed)
    return dataset_of(f"scface {chosen}", "pair", records, problems)


def _camera_folder(folder: pathlib.Path, camera: int) -> str:
    """Copies differ in an underscore."""
    return f"cam_{camera}" if (folder / f"cam_{camera}").is_dir() else f"cam{camera}"
