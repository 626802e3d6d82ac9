"""Games with ground truth for pairs of faces: what makes them dissimilar once a part of one is changed?

Region swap: in a genuine pair, the eyes, nose or mouth of the aligned probe are replaced by the same part of another
person's face, feathered. The map e- of the probe should lie there: its share of the map over its share of the face, 1
by chance, and that minus the same before the swap. After Huber et al., WACV 2024, who patch faces that are not aligned.

Sunglasses: a black bar lies over the eyes of the probe. e- should lie on it, and e+ keep away from it: nothing that
makes faces similar is seen there.
"""

import pathlib
from collections.abc import Sequence
from dataclasses import replace

import jax.numpy as jnp
import numpy as np

from fame_jax import metrics
from fame_jax.data.faces import SUNGLASSES, sunglasses
from fame_jax.data.images import save_png
from fame_jax.data.records import Dataset, PairRecord, Picture
from fame_jax.experiments.store import DONE, Run
from fame_jax.explainers.explainer import MAPS
from fame_jax.image import gaussian_blur
from fame_jax.inputs import PictureError, geometry, images
from fame_jax.metrics.iou import box_masks
from fame_jax.models import Card
from fame_jax.walk import Status

REGIONS = {"eyes": (24, 40, 88, 62), "nose": (44, 56, 68, 82), "mouth": (36, 82, 76, 104)}
"""`x_min, y_min, x_max, y_max` in an aligned face of 112x112, the maxima outside."""


def datasets(pairs: Dataset, card: Card, seed: int, folder: pathlib.Path) -> dict[str, Dataset]:
    """Genuine pairs `before`, with a part of the probe `swapped`, the regions in turn, and behind `sunglasses`."""
    genuine = [record for record in pairs.records if isinstance(record, PairRecord) and record.genuine]
    folder.mkdir(parents=True, exist_ok=True)
    faces = []
    for record in genuine:
        try:
            faces.append((record, images(record, geometry(card))))
        except PictureError:
            continue
    swapped, before, covered = [], [], []
    others = _others(_people([record for record, _ in faces]), seed)
    for number, ((record, (probe, gallery)), other) in enumerate(zip(faces, others, strict=True)):
        if other is None:
            continue
        region = [*REGIONS][number % len(REGIONS)]
        patched = with_region(jnp.asarray(probe), jnp.asarray(faces[other][1][0]), region)
        paths = [folder / f"{number}-{kind}.png" for kind in ("swapped", "before", "gallery", "sunglasses")]
        for path, face in zip(paths, (patched, probe, gallery, sunglasses(probe).image), strict=True):
            save_png(path, np.asarray(face))
        kept = replace(record, name=f"{number}-{region}", gallery=Picture(paths[2]))
        swapped.append(replace(kept, probe=Picture(paths[0])))
        before.append(replace(kept, probe=Picture(paths[1])))
        covered.append(replace(kept, name=f"{number}-sunglasses", probe=Picture(paths[3])))
    return {
        "swapped": Dataset("swapped regions", "pair", tuple(swapped)),
        "before": Dataset("no region swapped", "pair", tuple(before)),
        "sunglasses": Dataset("sunglasses", "pair", tuple(covered)),
    }


def with_region(face: jnp.ndarray, other: jnp.ndarray, region: str) -> jnp.ndarray:
    """A face `[112, 112, 3]` with a region of another, feathered over a few pixels."""
    share = gaussian_blur(jnp.asarray(mask(region), face.dtype), 13, 2.0)[..., None]
    return share * other + (1 - share) * face


def mask(region: str) -> np.ndarray:
    """`bool [112, 112]`."""
    box = {**REGIONS, "sunglasses": SUNGLASSES}[region]
    return np.asarray(box_masks(np.array([box], np.float64), 112, 112)[0])


def ratios(changed: Run, before: Run, role: str) -> dict[str, dict[str, float]]:
    """By pair: share of a map on the region over the region's share of the face, and its rise by the change."""
    found: dict[str, dict[str, float]] = {"ratio": {}, "rise": {}}
    # Not all methods have e-.
    place, runs = MAPS["pair"].index(role), (changed, before)
    done = [(run.column("state") == DONE) & (run.column("status")[:, place] != Status.NO_MAP) for run in runs]
    for index in np.flatnonzero(np.logical_and(*done)):
        name = changed.records[index].name
        region = mask(name.split("-")[1])
        after, earlier = (float(metrics.concentration(jnp.asarray(run.map(index, role)), region).ratio) for run in runs)
        found["ratio"][name], found["rise"][name] = after, after - earlier
    return found


def _people(genuine: Sequence[PairRecord]) -> list[int]:
    """Who is on each pair, as a number: pairs that share a picture, be it by way of others, are of one person."""
    person: dict[str, int] = {}
    for number, record in enumerate(genuine):
        paths = [str(picture.path) for picture in (record.probe, record.gallery)]
        known = {person[path] for path in paths if path in person}
        person |= {path: number for path in (*paths, *(path for path, who in person.items() if who in known))}
    return [person[str(record.probe.path)] for record in genuine]


def _others(people: Sequence[int], seed: int) -> list[int | None]:
    """The pair of somebody else for everybody, each in turn as far as that can be; None where there is nobody else."""
    order = np.random.default_rng(seed).permutation(len(people))
    others: list[int | None] = [None] * len(people)
    for place, one in enumerate(order):
        before = (int(order[place - step]) for step in range(1, len(people)))
        others[one] = next((other for other in before if people[other] != people[one]), None)
    return others
