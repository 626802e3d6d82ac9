"""`fame check` on small copies: counts beside the published ones, every problem by name, exit code 0 or 2."""

import pytest

from fame_jax.datasets.catalogue import DATASETS
from tests.datasets import synthetic


@pytest.mark.parametrize("name", sorted(DATASETS.keys() - {"arface", "scface"}))
def test_a_good_copy_has_no_problem(fame, tmp_path, name):
    copy = synthetic.COPIES[name](tmp_path / name)
    lists = {"pairs": "pairs.csv", "list": "photographs.csv", "coco": "boxes.json"}
    ended = fame("check", name, copy.root / lists.get(name, ""), "--partial", "--no-progress")
    assert ended.code == 0, ended.err
    assert "no problems; photographs were decoded" in ended.out
    assert not ended.err


def test_clients_of_a_part_of_arface_are_given_by_a_list(fame, tmp_path):
    root = synthetic.arface(tmp_path / "arface").root
    ended = fame("check", "arface", root, "--partial", "--clients", root / "clients.txt", "--protocol", "glass")
    assert ended.code == 0, ended.err
    assert "arface glass: 12 records, 9 pictures, 6 genuine, 6 impostor" in ended.out


def test_counts_stand_beside_the_published_ones(fame, tmp_path):
    root = synthetic.cfp(tmp_path / "cfp").root
    ended = fame("check", "cfp", root, "--quick")
    assert ended.code == 2
    assert "cfp FP-01: 6 records (of 700), 9 pictures, 3 genuine (of 350), 3 impostor (of 350)" in ended.out
    assert "3 problems; photographs were not decoded" in ended.out
    assert "fame: cfp FP-01: 6 records, expected 700" in ended.err


def test_missing_and_damaged_photographs_are_named(fame, tmp_path):
    root = synthetic.imagenet(tmp_path / "imagenet").root
    folder = root / "ILSVRC/Data/CLS-LOC/val"
    (folder / "ILSVRC2012_val_00000001.JPEG").unlink()
    cut = folder / "ILSVRC2012_val_00000002.JPEG"
    cut.write_bytes(cut.read_bytes()[:300])
    (folder / "ILSVRC2012_val_00000003.JPEG").write_bytes(b"")
    ended = fame("check", "imagenet", root, "--partial", "--no-progress")
    assert ended.code == 2
    assert "3 problems" in ended.out
    lines = ended.err.splitlines()
    assert [f"0000000{i}.JPEG" in line for i, line in enumerate(lines, 1)] == [True] * 3
    assert "there is no such file" in lines[0]
    assert "damaged or cut short" in lines[1]
    assert "the file is empty" in lines[2]
    quick = fame("check", "imagenet", root, "--partial", "--quick")
    assert "1 problem;" in quick.out


def test_box_outside_of_its_photograph_is_named(fame, tmp_path):
    synthetic.save(tmp_path / "a.png", synthetic.pattern([0], 30, 40))
    synthetic.write(tmp_path / "list.csv", ["image,label,boxes", "a.png,1,40 0 50 10"])
    ended = fame("check", "list", tmp_path / "list.csv")
    assert ended.code == 2
    assert "a.png class 1: the box 40 0 50 10 lies outside of 40x30 pixels" in ended.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["imagnet", "."], "did you mean imagenet"),
        (["imagenet"], "the folder is missing"),
        (["imagenet", "nowhere"], "nowhere: there is no such folder"),
        (["cfp", ".", "--protocol", "FP-11"], "FP-01 to FP-10"),
        (["cfp", "."], "Pair_list_F.txt"),
        (["cfp", ".", "--clients", "clients.txt"], "no option 'clients'"),
        (["pairs", "."], "give the list itself"),
    ],
)
def test_bad_input_ends_in_one_line(fame, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    ended = fame("check", *arguments)
    assert ended.code == 2
    assert words in ended.err
    assert "Traceback" not in ended.err
    assert ended.err.count("\n") == 1


def test_without_arguments_all_data_sets_are_listed(fame):
    ended = fame("check")
    assert ended.code == 0
    assert all(name in ended.out for name in DATASETS)
    assert "FP-01" in ended.out
