"""Records -> ArrayRecord -> records: nothing changes, and processes share the records without rest."""

import itertools
import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("tensorflow_datasets")
pytest.importorskip("grain")

from fame_jax.data import read_image
from fame_jax.data.records import Dataset, DatasetError, pictures_of
from fame_jax.datasets.catalogue import read
from fame_jax.datasets.imagenet import objects_by_photograph
from fame_jax.datasets.source import ImagenetSource, PreparedSource, share
from fame_jax.datasets.tfds_builder import prepare
from tests.datasets import synthetic

PROTOCOLS = {"imagenet": "validation", "cfp": "FP-01", "bob": "all", "list": "photographs"}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Data sets and the folders that they were prepared in, by name."""
    root = tmp_path_factory.mktemp("prepared")
    found = {}
    for name, protocol in PROTOCOLS.items():
        copy = synthetic.COPIES[name](root / name)
        dataset = read(name, copy.root, protocol, expected={})
        found[name] = dataset, prepare(dataset, root / "arrays")
    return found


@pytest.mark.parametrize("name", PROTOCOLS)
def test_prepared_records_are_read_back_equal(prepared, name):
    dataset, folder = prepared[name]
    source = PreparedSource(folder)
    assert (source.name, source.task, len(source)) == (dataset.name, dataset.task, len(dataset.records))
    for record, item in zip(dataset.records, share(source), strict=True):
        assert item.record == record
        assert item.files == tuple(picture.path.read_bytes() for picture in pictures_of(record))


def test_prepared_files_are_array_records(prepared):
    names = [path.name for path in prepared["cfp"][1].iterdir()]
    assert any("array_record" in name for name in names)


def test_decoded_images_are_those_of_the_files(prepared):
    dataset, folder = prepared["cfp"]
    item = PreparedSource(folder)[3]
    for image, picture in zip(item.images(), pictures_of(dataset.records[3]), strict=True):
        np.testing.assert_array_equal(image, read_image(picture.path))


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_shares_are_disjoint_and_complete(prepared, count):
    dataset, folder = prepared["bob"]
    source = PreparedSource(folder)
    shares = [[item.record.name for item in share(source, index, count)] for index in range(count)]
    assert sorted(itertools.chain(*shares)) == sorted(record.name for record in dataset.records)
    assert [[record.name for record in dataset.records[index::count]] for index in range(count)] == shares
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_reading_ahead_keeps_the_order(prepared):
    dataset, folder = prepared["bob"]
    ahead = share(PreparedSource(folder), 1, 2).to_iter_dataset()
    assert [item.record for item in ahead] == list(dataset.records[1::2])


def test_two_processes_read_disjoint_shares_without_tensorflow(prepared):
    dataset, folder = prepared["cfp"]
    code = (
        "import json, pathlib, sys; from fame_jax.datasets.source import PreparedSource, share;"
        "folder, index = sys.argv[1], int(sys.argv[2]);"
        "names = [item.record.name for item in share(PreparedSource(pathlib.Path(folder)), index, 2)];"
        "print(json.dumps([names, 'tensorflow' in sys.modules]))"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", code, str(folder), str(index)], stdout=subprocess.PIPE, text=True)
        for index in range(2)
    ]
    answers = [json.loads(process.communicate()[0].splitlines()[-1]) for process in processes]
    assert [names for names, _ in answers] == [[r.name for r in dataset.records[index::2]] for index in range(2)]
    assert not any(tensorflow for _, tensorflow in answers)


def test_preparing_again_changes_nothing_and_other_records_are_refused(prepared):
    dataset, folder = prepared["list"]
    times = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert prepare(dataset, folder.parents[2]) == folder
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == times
    with pytest.raises(DatasetError, match="other records"):
        prepare(Dataset(dataset.name, dataset.task, dataset.records[:1]), folder.parents[2])


def test_a_folder_without_prepared_data_is_named(tmp_path):
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(DatasetError, match="no prepared data set"):
            PreparedSource(folder)
    with pytest.raises(DatasetError, match="no records"):
        prepare(Dataset("none", "class", ()), tmp_path)


@pytest.mark.parametrize(("index", "count"), [(-1, 2), (2, 2), (0, 0)])
def test_a_process_that_is_not_there_is_refused(prepared, index, count):
    with pytest.raises(ValueError, match="process_index"):
        share(PreparedSource(prepared["cfp"][1]), index, count)


def test_imagenet_of_tfds_is_joined_with_boxes_by_file_name(tmp_path):
    root = synthetic.imagenet(tmp_path).root
    dataset = read("imagenet", root, expected={})
    examples = [
        {"file_name": record.picture.path.name, "label": record.label, "image": record.picture.path.read_bytes()}
        for record in reversed(dataset.records)
    ]
    problems = []
    source = ImagenetSource(examples, objects_by_photograph(root, problems))
    assert not problems
    joined = [item.record for item in share(source)]
    for record, expected in zip(joined, reversed(dataset.records), strict=True):
        assert (record.name, record.label, record.boxes) == (expected.name, expected.label, expected.boxes)
    assert source[0].files == (dataset.records[-1].picture.path.read_bytes(),)
    assert source[0].record.picture.path == pathlib.Path(dataset.records[-1].picture.path.name)


def test_imagenet_of_tfds_without_boxes_has_none_and_a_wrong_label_is_refused(tmp_path):
    root = synthetic.imagenet(tmp_path).root
    examples = [{"file_name": f"ILSVRC2012_val_0000000{i}.JPEG", "label": 1, "image": b""} for i in (1, 9)]
    source = ImagenetSource(examples, objects_by_photograph(root, []))
    assert source[1].record.boxes == ()
    with pytest.raises(DatasetError, match=r"00000001\.JPEG: its target is 1, and its boxes are of 0"):
        source[0]
