"""Lists from strangers: whatever is in them, a reader answers with records, problems and DatasetError, nothing else."""

import contextlib
import csv
import functools
import io
import os
import pathlib
import sys

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from fame_jax.data.lists import LineError, each_row, path_inside
from fame_jax.data.records import DatasetError, Problem
from fame_jax.datasets import boxes, eyes
from fame_jax.datasets.catalogue import read
from fame_jax.datasets.imagenet import wordnet_ids
from tests.datasets import synthetic

FUZZ = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    database=None,
)
ODD = st.one_of(
    st.sampled_from(
        [
            "",
            "0",
            "1",
            "-1",
            "1e9",
            "nan",
            "inf",
            "../../etc/passwd",
            "/etc/passwd",
            "a b",
            "ü/ñ.png",
            "\0",
            '"',
            "n01440764",
        ]
    ),
    st.text(max_size=30),
    st.integers().map(str),
)
CONTENT = st.one_of(
    st.binary(max_size=300),
    st.text(max_size=300).map(lambda text: text.encode("utf-8", "replace")),
    st.lists(st.lists(ODD, max_size=7), max_size=5).map(
        lambda rows: "\n".join(map(",".join, rows)).encode("utf-8", "replace")
    ),
)
HEADERS = {
    "pairs": b"G,P,T\n",
    "list": b"image,label,boxes\n",
    "imagenet": b"ImageId,PredictionString,target\n",
    "eyes": b"PATH,reye_x,reye_y,leye_x,leye_y\n",
}


def answer(call, *arguments):
    """What a reader returns, or the line that it refuses with."""
    try:
        return call(*arguments)
    except DatasetError as error:
        line = str(error)
    assert "\n" not in line
    return line


def problem_of(root, name, text, protocol="list.csv"):
    """The one problem of a list."""
    (root / "list.csv").write_bytes(text)
    dataset = read(name, root, protocol)
    assert not dataset.records
    (problem,) = dataset.problems
    return problem


@FUZZ
@given(CONTENT, st.booleans())
@example("\x85".encode(), True)
@pytest.mark.parametrize("name", ["pairs", "list", "imagenet"])
def test_any_bytes_as_a_list(tmp_path, name, content, with_header):
    path = tmp_path / "list.csv"
    path.write_bytes((HEADERS[name] if with_header else b"") + content)
    synthetic.imagenet(tmp_path, photographs=0)
    dataset = answer(read, name, tmp_path, "list.csv")
    if isinstance(dataset, str):
        assert "list.csv" in dataset
        return
    # What is blank is a question of text: some bytes above 127 are white space.
    lines = [line for line in path.read_bytes().splitlines()[1:] if line.decode("utf-8", "replace").strip()]
    assert dataset.records == ()
    assert bool(dataset.problems) == bool(lines)


@FUZZ
@given(CONTENT)
def test_any_bytes_as_lists_of_cfp(tmp_path, content):
    root = tmp_path
    for name in ("Pair_list_F.txt", "Pair_list_P.txt", "Split/FP/01/same.txt", "Split/FP/01/diff.txt"):
        path = root / "Protocol" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    dataset = answer(read, "cfp", root)
    assert isinstance(dataset, str) or dataset.records == ()


@FUZZ
@given(CONTENT)
def test_any_bytes_as_lists_of_bob(tmp_path, content):
    for name in ("for_models.csv", "for_probes.csv"):
        path = tmp_path / "all/eval" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"PATH,REFERENCE_ID,leye_x,leye_y,reye_x,reye_y\n" + content)
    dataset = read("bob", tmp_path)
    assert dataset.records == ()


@FUZZ
@given(CONTENT)
@example(b"\xfe\xff")
@example(b"\x1c")
def test_any_bytes_as_other_lists(tmp_path, content):
    path = tmp_path / "LOC_synset_mapping.txt"
    path.write_bytes(content)
    names = answer(wordnet_ids, tmp_path)
    assert str(path) in names if isinstance(names, str) else len(set(names)) == len(names)
    path = tmp_path / "eyes.csv"
    path.write_bytes(HEADERS["eyes"] + content)
    problems: list[Problem] = []
    eyes.read_eyes(path, problems)
    (tmp_path / "clients.txt").write_bytes(content)
    dataset = answer(functools.partial(read, clients=tmp_path / "clients.txt"), "arface", tmp_path)
    assert isinstance(dataset, str) or dataset.records == ()


