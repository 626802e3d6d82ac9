"""Where faces are found in packaged photographs, at any size and turn."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from fame_jax.data import (
    FaceError,
    detect,
    detect_at_any_turn,
    load_face,
    sample,
    sample_path,
    searching,
)
from fame_jax.data.alignment import TEMPLATE, similarity_transform
from tests.data.conftest import NOISE, enlarged, written
from tests.marks import thorough


def test_the_portrait_has_one_face_with_its_landmarks_in_the_order_of_the_template(portrait):
    assert len(portrait) == 1
    (right_eye, left_eye, nose, right_mouth, left_mouth) = portrait[0].landmarks
    # On a frontal face the subject's right is the image's left, and eyes are above nose above mouth.
    assert right_eye[0] < nose[0] < left_eye[0]
    assert right_mouth[0] < nose[0] < left_mouth[0]
    assert max(right_eye[1], left_eye[1]) < nose[1] < min(right_mouth[1], left_mouth[1])
    # Read off the enlarged photograph.
    marked = [(203, 101), (246, 103), (223, 126), (203, 140), (245, 140)]
    np.testing.assert_allclose(portrait[0].landmarks, marked, atol=5)
    left, top, right, bottom = portrait[0].box
    assert ((portrait[0].landmarks > (left, top)) & (portrait[0].landmarks < (right, bottom))).all()
    assert 0.9 < portrait[0].score <= 1


def test_aligned_landmarks_miss_the_template_by_a_few_pixels_only(portrait):
    landmarks = portrait[0].landmarks
    aligned = similarity_transform(landmarks, TEMPLATE)(landmarks)
    assert np.linalg.norm(aligned - TEMPLATE, axis=1).max() < 6


@pytest.mark.parametrize(("width", "height"), [(2048, 2048), (300, 300), (150, 150)])
def test_a_face_is_found_in_the_same_place_at_any_size(portrait, width, height):
    found = detect(enlarged(sample("portrait"), width, height))
    assert len(found) == 1
    landmarks = found[0].landmarks * (512 / width, 512 / height)
    tolerance = 4 if width < 200 else 2  # Pixels of the photograph; the eyes are 39 apart.
    np.testing.assert_allclose(landmarks, portrait[0].landmarks, atol=tolerance)


def test_channels_reach_the_detector_in_its_order(cv2, monkeypatch):
    seen = []

    class Detector:
        def detect(self, image):
            seen.append(image)
            return 1, None

    monkeypatch.setattr(searching, "_yunet", lambda cv2, size: Detector())
    assert detect(np.broadcast_to(np.array([1, 0.5, 0], np.float32), (40, 60, 3)).copy()) == []
    assert [max(image.shape) for image in seen] == [320, 480, 640]
    assert all(image.dtype == np.uint8 and (image[5, 5] == [0, 128, 255]).all() for image in seen)


def test_overlapping_detections_are_one_face_averaged_by_score(cv2, monkeypatch):
    row = np.array([10, 20, 30, 40, *range(10), 0.9], np.float32)

    class Detector:
        def __init__(self, size):
            self.scale = np.float32(max(size) / 320)

        def detect(self, image):
            near = row.copy()
            near[0] += 3 * (self.scale - 1)  # 10, 11.5 and 13 in pixels of the photograph.
            near[14] = 0.9 if self.scale == 1 else 0.75
            far = row + np.float32([200, 100, 40, 40] + [0] * 10 + [0])
            rows = np.stack([near, far])
            rows[:, :14] *= self.scale
            return 1, rows

    monkeypatch.setattr(searching, "_yunet", lambda cv2, size: Detector(size))
    large, small = detect(np.zeros((320, 320, 3), np.float32))
    np.testing.assert_allclose(large.box, [210, 120, 280, 200], atol=1e-3)
    left = (0.9 * 10 + 0.75 * 11.5 + 0.75 * 13) / 2.4
    np.testing.assert_allclose(small.box, [left, 20, left + 30, 60], atol=1e-3)
    np.testing.assert_allclose(small.landmarks.ravel(), range(10), atol=1e-4)
    assert small.score == pytest.approx(0.9)


@pytest.mark.parametrize("shape", [(1, 1), (1, 400), (400, 1), (112, 112)])
def test_blank_pictures_of_any_shape_have_no_face(cv2, shape):
    assert detect(np.full((*shape, 3), 0.5, np.float32)) == []


def test_opencvs_log_level_is_left_as_it_was_and_nothing_is_printed(cv2, capfd):
    log = getattr(cv2.utils, "logging", cv2)
    before = log.getLogLevel()
    detect(NOISE)
    assert log.getLogLevel() == before
    assert capfd.readouterr() == ("", "")


def test_without_opencv_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(ImportError, match=r"pip install 'fame-jax\[faces\]'"):
        detect(NOISE)


def test_opencv_is_imported_only_when_a_face_has_to_be_found():
    code = "import sys; import fame_jax.data as d; d.align; d.load_face; assert 'cv2' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("angle", [20, 160, *thorough(45, 90, 135, 180, 225, 270, 330)])
def test_a_turned_photograph_gives_the_same_face(tmp_path, portrait, angle):
    picture = Image.open(sample_path("portrait")).convert("RGB")
    turned = picture.rotate(angle, Image.Resampling.BICUBIC, expand=True)
    turned.save(tmp_path / "a.png")
    crop = load_face(tmp_path / "a.png")
    # Pillow turns anticlockwise about the centre, and y points down.
    points = (portrait[0].landmarks + 0.5 - np.array(picture.size) / 2) @ [1, 1j] * np.exp(-1j * np.radians(angle))
    expected = np.stack([points.real, points.imag], axis=1) + np.array(turned.size) / 2 - 0.5
    assert crop.landmarks is not None
    tolerance = 0.01 if angle % 90 == 0 else 6  # Pixels of the photograph; the eyes are 43 apart.
    np.testing.assert_allclose(crop.landmarks, expected, atol=tolerance)
    shown = min(angle, 360 - angle)
    if shown > 50:
        words, degrees = crop.note.split(" degrees")[0].rsplit(" ", 1)
        assert words == "turned: it lies at"
        assert abs(int(degrees) - shown) < 6


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_a_box_is_that_of_the_photograph_as_it_is(portrait, degrees):
    turned = np.ascontiguousarray(np.rot90(sample("portrait"), degrees // 90))
    left, top, right, bottom = detect_at_any_turn(turned)[0].box
    box = portrait[0].box
    expected = {
        90: (box[1], 511 - box[2], box[3], 511 - box[0]),
        180: (511 - box[2], 511 - box[3], 511 - box[0], 511 - box[1]),
        270: (511 - box[3], box[0], 511 - box[1], box[2]),
    }[degrees]
    np.testing.assert_allclose((left, top, right, bottom), expected, atol=1e-3)


def test_a_photograph_without_a_face_is_searched_once(tmp_path, monkeypatch, cv2):
    searched = []
    monkeypatch.setattr(searching, "detect", lambda image, find: searched.append(image.shape) or [])
    path = written(tmp_path / "wall.png", NOISE.repeat(2, 0))
    for _ in range(3):
        with pytest.raises(FaceError, match="no face was found"):
            load_face(path)
    assert len(searched) == 8  # Once in each turn.
    written(path, NOISE.repeat(3, 0))  # Another photograph of that name.
    with pytest.raises(FaceError, match="no face was found"):
        load_face(path)
    assert len(searched) == 16


def test_a_very_large_photograph_is_shrunk_for_the_search_alone(portrait, monkeypatch):
    monkeypatch.setattr(searching, "_LONGEST", 400)
    seen = []
    found = detect_at_any_turn(sample("portrait"), lambda levels: seen.append(levels.shape) or searching.opencv(levels))
    np.testing.assert_allclose(found[0].landmarks, portrait[0].landmarks, atol=1.5)  # The eyes are 43 apart.
    np.testing.assert_allclose(found[0].box, portrait[0].box, atol=4)
    assert len(found) == 1
