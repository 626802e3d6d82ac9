"""Records with the bytes of their photographs by random access: what Grain reads, the same way every time.

from fame_jax.datasets import catalogue, source, tfds_builder

folder = tfds_builder.prepare(catalogue.read("cfp", root, "FP-01"), prepared)
for item in source.share(source.PreparedSource(folder), jax.process_index(), jax.process_count()):
    images = item.images()
"""

import pathlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, SupportsIndex, runtime_checkable

from fame_jax.data.images import Pixels, decode_image
from fame_jax.data.lists import LineError
from fame_jax.data.records import ClassRecord, DatasetError, Picture, Record, pictures_of
from fame_jax.datasets.boxes import Boxed
from fame_jax.datasets.imagenet import labelled_boxes, wordnet_ids
from fame_jax.datasets.tfds_builder import SPLIT, record_of, text, tfds

try:
    import grain
except ImportError as error:
    raise ImportError("reading prepared data sets needs Grain: pip install 'fame-jax[data]'") from error


@dataclass(frozen=True)
class Item:
    """A record and the files of its photographs.

    Attributes:
        record: its paths say where the photographs were.
        files: bytes of each photograph's file: one, or probe and gallery.
    """

    record: Record
    files: tuple[bytes, ...]

    def images(self) -> tuple[Pixels, ...]:
        """The photographs, decoded, each `[H, W, 3]` in [0, 1].

        Raises:
            ImageError: if one is damaged.
        """
        pictures = pictures_of(self.record)
        return tuple(decode_image(file, str(one.path)) for file, one in zip(self.files, pictures, strict=True))


@runtime_checkable
class Source(Protocol):
    """Items by random access."""

    def __len__(self) -> int:
        """How many there are."""
        ...

    def __getitem__(self, index: SupportsIndex) -> Item:
        """One of them."""
        ...


class PreparedSource:
    """The items of a data set that `tfds_builder.prepare` wrote, in its order.

    Attributes:
        name: of the data set and protocol.
        task: `class` or `pair`.
    """

    def __init__(self, folder: pathlib.Path):
        """Opens what was prepared.

        Raises:
            DatasetError: if the folder holds nothing prepared.
        """
        try:
            builder: Any = tfds.builder_from_directory(folder)
            metadata = builder.info.metadata or {}
            self.name, self.task = metadata["name"], metadata["task"]
            roles = ("image",) if self.task == "class" else ("probe", "gallery")
            skip = {role: tfds.decode.SkipDecoding() for role in roles}
            self._examples = builder.as_data_source(split=SPLIT, decoders=skip)
        except (OSError, ValueError, KeyError, TypeError) as error:
            reason = " ".join(str(error).split())[:200]
            raise DatasetError(f"{folder}: no prepared data set is there ({reason}).") from error

    def __len__(self) -> int:
        """How many records there are."""
        return len(self._examples)

    def __getitem__(self, index: SupportsIndex) -> Item:
        """One record with the bytes of its photographs."""
        return Item(*record_of(self._examples[index]))


class ImagenetSource:
    """ImageNet's validation set as TFDS prepares it, joined with boxes by file name.

    TFDS's `imagenet2012` has photographs, labels and file names, and no boxes.
    """

    def __init__(
        self,
        examples: Sequence[Mapping[str, Any]],
        objects: Mapping[str, Sequence[Boxed]],
        ids: Sequence[str] | None = None,
    ):
        """Joins examples and objects.

        Args:
            examples: `tfds.data_source("imagenet2012", split="validation", decoders={"image": SkipDecoding()})`: each
                has `image`, the bytes of a file, `label` and `file_name`.
            objects: by file name without ending; see `imagenet.objects_by_photograph`.
            ids: WordNet ids of the labels, in order; None for ImageNet's.
        """
        self._examples, self._objects = examples, objects
        self._classes = {name: label for label, name in enumerate(wordnet_ids() if ids is None else ids)}

    def __len__(self) -> int:
        """How many photographs there are, with boxes and without."""
        return len(self._examples)

    def __getitem__(self, index: SupportsIndex) -> Item:
        """One photograph; without boxes if nobody drew any.

        Raises:
            DatasetError: if its boxes are of another class than its label.
        """
        example = self._examples[index.__index__()]
        path = pathlib.Path(text(example["file_name"]))
        label, boxes = int(example["label"]), ()
        if objects := self._objects.get(path.stem, ()):
            try:
                _, boxes = labelled_boxes(objects, self._classes, label)
            except LineError as error:
                raise DatasetError(f"{path}: {error}; labels or boxes are of another version.") from None
        return Item(ClassRecord(path.stem, Picture(path), label, boxes), (example["image"],))


def share(source: Source, process_index: int = 0, process_count: int = 1) -> "grain.MapDataset[Item]":
    """The items that one of several processes reads: every n-th, from its own number on, in order.

    Args:
        source: all items.
        process_index: number of this process, from 0; `jax.process_index()`.
        process_count: how many processes there are; `jax.process_count()`.

    Returns:
        A Grain data set; `.to_iter_dataset()` reads ahead in threads, in the same order.

    Raises:
        ValueError: if there is no such process.
    """
    if not 0 <= process_index < process_count:
        raise ValueError(f"share: process_index={process_index}; expected 0 to {process_count - 1}.")
    return grain.MapDataset.source(source)[process_index::process_count]
