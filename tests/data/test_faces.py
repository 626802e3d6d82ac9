"""Detection on packaged photographs, and what is said of a face that is found, or of none."""

import sys

import numpy as np
import pytest
from skimage.transform import SimilarityTransform

from fame_jax.data import (
    Face,
    FaceError,
    ImageError,
    align,
    align_eyes,
    faces,
    load_face,
    read_image,
    sample,
    sample_path,
    searching,
)
from fame_jax.data.alignment import TEMPLATE, similarity_transform
from tests.data.conftest import NOISE, PHOTOGRAPHS, enlarged, written

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


def test_what_one_detector_does_not_find_another_may(tmp_path):
    path, calls = written(tmp_path / "face.png", NOISE), []

    def blind(image):
        return np.zeros((0, 15), np.float32)

    def counted(image):
        calls.append(image.shape)
        return blind(image)

    for find in (blind, counted):
        with pytest.raises(FaceError, match="no face"):
            load_face(path, aligned=False, find=find)
    assert calls
