"""What TensorFlow Datasets has prepared is read without TensorFlow: in its order, with labels and the files' bytes."""

import io
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("tensorflow_datasets")
pytest.importorskip("grain")

import tensorflow_datasets as tfds

from fame_jax import array_records
from fame_jax.data.images import read_image
from fame_jax.data.records import DatasetError
from fame_jax.datasets.catalogue import read
from fame_jax.datasets.imagenet import wordnet_ids
from fame_jax.datasets.prepared import prepare
from fame_jax.experiments.run import run
from fame_jax.experiments.settings import in_classes_of
from tests.datasets import synthetic
from tests.experiments import tiny


def files(count):
    found = []
    for seed in range(count):
        file = io.BytesIO()
        Image.fromarray(synthetic.pattern([5, seed], 40, 50)).save(file, format="PNG")
        found.append(file.getvalue())
    return found


class Photographs(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    VERSION = tfds.core.Version("1.0.0")

    def __init__(self, given, examples, **options):
        self.given, self.examples = given, examples
        super().__init__(**options)

    def _info(self):
        given = tfds.features.FeaturesDict(self.given)
        return tfds.core.DatasetInfo(builder=self, features=given, disable_shuffling=True)

    def _split_generators(self, dl_manager):
        return {name: enumerate(examples) for name, examples in self.examples.items()}

    def _generate_examples(self):
        raise NotImplementedError


def built(name, folder, given, examples, file_format="array_record"):
    """A data set of a name, as its preparation leaves it behind."""
    tfds.disable_progress_bar()
    kind = type(name, (Photographs,), {"name": name}, skip_registration=True)
    kind(given, examples, data_dir=folder, file_format=file_format).download_and_prepare()
    return folder


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A data directory: classes with names, classes of ImageNet, no labels, no images, and another kind of files."""
    folder = tmp_path_factory.mktemp("tfds")
    image, words = tfds.features.Image(shape=(None, None, 3)), tfds.features.Text()

    def pictures(count):
        return [io.BytesIO(data) for data in files(count)]

    label = tfds.features.ClassLabel(names=["cat", "dog"])
    cats = [{"image": one, "label": number % 2 if number else -1} for number, one in enumerate(pictures(6))]
    built("cats", folder, {"image": image, "label": label}, {"train": cats[:4], "test": cats[4:]})
    ids = [*wordnet_ids()[2:4], wordnet_ids()[0]]
    three = [
        {"image": one, "label": number, "file_name": f"ILSVRC2012_val_{number + 1:08}.JPEG"}
        for number, one in enumerate(pictures(3))
    ]
    given = {"image": image, "label": tfds.features.ClassLabel(names=ids), "file_name": words}
    built("three", folder, given, {"validation": three})
    built("bare", folder, {"image": image}, {"test": [{"image": one} for one in pictures(2)]})
    built("words", folder, {"text": words}, {"test": [{"text": "a"}]})
    return folder


def test_photographs_of_a_split_are_read_in_its_order(root):
    dataset = read("tfds:cats", root, "train")
    assert not dataset.problems
    assert dataset.name == "tfds cats/1.0.0 train"
    assert dataset.labels == ("cat", "dog")
    assert [record.label for record in dataset.records] == [None, 1, 0, 1]
    assert [record.name for record in dataset.records] == [
        f"cats-train.array_record-00000-of-00001/{number}" for number in range(4)
    ]
    for record, data in zip(dataset.records, files(4), strict=True):
        assert record.picture.path.read_bytes() == data
        np.testing.assert_array_equal(read_image(record.picture.path), read_image_of(data))


def read_image_of(data):
    return np.asarray(Image.open(io.BytesIO(data)), np.float32) / 255


def test_a_part_of_a_split_is_what_tensorflow_datasets_says(root):
    assert [record.name[-1] for record in read("tfds:cats", root, "train[1:3]").records] == ["1", "2"]
    assert [record.name[-1] for record in read("tfds:cats:1.0.0", root, "train[50%:]").records] == ["2", "3"]


def test_classes_of_imagenet_are_counted_as_its_networks_do(root):
    dataset = read("tfds:three", root)
    assert dataset.labels is None
    assert [record.label for record in dataset.records] == [2, 3, 0]
    assert dataset.records[0].name == "ILSVRC2012_val_00000001.JPEG"


def test_boxes_of_imagenet_come_by_file_name_and_have_to_be_of_the_label(root, tmp_path):
    copy = synthetic.imagenet(tmp_path, classes=4).root  # Photograph i is of class i - 1, here of 2, 3 and 0.
    dataset = read("tfds:three", root, annotations=copy)
    assert not dataset.records
    assert "its target is 2, and its boxes are of 0" in dataset.problems[0].reason
    solution = copy / "LOC_val_solution.csv"
    rows = solution.read_text().replace(f"1,{wordnet_ids()[0]}", f"1,{wordnet_ids()[2]}")
    solution.write_text("\n".join(row for row in rows.splitlines() if "00000003" not in row))
    dataset = read("tfds:three", root, annotations=copy)
    assert [record.boxes for record in dataset.records] == [((5, 6, 40, 30),), ()]


def test_without_labels_the_predicted_class_is_explained_and_that_is_said(root):
    dataset = read("tfds:bare", root)
    assert [record.label for record in dataset.records] == [None, None]
    assert len(dataset.problems) == 1
    assert "no label; whatever the network predicts" in dataset.problems[0].reason


@pytest.mark.parametrize(
    ("name", "split", "words"),
    [
        ("tfds:cat", None, "no cat was prepared there; did you mean cats"),
        ("tfds:cats:9.0.0", "test", "no cats:9.0.0 was prepared there"),
        ("tfds:cats/small", "test", "no cats/small was prepared there"),
        ("tfds:../cats", "test", "was prepared there"),
        ("tfds:cats", None, r"several splits \(train, test\)"),
        ("tfds:cats", "tets", "no split is called 'tets'; did you mean test"),
        ("tfds:cats", "test[", "no split is called"),
        ("tfds:words", "test", "no image, only text"),
        ("tfds:", None, "no data set is called 'tfds:'"),
        ("tdfs:cats", None, "did you mean tfds:NAME"),
    ],
)
def test_what_cannot_be_had_is_said_in_one_line(root, name, split, words):
    with pytest.raises(DatasetError, match=words) as caught:
        read(name, root, split)
    assert "\n" not in str(caught.value)


def test_files_of_another_kind_or_none_are_named(root, tmp_path):
    with pytest.raises(DatasetError, match="no cats was prepared there; nothing is"):
        read("tfds:cats", tmp_path)
    image = tfds.features.Image(shape=(None, None, 3))
    built("cats", tmp_path, {"image": image}, {"test": [{"image": io.BytesIO(files(1)[0])}]})
    info = tmp_path / "cats" / "1.0.0" / "dataset_info.json"
    info.write_text(info.read_text().replace("array_record", "tfrecord"))
    with pytest.raises(DatasetError, match="prepared as tfrecord, which is not read"):
        read("tfds:cats", tmp_path)
    info.write_text(info.read_text().replace("tfrecord", "array_record"))
    next(info.parent.glob("*00000-of-00001")).unlink()
    with pytest.raises(DatasetError, match=r"cats-test\.array_record-00000-of-00001: there is no such file"):
        read("tfds:cats", tmp_path)


def test_records_that_are_no_examples_are_left_out_by_number(root, tmp_path):
    image, label = tfds.features.Image(shape=(None, None, 3)), tfds.features.ClassLabel(num_classes=3)
    examples = [{"image": io.BytesIO(data), "label": 1} for data in files(3)]
    built("cats", tmp_path, {"image": image, "label": label}, {"test": examples})
    shard = next((tmp_path / "cats" / "1.0.0").glob("*00000-of-00001"))
    good = array_records.record(shard, 1)
    other = shard.with_name("other")
    with array_records.written(other) as write:
        for data in (b"\xff" * 40, good, good.replace(b"label", b"lapel")):
            write(data)
    other.rename(shard)
    dataset = read("tfds:cats", tmp_path)
    assert [record.name[-1] for record in dataset.records] == ["1"]
    assert [problem.where[-8:] for problem in dataset.problems] == ["record 0", "record 2"]
    assert "no example" in dataset.problems[0].reason
    assert "its label is []" in dataset.problems[1].reason
    (unnamed,) = read_image_errors(shard / "1" / "picture")
    assert "record 1 has no picture" in unnamed


def read_image_errors(path):
    try:
        read_image(path)
    except ValueError as error:
        yield str(error)


def test_it_is_run_and_prepared_like_any_data_set(root, tmp_path):
    dataset = read("tfds:three", root)
    assert not prepare(dataset, tmp_path / "set")
    for name, one in {"tfds": dataset, "again": read("prepared", tmp_path / "set")}.items():
        run(tiny.network(), one, "fame", tmp_path / name, tiny.settings(), card=tiny.card())
    one, other = (
        {name: data for name, data in tiny.contents(tmp_path / folder).items() if name.startswith("arrays/")}
        for folder in ("tfds", "again")
    )
    assert one == other


def test_classes_are_found_among_the_networks_by_name_and_others_are_left_out(root):
    dataset = read("tfds:cats", root, "train")
    card = replace(tiny.card(), labels=("bird", "Dog"))
    found = in_classes_of(card, dataset)
    assert [record.label for record in found.records] == [None, 1, 1]
    assert [(one.where, one.reason) for one in found.problems] == [("class cat", "1 records: tiny knows bird, Dog")]


def test_reading_needs_no_tensorflow(root):
    code = (
        "import sys, pathlib; from fame_jax.datasets.catalogue import read;"
        f"dataset = read('tfds:three', pathlib.Path({str(root)!r}));"
        "print(len(dataset.records), len(dataset.records[0].picture.path.read_bytes()), 'tensorflow' in sys.modules)"
    )
    ended = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True)
    assert ended.stdout.split() == ["3", str(len(files(1)[0])), "False"], ended.stderr
