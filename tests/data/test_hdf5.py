"""Aligned faces in HDF5, as the published lists of pairs come with."""

import importlib.util
import io

import numpy as np
import pytest

from fame_jax.data import ImageError, decode_image, read_image
from fame_jax.data.records import DatasetError, PairRecord
from fame_jax.datasets.catalogue import read
from tests.datasets import synthetic

FACE = synthetic.face(1, 1)


@pytest.fixture
def h5py():
    return pytest.importorskip("h5py")


def crop(h5py, fill):
    file = io.BytesIO()
    with h5py.File(file, "w") as content:
        fill(content)
    return file.getvalue()


def test_pixels_of_a_crop_are_its_data(h5py):
    data = crop(h5py, lambda file: file.create_dataset("data", data=FACE, compression="gzip"))
    np.testing.assert_array_equal(decode_image(data, "a.h5"), FACE.astype(np.float32) / 255)


def test_pairs_name_crops_by_their_whole_path(h5py, tmp_path):
    for name in ("a_b_1.h5", "a_b_2.h5"):
        (tmp_path / name).write_bytes(crop(h5py, lambda file: file.create_dataset("data", data=FACE)))
    synthetic.write(tmp_path / "lists/pairs.csv", ["G,P,T", "a/b/1.jpg,a/b/2.jpg,1", "a/b/1.jpg,a/b/3.jpg,1"])
    dataset = read("pairs", tmp_path / "lists/pairs.csv", crops=tmp_path)
    (record,) = dataset.records
    assert isinstance(record, PairRecord)
    assert (record.probe.path.name, record.gallery.path.name) == ("a_b_2.h5", "a_b_1.h5")
    assert read_image(record.probe.path).shape == (112, 112, 3)
    assert dataset.problems[0].where.endswith("a_b_3.h5")
    with pytest.raises(DatasetError, match="no such folder"):
        read("pairs", tmp_path / "lists/pairs.csv", crops=tmp_path / "gone")


def test_without_h5py_crops_are_refused_before_work_starts(tmp_path, monkeypatch):
    synthetic.pairs(tmp_path)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DatasetError, match="pip install h5py"):
        read("pairs", tmp_path, "pairs", crops=tmp_path)
    monkeypatch.setitem(__import__("sys").modules, "h5py", None)
    with pytest.raises(ImageError, match="pip install h5py"):
        decode_image(b"\x89HDF\r\n\x1a\n", "a.h5")


@pytest.mark.parametrize(
    ("fill", "words"),
    [
        (lambda h5py, file: None, "without a dataset"),
        (lambda h5py, file: file.create_group("data"), "without a dataset"),
        (lambda h5py, file: file.__setitem__("data", h5py.ExternalLink("/etc/passwd", "/")), "of its own"),
        (lambda h5py, file: file.__setitem__("data", h5py.SoftLink("/other")), "of its own"),
        (lambda h5py, file: file.create_dataset("data", data=FACE / 255), "float64"),
        (lambda h5py, file: file.create_dataset("data", data=FACE[..., 0]), "[112, 112]"),
        (
            lambda h5py, file: file.create_dataset("data", (10**6, 10**6, 3), "u1", chunks=(10, 10, 3)),
            "above the limit",
        ),
        (lambda h5py, file: file.create_dataset("data", (1, 1, 3), "u1", external="not-there.bin"), "in another file"),
    ],
)
def test_hostile_crops_are_refused(h5py, fill, words):
    with pytest.raises(ImageError) as caught:
        decode_image(crop(h5py, lambda file: fill(h5py, file)), "a.h5")
    assert words in str(caught.value)


def test_truncated_crop_is_refused(h5py):
    data = crop(h5py, lambda file: file.create_dataset("data", data=FACE))
    with pytest.raises(ImageError, match="damaged or cut short"):
        decode_image(data[: len(data) // 2], "a.h5")
