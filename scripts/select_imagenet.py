"""The photographs of Table 1 from ImageNet's validation set: five of each class that all networks classify correctly.

Needs ImageNet (`fame check imagenet ROOT`) and the weights of all networks (`fame download NAME`). Predictions are
kept, one file a network, and a network whose file is there is not run again. `fame run imagenet ROOT --protocol OUT`
takes the list that comes out.
"""

import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np
import tyro
from tqdm import tqdm

from fame_jax import models
from fame_jax.batching import map_many
from fame_jax.batching.examples import Example
from fame_jax.data.records import ClassRecord
from fame_jax.datasets.catalogue import read
from fame_jax.datasets.imagenet_selection import read_predictions, selection, write_predictions, write_protocol
from fame_jax.inputs import PictureError, geometry, images

NETWORKS = ("resnet34", "resnet50", "resnet101", "vgg19", "convnext_tiny")
UNREADABLE = -1


def predictions(name: str, records: Sequence[ClassRecord], batch_size: int, resize: int) -> list[int]:
    """The top class of each photograph, and -1 for those that cannot be read."""
    loaded, readable = models.find(name), []
    how, found = geometry(loaded.card, resize=resize), np.full(len(records), UNREADABLE)

    def photographs() -> Iterator[Example]:
        for place, record in enumerate(records):
            try:
                (image,) = images(record, how)
            except PictureError as error:
                tqdm.write(str(error))
                continue
            readable.append(place)
            yield image, ()

    with tqdm(total=len(records), desc=name, unit="photograph") as bar:
        top = map_many(_top, photographs(), loaded.network, batch_size=batch_size, progress=bar.update)
        for i, label in top:
            found[readable[i]] = label
    return found.tolist()


def _top(image: jax.Array, network: Any) -> jax.Array:
    return network(image).argmax()


def main(
    root: pathlib.Path,
    out: pathlib.Path,
    networks: tuple[str, ...] = NETWORKS,
    kept: pathlib.Path | None = None,
    per_class: int = 5,
    seed: int = 0,
    batch_size: int = 32,
    resize: int = 232,
) -> None:
    """Writes the list, and prints how many photographs each network, all of them, and the list have.

    Args:
        root: folder of ImageNet.
        out: the list, a CSV file.
        networks: all of which have to be right.
        kept: folder of predictions; by default a folder beside the list.
        per_class: how many photographs of each class.
        seed: of the draw.
        batch_size: photographs at a time.
        resize: short side before the central crop; 232 for all networks, as in the published code.
    """
    records = [record for record in read("imagenet", root, expected={}).records if isinstance(record, ClassRecord)]
    folder = kept or out.with_name(f"{out.stem}-predictions")
    folder.mkdir(parents=True, exist_ok=True)
    for name in networks:
        if not (folder / f"{name}.csv").is_file():
            write_predictions(folder / f"{name}.csv", records, predictions(name, records, batch_size, resize))
    chosen = selection(
        records,
        {name: read_predictions(folder / f"{name}.csv") for name in networks},
        per_class=per_class,
        seed=seed,
    )
    write_protocol(out, chosen.records, root)
    for name, count in chosen.correct.items():
        print(f"{name}: {count} of {len(records)} photographs are classified correctly")
    print(f"all networks: {chosen.agreed}")
    print(f"{out}: {len(chosen.records)} photographs; {len(chosen.short)} classes have fewer than {per_class}")
    for label, count in chosen.short.items():
        print(f"  class {label}: {count}")


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
