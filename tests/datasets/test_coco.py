"""Boxes in COCO's JSON: known answers, what is passed over, and what is refused."""

import json

import pytest

from fame_jax.data.records import ClassRecord, Dataset, DatasetError, Picture
from fame_jax.datasets.catalogue import read
from fame_jax.datasets.coco import as_coco
from fame_jax.experiments.settings import in_classes_of
from fame_jax.models import Card
from tests.datasets import synthetic


@pytest.fixture
def root(tmp_path):
    return synthetic.coco(tmp_path / "boxes").root


def annotated(root, *annotations, **changes):
    """The list with other annotations."""
    content = json.loads((root / "boxes.json").read_text())
    content |= {"annotations": list(annotations), **changes}
    (root / "boxes.json").write_text(json.dumps(content))
    return root / "boxes.json"


def test_each_box_is_a_record_with_corners_and_the_place_of_its_category(root):
    dataset = read("coco", root / "boxes.json")
    assert dataset.task == "detect"
    assert dataset.labels == ("cat", "dog")
    assert [(one.name, one.label) for one in dataset.records[:2]] == [
        ("photo 0.png box 1", 0),
        ("photo 0.png box 2", 1),
    ]
    assert [one.boxes for one in dataset.records[:2]] == [((5.5, 10, 25.75, 40),), ((40, 10, 60.25, 40),)]
    assert dataset.records[2].picture.path == root / "photo 1.png"


GOOD = {"image_id": 7, "category_id": 3, "bbox": [1, 2, 3, 4]}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"bbox": [1, 2, 0, 4]}, "has no area"),
        ({"bbox": [1, 2, 3]}, "its bbox is [1, 2, 3], expected four numbers: x, y, width, height"),
        ({"bbox": [1, 2, 3, "4"]}, "expected four numbers"),
        ({"bbox": [1, 2, 3, True]}, "expected four numbers"),
        ({"image_id": 99}, "its image_id 99 is that of no image"),
        ({"category_id": 4}, "its category_id 4 is that of no category"),
        ({"category_id": None}, "its category_id is 'None', expected a whole number"),
    ],
)
def test_a_bad_box_is_a_problem_and_the_others_are_read(root, change, reason):
    dataset = read("coco", annotated(root, GOOD | change, GOOD, [1]))
    assert [record.boxes for record in dataset.records] == [((1, 2, 4, 6),)]
    assert [problem.where.rpartition(", ")[2] for problem in dataset.problems] == ["annotations 1", "annotations 3"]
    assert reason in dataset.problems[0].reason
    assert dataset.problems[1].reason == "it is no object"


def test_infinity_is_no_side_of_a_box(root):
    file = annotated(root, GOOD)
    file.write_text(file.read_text().replace("[1, 2, 3, 4]", "[1, 2, Infinity, 4]"))
    assert "expected four numbers" in read("coco", file).problems[0].reason


def test_crowds_are_passed_over_and_a_list_without_categories_counts_classes_itself(root):
    crowd = GOOD | {"iscrowd": 1}
    dataset = read("coco", annotated(root, crowd, GOOD, {"image_id": 8, "bbox": [1, 2, 3, 4]}, categories=[]))
    assert not dataset.problems
    assert dataset.labels is None
    # The number is that of the annotation in its photograph, whatever became of those before.
    assert [(one.name, one.label) for one in dataset.records] == [("photo 0.png box 2", 3), ("photo 1.png box 1", 0)]


def test_photographs_outside_the_folder_or_missing_are_problems(root):
    images = [{"id": 7, "file_name": "../secret.png"}, {"id": 8, "file_name": "gone.png"}, {"file_name": "photo 0.png"}]
    dataset = read("coco", annotated(root, GOOD, GOOD | {"image_id": 8}, images=images))
    assert not dataset.records
    reasons = " ".join(problem.reason for problem in dataset.problems)
    for words in ("leads out of", "its id is 'None'", "its image_id 7 is that of no image", "there is no such file"):
        assert words in reasons


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"images": {}, "annotations": []}', "[" * 100_000])
def test_what_is_no_such_list_is_refused(tmp_path, content):
    (tmp_path / "boxes.json").write_text(content)
    with pytest.raises(DatasetError, match=r"boxes\.json: it is"):
        read("coco", tmp_path / "boxes.json")


def test_boxes_are_written_and_read_back(root, tmp_path):
    there = read("coco", root / "boxes.json")
    (root / "again.json").write_text(json.dumps(as_coco(there, root, {"by": "a test"})))
    again = read("coco", root, "again.json")
    assert (again.records, again.labels) == (there.records, there.labels)
    (tmp_path / "elsewhere.json").write_text(json.dumps(as_coco(there, tmp_path / "nowhere", {})))
    outside = read("coco", root, str(tmp_path / "elsewhere.json"), allow_outside=True)
    assert [one.boxes for one in outside.records] == [one.boxes for one in there.records]


def test_classes_of_a_list_become_those_of_a_detector_by_name(root):
    dataset = read("coco", root / "boxes.json")
    card = Card("animals", "detect", 64, 64, labels=("bird", "Dog"))
    found = in_classes_of(card, dataset)
    assert [(one.name, one.label) for one in found.records] == [("photo 0.png box 2", 1), ("photo 1.png box 2", 1)]
    assert [(problem.where, problem.reason) for problem in found.problems] == [
        ("class cat", "2 boxes: animals knows bird, Dog")
    ]
    assert in_classes_of(card, found) is found
    unnamed = Card("animals", "detect", 64, 64)
    assert in_classes_of(unnamed, dataset) is dataset


def test_a_detection_without_names_of_classes_is_written_with_numbers(tmp_path):
    record = ClassRecord("a", Picture(tmp_path / "a.png"), 2, ((0, 0, 1, 1),))
    written = as_coco(Dataset("one", "detect", (record,)), tmp_path, {})
    assert [one["name"] for one in written["categories"]] == ["class 0", "class 1", "class 2"]
    assert written["annotations"][0]["category_id"] == 2
