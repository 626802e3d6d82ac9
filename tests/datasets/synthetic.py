"""Small copies of the data sets' folder layouts, with few, small and distinct photographs.

Each function fills a folder and returns a `Copy`: where it is, and the counts of its protocols, to compare with in
place of the published ones: `read("cfp", copy.root, "FP-01", expected=copy.expected["FP-01"])`, or `expected={}`.
"""

import json
import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

from fame_jax.datasets.imagenet import wordnet_ids
from fame_jax.datasets.photographs import read_folder
from fame_jax.datasets.prepared import prepare

SIDE = 112


class Copy(NamedTuple):
    """A copy of a data set's layout."""

    root: pathlib.Path
    expected: dict[str, dict[str, int]]


def pattern(seed: Sequence[int], height: int, width: int, variation: Sequence[int] = ()) -> np.ndarray:
    """A smooth random picture, `uint8 [H, W, 3]`; with `variation`, another one a little different."""
    coarse = np.random.default_rng([*seed]).integers(0, 256, (6, 6, 3), dtype=np.uint8).astype(np.int64)
    if variation:
        coarse += np.random.default_rng([*seed, *variation]).integers(-20, 21, coarse.shape)
    levels = np.clip(coarse, 0, 255).astype(np.uint8)
    return np.asarray(Image.fromarray(levels).resize((width, height), Image.Resampling.BICUBIC))


def face(person: int, shot: int, covered: str = "") -> np.ndarray:
    """A pattern in place of an aligned face, `uint8 [112, 112, 3]`; `covered` by `glass` or a `scarf`."""
    levels = pattern([1, person], SIDE, SIDE, [shot]).copy()
    if covered == "glass":
        levels[42:62, 22:90] = 0
    elif covered == "scarf":
        levels[70:] = 90
    return levels


def save(path: pathlib.Path, levels: np.ndarray) -> pathlib.Path:
    """Writes a picture, and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(levels).save(path, **({"quality": 95} if path.suffix.lower() in (".jpg", ".jpeg") else {}))
    return path


def write(path: pathlib.Path, lines: Sequence[str]) -> pathlib.Path:
    """Writes a list, and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def balanced(genuine: int) -> dict[str, int]:
    """Counts of as many impostor pairs as genuine ones."""
    return {"records": 2 * genuine, "genuine": genuine, "impostor": genuine}


