"""Which pixels make YuNet see a face, and are they those that SFace compares? FAME against D-RISE, too.

    python scripts/study_detections.py FACES --number 40

FACES is a folder of photographs with two or more of each person, named PERSON_NUMBER.jpg.
"""

import pathlib
import sys
import time
from collections import defaultdict
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np
import tyro

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1]))

from region_swap import REGIONS

import fame_jax
from fame_jax import detection, models
from fame_jax.data.faces import load_face, sunglasses
from fame_jax.data.images import read_image
from fame_jax.explainers.rise import rise
from fame_jax.metrics import box_masks, deletion, energy_inside, insertion
from fame_jax.metrics.statistics import estimate, spearman

STEPS = 25
FRACTIONS = [0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0]


def walk_of(network, image, place):
    """FAME of one detection."""
    return fame_jax.explain(fame_jax.class_logit, image, network, place, iterations=STEPS)


each = jax.jit(walk_of)


def walk(network, image):
    """FAME of the first detection."""
    return each(network, image, 0)


all_boxes = jax.jit(jax.vmap(walk_of, (None, None, 0)))


@jax.jit
def in_turn(network, image, places):
    """FAME of all detections, one after the other in one call."""
    return jax.lax.map(lambda place: walk_of(network, image, place), places)


@jax.jit
def e_plus(network, image, reference):
    """Why the image resembles another face."""
    return fame_jax.explain(fame_jax.similarity, image, network, reference, iterations=STEPS).attribution


@jax.jit
def d_rise(network, image):
    """D-RISE with 1000 masks of the first detection."""
    return rise(network, image, 0, key=jax.random.key(0), masks=1000, score="logit")


@jax.jit
def areas(network, image, attribution):
    """Areas under deletion and insertion of the similarity."""
    of = {"fractions": FRACTIONS, "score": "logit"}
    return [curve(network, image, attribution, 0, **of).auc for curve in (deletion, insertion)]


def seen(image):
    """The network of the best detection of an image, and its score; None if there is none."""
    detector = detection.yunet(*image.shape[:2])
    found = detection.detections(detector, image, threshold=0.1)
    return (detection.detected(detector, found[:1]), found[0].score) if found else None


def of_crops(paths, figures):
    """Detections of aligned faces, beside SFace's e+ against another photograph of the person."""
    sface, people = models.load("sface"), defaultdict(list)
    masks = dict(zip(REGIONS, box_masks(np.array(list(REGIONS.values())), 112, 112), strict=True))
    maps, matches, whose = [], [], []
    masks["elsewhere"] = ~np.any(list(masks.values()), axis=0)
    for path in paths:
        people[path.stem.rpartition("_")[0] or path.stem.rstrip("0123456789")].append(load_face(path).image)
    for person, faces in people.items():
        for face, other in zip(faces, faces[1:] + faces[:1], strict=True):
            of_face = seen(face)
            if of_face is None or len(faces) < 2:
                continue
            network, score = of_face
            why = np.asarray(walk(network, jnp.asarray(face)).attribution)
            match = np.asarray(e_plus(sface, jnp.asarray(face), jax.jit(sface)(jnp.asarray(other))))
            maps.append(why)
            matches.append(match)
            whose.append(person)
            for name, mask in masks.items():
                area = f"({mask.mean():.0%} of the crop)"
                figures[f"share of YuNet's map on {name} {area}"].append(float(energy_inside(why, mask)))
                figures[f"share of e+ on {name} {area}"].append(float(energy_inside(match, mask)))
            figures["score"].append(score)
            scarf = np.array(face)
            scarf[76:] = 0
            for worn, image in (("sunglasses", sunglasses(face).image), ("a scarf", scarf)):
                of_image = seen(image)
                figures[f"found with {worn}"].append(float(of_image is not None and of_image[1] >= 0.6))
                if of_image is None:
                    continue
                hidden = np.asarray(walk(of_image[0], jnp.asarray(image)).attribution)
                figures[f"score lost to {worn}"].append(score - of_image[1])
                figures[f"rank correlation of the map with that with {worn}"].append(spearman(why, hidden))
                for name, mask in masks.items():
                    figures[f"share on {name} with {worn}"].append(float(energy_inside(hidden, mask)))
    figures["rank correlation of YuNet's map with its e+"] = list(map(spearman, maps, matches))
    for place, why in enumerate(maps):
        following = [*range(place + 1, len(maps)), *range(place)]
        if other := [one for one in following if whose[one] != whose[place]]:
            figures["rank correlation of YuNet's map with another person's e+"].append(spearman(why, matches[other[0]]))


