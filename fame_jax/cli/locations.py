"""`fame locations`: what every location of a network's feature map looks at."""

import pathlib
import time
from dataclasses import dataclass, field
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from fame_jax import files, plots
from fame_jax.cli import output
from fame_jax.cli.console import InputError
from fame_jax.cli.flags import Flat, InputFlags, MethodFlags, NetworkFlags
from fame_jax.cli.progress import progress_bar
from fame_jax.data.images import sample_path
from fame_jax.data.records import Picture
from fame_jax.engine import Method, explained
from fame_jax.inputs import geometry, read
from fame_jax.metrics.locality import Locality, locality
from fame_jax.network import feature_map
from fame_jax.questions import Question
from fame_jax.walk import Status


@dataclass(frozen=True)
class Locations:
    """Explain every location of a network's feature map: which pixels would have to change for it to fall silent?

    Writes the contact sheet with the white cell of each location (.png), the maps [h, w, H, W] (.npz) and the numbers
    (.json): share of a map's mass outside its own cell, shift of its centroid, radius that holds half of it.
    """

    image: Annotated[pathlib.Path | None, tyro.conf.Positional, tyro.conf.arg(metavar="[IMAGE]")] = None
    """Photograph; a cat if omitted. For a face network, a photograph of a face."""
    rows: str | None = None
    """Rows of the feature map, from 0, with commas between them ("1,4,6"). Omitted: all."""
    colours: str = plots.COLOURS
    """Name of a Matplotlib colour map: inferno is readable by colour-blind people, jet is the paper's."""
    network: Flat[NetworkFlags] = field(default_factory=NetworkFlags)
    methods: Flat[MethodFlags] = field(default_factory=MethodFlags)
    pixels: Flat[InputFlags] = field(default_factory=InputFlags)
    out: pathlib.Path = pathlib.Path("fame-out")
    """Folder for the results."""
    progress: bool = True
    """Show a progress bar."""

    def __call__(self) -> int:
        """Runs the command."""
        self.methods.check()
        plots.check_colours(self.colours)
        (row,) = self._one_method()
        loaded = self.network.load()
        card, network = loaded.card, loaded.network
        engine = self.methods.engine(network, "location", self.network.precision)
        (method,) = self.methods.methods(engine, [row], card)
        folder = output.output_folder(self.out)
        path = self.image or sample_path("portrait" if card.task == "face" else "cat")
        pixels = read(Picture(path), geometry(card, **vars(self.pixels))).image
        shape = jax.ShapeDtypeStruct(pixels.shape, engine.dtype)
        grid = jax.eval_shape(lambda image: feature_map(network, image), shape).shape[:2]
        rows = _rows(self.rows, grid[0])
        start = time.perf_counter()
        maps, walks = self._maps(method, pixels, rows, grid[1])
        seconds = time.perf_counter() - start
        numbers = _numbers(maps, rows, grid)
        stem = f"{path.stem}.locations"
        output.write_arrays(folder / f"{stem}.npz", image=pixels, attribution=maps, rows=rows, **walks)
        sheet = plots.location_sheet(pixels, maps, rows=rows, grid_rows=grid[0], colours=self.colours)
        output.write_figure(folder / f"{stem}.png", sheet)
        flags = {**vars(self.methods), **vars(self.pixels), "precision": self.network.precision, "rows": self.rows}
        del flags["method"]
        files.write_json(
            folder / f"{stem}.json",
            {
                "command": "locations",
                "methods": [row.name],
                **self.network.about(card),
                "options": flags,
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

    def _one_method(self) -> list[Any]:
        rows = self.methods.rows("location")
        if len(rows) != 1:
            raise InputError(f"--method {self.methods.method}: a sheet of locations is by one method.")
        return rows

    def _maps(
        self, method: Method, pixels: np.ndarray, rows: list[int], columns: int
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Maps `[rows, columns, H, W]` and how the walks went."""
        questions = [Question((pixels,), (row, column)) for row in rows for column in range(columns)]
        with progress_bar(len(questions) * method.passes, "pass", hide=not self.progress) as bar:
            found = [results[0] for _, (results,) in explained(method.engine, [method], questions, bar.update)]
        shape = (len(rows), columns)
        maps = np.stack([result.attribution for result in found if result]).astype(np.float32)
        statuses = np.asarray([Status(int(result.status)).message for result in found if result])
        steps = np.asarray([result.steps for result in found if result], np.int32)
        return maps.reshape(*shape, *maps.shape[1:]), {"steps": steps.reshape(shape), "status": statuses.reshape(shape)}


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