def imagenet(root: pathlib.Path, photographs: int = 6, classes: int = 3, height: int = 60, width: int = 80) -> Copy:
    """ImageNet's validation set as Kaggle packs it: photographs, XML files, solution, mapping, and `imagenet_sub.csv`.

    Photograph i is of class i modulo `classes`; every other one has two boxes, and the fourth is upright.
    """
    ids = wordnet_ids()[:classes]
    write(root / "LOC_synset_mapping.txt", [f"{name} class {label}" for label, name in enumerate(ids)])
    rows, sub = [], {}
    for i in range(photographs):
        label, name = i % classes, f"ILSVRC2012_val_{i + 1:08}"
        high, wide = (width, height) if i == 3 else (height, width)
        save(root / f"ILSVRC/Data/CLS-LOC/val/{name}.JPEG", pattern([0, i], high, wide))
        boxes = [(5, 6, wide // 2, high // 2), (wide // 2, high // 2, wide - 4, high)][: 1 + i % 2]
        objects = "".join(_object(ids[label], box) for box in boxes)
        size = f"<size><width>{wide}</width><height>{high}</height><depth>3</depth></size>"
        xml = f"<annotation><filename>{name}</filename>{size}{objects}</annotation>"
        write(root / f"ILSVRC/Annotations/CLS-LOC/val/{name}.xml", [xml])
        row = f"{name}," + " ".join(f"{ids[label]} {' '.join(map(str, box))}" for box in boxes) + " "
        rows.append(row)
        sub.setdefault(label, f"{row},{label}")
    write(root / "LOC_val_solution.csv", ["ImageId,PredictionString", *reversed(rows)])
    write(root / "imagenet_sub.csv", ["ImageId,PredictionString,target", *sub.values()])
    one_each = min(classes, photographs)
    return Copy(
        root,
        {
            "validation": {"records": photographs, "classes": one_each, "boxed": photographs},
            "imagenet_sub": {"records": one_each, "classes": one_each, "boxed": one_each},
        },
    )


def _object(name: str, box: tuple[int, ...]) -> str:
    sides = zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True)
    return f"<object><name>{name}</name><bndbox>{''.join(f'<{s}>{v}</{s}>' for s, v in sides)}</bndbox></object>"


def cfp(root: pathlib.Path, subjects: int = 3, folds: int = 10) -> Copy:
    """CFP with two frontal faces and a profile of each subject; a fold has a pair of each subject, same and diff."""
    frontal, profile = [], []
    for subject in range(1, subjects + 1):
        folder = root / f"Data/Images/{subject:03}"
        for shot in (1, 2):
            save(folder / f"frontal/{shot:02}.jpg", face(subject, shot))
            frontal.append(f"../Data/Images/{subject:03}/frontal/{shot:02}.jpg")
        save(folder / "profile/01.jpg", face(subject, 11))
        profile.append(f"../Data/Images/{subject:03}/profile/01.jpg")
    for side, paths in (("F", frontal), ("P", profile)):
        write(root / f"Protocol/Pair_list_{side}.txt", [f"{i} {path}" for i, path in enumerate(paths, 1)])
    others = [subject % subjects + 1 for subject in range(1, subjects + 1)]
    for fold in range(1, folds + 1):
        split = root / "Protocol/Split"
        owns = range(1, subjects + 1)
        write(split / f"FF/{fold:02}/same.txt", [f"{2 * own - 1},{2 * own}" for own in owns])
        write(split / f"FP/{fold:02}/same.txt", [f"{2 * own - 1},{own}" for own in owns])
        write(split / f"FF/{fold:02}/diff.txt", [f"{2 * own},{2 * o}" for own, o in zip(owns, others, strict=True)])
        write(split / f"FP/{fold:02}/diff.txt", [f"{2 * own},{o}" for own, o in zip(owns, others, strict=True)])
    single = {f"{kind}-{fold:02}": balanced(subjects) for kind in ("FF", "FP") for fold in range(1, folds + 1)}
    return Copy(root, single | {kind: balanced(folds * subjects) for kind in ("FF", "FP")})


def arface(root: pathlib.Path, clients: Sequence[str] = ("m-003", "m-012", "w-002")) -> Copy:
    """ARface with the shots of the protocols, and `clients.txt`; without it, the reader names the clients that lack."""
    covers = {1: "", 8: "glass", 11: "scarf", 14: "", 21: "glass", 24: "scarf"}
    for person, client in enumerate(clients):
        for shot, cover in covers.items():
            save(root / f"{client}-{shot:02}.png", face(person, shot, cover))
    write(root / "clients.txt", clients)
    count = len(clients)
    return Copy(root, {"neutral": balanced(count), "glass": balanced(2 * count), "scarf": balanced(2 * count)})


def scface(root: pathlib.Path, clients: Sequence[int] = (88, 89, 90)) -> Copy:
    """SCface's mug shots and surveillance cameras of some clients; the reader names those that lack as one problem."""
    for client in clients:
        save(root / f"mugshot_frontal_cropped_all/{client:03}_frontal.jpg", face(client, 0))
        for distance in (1, 2, 3):
            for camera in range(1, 6):
                name = f"cam{camera}/{client:03}_cam{camera}_{distance}.jpg"
                save(root / f"surveillance_cameras_distance_{distance}/{name}", face(client, 10 * distance + camera))
    genuine = 5 * len(clients)
    return Copy(root, {name: balanced(genuine) for name in ("close", "medium", "far")})


def bob(root: pathlib.Path, persons: int = 3, protocol: str = "all") -> Copy:
    """A Bob protocol: each person's first face is enrolled, two others are probes; eyes are annotated."""
    header = "PATH,REFERENCE_ID,leye_x,leye_y,reye_x,reye_y"
    models, probes = [header], [header]
    for person in range(1, persons + 1):
        for shot in (1, 2, 3):
            save(root / f"faces/p{person}-{shot}.png", face(person, shot))
            row = f"faces/p{person}-{shot},{person},73.5318,51.5014,38.2946,51.6963"
            (models if shot == 1 else probes).append(row)
    write(root / protocol / "eval/for_models.csv", models)
    write(root / protocol / "eval/for_probes.csv", probes)
    pairs = persons * 2 * persons
    return Copy(root, {protocol: {"records": pairs, "genuine": 2 * persons, "impostor": pairs - 2 * persons}})


def pairs(root: pathlib.Path, persons: int = 3) -> Copy:
    """`pairs.csv`: each person once with itself and once with another."""
    lines = ["G,P,T"]
    for person in range(persons):
        for shot in (1, 2):
            save(root / f"person {person}/{shot}.png", face(person, shot))
        lines.append(f"person {person}/1.png,person {person}/2.png,1")
        lines.append(f"person {(person + 1) % persons}/1.png,person {person}/2.png,0")
    write(root / "pairs.csv", lines)
    return Copy(root, {"pairs": balanced(persons)})


def folder(root: pathlib.Path, photographs: int = 4) -> Copy:
    """Photographs whose names start with the number and the WordNet id of their class; one in a sub-folder."""
    for i in range(photographs):
        name = f"{i:04}_{wordnet_ids()[i]}_class_{i}.png"
        save(root / ("more" if i == 1 else "") / name, pattern([2, i], 60, 80))
    return Copy(root, {"auto": {"records": photographs, "classes": photographs, "boxed": 0}})


def own_list(root: pathlib.Path, photographs: int = 3) -> Copy:
    """`photographs.csv`: photographs with labels and boxes, the last with neither."""
    lines = ["image,label,boxes"]
    for i in range(photographs):
        save(root / f"photo {i}.png", pattern([3, i], 60, 80))
        lines.append(f"photo {i}.png,{i},10 10 40 50" if i < photographs - 1 else f"photo {i}.png,,")
    write(root / "photographs.csv", lines)
    return Copy(root, {"photographs": {"records": photographs, "classes": photographs - 1, "boxed": photographs - 1}})


def coco(root: pathlib.Path, photographs: int = 2) -> Copy:
    """`boxes.json`: photographs with two boxes each, of two categories whose ids are not their places."""
    images = [{"id": 7 + i, "file_name": f"photo {i}.png"} for i in range(photographs)]
    annotations = []
    for i, image in enumerate(images):
        save(root / image["file_name"], pattern([4, i], 60, 80))
        for category, left in ((3, 5.5), (90, 40)):
            annotations.append({"image_id": image["id"], "category_id": category, "bbox": [left, 10, 20.25, 30]})
    categories = [{"id": 90, "name": "dog"}, {"id": 3, "name": "cat"}]
    content = {"images": images, "annotations": annotations, "categories": categories}
    write(root / "boxes.json", [json.dumps(content)])
    return Copy(root, {"boxes.json": {"records": 2 * photographs, "pictures": photographs, "classes": 2, "boxed": 4}})


def prepared(root: pathlib.Path) -> Copy:
    """The folder of photographs, prepared."""
    copy = folder(root / "photographs")
    prepare(read_folder(copy.root), root / "set")
    return Copy(root / "set", {"": copy.expected["auto"]})


COPIES = {
    "imagenet": imagenet,
    "cfp": cfp,
    "arface": arface,
    "scface": scface,
    "bob": bob,
    "pairs": pairs,
    "folder": folder,
    "list": own_list,
    "coco": coco,
    "prepared": prepared,
}
"""A small copy by name of the data set."""
