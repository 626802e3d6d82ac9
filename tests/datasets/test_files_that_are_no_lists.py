"""Files from strangers in place of lists: too large, of another kind, endless, growing; each refused in one line."""

import os
import pathlib
import re

import pytest

from fame_jax.data import lists
from fame_jax.data.records import DatasetError
from fame_jax.datasets.catalogue import read
from tests.datasets import synthetic
from tests.datasets.test_hostile_lists import problem_of


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "no column image"),
        (b"picture\na.png\n", "no column image; its first line names picture"),
        (b"image,image\n", "two columns"),
        ("image\na.png\n".encode("utf-16"), "UTF-16"),
        (b'"image\n', "does not name columns"),
        (b"\0\n", "does not name columns"),
    ],
)
def test_a_file_that_is_no_such_list_is_refused(tmp_path, data, words):
    (tmp_path / "list.csv").write_bytes(data)
    with pytest.raises(DatasetError, match=words):
        read("list", tmp_path / "list.csv")


def test_a_huge_list_is_refused_before_it_is_read(tmp_path, monkeypatch):
    path = tmp_path / "list.csv"
    with path.open("wb") as file:
        file.truncate(lists.MAX_BYTES + 1)
    monkeypatch.setattr(lists.csv, "reader", lambda *_, **__: pytest.fail("it was read"))
    with pytest.raises(DatasetError, match="256 MiB"):
        read("list", path)


def test_endless_links_are_problems(tmp_path):
    (tmp_path / "loop.png").symlink_to(tmp_path / "loop.png")
    assert "no such file" in problem_of(tmp_path, "list", b"image\nloop.png\n").reason


LISTS = {
    "pairs": ("pairs.csv", {"protocol": "pairs"}),
    "list": ("list.csv", {"protocol": "list"}),
    "imagenet": ("LOC_val_solution.csv", {}),
    "cfp": ("Protocol/Pair_list_F.txt", {}),
    "bob": ("all/eval/for_models.csv", {}),
    "arface": ("clients.txt", {}),
}


@pytest.mark.parametrize("what", ["pipe", "device"])
@pytest.mark.parametrize("name", LISTS)
def test_a_list_that_is_a_pipe_or_a_device_is_refused(tmp_path, name, what):
    if name == "imagenet":
        synthetic.imagenet(tmp_path, photographs=0)
    file, options = LISTS[name]
    path = tmp_path / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    os.mkfifo(path) if what == "pipe" else path.symlink_to("/dev/zero")
    options = {"clients": path} if name == "arface" else options
    with pytest.raises(DatasetError, match=rf"^{re.escape(str(path))}: it is no regular file; expected a list\.$"):
        read(name, tmp_path, **options)


@pytest.mark.parametrize("file", ["LOC_synset_mapping.txt", "ILSVRC/Annotations/CLS-LOC/val/pipe.xml"])
def test_other_files_of_imagenet_may_be_no_pipes(tmp_path, file):
    synthetic.imagenet(tmp_path)
    (tmp_path / "LOC_val_solution.csv").unlink()
    (tmp_path / file).unlink(missing_ok=True)
    os.mkfifo(tmp_path / file)
    try:
        problems = [problem.reason for problem in read("imagenet", tmp_path, expected={}).problems]
    except DatasetError as error:
        problems = [str(error)]
    assert ["no regular file" in problem for problem in problems] == [True]


def test_eyes_and_the_list_itself_may_be_no_pipes(tmp_path):
    root = synthetic.pairs(tmp_path / "faces").root
    os.mkfifo(tmp_path / "pipe")
    for call in (
        lambda: read("pairs", tmp_path / "pipe"),
        lambda: read("pairs", root, "pairs", eyes=tmp_path / "pipe"),
    ):
        with pytest.raises(DatasetError, match="pipe: it is no regular file"):
            call()


def test_a_file_that_grows_beyond_its_size_is_cut(tmp_path, monkeypatch):
    # Files of /proc say that they are empty.
    monkeypatch.setattr(lists, "MAX_BYTES", 10)
    with pytest.raises(DatasetError, match="above the limit"):
        read("list", pathlib.Path("/proc/self/mountinfo"))


def test_a_name_of_several_lines_is_told_in_one(tmp_path):
    (tmp_path / "two\nlines.png").symlink_to("nowhere")
    (tmp_path / "a  b").mkdir()
    with pytest.raises(DatasetError, match="two lines") as refused:
        read("list", tmp_path / "two\nlines.png")
    assert "\n" not in str(refused.value)
    with pytest.raises(DatasetError, match="a  b: no photographs"):
        read("folder", tmp_path / "a  b")
