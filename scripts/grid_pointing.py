"""Grid pointing: how much of a map lies in the right quarter of a 2x2 grid of photographs? Chance is 0.25.

Prints the mean of each method and its difference from the first's, with bootstrap 95 % intervals over the grids. Grids
and maps are kept in the output folder: what was cut short goes on where it stopped, and methods can be added later.
The other figures of finished maps are fame run's and fame score's.
"""

import pathlib
import sys
from typing import Annotated

import jax.numpy as jnp
import numpy as np
import tyro

from fame_jax import metrics, models
from fame_jax.cli.progress import progress_bar
from fame_jax.data.images import save_png
from fame_jax.data.records import ClassRecord, Dataset, Picture
from fame_jax.datasets.catalogue import read
from fame_jax.engine import passes_of
from fame_jax.experiments.run import run
from fame_jax.experiments.settings import Settings
from fame_jax.experiments.store import DONE, Run
from fame_jax.explainers.table import explainer
from fame_jax.inputs import PictureError, geometry, images
from fame_jax.words import markdown


def main(
    photographs: Annotated[pathlib.Path, tyro.conf.Positional],
    model: str = "mobilenet_v2",
    methods: tuple[str, ...] = ("fame", "grad_cam", "grad_cam_ew", "fullgrad", "gradient", "random"),
    iterations: int = 500,
    grids: int = 25,
    seed: int = 0,
    out: pathlib.Path = pathlib.Path("grids"),
) -> None:
    """Makes the grids, explains all four quarters of each by every method, and prints a table.

    Args:
        photographs: a folder whose file names begin with the class index, or a CSV list with the columns image, label.
        model: a classifier.
        methods: explainers of classes; each is compared with the first.
        iterations: steps of FAME.
        grids: at most so many; as many as the photographs make if they are fewer.
        seed: of the draw, and of random methods.
        out: folder for grids and maps.
    """
    network = models.find(model)
    found = read("list", photographs) if photographs.is_file() else read("folder", photographs, "names")
    quarters = composed(found, network.card, grids, seed, out)
    shares = {}
    for method in methods:
        options = {"iterations": iterations} if "iterations" in explainer(method).options("class") else {}
        settings = Settings(options=options, resize=network.card.size, seed=seed)
        passes = len(quarters.records) * passes_of(explainer(method), "class", options)
        with progress_bar(passes, f"pass ({method})", hide=False) as bar:
            maps = run(network, quarters, method, out / model / method, settings, progress=bar.update)
        shares[method] = shares_of(maps)
    first = shares[methods[0]]
    rows = [("method", "grid pointing ↑", f"minus {methods[0]}'s")]
    for method, of in shares.items():
        mean, difference = metrics.estimate(of), metrics.compare(of, first)
        words = (
            f"{difference.difference:+.3f} [{difference.low:+.3f}, {difference.high:+.3f}], p {difference.p_value:.4f}"
        )
        rows.append((explainer(method).title, f"{mean.mean:.3f} [{mean.low:.3f}, {mean.high:.3f}]", words))
    print(f"{model}, {len(first)} grids; mean and bootstrap 95 % interval\n\n{markdown(rows)}")


def shares_of(maps: Run) -> np.ndarray:
    """The share in the right quarter, the mean over the four maps of each grid, `[grids]`; NaN where one is missing."""
    done = maps.column("state") == DONE
    found = [
        float(metrics.grid_pointing_game(jnp.asarray(maps.map(i)), i % 4)) if done[i] else np.nan
        for i in range(len(maps.records))
    ]
    return np.reshape(found, (-1, 4)).mean(axis=1)


def composed(found: Dataset, card: models.Card, count: int, seed: int, out: pathlib.Path) -> Dataset:
    """Grids of four photographs of different classes, as files, and four records of each: one for every quarter."""
    how, records = geometry(card), []
    for record in found.records:
        if isinstance(record, ClassRecord) and record.label is not None:
            try:
                images(record, how)
            except PictureError as error:
                print(f"{record.name} is in no grid: {error}", file=sys.stderr)
                continue
            records.append(record)
    labels = np.asarray([record.label for record in records])
    out.mkdir(parents=True, exist_ok=True)
    quarters = []
    for number, members in enumerate(metrics.grid_members(labels, seed)[:count]):
        path = out / f"{seed}-{number}.png"
        four = jnp.stack([images(records[m], how)[0] for m in members])
        save_png(path, np.asarray(metrics.composed_grid(four)))
        quarters += [ClassRecord(f"{path.stem}-{i}", Picture(path), int(labels[m])) for i, m in enumerate(members)]
    return Dataset(f"grids of {found.name}", "class", tuple(quarters))


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
