"""A face that OpenCV has found."""

import pytest

from fame_jax.data import detect, sample


@pytest.fixture
def cv2():
    return pytest.importorskip("cv2")


@pytest.fixture(scope="module")
def portrait():
    pytest.importorskip("cv2")
    return detect(sample("portrait"))
