"""Every reader on a small copy of its data set; what lacks, is damaged or is too few is said by name."""

import hashlib
import json
import os
import pathlib
import re
from dataclasses import replace

import pytest
from PIL import Image

from fame_jax.data.images import read_image
from fame_jax.data.records import (
    ClassRecord,
    Dataset,
    DatasetError,
    PairRecord,
    Picture,
    Problem,
    as_json,
    counts,
    from_json,
    pictures_of,
)
from fame_jax.datasets import arface
from fame_jax.datasets.catalogue import DATASETS, read, reader
from tests.datasets import synthetic

PROTOCOL_OF_COPY = {
    "imagenet": ("validation", "imagenet_sub"),
    "cfp": ("FF-01", "FP-01", "FP-10", "FF", "FP"),
    "arface": ("neutral", "glass", "scarf"),
    "scface": ("close", "medium", "far"),
    "bob": ("all",),
    "pairs": ("pairs",),
    "folder": ("auto",),
    "list": ("photographs",),
    "coco": ("boxes.json",),
    "prepared": ("",),
}
PROTOCOLS = [(name, protocol) for name, protocols in PROTOCOL_OF_COPY.items() for protocol in protocols]


@pytest.fixture(scope="module")
def copies(tmp_path_factory):
    """All copies, by name; nobody may change them."""
    return {name: copy(tmp_path_factory.mktemp(name)) for name, copy in synthetic.COPIES.items()}


def test_every_data_set_has_a_copy():
    assert synthetic.COPIES.keys() == DATASETS.keys() == PROTOCOL_OF_COPY.keys()


@pytest.mark.parametrize(("name", "protocol"), PROTOCOLS)
def test_copy_is_read_whole(copies, name, protocol):
    copy = copies[name]
    dataset = read(name, copy.root, protocol, expected=copy.expected[protocol])
    assert len(dataset.problems) == (1 if name in ("arface", "scface") else 0), dataset.problems
    assert {key: counts(dataset)[key] for key in copy.expected[protocol]} == copy.expected[protocol]
    assert DATASETS[name].task in (dataset.task, None)
    names = [record.name for record in dataset.records]
    assert len(set(names)) == len(names)
    for record in dataset.records:
        assert isinstance(record, PairRecord if dataset.task == "pair" else ClassRecord)
        assert all(picture.path.is_file() for picture in pictures_of(record))
        assert from_json(json.loads(json.dumps(as_json(record)))) == record


@pytest.mark.parametrize(("name", "protocol"), PROTOCOLS)
def test_reading_twice_is_the_same(copies, name, protocol):
    root = copies[name].root
    assert read(name, root, protocol, expected={}) == read(name, root, protocol, expected={})


