"""A data set, prepared and read again, is itself: in its records, in the bytes of its pictures and in its maps."""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("grain")

from fame_jax import array_records
from fame_jax.data.records import Dataset, DatasetError, pictures_of
from fame_jax.datasets.catalogue import read
from fame_jax.datasets.prepared import prepare
from fame_jax.experiments.run import run
from fame_jax.experiments.store import Run
from tests.datasets import synthetic
from tests.experiments import tiny

PROTOCOLS = {"imagenet": "validation", "cfp": "FP-01", "bob": "all", "list": "photographs", "coco": "boxes.json"}
SHARD_BYTES = 20_000


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Data sets and the folders that they were prepared in, by name."""
    found, root = {}, tmp_path_factory.mktemp("prepared")
    for name, protocol in PROTOCOLS.items():
        dataset = read(name, synthetic.COPIES[name](root / name).root, protocol, expected={})
        assert not prepare(dataset, root / f"{name}.array_record", shard_bytes=SHARD_BYTES)
        found[name] = dataset, root / f"{name}.array_record"
    return found


@pytest.fixture
def folder(tmp_path):
    """A folder of seven photographs and, among them, three files that are none."""
    for number, path in enumerate(tiny.pictures(tmp_path / "photos", 7)):
        path.rename(path.with_name(f"{number}.png"))
    (tmp_path / "photos" / "1 empty.png").touch()
    (tmp_path / "photos" / "3 text.jpg").write_text("no picture")
    whole = (tmp_path / "photos" / "4.png").read_bytes()
    (tmp_path / "photos" / "4.png").write_bytes(whole[: len(whole) // 2])
    return tmp_path / "photos"


def without_paths(dataset):
    def bare(record):
        kept = {name: value for name, value in vars(record).items() if name not in ("picture", "probe", "gallery")}
        return kept | {"eyes": [picture.eyes for picture in pictures_of(record)]}

    return dataset.name, dataset.task, dataset.labels, [bare(record) for record in dataset.records]


def bytes_of(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.mark.parametrize("name", PROTOCOLS)
def test_what_is_read_is_what_was_prepared(prepared, name):
    dataset, out = prepared[name]
    found = read("prepared", out)
    assert not found.problems
    assert without_paths(found) == without_paths(dataset)
    for there, here in zip(dataset.records, found.records, strict=True):
        for one, other in zip(pictures_of(there), pictures_of(here), strict=True):
            assert one.path.read_bytes() == other.path.read_bytes()
            assert one.path.name == other.path.name
            assert other.path.is_file()


@pytest.mark.parametrize("name", ["cfp", "coco"])
def test_a_picture_of_several_records_is_kept_once(prepared, name):
    dataset, out = prepared[name]
    distinct = {picture.path for record in dataset.records for picture in pictures_of(record)}
    assert sum(array_records.count(shard) - 1 for shard in out.glob("[0-9]*.array_record")) == len(distinct)


def test_a_large_data_set_has_several_shards(prepared):
    shards = sorted(prepared["bob"][1].glob("[0-9]*.array_record"))
    assert len(shards) > 1
    assert [shard.name for shard in shards] == [f"{number:05}.array_record" for number in range(len(shards))]


def test_maps_are_those_of_the_folder_bit_for_bit(folder, tmp_path):
    problems = prepare(read("folder", folder), tmp_path / "out", shard_bytes=70_000)
    assert [problem.where for problem in problems] == ["1 empty.png", "3 text.jpg"]
    assert ["empty" in problem.reason or "no picture" in problem.reason for problem in problems] == [True] * 2
    for name in ("1 empty.png", "3 text.jpg"):
        (folder / name).unlink()
    sources = {"maps of folder": read("folder", folder), "maps of set": read("prepared", tmp_path / "out")}
    for name, dataset in sources.items():
        run(tiny.network(), dataset, "fame", tmp_path / name, tiny.settings(), card=tiny.card())
    one, other = ({k: v for k, v in tiny.contents(tmp_path / n).items() if k.startswith("arrays/")} for n in sources)
    assert one == other
    there, here = (Run(tmp_path / name) for name in sources)
    assert [record.name for record in there.records] == [record.name for record in here.records]
    assert here.column("state").tolist() == [1, 1, 1, 1, 2, 1, 1]
    assert list(there.failures()) == list(here.failures()) == [4]
    assert ".array_record/0/4.png: it is damaged or cut short" in here.failures()[4]


def test_maps_of_pairs_are_those_of_their_files(tmp_path):
    tiny.pictures(tmp_path / "faces", 4)
    dataset = tiny.dataset(tmp_path / "faces", "pair")
    prepare(dataset, tmp_path / "out", shard_bytes=70_000)
    for name, one in {"files": dataset, "set": read("prepared", tmp_path / "out")}.items():
        run(tiny.network("pair"), one, "fame", tmp_path / name, tiny.settings(), card=tiny.card("pair"))
    files, kept = (Run(tmp_path / name) for name in ("files", "set"))
    for column in ("probe_similar", "gallery_dissimilar", "similarity", "sha256", "state"):
        np.testing.assert_array_equal(files.column(column), kept.column(column))


@pytest.mark.parametrize("at", range(1, 10))
def test_interrupted_at_any_record_it_goes_on_with_the_same_bytes(folder, tmp_path, at):
    dataset, counted = read("folder", folder), []

    def interrupt(number):
        counted.append(number)
        if sum(counted) == at:
            raise KeyboardInterrupt

    whole = prepare(dataset, tmp_path / "whole", shard_bytes=70_000)
    with pytest.raises(KeyboardInterrupt):
        prepare(dataset, tmp_path / "again", interrupt, shard_bytes=70_000)
    with pytest.raises(DatasetError, match="not finished"):
        read("prepared", tmp_path / "again")
    counted.clear()
    assert prepare(dataset, tmp_path / "again", lambda n: counted.append(n), shard_bytes=70_000) == whole
    assert sum(counted) == len(dataset.records)
    assert bytes_of(tmp_path / "again") == bytes_of(tmp_path / "whole")


def test_killed_it_leaves_whole_shards_alone(folder, tmp_path):
    code = f"""
