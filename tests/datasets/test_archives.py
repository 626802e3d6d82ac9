"""Tar archives, such as shards of WebDataset, are read as the folders that they would unpack to."""

import io
import os
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


def added(archive, **entries):
    """Adds members to an archive: bytes become files, and the fields of a header what they say."""
    with tarfile.open(archive, "a") as file:
        for name, entry in entries.items():
            header = tarfile.TarInfo(name)
            header.size = len(entry) if isinstance(entry, bytes) else 0
            for field, value in ({} if isinstance(entry, bytes) else entry).items():
                setattr(header, field, value)
            file.addfile(header, io.BytesIO(entry) if isinstance(entry, bytes) else None)


def test_hidden_files_in_an_archive_are_passed_over(shards):
    added(shards / "000.tar", **{"./._0000.png": b"macOS", "./.trash/cat.png": b"hidden", "../._cat.png": b"both"})
    found = read("folder", shards)
    assert [record.name for record in found.records] == [f"{i // 3:03}.tar/{i:04}.png" for i in range(6)]
    assert not found.problems


def test_hard_links_in_an_archive_are_the_files_that_they_link_to(tmp_path):
    (first,) = tiny.pictures(tmp_path / "pictures", 1)
    os.link(first, first.with_name("again.png"))
    with tarfile.open(tmp_path / "one.tar", "w") as file:
        file.add(first, "./first.png")
        file.add(first.with_name("again.png"), "./again.png")
        assert file.getmember("./again.png").islnk()
    added(tmp_path / "one.tar", **{"third.png": {"type": tarfile.LNKTYPE, "linkname": "again.png"}})
    found = read("folder", tmp_path / "one.tar")
    assert [record.name for record in found.records] == ["again.png", "first.png", "third.png"]
    assert not found.problems
    for record in found.records:
        assert record.picture.path.read_bytes() == first.read_bytes()


@pytest.mark.parametrize(
    ("name", "entry", "words"),
    [
        ("/cat.png", b"absolute", "its name leads out of the archive, expected a relative one"),
        ("a/../../cat.png", b"above", "its name leads out of the archive"),
        ("cat.png", {"type": tarfile.LNKTYPE, "linkname": "none.png"}, "a hard link to none.png, and no such file"),
        ("cat.png", {"type": tarfile.SYMTYPE, "linkname": "0000.png"}, "tar --dereference"),
        ("cat.png", {"type": tarfile.FIFOTYPE}, "no regular file"),
    ],
)
def test_what_is_not_read_in_an_archive_is_named(shards, name, entry, words):
    added(shards / "000.tar", **{name: entry, "read.me": entry})
    found = read("folder", shards)
    assert len(found.records) == 6
    (problem,) = found.problems
    assert problem.where == f"{shards / '000.tar'}, {os.path.normpath(name)}"
    assert words in problem.reason


def test_an_archive_itself_is_a_folder(shards):
    found = read("folder", shards / "001.tar", "cls")
    assert (found.name, found.problems) == ("folder 001.tar (labels from cls)", ())
    assert [(record.name, record.label) for record in found.records] == [(f"{i:04}.png", i % 3) for i in (3, 4, 5)]
    there = read_image(shards.parent / "pictures" / "0003.png")
    np.testing.assert_array_equal(read_image(found.records[0].picture.path), there)
    (shards / "bad.tar").write_bytes(b"no archive")
    with pytest.raises(DatasetError, match="no tar archive that can be read"):
        read("folder", shards / "bad.tar")


def test_lists_name_what_lies_in_an_archive(shards):
    (shards / "some.csv").write_text("image,label\n000.tar/0001.png,7\n001.tar/0004,8\n../x.tar/0.png,9\n")
    found = read("list", shards / "some.csv")
    assert [record.picture.path for record in found.records] == [
        shards / "000.tar" / "0001.png",
        shards / "001.tar" / "0004.png",
    ]
    assert all(isinstance(record.picture.path, Member) for record in found.records)
    assert ["leads out of" in problem.reason for problem in found.problems] == [True]
    (shards / "pairs.csv").write_text("G,P,T\n000.tar/0001.png,001.tar/0004.png,1\n")
    (pair,) = read("pairs", shards, "pairs").records
    assert pair.probe.path.read_bytes() == (shards.parent / "pictures" / "0004.png").read_bytes()
    (shards / "bad.tar").write_bytes(b"no archive")
    (shards / "bad.csv").write_text("image\nbad.tar/0001\n")
    with pytest.raises(ImageError, match="no tar archive that can be read"):
        read_image(read("list", shards / "bad.csv").records[0].picture.path)


def test_a_folder_that_is_called_like_an_archive_is_a_folder(tmp_path):
    (tmp_path / "a.tar").mkdir()
    assert not isinstance(located(tmp_path / "a.tar" / "one.png"), Member)
