"""`fame detect`: photographs in; what a detector finds, listed and drawn."""

import pathlib
from dataclasses import dataclass, field
from typing import Annotated, Any

import tyro

from fame_jax import files, plots
from fame_jax.cli import detections, output
from fame_jax.cli.console import lowest_score, say, say_error
from fame_jax.cli.flags import Flat, NetworkFlags, Number, SizeFlags
from fame_jax.cli.progress import progress_bar
from fame_jax.data.images import sample_path
from fame_jax.data.records import Picture
from fame_jax.detection.candidates import THRESHOLD
from fame_jax.inputs import PictureError, geometry, read


@dataclass(frozen=True)
class Detect:
    """Find faces, or whatever else a detector knows, in photographs of any shape.

    Prints a numbered list and writes photo.detections.png and photo.detections.json. fame explain --detection NUMBER
    tells why a box is there. Without a photograph, a portrait is searched.
    """

    images: Annotated[tuple[pathlib.Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="[IMAGE ...]")] = ()
    """Photographs."""
    threshold: Number = THRESHOLD
    """Lowest score, from 0 to 1."""
    network: Flat[NetworkFlags] = field(default_factory=NetworkFlags)
    pixels: Flat[SizeFlags] = field(default_factory=SizeFlags)
    out: pathlib.Path = pathlib.Path("fame-out")
    """Folder for the results."""
    progress: bool = True
    """Show a progress bar."""

    def __call__(self) -> int:
        """Runs the command; returns 2 if a photograph could not be read, else 0."""
        lowest_score(self.threshold)
        detector, folder = detections.detector(self.network), output.output_folder(self.out)
        view, paths = geometry(detector.card, resize=self.pixels.resize), self.images or (sample_path("portrait"),)
        failed = 0
        with progress_bar(len(paths), "photograph", hide=not self.progress) as bar:
            for path, stem in zip(paths, output.distinct_stems(paths), strict=True):
                try:
                    self._one(detector, path, folder / stem, view)
                except PictureError as error:
                    say_error(error)
                    failed += 1
                bar.update()
        return 2 if failed else 0

    def _one(self, detector: detections.Detector, path: pathlib.Path, result: pathlib.Path, view: Any) -> None:
        image = read(Picture(path), view).image
        found = detector.detections(image, self.threshold)
        names = [detector.named(number, one) for number, one in enumerate(found, 1)]
        say(f"{path.name}: {', '.join(names) or 'nothing'}")
        boxes = [detections.rounded(one.box) for one in found]
        figure = plots.boxes(image, boxes, names, title=files.readable(path.name))
        output.write_figure(result.with_name(f"{result.name}.detections.png"), figure)
        rows = [
            {"name": name, "label": one.label, "score": one.score, "box": box, "landmarks": one.landmarks.tolist()}
            for name, one, box in zip(names, found, boxes, strict=True)
        ]
        about = {"path": files.readable(str(path)), "network": detector.card.name, "threshold": self.threshold}
        height, width = image.shape[:2]
        content = {**about, "width": width, "height": height, "detections": rows}
        files.write_json(result.with_name(f"{result.name}.detections.json"), content)
