"""Small runs on disk, as `fame run` leaves them, with maps of a test's own."""

import numpy as np
from PIL import Image

from fame_jax.data.records import ClassRecord, PairRecord, Picture, pictures_of
from fame_jax.experiments.opening import sha256s
from fame_jax.experiments.store import DONE, FAILED, Run, block_arrays, create_run
from fame_jax.inputs import Geometry, geometry_as_json

SIDE, FACE = 16, 112


def picture(path, generator, side=SIDE):
    Image.fromarray(generator.integers(0, 256, (side, side, 3), np.uint8)).save(path)
    return Picture(path)


def photographs(folder, number, *, side=SIDE, boxes=((2, 3, 9, 12),), seed=0):
    """Records of random pictures with a box each."""
    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(seed)
    return [
        ClassRecord(f"photo-{i}", picture(folder / f"{i}.png", generator, side), i % 3, tuple(boxes))
        for i in range(number)
    ]


def pairs(folder, number, *, side=FACE, seed=0):
    """Every second pair is one picture twice."""
    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(seed)
    found = []
    for i in range(number):
        probe = picture(folder / f"{i}-probe.png", generator, side)
        gallery = probe if i % 2 == 0 else picture(folder / f"{i}-gallery.png", generator, side)
        found.append(PairRecord(f"pair-{i}", probe, gallery, i % 2 == 0))
    return found


def run_of(
    folder, records, maps, *, block_size=2, blocks=None, failures=None, network="mobilenet_v2", hashed=False, **manifest
) -> Run:
    """A run with these maps `[N, H, W]` (of a pair, e+ of the probe), complete but for blocks that are not listed.

    With `hashed` it keeps which pictures were explained.
    """
    task = "class" if isinstance(records[0], ClassRecord) else "pair"
    side = np.shape(maps)[-1]
    geometry = Geometry(task, side, side, aligned=task == "pair")
    content = {
        "task": task,
        "dataset": "test all",
        "network": network,
        "method": "fame",
        "geometry": geometry_as_json(geometry),
        "block_size": block_size,
        **manifest,
    }
    run = create_run(folder, content, records, size=side)
    for block in range(run.blocks) if blocks is None else blocks:
        write_block(run, block, maps, failures or {}, hashed)
    return Run(folder)


def write_block(run, block, maps, failures, hashed=False):
    indices = run.indices(block)
    missing = {i: reason for i, reason in failures.items() if i in indices}
    labels = [getattr(run.records[i], "label", None) for i in indices]
    arrays = block_arrays(run, block) | {
        run.roles[0]: np.asarray(maps[indices.start : indices.stop], np.float32),
        "label": np.asarray([-1 if label is None else label for label in labels], np.int32),
        "state": np.asarray([FAILED if i in missing else DONE for i in indices], np.uint8),
    }
    if hashed:
        arrays["sha256"][:] = [sha256s(pictures_of(run.records[index])) for index in indices]
    run.write_block(block, arrays, missing)
