"""A face that OpenCV has found, and pictures in place of photographs."""

import numpy as np
import pytest
from PIL import Image

from fame_jax.data import detect, sample

NOISE = np.random.default_rng(0).random((112, 112, 3), dtype=np.float32)
PHOTOGRAPHS = ["biden", "obama", "obama2", "obama3"]


def written(path, image):
    Image.fromarray(np.rint(image * 255).astype(np.uint8)).save(path)
    return path


def enlarged(image, width, height):
    return np.asarray(Image.fromarray((image * 255).astype(np.uint8)).resize((width, height)), np.float32) / 255


@pytest.fixture
def cv2():
    return pytest.importorskip("cv2")


@pytest.fixture(scope="module")
def portrait():
    pytest.importorskip("cv2")
    return detect(sample("portrait"))
