"""`fame prepare`: a data set in, the same one in a few large files out; what was interrupted goes on."""

import pathlib
from dataclasses import dataclass, field
from typing import Annotated

import tyro

from fame_jax.cli.console import InputError, say, say_errors
from fame_jax.cli.progress import progress_bar
from fame_jax.cli.records import RecordFlags
from fame_jax.datasets.prepared import prepare
from fame_jax.experiments.lock import locked
from fame_jax.remote import Remote, located

_SHOWN = 20


@dataclass(frozen=True)
class Prepare:
    """Copy a data set into a few large files, from which fame run prepared DIR reads it.

    The pictures are kept as they are, byte for byte, with everything that the data set says of them; the maps are those
    of the data set itself. Interrupted in whatever way, the same command goes on where it was. A file that is no
    picture is named and left out; the exit code is then 2.
    """

    dataset: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="DATASET")]
    """Data set; fame check lists them. "folder" is any folder of photographs."""
    root: Annotated[pathlib.Path, tyro.conf.Positional, tyro.conf.arg(metavar="ROOT")]
    """Its folder; or the list, for pairs, list and coco; or the data directory, for tfds:NAME."""
    out: pathlib.Path
    """Folder to make, or to go on with; on a disk."""
    records: tyro.conf.OmitArgPrefixes[RecordFlags] = field(default_factory=RecordFlags)
    progress: bool = True
    """Show a progress bar."""

    def __call__(self) -> int:
        """Runs the command; returns 2 if something was left out, else 0."""
        if isinstance(located(self.out), Remote):
            raise InputError(f"--out {self.out}: shards are read from a disk; prepare there, then copy the folder.")
        dataset = self.records.read(self.dataset, self.root)
        with locked(self.out / ".lock"), progress_bar(len(dataset.records), "record", hide=not self.progress) as bar:
            problems = prepare(dataset, self.out, bar.update)
        say_errors([f"{problem.where}: {problem.reason}" for problem in problems], _SHOWN, "problems")
        shards = [path.stat().st_size for path in self.out.glob("[0-9]*.array_record")]
        size = f"{len(shards)} shard{'' if len(shards) == 1 else 's'}, {sum(shards) / 1e6:,.1f} MB"
        say(f"{self.out}: {dataset.name}, {size}. Next: fame run prepared {self.out} --out maps")
        return 2 if problems else 0
