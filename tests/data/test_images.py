"""From files to crops; the oracle for geometry is torchvision on PIL images."""

import importlib.metadata
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from fame_jax.data import ImageError, images, load, read_image, resize_and_crop, sample, sample_path
from tests.data.pictures import DEEP, RGB, encoded, png16, unit

# Reading.


def reason(path):
    with pytest.raises(ImageError) as error:
        read_image(path)
    assert str(error.value).startswith(f"{path}: ")
    return str(error.value)


def test_missing_file_is_named(tmp_path):
    assert "no such file" in reason(tmp_path / "none.jpg")


def test_folder_is_named(tmp_path):
    assert "folder" in reason(tmp_path)


def test_path_that_cannot_exist_is_named():
    assert "there is no such file" in reason("a\0b.png")


# Resize and crop.


def torchvision_crop(torchvision, picture, resize, crop):
    from torchvision import transforms

    assert torchvision is not None
    chain = transforms.Compose([transforms.Resize(resize), transforms.CenterCrop(crop), transforms.ToTensor()])
    return chain(picture).numpy().transpose(1, 2, 0)


SIZES = [(48, 48), (47, 63), (63, 47), (101, 33), (33, 100), (500, 21), (7, 400), (1, 90), (90, 1), (20, 31), (57, 56)]


@pytest.mark.parametrize(("resize", "crop"), [(40, 32), (33, 32), (32, 32), (45, 20), (41, 7)])
@pytest.mark.parametrize("size", SIZES)
def test_resize_and_crop_equals_torchvision_bit_for_bit(torchvision, size, resize, crop):
    levels = np.random.default_rng(3).integers(0, 256, (*size, 3), dtype=np.uint8)
    expected = torchvision_crop(torchvision, Image.fromarray(levels), resize, crop)
    image = resize_and_crop(unit(levels), resize, crop)
    assert image.dtype == np.float32
    np.testing.assert_array_equal(image, expected)


@pytest.mark.parametrize("resize", [232, 256])
def test_the_cat_at_full_size_equals_torchvision_bit_for_bit(torchvision, resize):
    expected = torchvision_crop(torchvision, Image.open(sample_path("cat")).convert("RGB"), resize, 224)
    np.testing.assert_array_equal(load(sample_path("cat"), resize, 224), expected)


@pytest.mark.parametrize("data", [encoded(RGB, "PNG"), png16(DEEP[..., :3])], ids=["8 bits", "16 bits"])
def test_load_is_read_then_resize_and_crop(tmp_path, data):
    (tmp_path / "a.png").write_bytes(data)
    expected = resize_and_crop(read_image(tmp_path / "a.png"), 20, 16)
    np.testing.assert_array_equal(load(tmp_path / "a.png", 20, 16), expected)


def test_deep_picture_is_not_rounded_to_levels_on_the_way():
    image = resize_and_crop(np.full((40, 50, 3), 0.5004, np.float32), 20, 16)
    np.testing.assert_allclose(image, 0.5004, atol=1e-6)


@pytest.mark.parametrize("size", [(47, 63), (101, 33), (20, 31)])
def test_deep_picture_is_resized_like_the_8_bit_one_up_to_rounding(size):
    levels = np.random.default_rng(4).integers(0, 256, (*size, 3), dtype=np.uint8)
    eight = resize_and_crop(unit(levels), 40, 32)
    deep = resize_and_crop(np.clip(unit(levels) + np.float32(1e-5), 0, 1), 40, 32)
    assert deep.dtype == np.float32
    np.testing.assert_allclose(deep, eight, atol=1.1 / 255)  # Pillow rounds after each of its two passes.
    assert not np.array_equal(deep, eight)


def test_picture_of_the_right_size_is_untouched():
    np.testing.assert_array_equal(resize_and_crop(unit(RGB[:, :24]), 24, 24), unit(RGB[:, :24]))


def test_crop_larger_than_the_short_side_is_refused(tmp_path):
    (tmp_path / "a.png").write_bytes(encoded(RGB, "PNG"))
    with pytest.raises(ImageError, match=r"a\.png: a crop of 33 pixels does not fit a short side of 32"):
        load(tmp_path / "a.png", 32, 33)
    with pytest.raises(ImageError, match="a crop of 0 pixels"):
        resize_and_crop(unit(RGB), 32, 0)


def test_aspect_that_would_fill_the_memory_is_refused():
    with pytest.raises(ImageError, match="256x5120000 pixels are above the limit"):
        resize_and_crop(np.zeros((20_000, 1, 3), np.float32), 256, 224)


# Packaged photographs.


@pytest.mark.parametrize(("name", "shape"), [("cat", (300, 451, 3)), ("portrait", (512, 512, 3))])
def test_sample_ships_in_the_wheel_and_is_scikit_images(name, shape):
    import skimage.data

    image = sample(name)
    assert image.shape == shape
    function = {"cat": skimage.data.chelsea, "portrait": skimage.data.astronaut}[name]
    np.testing.assert_array_equal(image, unit(function()))
    shipped = {str(file) for file in importlib.metadata.files("scikit-image") or ()}
    assert f"skimage/data/{images.SAMPLES[name]}" in shipped


def test_unknown_sample_is_refused_with_the_known_ones():
    with pytest.raises(ImageError, match="'dog': there are cat and portrait"):
        sample("dog")


def test_reading_a_picture_imports_nothing_heavy():
    code = (
        "import sys; from fame_jax.data import images; images.sample('cat');"
        "assert not {'cv2', 'tifffile', 'skimage.transform', 'flax', 'torch'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
