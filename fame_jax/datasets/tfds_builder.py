"""Any data set as ArrayRecord files: a few large files, read by random access, in place of many small ones.

TensorFlow Datasets writes and reads them, without TensorFlow. Photographs are kept as their files' bytes.
"""

import hashlib
import io
import json
import pathlib
import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from fame_jax.data.records import (
    ClassRecord,
    Dataset,
    DatasetError,
    PairRecord,
    Picture,
    Record,
    Task,
    as_json,
    pictures_of,
)

try:
    import tensorflow_datasets as tfds
except ImportError as error:
    raise ImportError("ArrayRecord files need TensorFlow Datasets: pip install 'fame-jax[data]'") from error

SPLIT = "records"
"""Name of the only split."""

UNKNOWN = -1
"""In place of a label, or of whether a pair is genuine, that nobody knows."""


class Records(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """The builder: one example a record, in the data set's order."""

    VERSION = tfds.core.Version("1.0.0")

    def __init__(self, dataset: Dataset, folder: pathlib.Path):
        """A builder that writes `dataset` below `folder`; see `prepare`."""
        self._dataset = dataset
        config = tfds.core.BuilderConfig(name=re.sub(r"[^A-Za-z0-9]+", "-", dataset.name).strip("-"))
        super().__init__(data_dir=folder, config=config, file_format="array_record")

    def _info(self) -> tfds.core.DatasetInfo:
        metadata = {
            "name": self._dataset.name,
            "task": self._dataset.task,
            "fingerprint": fingerprint(self._dataset),
        }
        return tfds.core.DatasetInfo(
            builder=self,
            features=tfds.features.FeaturesDict(features(self._dataset.task)),
            metadata=tfds.core.MetadataDict(metadata),
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        return {SPLIT: self._generate_examples()}

    def _generate_examples(self) -> Iterator[tuple[int, dict[str, Any]]]:
        yield from enumerate(map(example, self._dataset.records))


def prepare(dataset: Dataset, folder: pathlib.Path) -> pathlib.Path:
    """Writes a data set as ArrayRecord files, once; `source.PreparedSource` reads them.

    Args:
        dataset: what `datasets.read` returns; problems are left behind.
        folder: where prepared data sets are collected.

    Returns:
        The folder of this one.

    Raises:
        DatasetError: if there are no records, or another data set of that name is there.
        OSError: if a photograph cannot be read, or nothing can be written.
    """
    if dataset.task == "detect":
        raise DatasetError(f"{dataset.name}: boxes to explain are not prepared; read their list.")
    if not dataset.records:
        raise DatasetError(f"{dataset.name}: there are no records to prepare.")
    builder = Records(dataset, folder)
    tfds.disable_progress_bar()
    builder.download_and_prepare()
    written = json.loads((pathlib.Path(builder.data_path) / "metadata.json").read_text(encoding="utf-8"))
    if written["fingerprint"] != fingerprint(dataset):
        raise DatasetError(
            f"{builder.data_path}: other records of {dataset.name} were prepared there; remove it or prepare elsewhere."
        )
    return pathlib.Path(builder.data_path)


def fingerprint(dataset: Dataset) -> str:
    """A hash of the records and of the sizes of their files."""
    sizes = [[picture.path.stat().st_size for picture in pictures_of(record)] for record in dataset.records]
    content = json.dumps([[as_json(record) for record in dataset.records], sizes])
    return hashlib.sha256(content.encode()).hexdigest()


def features(task: Task) -> dict[str, Any]:
    """Features of a record, by name."""
    name, number = tfds.features.Text(), tfds.features.Scalar(np.int64)
    if task == "class":
        boxes = tfds.features.Tensor(shape=(None, 4), dtype=np.int64)
        return {"name": name, "label": number, "boxes": boxes, **_of_picture("image")}
    return {"name": name, "genuine": number, **_of_picture("probe"), **_of_picture("gallery")}


def example(record: Record) -> dict[str, Any]:
    """A record with the bytes of its photographs, as `features` has it."""
    if isinstance(record, ClassRecord):
        label = UNKNOWN if record.label is None else record.label
        boxes = np.array(record.boxes, np.int64).reshape(-1, 4)
        return {"name": record.name, "label": label, "boxes": boxes, **_picture_example("image", record.picture)}
    genuine = UNKNOWN if record.genuine is None else int(record.genuine)
    pictures = _picture_example("probe", record.probe) | _picture_example("gallery", record.gallery)
    return {"name": record.name, "genuine": genuine, **pictures}


def record_of(example: dict[str, Any]) -> tuple[Record, tuple[bytes, ...]]:
    """What `example` was made of: the record, and the bytes of its photographs."""
    name = text(example["name"])
    if "label" in example:
        label = None if example["label"] == UNKNOWN else int(example["label"])
        boxes = tuple((int(a), int(b), int(c), int(d)) for a, b, c, d in example["boxes"])
        return ClassRecord(name, _picture_of(example, "image"), label, boxes), (example["image"],)
    genuine = None if example["genuine"] == UNKNOWN else bool(example["genuine"])
    record = PairRecord(name, _picture_of(example, "probe"), _picture_of(example, "gallery"), genuine)
    return record, (example["probe"], example["gallery"])


def text(value: str | bytes) -> str:
    """A feature that is text, which TFDS may hand out in bytes."""
    return value.decode("utf-8") if isinstance(value, bytes) else value


def _of_picture(role: str) -> dict[str, Any]:
    words = tfds.features.Text()
    return {role: tfds.features.Image(), f"{role}_path": words, f"{role}_eyes": words}


def _picture_example(role: str, picture: Picture) -> dict[str, Any]:
    # TFDS keeps numbers in 32 bits; as text they come back as they were.
    eyes = "" if picture.eyes is None else " ".join(repr(float(number)) for eye in picture.eyes for number in eye)
    # Bytes in a file are taken as they are; an array would be encoded anew.
    return {role: io.BytesIO(picture.path.read_bytes()), f"{role}_path": str(picture.path), f"{role}_eyes": eyes}


def _picture_of(example: dict[str, Any], role: str) -> Picture:
    numbers = [float(word) for word in text(example[f"{role}_eyes"]).split()]
    eyes = ((numbers[0], numbers[1]), (numbers[2], numbers[3])) if numbers else None
    return Picture(pathlib.Path(text(example[f"{role}_path"])), eyes)