def test_photographs_of_a_copy_are_distinct(copies):
    for name, copy in copies.items():
        files = [path for path in copy.root.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png")]
        assert len({hashlib.sha256(path.read_bytes()).digest() for path in files}) == len(files), name


def test_counts_other_than_the_published_ones_are_problems(copies):
    problems = [problem.reason for problem in read("cfp", copies["cfp"].root).problems]
    assert problems == ["6 records, expected 700", "3 genuine, expected 350", "3 impostor, expected 350"]


def test_only_persons_are_genuine_with_themselves(copies):
    for record in read("scface", copies["scface"].root, "far").records:
        assert isinstance(record, PairRecord)
        assert record.genuine == (record.probe.path.name[:3] == record.gallery.path.name[:3])
    for record in read("arface", copies["arface"].root, "glass").records:
        assert isinstance(record, PairRecord)
        assert record.genuine == (record.probe.path.name[:5] == record.gallery.path.name[:5])
        assert record.gallery.path.stem.endswith("-01")


def test_each_probe_has_one_impostor_that_a_seed_decides(copies):
    def impostors(seed):
        records = read("scface", copies["scface"].root, "close", expected={}, seed=seed).records
        return [record for record in records if not record.genuine]

    assert len({record.probe.path for record in impostors(0)}) == 15
    assert impostors(0) == impostors(0) != impostors(1)


def test_clients_of_arface_are_those_of_bob_or_of_a_list(copies):
    assert len(arface.CLIENTS) == 43
    root = copies["arface"].root
    assert "m-014" in read("arface", root, expected={}).problems[0].reason
    assert not read("arface", root, expected={}, clients=root / "clients.txt").problems


def test_first_of_a_line_of_cfp_is_the_gallery(copies):
    records = {record.name: record for record in read("cfp", copies["cfp"].root, "FP-01", expected={}).records}
    record = records["FP-01 same 002"]
    assert record.gallery.path.parts[-3:] == ("002", "frontal", "01.jpg")
    assert record.probe.path.parts[-3:] == ("002", "profile", "01.jpg")
    assert record.genuine


def test_pairs_of_cfp_keep_their_names_when_a_line_is_damaged(tmp_path):
    root = synthetic.cfp(tmp_path).root
    whole = read("cfp", root, "FF-02", expected={})
    path = root / "Protocol/Split/FF/02/same.txt"
    path.write_text(path.read_text().replace("1,2", "1;2"))
    damaged = read("cfp", root, "FF-02", expected={})
    assert damaged.records == whole.records[1:]
    assert damaged.problems[0].where == f"{path}, line 1"


def test_labels_and_boxes_of_imagenet(copies):
    records = read("imagenet", copies["imagenet"].root, expected={}).records
    assert [record.label for record in records] == [0, 1, 2, 0, 1, 2]
    assert records[0].boxes == ((5, 6, 40, 30),)
    assert records[1].boxes == ((5, 6, 40, 30), (40, 30, 76, 60))


def test_imagenet_boxes_from_xml_are_those_of_the_solution(tmp_path):
    root = synthetic.imagenet(tmp_path).root
    solution = read("imagenet", root, expected={})
    (root / "LOC_val_solution.csv").unlink()
    assert read("imagenet", root, expected={}) == solution
    (root / "imagenet_sub.csv").write_text("ImageId\nILSVRC2012_val_00000002\n")
    assert read("imagenet", root, "imagenet_sub.csv", expected={}).records == solution.records[1:2]


def test_imagenet_without_mapping_has_the_labels_of_all_classes(tmp_path):
    root = synthetic.imagenet(tmp_path).root
    with_mapping = read("imagenet", root, expected={})
    (root / "LOC_synset_mapping.txt").unlink()
    assert read("imagenet", root, expected={}) == with_mapping


def test_bob_annotates_eyes_and_compares_all_with_all(copies):
    dataset = read("bob", copies["bob"].root)
    assert dataset.records[0].probe.eyes == ((38.2946, 51.6963), (73.5318, 51.5014))
    balanced = read("bob", copies["bob"].root, impostors="balanced")
    assert counts(balanced) == {"records": 12, "pictures": 9, "genuine": 6, "impostor": 6}


def test_several_faces_of_a_bob_model_are_one(tmp_path):
    root = synthetic.bob(tmp_path).root
    models = root / "all/eval/for_models.csv"
    models.write_text(models.read_text() + "faces/p1-2,1,,,,\n")
    assert counts(read("bob", root))["records"] == 18


def test_eyes_come_from_any_list(tmp_path):
    root = synthetic.pairs(tmp_path).root
    eyes = synthetic.write(tmp_path / "eyes.csv", ["PATH,reye_x,reye_y,leye_x,leye_y", "person 0/2,1,2,3.5,4"])
    records = read("pairs", root, "pairs", eyes=eyes).records
    assert records[0].probe.eyes == ((1, 2), (3.5, 4))
    assert records[0].gallery.eyes is None


def test_eyes_come_from_a_folder_of_positions(tmp_path):
    root = synthetic.arface(tmp_path / "faces").root
    synthetic.write(tmp_path / "eyes/m-003-01.pos", ["10 20 30 20"])
    synthetic.write(tmp_path / "eyes/m-003-14.pos", ["10 20 30"])
    dataset = read("arface", root, expected={}, clients=root / "clients.txt", eyes=tmp_path / "eyes")
    assert dataset.records[0].gallery.eyes == ((10, 20), (30, 20))
    assert dataset.records[0].probe.eyes is None
    (problem,) = dataset.problems
    assert problem.where.endswith("m-003-14.pos, line 1")


def test_missing_photograph_is_one_problem_by_name(tmp_path):
    root = synthetic.cfp(tmp_path).root
    (root / "Data/Images/002/frontal/01.jpg").unlink()
    dataset = read("cfp", root, "FF", expected={})
    assert len(dataset.records) == 50
    (problem,) = dataset.problems
    assert problem.where.endswith("002/frontal/01.jpg")
    assert problem.reason == "there is no such file; 10 records are left out"


def test_records_of_one_name_are_all_kept_and_named(tmp_path):
    root = synthetic.imagenet(tmp_path).root
    lines = (root / "imagenet_sub.csv").read_text().splitlines()
    synthetic.write(root / "twice.csv", [*lines, lines[1]])
    dataset = read("imagenet", root, "twice.csv")
    first = dataset.records[0]
    assert dataset.records[3] == replace(first, name=f"{first.name} (2)")
    assert dataset.problems == (Problem(first.name, "2 records have this name; a number is put behind the others"),)


def test_names_of_a_data_set_made_in_python_are_unique_and_stay_so():
    names = ["a", "a", "a (2)", "a", "b"]
    records = tuple(ClassRecord(name, Picture(pathlib.Path("x.png")), label) for label, name in enumerate(names))
    dataset = Dataset("own", "class", records)
    assert [record.name for record in dataset.records] == ["a", "a (3)", "a (2)", "a (4)", "b"]
    assert [record.label for record in dataset.records] == [0, 1, 2, 3, 4]
    assert [problem.where for problem in dataset.problems] == ["a"]
    assert replace(dataset, records=dataset.records[:3]).problems == dataset.problems


def mixed_folder(root):
    """A folder as it comes from phones, browsers and archives: all but the last three lines are read."""
    picture = Image.fromarray(synthetic.pattern([5], 12, 16))
    kinds = {"ok.jpg": "JPEG", "browser.jfif": "JPEG", "old.jpe": "JPEG", "phone.mpo": "MPO", "pan.pnm": "PPM"}
    kinds |= {"bare": "JPEG", "odd.dat": "PNG", "told.txt": "WEBP", "grey.PGM": "PPM", "deep": "TIFF", "y.bin": "BMP"}
    for name, kind in kinds.items():
        picture.save(root / name, kind)
    (root / "labels.csv").write_text("image,label\n")
    (root / "photo.heic").write_bytes(b"\0\0\0\x18ftypheic" + b"\0" * 64)
    (root / "web").write_bytes(b"\0\0\0\x18ftypavif" + b"\0" * 64)
    (root / "raw.unknown").write_bytes(b"whatever")
    os.symlink("nowhere", root / "dangling.jpg")
    os.symlink("nowhere", root / "dangling")
    os.symlink(root, root / "link to a folder")
    os.mkfifo(root / "pipe")
    os.mkfifo(root / "pipe.jpg")
    return set(kinds)


def test_a_folder_takes_every_picture_that_is_read_and_names_the_rest(tmp_path):
    taken = mixed_folder(tmp_path)
    dataset = read("folder", tmp_path)
    assert {record.name for record in dataset.records} == taken
    for record in dataset.records:
        assert isinstance(record, ClassRecord)
        assert read_image(record.picture.path).shape == (12, 16, 3)
    reasons = {pathlib.Path(problem.where).name: problem.reason for problem in dataset.problems}
    words = {
        "photo.heic": "it is HEIC, .*heif-convert photo.heic photo.jpg",
        "web": "it is AVIF, .*convert it to JPEG or PNG",
        "raw.unknown": "no picture of a kind that is read",
        "dangling.jpg": "a link to nothing",
        "dangling": "a link to nothing",
        "link to a folder": "a link to a folder, which is not followed",
        "pipe": "no regular file",
        "pipe.jpg": "no file",
    }
    assert reasons.keys() == words.keys()
    for name, pattern in words.items():
        assert re.search(pattern, reasons[name]), name


def test_hidden_files_and_folders_are_passed_over(tmp_path):
    for path in (".hidden.jpg", ".thumbnails/small.jpg", "shown.jpg"):
        synthetic.save(tmp_path / path, synthetic.pattern([6], 8, 8))
    dataset = read("folder", tmp_path)
    assert [record.name for record in dataset.records] == ["shown.jpg"]
    assert not dataset.problems


def test_a_folder_of_other_pictures_alone_says_what_they_are(tmp_path):
    (tmp_path / "photo.heic").write_bytes(b"\0\0\0\x18ftypheic" + b"\0" * 64)
    with pytest.raises(DatasetError, match=r"no photographs .*photo\.heic: it is HEIC"):
        read("folder", tmp_path)


@pytest.mark.parametrize(
    ("name", "protocol", "words"),
    [
        ("imagnet", None, "imagenet"),
        ("nothing like it", None, "expected one of imagenet, cfp, arface"),
        ("cfp", "FP-11", "FP-01 to FP-10"),
        ("arface", "hat", "neutral, glass, scarf"),
        ("scface", "near", "close, medium or far"),
        ("bob", "nine", "all"),
        ("pairs", "nine.csv", "'nine.csv'"),
        ("pairs", None, "give the list itself"),
        ("list", "a\0b", "no list"),
        ("folder", "colour", "auto, names"),
        ("imagenet", "nine.csv", "'nine.csv'"),
    ],
)
def test_unknown_names_are_answered_with_the_known(copies, name, protocol, words):
    root = copies[name].root if name in copies else "."
    with pytest.raises(DatasetError, match=words):
        read(name, root, protocol)


@pytest.mark.parametrize("name", DATASETS)
def test_missing_folder_is_named(tmp_path, name):
    with pytest.raises(DatasetError, match="nowhere"):
        read(name, tmp_path / "nowhere", "FP-01" if name == "cfp" else None)


@pytest.mark.parametrize("name", DATASETS)
def test_empty_folder_is_named(tmp_path, name):
    if name in ("arface", "scface"):
        dataset = read(name, tmp_path)
        assert not dataset.records
        assert "43 clients" in dataset.problems[0].reason
    else:
        with pytest.raises(DatasetError, match=re.escape(str(tmp_path))):
            read(name, tmp_path)


def test_unknown_option_is_answered_with_the_known(copies):
    with pytest.raises(DatasetError, match="eyes, allow_outside"):
        read("cfp", copies["cfp"].root, eye="x")


@pytest.mark.parametrize("name", DATASETS)
def test_reader_says_how_files_have_to_lie(name):
    assert "root" in (reader(name).read.__doc__ or "")
    assert "allow_outside" in reader(name).options
    assert reader(name).source


def test_eyes_of_cfp_are_found_however_its_folder_is_written(tmp_path):
    root = synthetic.cfp(tmp_path / "cfp").root
    first = read("cfp", root, "FF-02", expected={}).records[0].probe.path.relative_to(root).as_posix()
    eyes = synthetic.write(tmp_path / "eyes.csv", ["PATH,reye_x,reye_y,leye_x,leye_y", f"{first},1,2,3.5,4"])
    for written in (root, root / "Protocol" / ".."):
        assert read("cfp", written, "FF-02", expected={}, eyes=eyes).records[0].probe.eyes == ((1, 2), (3.5, 4))
