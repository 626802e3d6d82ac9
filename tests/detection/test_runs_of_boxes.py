"""Boxes as records of a run: maps and figures are those of each photograph alone, whatever its size."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from fame_jax import class_logit, explain, models
from fame_jax.datasets.catalogue import read
from fame_jax.detection import Candidates, Detection, box_seen, detected, detections, yunet
from fame_jax.experiments.detections import detections_of
from fame_jax.experiments.rows import ScoreError
from fame_jax.experiments.run import run
from fame_jax.experiments.score import score
from fame_jax.experiments.settings import Settings
from fame_jax.experiments.store import FAILED, Run, RunError
from fame_jax.experiments.summary import summary
from fame_jax.metrics import box_masks, deletion, energy_inside, insertion, pointing_game, road_delete, road_insert
from tests.experiments.tiny import contents

CARD = models.Card("patches", "detect", 64, 64, labels=("bright", "dark"))
LEFT, RIGHT = [4, 5, 14, 15], [20, 5, 30, 15]
SHAPES = {"wide.png": (40, 64), "high.png": (60, 36)}


def detector(image):
    """Two boxes that are as bright, or as dark, as the patch inside."""
    bright = jnp.stack([image[5:15, 4:14].mean(), image[5:15, 20:30].mean()])
    scores = jnp.stack([bright, 1 - bright], axis=1)
    return Candidates(jnp.array([LEFT, RIGHT], image.dtype), scores, jnp.ones(2), jnp.zeros((2, 0, 2)))


def of_left(network, image, label):
    """A map that is the left patch, brightest in a corner of it."""
    return jnp.zeros(image.shape[:2]).at[5:15, 4:14].set(0.5).at[5, 4].set(1)


def bbox(corners):
    left, top, right, bottom = corners
    return [left, top, right - left, bottom - top]


@pytest.fixture(scope="module")
def boxes(tmp_path_factory):
    """Photographs of two shapes with three boxes, a file that is none, and a box beside its photograph."""
    folder, numbers = tmp_path_factory.mktemp("boxes"), np.random.default_rng(0)
    for name, shape in SHAPES.items():
        Image.fromarray(numbers.integers(128, 256, (*shape, 3), np.uint8)).save(folder / name)
    (folder / "broken.png").write_text("no picture")
    listed = [
        ("wide.png", LEFT),
        ("wide.png", RIGHT),
        ("high.png", LEFT),
        ("broken.png", LEFT),
        ("high.png", [40, 0, 50, 9]),
    ]
    names = [*SHAPES, "broken.png"]
    content = {
        "images": [{"id": number, "file_name": name} for number, name in enumerate(names)],
        "annotations": [{"image_id": names.index(name), "category_id": 1, "bbox": bbox(box)} for name, box in listed],
        "categories": [{"id": 1, "name": "bright"}],
    }
    (folder / "boxes.json").write_text(json.dumps(content))
    return read("coco", folder / "boxes.json")


WALK = {"options": {"iterations": 3, "sigma": 0.5}, "block_size": 2}


@pytest.fixture(scope="module")
def walked(boxes, tmp_path_factory):
    return run(detector, boxes, "fame", tmp_path_factory.mktemp("out") / "maps", Settings(**WALK), card=CARD)


def alone(record):
    """A photograph and the network of its one box."""
    image = jnp.asarray(np.asarray(Image.open(record.picture.path), np.float32) / 255)
    return image, detected(detector, [Detection(np.array(record.boxes[0], np.float32), 0, 1.0, np.zeros((0, 2)))])


def test_maps_are_those_of_each_photograph_alone(walked):
    one = jax.jit(lambda image, network: explain(class_logit, image, network, 0, iterations=3, sigma=0.5))
    for index in range(3):
        image, network = alone(walked.records[index])
        expected = one(image, network)
        assert walked.map(index).shape == image.shape[:2]
        np.testing.assert_allclose(walked.map(index), expected.attribution, atol=1e-5)
        for name in ("first_loss", "last_loss"):
            np.testing.assert_allclose(walked.column(name)[index, 0], getattr(expected, name), rtol=1e-5)
        left, top, right, bottom = map(int, walked.records[index].boxes[0])
        # What the detector looks at, and nothing else.
        np.testing.assert_allclose(
            walked.column("first_loss")[index, 0], image[top:bottom, left:right].mean(), rtol=1e-5
        )
        assert walked.map(index)[top + 1 : bottom - 1, left + 1 : right - 1].min() > 0.9
        assert walked.map(index).sum() < 1.5 * (right - left) * (bottom - top)
    assert walked.column("label").tolist() == [0, 0, 0, -1, -1]


def test_a_bad_record_has_its_reason_and_the_others_are_explained(walked):
    assert walked.column("state").tolist() == [1, 1, 1, FAILED, FAILED]
    reasons = walked.failures()
    assert "broken.png" in reasons[3]
    assert reasons[4] == "high.png box 2: no pixel of its photograph lies in the box [40, 0, 50, 9]."


def test_what_lacks_is_computed_and_nothing_else(walked, boxes):
    before = contents(walked.folder)
    (walked.folder / "arrays" / "state" / "c" / "1").unlink()
    steps = []
    run(detector, boxes, "fame", walked.folder, Settings(**WALK), card=CARD, progress=steps.append)
    assert sum(steps) == 2 * 3
    assert contents(walked.folder) == before


def test_methods_without_walks_explain_boxes_too(boxes, tmp_path):
    for method, options in (("gradient", {}), ("rise", {"masks": 50})):
        found = run(detector, boxes, method, tmp_path / method, Settings(options=options), card=CARD)
        assert found.column("state").tolist() == [1, 1, 1, FAILED, FAILED]
        assert found.map(2).shape == SHAPES["high.png"]
    assert found.manifest["options"]["score"] == "logit"


FRACTIONS = [0.0, 0.02, 0.1, 0.5, 1.0]
MEASURES = {
    "deletion": (deletion, "fractions", "auc"),
    "insertion": (insertion, "fractions", "auc"),
    "road_delete": (road_delete, "fractions_removed", "drop"),
    "road_insert": (road_insert, "fractions_inserted", "drop"),
}


@pytest.mark.thorough
@pytest.mark.parametrize("name", MEASURES)
def test_figures_are_those_of_each_photograph_alone(name, boxes, tmp_path):
    found = run(detector, boxes, of_left, tmp_path / "maps", Settings(resize=96), card=CARD)
    road = name.startswith("road")
    scores = score(found, name, network=detector, fractions=FRACTIONS, **({"noise": 0.0} if road else {}))
    measure, option, figure = MEASURES[name]
    for row in (scores.rows[0], scores.rows[2]):
        image, network = alone(found.records[row.index])
        given = {option: FRACTIONS, "score": "logit"} | ({"noise": 0.0} if road else {})
        key = (jax.random.key(0),) if road else ()
        expected = measure(network, image, of_left(None, image, 0), 0, *key, **given)
        np.testing.assert_allclose(row.values["score"], expected.scores, atol=5e-3 if road else 1e-5)
        np.testing.assert_allclose(
            row.values[figure], expected.drops if road else expected.auc, atol=5e-3 if road else 1e-5
        )
    assert [row.reason is None for row in scores.rows] == [True] * 3 + [False] * 2
    assert all(
        one.estimate.number == 3 and one.estimate.low <= one.estimate.high for one in summary(scores, resamples=50)
    )


def test_place_of_a_map_is_measured_against_the_box(boxes, tmp_path):
    found = run(detector, boxes, of_left, tmp_path / "maps", Settings(), card=CARD)
    hits, energies = ([row.values for row in score(found, name).rows[:3]] for name in ("pointing_game", "energy"))
    assert [values["hit"] for values in hits] == [1, 0, 1]
    assert [values["energy"] for values in energies] == [1, 0, 1]
    image = alone(found.records[0])[0]
    (mask,) = box_masks(np.array([RIGHT]), *image.shape[:2])
    assert (
        float(energy_inside(of_left(None, image, 0), mask)) == float(pointing_game(of_left(None, image, 0), mask)) == 0
    )
    assert score(found, "iou", thresholds=[0.4]).rows[0].values["iou"] == [1]


def test_what_does_not_fit_is_refused_in_one_line(walked, boxes, tmp_path):
    with pytest.raises(ScoreError, match=r"road_combined is a metric of classes; .* explains detections"):
        score(walked, "road_combined", network=detector)
    with pytest.raises(ScoreError, match="verification is a metric of pairs"):
        score(walked, "verification")
    with pytest.raises(RunError, match="mobilenet_v2 does not fit coco boxes: it needs a detector"):
        run(models.find("mobilenet_v2"), boxes, "fame", tmp_path / "a")
    with pytest.raises(RunError, match="nothing to explain: class bright: 5 boxes: faces knows face"):
        run(detector, boxes, "fame", tmp_path / "b", card=models.Card("faces", "detect", 64, 64, labels=("face",)))
    with pytest.raises(RunError, match="holds the maps of another run"):
        run(detector, boxes, "fame", walked.folder, Settings(**WALK, resize=96), card=CARD)
    assert Run(walked.folder).task == "detect"


def test_a_larger_photograph_is_scaled_down_and_its_boxes_with_it(tmp_path):
    tall = np.kron(np.random.default_rng(1).integers(128, 256, (60, 36, 3), np.uint8), np.ones((2, 2, 1), np.uint8))
    Image.fromarray(tall).save(tmp_path / "tall.png")
    found = detections_of(detector, CARD, read("folder", tmp_path), resize=60, threshold=0.5)
    assert {record.boxes[0] for record in found.records} == {(8, 10, 28, 30), (40, 10, 60, 30)}
    assert [record.name for record in found.records] == ["tall.png box 1", "tall.png box 2"]
    maps = run(detector, found, of_left, tmp_path / "maps", Settings(resize=60), card=CARD)
    assert maps.map(0).shape == (60, 36)
    assert sorted(row.values["hit"] for row in score(maps, "pointing_game").rows) == [0, 1]


@pytest.mark.thorough
def test_faces_found_in_a_folder_are_explained_as_in_their_photograph(tmp_path):
    face = models.find("yunet"), (np.asarray(_portrait()) * 255).astype(np.uint8)
    loaded, pixels = face
    Image.fromarray(np.concatenate([pixels, pixels[:, ::-1]], axis=1)[:91]).save(tmp_path / "two.png")
    photographs = read("folder", tmp_path)
    found = detections_of(loaded.network, loaded.card, photographs, resize=192)
    assert [record.name for record in found.records] == ["two.png box 1", "two.png box 2"]
    assert found.labels == ("face",)
    maps = run(loaded, found, "fame", tmp_path / "maps", Settings(options={"iterations": 2}, resize=192))
    image = jnp.asarray(np.asarray(Image.open(tmp_path / "two.png"), np.float32) / 255)
    network = yunet(*image.shape[:2])
    faces = detections(network, image)
    one = jax.jit(lambda image, network, place: explain(class_logit, image, network, place, iterations=2))
    for place, seen in enumerate(faces):
        np.testing.assert_allclose(found.records[place].boxes[0], seen.box, atol=0.5)
        np.testing.assert_allclose(maps.column("first_loss")[place, 0], seen.score**2, atol=0.01)
        expected = np.asarray(one(image, detected(network, faces), place).attribution)
        # But for the blur, which sees no border where the photograph ends.
        inner = slice(25, -25), slice(25, -25)
        assert np.corrcoef(maps.map(place)[inner].ravel(), expected[inner].ravel())[0, 1] > 0.99


def _portrait():
    from fame_jax.data.images import sample

    return sample("portrait")[32:224:2, 128:320:2]


def test_how_much_of_a_box_is_seen_is_a_loss_of_its_own():
    image = jnp.asarray(np.random.default_rng(2).uniform(size=(40, 64, 3)), jnp.float32)
    box = jnp.array([4.0, 5.0, 14.0, 20.0])
    assert box_seen(image, detector, box, 0) == pytest.approx(float(image[5:15, 4:14].mean()) * 100 / 150, rel=1e-5)
    assert np.isnan(box_seen(image, detector, box, 2))
    result = explain(box_seen, image, detector, box, 0, iterations=3, sigma=0.5)
    assert result.attribution[7:13, 6:12].min() > 0.9
    assert result.attribution[:, 20:].max() == 0
    both = jax.vmap(lambda box: box_seen(image, detector, box, 0))(jnp.array([LEFT, RIGHT], jnp.float32))
    np.testing.assert_allclose(both, [image[5:15, 4:14].mean(), image[5:15, 20:30].mean()], rtol=1e-5)
