"""`fame detect` and `fame explain --detection`: from photographs to boxes, and from a box to its reasons."""

import json

import numpy as np
import pytest
from PIL import Image

from fame_jax.cli.console import InputError
from fame_jax.cli.flags import MethodFlags
from fame_jax.data.images import sample
from tests.cli.conftest import arrays, manifest


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A small picture with two faces, one without any, and a file that is none."""
    folder = tmp_path_factory.mktemp("pictures")
    face = (sample("portrait")[32:160, 160:288] * 255).astype(np.uint8)
    Image.fromarray(np.concatenate([face, face[:, ::-1]], axis=1)).save(folder / "two.png")
    Image.new("RGB", (96, 64), "grey").save(folder / "none.png")
    (folder / "broken.png").write_text("no picture")
    return folder


def test_faces_are_listed_and_drawn_beside_pictures_that_cannot_be_read(fame, pictures, tmp_path):
    names = ("two.png", "none.png", "broken.png")
    ended = fame("detect", *(pictures / name for name in names), "--out", tmp_path, "--no-progress")
    assert ended.code == 2
    assert len(ended.err.strip().splitlines()) == 1
    assert "broken.png" in ended.err
    assert "two.png: face 1 (0.9" in ended.out
    assert "none.png: nothing" in ended.out
    found = json.loads((tmp_path / "two.detections.json").read_text())
    assert (found["width"], found["height"], len(found["detections"])) == (256, 128, 2)
    boxes = np.array([one["box"] for one in found["detections"]])
    # One face is the other one in a mirror.
    np.testing.assert_allclose(np.sort(boxes[:, 0]), np.sort(256 - boxes[:, 2]), atol=4)
    assert (tmp_path / "two.detections.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.thorough
def test_all_detections_of_a_photograph_are_explained(fame, pictures, tmp_path):
    options = ("--detection", "all", "--method", "best", "--iterations", 5, "--out", tmp_path, "--no-progress")
    ended = fame("explain", pictures / "two.png", *options)
    assert ended.code == 0
    assert "best is fame\n" in ended.out
    assert "2 explained, 0 failed" in ended.out
    assert "two.png: FAME of face 2 (0.9" in ended.out
    maps = [arrays(tmp_path / f"two.{number}.fame.npz") for number in (1, 2)]
    for number, found in enumerate(maps):
        assert found["attribution"].shape == (128, 256)
        assert int(found["target"]) == number
        left, top, right, bottom = np.rint(found["box"]).astype(int)
        assert found["attribution"][max(top, 0) : bottom, max(left, 0) : right].mean() > 2 * found["attribution"].mean()
        assert float(found["last_loss"]) < float(found["first_loss"])
    left = [found["attribution"][:, :128].mean() > found["attribution"][:, 128:].mean() for found in maps]
    assert sorted(left) == [False, True]
    assert manifest(tmp_path)["network"] == "yunet"


PATCH = '''
import jax.numpy as jnp
from fame_jax.detection import Candidates
from fame_jax.models import Card

CARD = Card("patch", "detect", size=96, resize=96, score="logit", labels=("bright", "dark"))

def detector(image):
    """One box, whose score is how bright a patch is."""
    bright = image[10:20, 30:40].mean()
    boxes = jnp.array([[20.0, 5.0, 50.0, 30.0]])
    return Candidates(boxes, jnp.stack([bright, 1 - bright])[None], jnp.ones(1), jnp.zeros((1, 0, 2)))

network = (detector, CARD)
'''


def test_a_detector_of_ones_own_that_looks_at_one_patch(fame, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.py").write_text(PATCH)
    Image.new("RGB", (96, 64), (200, 200, 200)).save("grey.png")
    assert "grey.png: bright 1 (0.78)" in fame("detect", "grey.png", "--model", "own.py:network").out
    options = ("--model", "own.py:network", "--detection", 1, "--iterations", 5, "--sigma", 0.5)
    ended = fame("explain", "grey.png", *options, "--method", "fame,gradient", "--no-progress")
    assert ended.code == 0
    for name in ("fame", "gradient"):
        attribution = arrays(tmp_path / "fame-out" / f"grey.1.{name}.npz")["attribution"]
        assert attribution[12:18, 32:38].min() > 0.9
        assert attribution[:, 50:].max() == attribution[30:].max() == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("explain", "two.png", "--detection", "3"), "there is no detection 3: 2 found"),
        (("explain", "none.png", "--detection", "1"), "nothing was detected above 0.6"),
        (("explain", "two.png", "--detection", "first"), "--detection first: expected a number from 1, or all"),
        (("explain", "two.png", "--detection", "1", "--class", "cat"), "--detection goes with neither --class nor"),
        (("explain", "two.png", "--detection", "1", "--model", "mobilenet_v2"), "mobilenet_v2 is no detector"),
        (("explain", "two.png", "--detection", "1", "--threshold", "0"), "--threshold 0: expected a score above 0"),
        (("detect", "two.png", "--threshold", "1.5"), "--threshold 1.5: expected a score above 0, at most 1"),
        (("detect", "two.png", "--resize", "8"), "resize 8: expected 32 to 8192"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(arguments, words, fame, pictures, tmp_path, monkeypatch):
    monkeypatch.chdir(pictures)
    ended = fame(*arguments, "--out", tmp_path, "--no-progress")
    assert ended.code == 2
    assert words in ended.err
    assert len(ended.err.strip().splitlines()) == 1


def test_all_methods_are_all_that_a_detection_can_have():
    names = {row.name for row in MethodFlags(method="all").rows("detect")}
    assert {"fame", "rise", "grad_cam"} <= names
    assert "fullgrad" not in names
    with pytest.raises(InputError, match="fullgrad does not explain"):
        MethodFlags(method="fullgrad").rows("detect")
