"""The flags of commands that read a data set."""

import pathlib
from dataclasses import dataclass

from fame_jax.data.records import Dataset
from fame_jax.datasets.catalogue import read


@dataclass(frozen=True)
class RecordFlags:
    """Which records of a data set."""

    protocol: str | None = None
    """One of its protocols, the name of a list, or a split; by default the first one that fame check lists."""
    partial: bool = False
    """This is a part of the data set: do not compare with published counts."""
    allow_outside: bool = False
    """Accept files outside the folder that lists or links lead to."""
    eyes: pathlib.Path | None = None
    """Annotated eyes of faces: a CSV file with PATH, reye_x, reye_y, leye_x, leye_y, or a folder of .pos files."""
    crops: pathlib.Path | None = None
    """Folder of aligned faces in HDF5, for pairs."""
    clients: pathlib.Path | None = None
    """List of the clients to evaluate, for arface."""

    def read(self, name: str, root: pathlib.Path) -> Dataset:
        """The data set of a name; an option that it does not have is refused."""
        given = {option: getattr(self, option) for option in ("eyes", "crops", "clients")}
        return read(
            name,
            root,
            self.protocol,
            expected={} if self.partial else None,
            allow_outside=self.allow_outside,
            **{option: value for option, value in given.items() if value is not None},
        )