import os, pathlib
from fame_jax.datasets.catalogue import read
from fame_jax.datasets.prepared import prepare
left, out = [7], pathlib.Path({str(tmp_path / "out")!r})
def kill(number):
    left[0] -= number
    if not left[0]:
        os.kill(os.getpid(), {signal.SIGKILL})
prepare(read("folder", pathlib.Path({str(folder)!r})), out, kill, shard_bytes=70_000)
"""
    assert subprocess.run([sys.executable, "-c", code]).returncode == -signal.SIGKILL
    assert len(list((tmp_path / "out").glob("[0-9]*.array_record"))) == 2
    dataset = read("folder", folder)
    prepare(dataset, tmp_path / "out", shard_bytes=70_000)
    prepare(dataset, tmp_path / "whole", shard_bytes=70_000)
    assert bytes_of(tmp_path / "out") == bytes_of(tmp_path / "whole")


def test_a_finished_set_is_left_as_it_is_and_others_are_refused(prepared, tmp_path):
    dataset, out = prepared["list"]
    before = {path.name: path.stat().st_mtime_ns for path in out.glob("[0-9]*.array_record")}
    prepare(dataset, out, shard_bytes=SHARD_BYTES)
    assert {path.name: path.stat().st_mtime_ns for path in out.glob("[0-9]*.array_record")} == before
    with pytest.raises(DatasetError, match="another data set was prepared there"):
        prepare(replace(dataset, records=dataset.records[:1]), out, shard_bytes=SHARD_BYTES)
    (tmp_path / "notes.txt").touch()
    with pytest.raises(DatasetError, match=r"holds other files \(notes.txt\)"):
        prepare(dataset, tmp_path)
    with pytest.raises(DatasetError, match="no records"):
        prepare(Dataset("none", "class", ()), tmp_path / "out")


def test_on_a_full_disk_the_shard_is_named_and_nothing_half_remains(prepared, tmp_path):
    dataset, _ = prepared["list"]
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
    try:
        with pytest.raises(OSError, match=r"it cannot be written .*00000\.array_record"):
            prepare(dataset, tmp_path / "out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["manifest.json"]
    prepare(dataset, tmp_path / "out")
    assert without_paths(read("prepared", tmp_path / "out")) == without_paths(dataset)


@pytest.fixture
def damaged(prepared, tmp_path):
    """A prepared set to do harm to."""
    return shutil.copytree(prepared["imagenet"][1], tmp_path / "set")


def edited(folder, **fields):
    about = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(about | fields))


def relisted(folder, lines):
    """A set whose only shard has the pictures of the first one, and another list of records."""
    shard, other = folder / "00000.array_record", folder / "other.array_record"
    with array_records.written(other) as write:
        for number in range(array_records.count(shard) - 1):
            write(array_records.record(shard, number))
        write("\n".join(lines).encode())
    os.replace(other, shard)
    edited(folder, shards={shard.name: shard.stat().st_size})


def first_line(folder):
    shard = folder / "00000.array_record"
    return json.loads(array_records.record(shard, array_records.count(shard) - 1).decode().split("\n")[0])


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (lambda folder: (folder / "manifest.json").unlink(), "no prepared set is there"),
        (lambda folder: (folder / "manifest.json").write_text("[" * 9999), "not that of a prepared set"),
        (lambda folder: (folder / "manifest.json").write_text('{"version": 2}'), "not that of a prepared set"),
        (lambda folder: edited(folder, prepared=2), "version 2, expected 1"),
        (lambda folder: edited(folder, shards={}), "not finished"),
        (lambda folder: edited(folder, shards={"../00000.array_record": 1}), "it is damaged"),
        (lambda folder: edited(folder, task="sing"), "it is damaged"),
        (lambda folder: (folder / "00000.array_record").unlink(), "the shard is missing"),
        (lambda folder: (folder / "00000.array_record").write_bytes(b""), "0 bytes, expected"),
        (lambda folder: (folder / "00000.array_record").write_bytes(bytes(65536)), "bytes, expected|damaged"),
    ],
)
def test_a_set_that_cannot_be_read_is_named_in_one_line(damaged, harm, words):
    harm(damaged)
    with pytest.raises(DatasetError, match=words) as caught:
        read("prepared", damaged)
    assert str(damaged) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_shard_without_its_list_is_named(damaged):
    shard = damaged / "00000.array_record"
    shard.write_bytes(os.urandom(shard.stat().st_size))
    with pytest.raises(DatasetError, match=r"00000\.array_record: it is damaged, or no ArrayRecord file"):
        read("prepared", damaged)


def test_a_damaged_shard_is_not_gone_on_with(prepared, damaged):
    shard = damaged / "00000.array_record"
    shard.write_bytes(bytes(shard.stat().st_size))
    with pytest.raises(DatasetError, match="remove it, and give its fame prepare again"):
        prepare(prepared["imagenet"][0], damaged, shard_bytes=SHARD_BYTES)
    shard.unlink()
    prepare(prepared["imagenet"][0], damaged, shard_bytes=SHARD_BYTES)
    assert bytes_of(damaged) == bytes_of(prepared["imagenet"][1])


def test_a_protocol_was_chosen_before(damaged):
    with pytest.raises(DatasetError, match="choose one when it is prepared"):
        read("prepared", damaged, "imagenet_sub")


def test_lines_that_are_no_records_are_left_out_by_name(damaged):
    good = first_line(damaged)
    lines = [
        json.dumps(good),
        "{",
        "7",
        "[" * 9999,
        json.dumps({"name": "a"}),
        json.dumps(good | {"picture": 7}),
        json.dumps(good | {"label": "cat"}),
        json.dumps(good | {"boxes": [[1, 2, float("inf"), 3]]}),
        json.dumps({"name": "pair", "probe": good["picture"], "gallery": good["picture"], "genuine": True}),
        *(
            json.dumps(good | {"picture": {"path": path, "eyes": None}})
            for path in ("/etc/hostname", "../x/0/a.png", "00000.array_record/../../a", "00001.array_record/0/a.png")
        ),
        json.dumps(good | {"name": "last"}),
    ]
    relisted(damaged, lines)
    found = read("prepared", damaged)
    assert [record.name for record in found.records] == [good["name"], "last"]
    assert len(found.problems) == len(lines) - 2
    assert found.problems[0].where == f"{damaged / '00000.array_record'}, line 2 of its list"


def test_records_that_cannot_be_read_fail_by_shard_and_number(damaged, tmp_path):
    good = first_line(damaged)
    shard = damaged / "00000.array_record"
    place = good["picture"] | {"path": "00000.array_record/99/far.png"}
    relisted(damaged, [json.dumps(good), json.dumps(good | {"name": "far", "picture": place})])
    content = bytearray(shard.read_bytes())
    start = content.index(array_records.record(shard, 0)[:64])
    content[start + 200] ^= 1
    shard.write_bytes(content)
    finished = run(
        tiny.network(), read("prepared", damaged), "fame", tmp_path / "maps", tiny.settings(), card=tiny.card()
    )
    assert finished.column("state").tolist() == [2, 2]
    assert "00000.array_record/0/" in finished.failures()[0]
    assert "record 0 is damaged" in finished.failures()[0]
    assert "00000.array_record/99/far.png: there is no such file" in finished.failures()[1]


def test_a_huge_picture_fails_by_its_size(tmp_path):
    wide = b"P5 900000 900000 255\n" + bytes(1000)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.pgm").write_bytes(wide)
    tiny.pictures(tmp_path / "photos", 1)
    prepare(read("folder", tmp_path / "photos"), tmp_path / "set")
    finished = run(
        tiny.network(), read("prepared", tmp_path / "set"), "fame", tmp_path / "maps", tiny.settings(), card=tiny.card()
    )
    assert finished.column("state").tolist() == [1, 2]
    assert "0/a.pgm" in finished.failures()[1] or "1/a.pgm" in finished.failures()[1]
    assert "above the limit of 150 million" in finished.failures()[1]
