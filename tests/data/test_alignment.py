"""Geometry against known similarities, scikit-image's estimate and OpenCV's warp."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.transform import SimilarityTransform

from fame_jax.data import (
    FaceError,
    align,
    align_eyes,
    sample,
    sunglasses,
)
from fame_jax.data.alignment import TEMPLATE, similarity_transform

NOISE = np.random.default_rng(0).random((112, 112, 3), dtype=np.float32)

# The transform.

angles, scales, shifts = st.floats(-np.pi, np.pi), st.floats(0.05, 20), st.floats(-500, 500)


@settings(max_examples=50, deadline=None)
@given(angle=angles, scale=scales, x=shifts, y=shifts)
def test_a_transformed_template_comes_back_to_the_template(angle, scale, x, y):
    photographed = SimilarityTransform(scale=scale, rotation=angle, translation=(x, y))(TEMPLATE)
    back = similarity_transform(photographed, TEMPLATE)(photographed)
    np.testing.assert_allclose(back, TEMPLATE, atol=0.01)


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_transform_equals_scikit_images_least_squares_estimate(seed):
    landmarks = TEMPLATE * 2 + np.random.default_rng(seed).normal(0, 8, (5, 2))
    if hasattr(SimilarityTransform, "from_estimate"):
        estimate = SimilarityTransform.from_estimate(landmarks, TEMPLATE)
    else:
        estimate = SimilarityTransform()
        assert estimate.estimate(landmarks, TEMPLATE)
    np.testing.assert_allclose(similarity_transform(landmarks, TEMPLATE).params, estimate.params, atol=1e-9)


def test_mirrored_landmarks_are_not_reflected():
    mirrored = TEMPLATE * [-1, 1] + [112, 0]
    assert np.linalg.det(similarity_transform(mirrored, TEMPLATE).params[:2, :2]) > 0


@pytest.mark.parametrize("landmarks", [np.zeros((5, 2)), np.full((5, 2), 7.0), np.full((5, 2), np.nan)])
def test_landmarks_without_extent_are_refused(landmarks):
    with pytest.raises(FaceError, match="not finite or all in one place"):
        align(NOISE, landmarks)


# The warp.


def test_template_landmarks_leave_the_image_as_it_is():
    np.testing.assert_allclose(align(NOISE, TEMPLATE), NOISE, atol=1e-6)


@pytest.mark.parametrize("shift", [(5, 0), (0, -7), (-13, 20), (200, 0)])
def test_whole_translations_are_exact_and_the_outside_is_black(shift):
    x, y = shift
    padded = np.pad(NOISE, ((112, 112), (112, 112), (0, 0)))
    # Landmarks that lie (x, y) from the template bring pixel (x, y) to the corner.
    image = align(padded[112:224, 112:224].copy(), TEMPLATE + np.array([x, y]))
    expected = padded[112 + y : 224 + y, 112 + x : 224 + x] if x < 112 else np.zeros_like(NOISE)
    assert image.dtype == np.float32
    np.testing.assert_allclose(image, expected, atol=1e-5)


def test_half_turn_is_exact():
    turned = align(NOISE, 111 - TEMPLATE)
    np.testing.assert_allclose(turned, NOISE[::-1, ::-1], atol=1e-5)


@pytest.mark.parametrize(
    ("scale", "rotation", "shift"), [(1.4, 0.2, (60, 40)), (2.3, -0.6, (120, 200)), (0.7, 1.0, (150, 90))]
)
def test_warp_equals_opencvs(scale, rotation, shift):
    cv2 = pytest.importorskip("cv2")
    image = sample("portrait")
    landmarks = SimilarityTransform(scale=scale, rotation=rotation, translation=shift)(TEMPLATE)
    matrix = similarity_transform(landmarks, TEMPLATE).params[:2]
    expected = cv2.warpAffine(image, matrix, (112, 112), flags=cv2.INTER_LINEAR, borderValue=0)
    ours = align(image, landmarks)
    assert abs(ours - expected).mean() < 2 / 255
    assert ours.max() > 0.5


def test_channels_stay_in_order():
    image = np.zeros((112, 112, 3), np.float32)
    image[..., 0] = 1
    np.testing.assert_allclose(align(image, TEMPLATE)[50, 50], [1, 0, 0], atol=1e-6)


@pytest.mark.parametrize(
    ("convention", "right", "left"),
    [("template", (38.2946, 51.6963), (73.5318, 51.5014)), ("bob", (40, 55), (72, 55))],
)
def test_eyes_come_to_lie_where_the_convention_has_them(convention, right, left):
    # A white dot on each eye of a picture that is turned and twice as large.
    transform = SimilarityTransform(scale=2, rotation=0.4, translation=(90, 30))
    eyes = np.rint(transform(np.array([right, left], float)))
    image = np.zeros((300, 300, 3), np.float32)
    rows, columns = np.mgrid[:300, :300]
    for x, y in eyes:
        image[np.hypot(rows - y, columns - x) < 6] = 1
    face = align_eyes(image, eyes[0], eyes[1], convention)[..., 0]
    rows, columns = np.mgrid[:112, :112]
    for (x, y), side in zip((right, left), (columns < 56, columns >= 56), strict=True):
        weight = face * side
        assert abs((weight * columns).sum() / weight.sum() - x) < 0.1
        assert abs((weight * rows).sum() / weight.sum() - y) < 0.1


def test_eyes_in_one_place_are_refused():
    with pytest.raises(FaceError, match="in one place"):
        align_eyes(NOISE, np.array([3.0, 4.0]), np.array([3.0, 4.0]))


# Sunglasses.


def test_sunglasses_cover_both_eyes_and_nothing_but_their_rectangle():
    face, mask = sunglasses(NOISE)
    assert mask.sum() == 20 * 68
    for x, y in np.rint(TEMPLATE[:2]).astype(int):
        assert mask[y - 8 : y + 9, x - 15 : x + 16].all()
    assert not mask[np.rint(TEMPLATE[2:, 1]).astype(int), np.rint(TEMPLATE[2:, 0]).astype(int)].any()
    assert (face[mask] == 0).all()
    np.testing.assert_array_equal(face[~mask], NOISE[~mask])
