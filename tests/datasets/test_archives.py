"""Tar archives, such as shards of WebDataset, are read as the folders that they would unpack to."""

import io
import shutil
import tarfile

import numpy as np
import pytest

from fame_jax.data.images import ImageError, read_image
from fame_jax.data.records import DatasetError
from fame_jax.datasets.catalogue import read
from fame_jax.experiments.run import run
from fame_jax.experiments.store import Run
from fame_jax.remote import Member, located
from tests.experiments import tiny


@pytest.fixture
def shards(tmp_path):
    """Two shards of three pictures each with their classes, and the folder that they were made of."""
    folder = tmp_path / "pictures"
    for number, path in enumerate(tiny.pictures(folder, 6)):
        path.with_suffix(".cls").write_text(f"{number % 3}\n")
    (tmp_path / "shards").mkdir()
    for number in range(2):
        with tarfile.open(tmp_path / "shards" / f"{number:03}.tar", "w") as file:
            for path in sorted(folder.iterdir())[6 * number : 6 * number + 6]:
                file.add(path, f"./{path.name}")
    return tmp_path / "shards"


def test_shards_are_a_folder_of_photographs_with_classes(shards):
    found = read("folder", shards, "cls")
    assert [record.name for record in found.records] == [f"{i // 3:03}.tar/{i:04}.png" for i in range(6)]
    assert [record.label for record in found.records] == [0, 1, 2, 0, 1, 2]
    assert not found.problems
    for number, record in enumerate(found.records):
        there = read_image(shards.parent / "pictures" / f"{number:04}.png")
        np.testing.assert_array_equal(read_image(record.picture.path), there)


def test_a_folder_of_pictures_with_classes_needs_no_archive(shards):
    assert [record.label for record in read("folder", shards.parent / "pictures", "cls").records] == [0, 1, 2] * 2


def test_maps_of_shards_are_those_of_the_folder(shards, tmp_path):
    sources = {"tar": shards, "folder": tmp_path / "pictures"}
    for name, root in sources.items():
        run(tiny.network(), read("folder", root, "cls"), "fame", tmp_path / name, tiny.settings(), card=tiny.card())
    tar, folder = (Run(tmp_path / name) for name in sources)
    for name in ("attribution", "label", "sha256", "state"):
        np.testing.assert_array_equal(tar.column(name), folder.column(name))
    assert isinstance(tar.records[0].picture.path, Member)


def test_what_is_wrong_with_an_archive_is_named(shards, tmp_path):
    (shards / "bad.tar").write_bytes(b"no archive" * 100)
    with tarfile.open(shards / "more.tar", "w") as file:
        entry = tarfile.TarInfo("one.png")
        entry.size = 9
        file.addfile(entry, io.BytesIO(b"no pixels"))
    found = read("folder", shards, "cls")
    assert len(found.records) == 6
    words = {problem.where: problem.reason for problem in found.problems}
    assert "no tar archive that can be read" in words[str(shards / "bad.tar")]
    assert "no such file" in words["more.tar/one.png"]
    with pytest.raises(ImageError, match=r"one\.png"):
        read_image(shards / "more.tar" / "one.png")
    with pytest.raises(ImageError, match="there is no such file"):
        read_image(shards / "000.tar" / "none.png")
    shutil.rmtree(shards)
    shards.mkdir()
    (shards / "bad.tar").write_bytes(b"no archive")
    with pytest.raises(DatasetError, match="no photographs"):
        read("folder", shards)


def test_a_folder_that_is_called_like_an_archive_is_a_folder(tmp_path):
    (tmp_path / "a.tar").mkdir()
    assert not isinstance(located(tmp_path / "a.tar" / "one.png"), Member)