def against_d_rise(paths, figures):
    """FAME and D-RISE of whole photographs, all of one size."""
    warm = False
    for path in paths:
        image = jnp.asarray(read_image(path))
        if (found := seen(image)) is None:
            continue
        network = found[0]
        for name, method in (("FAME", lambda *one: walk(*one).attribution), ("D-RISE", d_rise)):
            if not warm:
                jax.block_until_ready(method(network, image))
            start = time.perf_counter()
            attribution = jax.block_until_ready(method(network, image))
            figures[f"{name}: seconds"].append(time.perf_counter() - start)
            removed, shown = areas(network, image, attribution)
            figures[f"{name}: deletion"].append(float(removed))
            figures[f"{name}: insertion"].append(float(shown))
        warm = True
    for metric in ("deletion", "insertion"):
        pairs = zip(figures[f"FAME: {metric}"], figures[f"D-RISE: {metric}"], strict=True)
        figures[f"FAME - D-RISE: {metric}"] = [one - other for one, other in pairs]


def at_once(paths, figures):
    """All boxes of a photograph with ten faces in one call, against a call for each."""
    for start in range(0, len(paths), 10):
        faces = [read_image(path)[::2, ::2] for path in paths[start : start + 10]]
        if len(faces) < 10:
            continue
        image = jnp.asarray(np.concatenate([np.concatenate(faces[:5], 1), np.concatenate(faces[5:], 1)]))
        detector = detection.yunet(*image.shape[:2])
        if len(found := detection.detections(detector, image)) < 10:
            continue
        network, places = detection.detected(detector, found[:10]), jnp.arange(10)
        calls = {"ten calls": (each, [(network, image, place) for place in places])}
        for name, program in (("one call", all_boxes), ("one call, in turn", in_turn)):
            calls[name] = program, [(network, image, places)]
        for name, (program, arguments) in calls.items():
            figures[f"ten faces, seconds in {name}"].append(timed(program.lower(*arguments[0]).compile(), arguments))
        ten = figures["ten faces, seconds in ten calls"][-1]
        for name in ("one call", "one call, in turn"):
            figures[f"ten faces, {name} over ten calls"].append(figures[f"ten faces, seconds in {name}"][-1] / ten)


def timed(program, calls):
    """Seconds of calls, one after the other."""
    begun = time.perf_counter()
    for arguments in calls:
        jax.block_until_ready(program(*arguments))
    return time.perf_counter() - begun


def main(
    faces: Annotated[pathlib.Path, tyro.conf.Positional],
    /,
    number: int = 40,
    photographs: int = 20,
    groups: int = 5,
) -> None:
    """Prints means with bootstrap intervals of 95 %.

    Args:
        faces: folder of photographs with two or more of each person, named PERSON_NUMBER.jpg.
        number: of them, for the parts of the face and what covers them.
        photographs: of them, all of one size, for D-RISE; 0 for none.
        groups: of ten of them, put together to photographs of ten faces and timed; 0 for none.
    """
    paths, figures = sorted(faces.glob("*.jpg")), defaultdict(list)
    of_crops(paths[:number], figures)
    if photographs:
        against_d_rise(paths[:photographs], figures)
    at_once(paths[: 10 * groups], figures)
    for name, values in figures.items():
        found = estimate(np.array(values))
        print(f"{name}: {found.mean:.3f} [{found.low:.3f}, {found.high:.3f}], {found.number}")


if __name__ == "__main__":
    tyro.cli(main)
