"""YuNet in JAX is OpenCV's: boxes, landmarks and scores, on photographs of any size."""

import importlib.resources
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from fame_jax import class_logit, explain
from fame_jax.data.faces import load_face
from fame_jax.data.images import read_image, sample, sample_path
from fame_jax.detection import detected, detections, yunet
from fame_jax.detection.face_detector import rows
from fame_jax.explainers import EXPLAINERS


def of_opencv(image, threshold=0.6):
    cv2 = pytest.importorskip("cv2")
    file = importlib.resources.files("fame_jax").joinpath("bundled", "yunet", "weights-8f2383e4.onnx")
    height, width = image.shape[:2]
    with importlib.resources.as_file(file) as path:
        detector = cv2.FaceDetectorYN.create(str(path), "", (width, height), score_threshold=threshold)
    rows = detector.detect(np.ascontiguousarray(np.rint(image[..., ::-1] * 255).astype(np.uint8)))[1]
    return np.zeros((0, 15)) if rows is None else rows


def found(image, threshold=0.6):
    return detections(yunet(*image.shape[:2]), image, threshold=threshold)


def compare(image, ours=None):
    """Every face of the one is a face of the other, and there are no others; the largest differences, `[faces, 3]`."""
    expected = sorted(of_opencv(image), key=lambda row: -row[14])
    ours = found(image) if ours is None else ours
    assert len(ours) == len(expected)
    apart = []
    for face, row in zip(ours, expected, strict=True):
        box = np.array([*row[:2], *(row[:2] + row[2:4])])
        points = row[4:14].reshape(5, 2)
        apart.append([np.abs(face.box - box).max(), np.abs(face.landmarks - points).max(), abs(face.score - row[14])])
    assert (np.array(apart).reshape(-1, 3) <= [0.01, 0.01, 1e-5]).all(), apart
    return np.array(apart).reshape(-1, 3)


@pytest.fixture(scope="module")
def portrait():
    return sample("portrait")


@pytest.mark.parametrize("height", [200, 231])
def test_the_packaged_portrait_at_sizes_that_are_no_multiple_of_32(height, portrait):
    assert len(compare(portrait[:height, 100:340])) == 1


def test_two_faces_and_none(portrait):
    face = portrait[:192, 128:320]
    assert len(compare(np.concatenate([face, face[:, ::-1]], axis=1))) == 2
    assert len(compare(np.full((96, 96, 3), 0.5, np.float32))) == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("folders", "least"), [(("photos", "faces_grey"), 450), (("imagenet_sample", "imagenet_400"), 150)]
)
def test_all_photographs_at_their_own_sizes(folders, least, shared_data):
    apart = []
    files = [path for folder in folders for path in sorted((shared_data / folder).glob("*.jpg"))]
    for path in files:
        image = read_image(path)
        # As the detector itself does: of two hundred sizes, those that fill up alike share a program.
        down, right = (-side % 32 for side in image.shape[:2])
        apart.append(compare(image, found(np.pad(image, ((0, down), (0, right), (0, 0))))))
    faces = np.concatenate(apart)
    box, point, score = faces.max(0)
    print(f"{len(files)} photographs, {len(faces)} faces; box {box:.1e}, landmark {point:.1e}, score {score:.1e}")
    assert len(faces) >= least


@pytest.fixture(scope="module")
def pair_of_faces(portrait):
    """A picture with two faces, and the network of its two detections."""
    face = portrait[:192, 128:320]
    image = np.concatenate([face, face[:, ::-1]], axis=1)
    return jnp.asarray(image), detected(yunet(*image.shape[:2]), found(image))


def test_the_network_of_detections_sees_its_own_boxes(pair_of_faces):
    image, network = pair_of_faces
    faces = found(np.asarray(image))
    np.testing.assert_allclose(jax.jit(lambda n, x: n(x))(network, image), [f.score**2 for f in faces], atol=1e-5)
    features = jax.jit(lambda n, x: n.head(n.features(x)))(network, image)
    np.testing.assert_allclose(features, [f.score**2 for f in faces], atol=1e-5)


def inside(network, place, attribution):
    """The mean of a map in a detection's box, over that of the whole map."""
    left, top, right, bottom = np.clip(np.rint(np.asarray(network.boxes[place])).astype(int), 0, None)
    return attribution[top:bottom, left:right].mean() / attribution.mean()


@pytest.mark.thorough
def test_a_walk_loses_its_face_and_leaves_the_other(pair_of_faces):
    image, network = pair_of_faces
    walk = jax.jit(lambda n, x, place: explain(class_logit, x, n, place, iterations=50))
    seen = jax.jit(lambda n, x: n(x))
    before = seen(network, image)
    for place in (0, 1):
        result = walk(network, image, place)
        after = seen(network, result.perturbed)
        assert after[place] < 0.5 * before[place]
        np.testing.assert_allclose(after[1 - place], before[1 - place], rtol=0.05)
        assert inside(network, place, result.attribution) > 2


@pytest.mark.thorough
@pytest.mark.parametrize(("name", "times"), [("gradient", 2), ("hires_cam", 2), ("rise", 1.2)])
def test_methods_of_classes_explain_a_detection(name, times, pair_of_faces):
    image, network = pair_of_faces
    options = {"rise": {"masks": 300, "score": "logit"}}.get(name, {})
    row = EXPLAINERS[name]
    result = jax.jit(lambda n, x: row.explain(n, x, 0, key=jax.random.key(0), **options))(network, image)
    assert inside(network, 0, result.attribution) > times


def test_faces_are_found_without_opencv_where_it_finds_them(monkeypatch, tmp_path):
    pytest.importorskip("cv2")
    picture = Image.open(sample_path("portrait")).convert("RGB").crop((100, 0, 360, 200))
    picture.rotate(30, expand=True).save(tmp_path / "a.png")
    by_opencv = load_face(tmp_path / "a.png")
    monkeypatch.setitem(sys.modules, "cv2", None)
    by_jax = load_face(tmp_path / "a.png", find=rows)
    np.testing.assert_allclose(by_jax.landmarks, by_opencv.landmarks, atol=0.1)
    np.testing.assert_allclose(by_jax.score, by_opencv.score, atol=1e-3)
    assert np.abs(by_jax.image - by_opencv.image).mean() < 2e-3


@pytest.mark.slow
def test_faces_of_all_photographs_lie_where_opencv_finds_them(shared_data):
    files = [path for folder in ("photos", "faces_grey") for path in sorted((shared_data / folder).glob("*.jpg"))]
    for path in files:
        one, other = load_face(path, aligned=False), load_face(path, aligned=False, find=rows)
        np.testing.assert_allclose(one.landmarks, other.landmarks, atol=1)
        np.testing.assert_allclose(one.box, other.box, atol=1)
