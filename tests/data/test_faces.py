"""Detection on packaged photographs, and what is said of a face that is found, or of none."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from skimage.transform import SimilarityTransform

from fame_jax.data import (
    Face,
    FaceError,
    ImageError,
    align,
    align_eyes,
    detect,
    detect_at_any_turn,
    faces,
    load_face,
    read_image,
    sample,
    sample_path,
    searching,
)
from fame_jax.data.alignment import TEMPLATE, similarity_transform

NOISE = np.random.default_rng(0).random((112, 112, 3), dtype=np.float32)
PHOTOGRAPHS = ["biden", "obama", "obama2", "obama3"]


def written(path, image):
    Image.fromarray(np.rint(image * 255).astype(np.uint8)).save(path)
    return path


def enlarged(image, width, height):
    return np.asarray(Image.fromarray((image * 255).astype(np.uint8)).resize((width, height)), np.float32) / 255


# Detection.


@pytest.fixture
def cv2():
    return pytest.importorskip("cv2")


@pytest.fixture(scope="module")
def portrait():
    pytest.importorskip("cv2")
    return detect(sample("portrait"))


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


# From a file.


def test_a_photograph_gives_an_aligned_face(portrait):
    crop = load_face(sample_path("portrait"))
    np.testing.assert_array_equal(crop.image, align(sample("portrait"), portrait[0].landmarks))
    np.testing.assert_array_equal(crop.box, portrait[0].box)
    assert crop.note == ""
    again = load_face(sample_path("portrait"), face=1)
    np.testing.assert_array_equal(again.image, crop.image)


def test_an_aligned_picture_passes_untouched_without_opencv(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    crop = load_face(written(tmp_path / "a.png", NOISE))
    np.testing.assert_array_equal(crop.image, read_image(tmp_path / "a.png"))
    assert (crop.box, crop.landmarks, crop.score) == (None, None, None)
    assert crop.note == "taken as aligned"


def test_an_aligned_picture_has_no_second_face(tmp_path):
    path = written(tmp_path / "a.png", NOISE)
    assert load_face(path, face=1).note == "taken as aligned"
    with pytest.raises(FaceError, match=r"a\.png: there is no face 2: the picture is taken as one aligned face"):
        load_face(path, face=2)


def test_a_square_picture_said_to_be_aligned_is_scaled(tmp_path):
    crop = load_face(written(tmp_path / "a.png", NOISE.repeat(2, 0).repeat(2, 1)), aligned=True)
    assert crop.image.shape == (112, 112, 3)
    assert crop.note == "taken as aligned and scaled from 224x224"


def test_an_oblong_picture_said_to_be_aligned_is_refused(tmp_path):
    with pytest.raises(FaceError, match=r"a\.png: .* this is 100x112: leave --aligned out"):
        load_face(written(tmp_path / "a.png", NOISE[:, :100]), aligned=True)


def test_a_small_photograph_is_searched_when_told_that_it_is_not_aligned(tmp_path, cv2):
    path = written(tmp_path / "a.png", enlarged(sample("portrait")[:224, 112:336], 112, 112))
    assert load_face(path).landmarks is None
    found = load_face(path, aligned=False)
    assert found.landmarks is not None
    assert "small" not in found.note


def test_no_face_says_what_to_do(cv2):
    with pytest.raises(FaceError, match=r"chelsea\.png: no face was found: .*another picture.*--aligned"):
        load_face(sample_path("cat"))


def group(path):
    """The portrait three times: large, middle-sized and small."""
    canvas = np.full((520, 900, 3), 0.5, np.float32)
    canvas[:500, :500] = enlarged(sample("portrait"), 500, 500)
    canvas[:250, 500:750] = enlarged(sample("portrait"), 250, 250)
    canvas[300:450, 600:750] = enlarged(sample("portrait"), 150, 150)
    return written(path, canvas)


def test_of_several_faces_the_largest_is_taken_or_the_one_asked_for(tmp_path, cv2):
    path = group(tmp_path / "group.png")
    crops = [load_face(path, face=number) for number in (None, 1, 2, 3)]
    assert crops[0].note == "the largest of 3 faces"
    np.testing.assert_array_equal(crops[0].image, crops[1].image)
    # Which copy each is shows in where its box lies.
    centres = [(crop.box[:2] + crop.box[2:]) / 2 for crop in crops[1:] if crop.box is not None]
    for centre, (left, top, size) in zip(centres, [(0, 0, 500), (500, 0, 250), (600, 300, 150)], strict=True):
        np.testing.assert_allclose((centre - (left, top)) / size, (225 / 512, 120 / 512), atol=0.02)
    assert crops[2].note == ""
    assert crops[3].note.startswith("small: ")


@pytest.mark.parametrize("number", [0, 4, -1])
def test_a_face_that_is_not_there_says_how_many_are(tmp_path, number, cv2):
    path = group(tmp_path / "group.png")
    with pytest.raises(FaceError, match=rf"group\.png: there is no face {number}: 3 found"):
        load_face(path, face=number)


def posed(tmp_path, monkeypatch, landmarks, score=0.95):
    box = np.array([0.0, 0.0, 10.0, 10.0])
    monkeypatch.setattr(searching, "detect", lambda image, find: [Face(box, landmarks, score)])
    return load_face(written(tmp_path / "a.png", NOISE.repeat(2, 0)))


def test_a_face_of_a_few_pixels_is_refused_with_its_size(tmp_path, monkeypatch):
    with pytest.raises(FaceError, match=r"a\.png: the face is too small: 11 pixels across, and 14 are needed"):
        posed(tmp_path, monkeypatch, TEMPLATE * (11 / 112))


def test_a_small_face_is_noted(tmp_path, monkeypatch):
    assert posed(tmp_path, monkeypatch, TEMPLATE * (28 / 112)).note == "small: 28 pixels across, enlarged to 112"
    assert posed(tmp_path, monkeypatch, TEMPLATE * (57 / 112)).note == ""


def test_a_profile_is_noted(tmp_path, monkeypatch):
    # Both eyes and both corners of the mouth nearly on one line, the nose far out.
    profile = np.array([(60.0, 50.0), (66.0, 50.0), (30.0, 70.0), (56.0, 92.0), (60.0, 92.0)])
    assert posed(tmp_path, monkeypatch, profile).note.startswith("turned away: its landmarks miss the frontal template")


def test_a_doubtful_face_is_noted(tmp_path, monkeypatch):
    assert posed(tmp_path, monkeypatch, TEMPLATE, score=0.75).note == "doubtful: the detector gives it 0.75"


def test_filling_is_marked_and_its_share_noted(tmp_path, monkeypatch):
    # Landmarks that lie 28 pixels to the left of the template: the first 28 columns lie outside the photograph.
    crop = posed(tmp_path, monkeypatch, TEMPLATE - [28, 0])
    assert crop.note == "cut by the border: 25% of the crop is filling"
    np.testing.assert_array_equal(crop.filled, np.broadcast_to(np.arange(112) < 28, (112, 112)))
    assert (crop.image[crop.filled] == 0).all()
    assert (crop.image[~crop.filled] > 0).any(axis=-1).all()


def test_filling_of_any_transform_is_what_a_white_photograph_lacks(tmp_path, monkeypatch):
    landmarks = SimilarityTransform(scale=1.3, rotation=0.4, translation=(60, -30))(TEMPLATE)
    crop = posed(tmp_path, monkeypatch, landmarks)
    white = align(np.ones((224, 112, 3), np.float32), landmarks)[..., 0]
    np.testing.assert_array_equal(crop.filled, white < 1 - 1e-5)
    assert 0.1 < crop.filled.mean() < 0.9


def test_a_whole_face_has_no_filling(cv2):
    assert not load_face(sample_path("portrait")).filled.any()
    assert not faces.sample_face().filled.any()


@pytest.mark.parametrize("angle", [20, 45, 90, 135, 160, 180, 225, 270, 330])
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


def test_annotated_eyes_go_where_the_convention_has_them_without_a_search(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    path = written(tmp_path / "a.png", NOISE.repeat(2, 0))
    eyes = ((50.0, 60.0), (85.0, 66.0))
    crop = load_face(path, eyes=eyes, convention="bob")
    right, left = map(np.array, eyes)
    np.testing.assert_array_equal(crop.image, align_eyes(read_image(path), right, left, "bob"))
    assert crop.filled.any()
    assert "cut by the border" in crop.note
    assert load_face(path, eyes=eyes, aligned="auto").landmarks is None


def test_degenerate_landmarks_name_the_file(tmp_path, monkeypatch):
    with pytest.raises(FaceError, match=r"a\.png: the landmarks"):
        posed(tmp_path, monkeypatch, np.ones((5, 2)))


def test_a_broken_picture_is_an_image_error(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"nothing")
    with pytest.raises(ImageError, match=r"a\.jpg: "):
        load_face(tmp_path / "a.jpg")


@pytest.mark.parametrize("name", PHOTOGRAPHS)
def test_each_shared_photograph_has_one_face_that_fits_the_template(shared_data, cv2, name):
    crop = load_face(shared_data / "photos" / f"{name}.jpg")
    assert crop.landmarks is not None
    assert crop.note == ""
    assert (crop.score or 0) > 0.9
    misses = np.linalg.norm(similarity_transform(crop.landmarks, TEMPLATE)(crop.landmarks) - TEMPLATE, axis=1)
    assert misses.max() < 6
    # The eyes and the mouth are darker than the skin between them, the bridge of the nose and the cheeks.
    grey = crop.image.mean(-1)
    eyes = np.mean([grey[y - 3 : y + 4, x - 6 : x + 7].mean() for x, y in np.rint(TEMPLATE[:2]).astype(int)])
    assert eyes < grey[62:72, 30:80].mean()