@FUZZ
@given(st.one_of(CONTENT, st.lists(ODD, max_size=9).map(lambda words: _voc(words).encode("utf-8", "replace"))))
def test_any_bytes_as_an_annotation(tmp_path, content):
    path = tmp_path / "a.xml"
    path.write_bytes(content)
    try:
        found = boxes.annotation(path)
    except LineError:
        return
    assert all(left < right and top < bottom for _, (left, top, right, bottom) in found)


def _voc(words):
    tags = ["name", "xmin", "ymin", "xmax", "ymax"]
    inside = "".join(f"<{tag}>{word}</{tag}>" for tag, word in zip(tags[1:], words[1:], strict=False))
    name = f"<name>{words[0]}</name>" if words else ""
    return f"<annotation><object>{name}<bndbox>{inside}</bndbox></object></annotation>"


@FUZZ
@given(st.text(max_size=60))
def test_any_text_as_boxes(text):
    for parse in (boxes.boxes, boxes.prediction_string):
        with contextlib.suppress(LineError):
            assert all(isinstance(one, tuple) for one in parse(text))


@FUZZ
@given(st.one_of(ODD, st.lists(st.sampled_from(["..", ".", "a", "", "~", "//"])).map("/".join)))
def test_no_text_leads_out_of_the_folder(tmp_path, text):
    try:
        path = path_inside(tmp_path, text)
    except LineError:
        return
    assert os.path.commonpath([tmp_path, os.path.realpath(path)]) == str(tmp_path)


@FUZZ
@given(st.lists(st.lists(st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"])), min_size=3, max_size=3)))
def test_rows_written_by_csv_are_read_back(tmp_path, rows):
    text = io.StringIO()
    csv.writer(text).writerows([["a", "b", "c"], *rows])
    path = tmp_path / "rows.csv"
    path.write_text(text.getvalue(), encoding="utf-8-sig", newline="")
    problems: list[Problem] = []
    found = each_row(path, ("a", "b", "c"), lambda row: [row["a"], row["b"], row["c"]], problems)
    assert not problems
    assert found == [[field.strip() for field in row] for row in rows]


BOMB = b"""<?xml version="1.0"?><!DOCTYPE a [<!ENTITY x "xxxxxxxxxx"><!ENTITY y "&x;&x;&x;&x;&x;&x;&x;&x;&x;&x;">]>
<annotation><object><name>&y;</name></object></annotation>"""
EXTERNAL = b"""<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]>
<annotation><object><name>&x;</name></object></annotation>"""


@pytest.mark.parametrize("data", [BOMB, EXTERNAL, BOMB.decode().encode("utf-16")])
def test_entities_are_refused_and_not_expanded(tmp_path, data):
    (tmp_path / "a.xml").write_bytes(data)
    with pytest.raises(LineError, match="document type"):
        boxes.annotation(tmp_path / "a.xml")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "no XML"),
        (b"<annotation>" * 100_000, "limit"),
        (b"<annotation>" * 50_000, "no XML"),
        (b"<annotation/>", "no object"),
        (b"<annotation><object/></annotation>", "no name"),
        (_voc(["n1", "1", "2", "x", "4"]).encode(), "x_max is 'x'"),
        (_voc(["n1", "5", "2", "3", "4"]).encode(), "no area"),
        (_voc(["n1", "-5", "2", "3", "4"]).encode(), "x_min is -5"),
        (b"<?xml version='1.0' encoding='nonsense'?><a/>", "no XML"),
    ],
)
def test_damaged_annotations_say_why(tmp_path, data, words):
    (tmp_path / "a.xml").write_bytes(data)
    with pytest.raises(LineError, match=words):
        boxes.annotation(tmp_path / "a.xml")


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (b"../secret.png,,", "leads out of"),
        (b"/etc/passwd,,", "leads out of"),
        (b"link.png,,", "is a link that leads out of"),
        (b"folder/secret.png,,", "is a link that leads out of"),
        (b"a\0b.png,,", "NUL"),
        (b"a.png,1", "2 fields, expected 3"),
        (b"a.png,1,,,", "5 fields, expected 3"),
        (b'"a.png,1,', "not CSV"),
        (b"x" * 70_000 + b",,", "70002 bytes"),
        (b"\xff\xfe.png,,", "not UTF-8"),
        (b"a.png,one,", "label is 'one'"),
        (b"a.png,-1,", "label is -1"),
        (b"a.png,0,1 2 3", "3 numbers"),
        (b"a.png,0,-1 2 3 4", "x_min is -1"),
        (b"a.png,0,3 2 1 4", "no area"),
        (b"a.png,0,1 2 3 99999999999", "y_max is '99999999999'"),
        (b",0,", "is no path"),
        (b"gone.png,0,", "no such file"),
        (b"inner,0,", "no file"),
        # From Python 3.14 on, a name that no system allows is one that is not there.
        (b"x" * 5000 + b".png,,", "File name too long" if sys.version_info < (3, 14) else "no such file"),
    ],
)
def test_hostile_row_is_one_problem_that_says_why(tmp_path, row, words):
    root = tmp_path / "root"
    root.mkdir()
    outside = tmp_path / "outside"
    synthetic.save(outside / "secret.png", synthetic.pattern([0], 8, 8))
    (root / "link.png").symlink_to(outside / "secret.png")
    (root / "folder").symlink_to(outside)
    (root / "inner").mkdir()
    problem = problem_of(root, "list", HEADERS["list"] + row + b"\n")
    assert words in problem.reason
    assert "line 2" in problem.where or row.split(b",")[0].decode() in problem.where


