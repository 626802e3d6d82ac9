"""`fame locations`: what every location of a network's feature map looks at."""

import pathlib
import time
from dataclasses import dataclass
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from fame_jax import files, models, plots
from fame_jax.batching import perturb_many
from fame_jax.cli import output
from fame_jax.cli.console import InputError, Number, at_least, positive, progress_bar, switch_on
from fame_jax.core import attribution
from fame_jax.data.faces import load_face
from fame_jax.data.images import load, sample_path
from fame_jax.losses import feature_activation
from fame_jax.metrics.locality import Locality, locality
from fame_jax.walk import Status


@dataclass(frozen=True)
class Locations:
    """Explain every location of a network's feature map: which pixels would have to change for it to fall silent?

    Writes the contact sheet with the white cell of each location (.png), the maps [h, w, H, W] (.npz) and the numbers
    (.json): share of a map's mass outside its own cell, shift of its centroid, radius that holds half of it.
    """

    image: Annotated[pathlib.Path | None, tyro.conf.Positional, tyro.conf.arg(metavar="[IMAGE]")] = None
    """Photograph; a cat if omitted. For a face network, a photograph of a face."""
    model: str = "mobilenet_v2"
    """Network; fame models lists them."""
    weights: pathlib.Path | None = None
    """A converted folder or the publisher's own file, instead of what is installed."""
    rows: str | None = None
    """Rows of the feature map, from 0, with commas between them ("1,4,6"). Omitted: all."""
    iterations: int = 500
    """Number of steps."""
    step_size: Number = 1 / 255
    """Largest change of a pixel in one step; 1/255 is one grey level."""
    sigma: Number = 7.7
    """Standard deviation of the maps' blur, in pixels."""
    precision: models.Precision = "float32"
    """Maps in float64 agree between machines, batch sizes and libraries; the others are faster."""
    batch_size: int | None = None
    """Locations at a time. Omitted: 4 on CPU, elsewhere up to 64 a device, as memory allows."""
    colours: str = plots.COLOURS
    """Name of a Matplotlib colour map: inferno is readable by colour-blind people, jet is the paper's."""
    out: pathlib.Path = pathlib.Path("fame-out")
    """Folder for the results."""
    progress: bool = True
    """Show a progress bar."""

    def __call__(self) -> int:
        """Runs the command."""
        at_least(0, iterations=self.iterations)
        plots.check_colours(self.colours)
        positive(step_size=self.step_size, sigma=self.sigma)
        if self.batch_size is not None:
            at_least(1, batch_size=self.batch_size)
        switch_on(self.precision)
        card = models.card(self.model)
        network = models.load(self.model, self.weights, precision=self.precision)
        folder = output.output_folder(self.out)
        path = self.image or sample_path("portrait" if card.task == "face" else "cat")
        pixels = load(path, card.resize, card.size) if card.task == "class" else load_face(path).image
        image = jnp.asarray(pixels, models.image_dtype(self.precision))
        grid = jax.eval_shape(network.features, image).shape[:2]
        rows = _rows(self.rows, grid[0])
        start = time.perf_counter()
        maps, walks = self._maps(network, image, rows, grid[1])
        seconds = time.perf_counter() - start
        numbers = _numbers(maps, rows, grid)
        stem = f"{path.stem}.locations"
        output.write_arrays(folder / f"{stem}.npz", image=pixels, attribution=maps, rows=rows, **walks)
        sheet = plots.location_sheet(pixels, maps, rows=rows, grid_rows=grid[0], colours=self.colours)
        output.write_figure(folder / f"{stem}.png", sheet)
        files.write_json(
            folder / f"{stem}.json",
            {
                "command": "locations",
                "network": self.model,
                "weights_sha256": models.weights_hash(self.model, self.weights),
                "options": {n: getattr(self, n) for n in ("rows", "iterations", "step_size", "sigma", "precision")},
                **files.environment(),
                "inputs": [{"path": str(path), "sha256": files.sha256(path)}],
                "feature_map": list(grid),
                "statuses": _counts(walks["status"]),
                "seconds": round(seconds, 3),
                "locality": numbers,
            },
        )
        for name, line in numbers.items():
            print(_line(name, line))
        statuses = ", ".join(f"{count} {status}" for status, count in _counts(walks["status"]).items())
        print(f"{maps.shape[0] * maps.shape[1]} locations ({statuses}), {seconds:.1f} s; wrote {folder / stem}.png")
        return 0

    def _maps(self, network: Any, image: jax.Array, rows: list[int], columns: int) -> tuple[np.ndarray, dict[str, Any]]:
        """Maps `[rows, columns, H, W]` and how the walks went."""
        examples = [(image, (jnp.asarray([row, column]),)) for row in rows for column in range(columns)]
        maps = np.zeros((len(examples), *image.shape[:2]), np.float32)
        steps, statuses = np.zeros(len(examples), np.int32), [""] * len(examples)
        with progress_bar(len(examples) * self.iterations, "step", hide=not self.progress) as bar:
            walks = perturb_many(
                feature_activation,
                examples,
                network,
                batch_size=None if self.batch_size is None else min(self.batch_size, len(examples)),
                in_order=False,
                progress=bar.update,
                iterations=self.iterations,
                step_size=self.step_size,
            )
            for index, walk in walks:
                maps[index] = attribution(image, walk.perturbed, sigma=self.sigma)
                steps[index], statuses[index] = walk.steps, Status(int(walk.status)).message
        shape = (len(rows), columns)
        return maps.reshape(*shape, *maps.shape[1:]), {
            "steps": steps.reshape(shape),
            "status": np.asarray(statuses).reshape(shape),
        }


def _rows(text: str | None, count: int) -> list[int]:
    if text is None:
        return list(range(count))
    try:
        rows = [int(part) for part in text.split(",")]
    except ValueError:
        raise InputError(f"--rows {text}: expected whole numbers with commas between them, such as 1,4,6.") from None
    if outside := [row for row in rows if not 0 <= row < count]:
        raise InputError(f"--rows {text}: there is no row {outside[0]}; this feature map has rows 0 to {count - 1}.")
    return list(dict.fromkeys(rows))


def _numbers(maps: np.ndarray, rows: list[int], grid: tuple[int, int]) -> dict[str, dict[str, float | None]]:
    """Means by row and over all locations; blank maps are left out."""
    places = jnp.asarray([[row, column] for row in rows for column in range(grid[1])])
    flat = jnp.asarray(maps.reshape(-1, *maps.shape[2:]))
    found = jax.jit(jax.vmap(lambda map, place: locality(map, place, grid)))(flat, places)
    of_row = {f"row {row}": np.asarray(places[:, 0]) == row for row in rows}
    return {
        name: {field: _mean(np.asarray(values)[chosen]) for field, values in zip(Locality._fields, found, strict=True)}
        for name, chosen in {**of_row, "all": np.ones(len(places), bool)}.items()
    }


def _mean(values: np.ndarray) -> float | None:
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else None


def _line(name: str, numbers: dict[str, float | None]) -> str:
    if numbers["outside"] is None:
        return f"{name}: all maps are blank"
    return (
        f"{name}: {numbers['outside']:.0%} of the mass outside the cell, centroid {numbers['shift']:.1f} pixels from "
        f"the cell's centre, half of the mass within {numbers['radius']:.1f} pixels"
    )


def _counts(statuses: np.ndarray) -> dict[str, int]:
    names, counts = np.unique(statuses, return_counts=True)
    return dict(zip(names.tolist(), counts.tolist(), strict=True))
