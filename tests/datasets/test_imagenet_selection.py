"""Five of each class, out of what all networks get right."""

import pathlib
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fame_jax.data.records import ClassRecord, DatasetError, Picture
from fame_jax.datasets.catalogue import read
from fame_jax.datasets.imagenet import wordnet_ids
from fame_jax.datasets.imagenet_selection import read_predictions, selection, write_predictions, write_protocol
from scripts import select_imagenet
from tests.datasets import synthetic


def records(count, classes):
    return [ClassRecord(f"v{i:04}", Picture(pathlib.Path(f"v{i:04}.JPEG")), i % classes) for i in range(count)]


def predictions(of, wrong):
    """Right but for the names in `wrong`."""
    return {record.name: record.label + (record.name in wrong) for record in of}


def test_only_what_all_networks_get_right_is_drawn():
    of = records(40, 2)
    wrong = {f"v{i:04}" for i in range(0, 30)}
    chosen = selection(of, {"a": predictions(of, wrong), "b": predictions(of, {"v0030"})}, per_class=5)
    assert [record.name for record in chosen.records] == [f"v{i:04}" for i in (32, 34, 36, 38, 31, 33, 35, 37, 39)]
    assert chosen.correct == {"a": 10, "b": 39}
    assert chosen.agreed == 9
    assert chosen.short == {0: 4}


@settings(max_examples=50, deadline=None, database=None)
@given(st.integers(0, 60), st.integers(1, 7), st.integers(1, 6), st.integers(0, 9), st.integers(0, 99))
def test_draw_is_without_replacement_and_independent_of_order(count, classes, per_class, seed, shuffle):
    of = records(count, classes)
    chosen = selection(of, {"a": predictions(of, set())}, per_class=per_class, seed=seed)
    names = [record.name for record in chosen.records]
    assert len(set(names)) == len(names)
    for label in {record.label for record in of}:
        here = sum(record.label == label for record in of)
        drawn = sum(record.label == label for record in chosen.records)
        assert drawn == min(per_class, here)
        assert chosen.short.get(label, per_class) == drawn
    mixed = random.Random(shuffle).sample(of, len(of))
    assert selection(mixed, {"a": predictions(of, set())}, per_class=per_class, seed=seed) == chosen


def test_seeds_draw_other_photographs():
    of = records(200, 4)
    right = {"a": predictions(of, set())}
    assert selection(of, right, seed=0).records != selection(of, right, seed=1).records


def test_a_class_without_any_is_reported():
    of = records(4, 2)
    assert selection(of, {"a": predictions(of, {"v0001", "v0003"})}).short == {0: 2, 1: 0}


def test_drawn_list_is_read_back_as_a_protocol(tmp_path):
    root = synthetic.imagenet(tmp_path, photographs=9).root
    of = read("imagenet", root, expected={}).records
    write_predictions(tmp_path / "net.csv", of, [record.label for record in of])
    chosen = selection(of, {"net": read_predictions(tmp_path / "net.csv")}, per_class=2)
    write_protocol(root / "ours.csv", chosen.records)
    (root / "LOC_val_solution.csv").unlink()
    dataset = read("imagenet", root, "ours")
    assert dataset.records == chosen.records
    assert len(dataset.records) == 6
    assert not dataset.problems


@pytest.mark.parametrize(
    ("of", "predicted", "words"),
    [
        (records(2, 2), {}, "at least one network"),
        (records(2, 2), {"a": {"v0000": 0}}, "predictions of a lack v0001"),
        ([ClassRecord("x", Picture(pathlib.Path("x")))], {"a": {"x": 0}}, "x has no label"),
    ],
)
def test_a_selection_that_cannot_be_made_says_why(of, predicted, words):
    with pytest.raises(DatasetError, match=words):
        selection(of, predicted)


def test_damaged_predictions_are_refused(tmp_path):
    synthetic.write(tmp_path / "net.csv", ["ImageId,prediction", "a,1", "b,x"])
    with pytest.raises(DatasetError, match="line 3"):
        read_predictions(tmp_path / "net.csv")


def test_the_script_predicts_once_and_draws_what_is_right(tmp_path, capsys):
    root, out = synthetic.imagenet(tmp_path / "imagenet", photographs=5).root, tmp_path / "ours.csv"
    (root / "ILSVRC/Data/CLS-LOC/val/ILSVRC2012_val_00000003.JPEG").write_bytes(b"not a picture")
    select_imagenet.main(root, out, networks=("mobilenet_v2",), batch_size=4)
    kept = tmp_path / "ours-predictions/mobilenet_v2.csv"
    predicted = read_predictions(kept)
    assert predicted["ILSVRC2012_val_00000003"] == -1
    assert all(label >= 0 for name, label in predicted.items() if not name.endswith("3"))
    # Boxes of the classes that the network predicts, but for one photograph.
    (root / "LOC_synset_mapping.txt").unlink()
    named = {name: wordnet_ids()[label] for name, label in predicted.items() if label >= 0}
    named["ILSVRC2012_val_00000001"] = wordnet_ids()[predicted["ILSVRC2012_val_00000001"] - 1]
    lines = [f"{name},{wordnet_id} 1 2 30 40" for name, wordnet_id in named.items()]
    synthetic.write(root / "LOC_val_solution.csv", ["ImageId,PredictionString", *lines])
    times = kept.stat().st_mtime_ns
    select_imagenet.main(root, out, networks=("mobilenet_v2",))
    assert kept.stat().st_mtime_ns == times
    assert "mobilenet_v2: 3 of 4 photographs are classified correctly" in capsys.readouterr().out
    dataset = read("imagenet", root, str(out))
    assert {record.name: record.label for record in dataset.records} == {
        name: predicted[name] for name in named if not name.endswith("1")
    }