def test_files_outside_are_read_if_the_user_says_so(tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    secret = synthetic.save(tmp_path / "outside" / "secret.png", synthetic.pattern([0], 8, 8))
    (root / "link.png").symlink_to(secret)
    synthetic.write(root / "list.csv", ["image", "link.png", "../outside/secret.png", str(secret)])
    assert len(read("list", root, "list.csv", allow_outside=True).records) == 3
    assert len(read("list", root, "list.csv").problems) == 3
    assert len(read("folder", root).problems) == 1
    assert len(read("folder", root, allow_outside=True).records) == 1


def test_relative_roots_are_where_the_process_is(tmp_path, monkeypatch):
    for name in ("one", "other"):
        (tmp_path / name / "root").mkdir(parents=True)
        synthetic.own_list(tmp_path / name / "root")
    (tmp_path / "other/root/secret").symlink_to(tmp_path)
    for name in ("one", "other"):
        monkeypatch.chdir(tmp_path / name)
        assert len(read("list", "root", "photographs", expected={}).records) == 3
    monkeypatch.chdir(tmp_path / "other/root")
    synthetic.write(pathlib.Path("outside.csv"), ["image", "../photo 0.png", "secret/one/root/photo 0.png"])
    assert [problem.reason.split(" lead")[1] for problem in read("list", ".", "outside").problems] == [
        "s out of ., which is refused; allow_outside accepts it"
    ] * 2


def test_root_may_itself_be_a_link(tmp_path):
    copy = synthetic.own_list(tmp_path / "root")
    (tmp_path / "link").symlink_to(copy.root)
    assert not read("list", tmp_path / "link", "photographs", expected=copy.expected["photographs"]).problems


def test_a_damaged_row_costs_only_itself(tmp_path):
    copy = synthetic.own_list(tmp_path)
    lines = (tmp_path / "photographs.csv").read_bytes().splitlines()
    (tmp_path / "photographs.csv").write_bytes(b"\n".join([*lines[:2], b'"', b"\0", b"x,y,z,w", *lines[2:]]))
    dataset = read("list", tmp_path, "photographs", expected=copy.expected["photographs"])
    assert len(dataset.records) == 3
    assert [problem.where.rpartition(", ")[2] for problem in dataset.problems] == ["line 3", "line 4", "line 5"]


def test_names_may_have_spaces_commas_and_any_letters(tmp_path):
    names = ["a b.png", "a,b.png", 'say "cheese".png', "ünïcödé/日本.png", "x\u202fy.png"]
    for i, name in enumerate(names):
        synthetic.save(tmp_path / name, synthetic.pattern([i], 8, 8))
    with (tmp_path / "list.csv").open("w", encoding="utf-8-sig", newline="") as file:
        csv.writer(file).writerows([["image"], *([name] for name in names)])
    assert [record.name for record in read("list", tmp_path, "list").records] == names
