import base64
import io

import numpy as np
from PIL import Image

from fame_jax.report.encoded import LEVELS, data_uri, encoded_image, encoded_map


def decoded(webp):
    return np.asarray(Image.open(io.BytesIO(webp)).convert("RGB"), np.float32) / 255


def test_a_map_comes_back_grey_and_within_half_a_level():
    map = np.random.default_rng(0).random((40, 30), np.float32)
    back = decoded(encoded_map(map))
    assert (back == back[..., :1]).all()
    assert np.abs(back[..., 0] - map).max() <= 0.5 / (LEVELS - 1) + 0.5 / 255


def test_black_and_white_of_a_map_are_exact_and_what_is_no_number_is_black():
    back = decoded(encoded_map(np.array([[0, 1], [np.nan, np.inf]], np.float32)))[..., 0]
    np.testing.assert_array_equal(back, [[0, 1], [0, 0]])


def test_an_image_comes_back_nearly_the_same():
    rows, columns = np.mgrid[:64, :64] / 63
    image = np.stack([rows, columns, 1 - rows], axis=-1).astype(np.float32)
    assert np.abs(decoded(encoded_image(image)) - image).mean() < 0.02


def test_a_data_uri_holds_the_bytes():
    kind, _, text = data_uri(b"\x00\xff").partition(",")
    assert kind == "data:image/webp;base64"
    assert base64.b64decode(text) == b"\x00\xff"
