"""What the scripts that compare methods and variants of the walk rely on."""

import pathlib
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fame_jax import class_logit, explain
from fame_jax.cli.console import InputError

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / "scripts"))

from faithfulness import Store, photographs
from search_steps import stopping_step
from walk_variants import VARIANTS, walk

IMAGE = jax.random.uniform(jax.random.key(0), (32, 32, 3))


class Network:
    """Two layers with a kink, as a pytree of weights would be."""

    def __init__(self):
        self.inner = jax.random.normal(jax.random.key(1), (32 * 32 * 3, 16)) / 55
        self.outer = jax.random.normal(jax.random.key(2), (16, 4))

    def __call__(self, image):
        # Any size: the coarse walk sees the image at half its size.
        inner = self.inner[: image.size].astype(image.dtype)
        return jnp.abs(image.ravel() @ inner) @ self.outer.astype(image.dtype)


NETWORK = Network()


def test_the_trace_of_a_walk_tells_where_the_stopping_rule_ends_it():
    with jax.enable_x64(True):
        image = IMAGE.astype(jnp.float64)
        trace = np.asarray(walk(class_logit, image, NETWORK, 1, at=(200,), averages=(200,))["trace"])
        for tolerance, window in ((0.05, 5), (0.02, 10), (0.01, 25)):
            result = explain(class_logit, image, NETWORK, 1, stop_change=tolerance, window=window, iterations=200)
            assert stopping_step(trace, tolerance, window) == int(result.steps) < 200


def test_a_walk_that_is_looked_at_is_the_walk():
    with jax.enable_x64(True):
        image = IMAGE.astype(jnp.float64)
        maps = walk(class_logit, image, NETWORK, 1, at=(5, 25))
        for steps in (5, 25):
            expected = explain(class_logit, image, NETWORK, 1, iterations=steps).attribution
            np.testing.assert_allclose(maps[str(steps)], expected, atol=1e-9)


@pytest.mark.parametrize("name", [name for name in VARIANTS if not name.startswith("plain")])
def test_every_variant_gives_maps_of_the_image(name):
    for map in VARIANTS[name](class_logit, IMAGE, NETWORK, 1).values():
        assert map.shape == IMAGE.shape[:2]
        assert np.isfinite(map).all()
        assert 0 <= map.min() <= map.max() == pytest.approx(1)


def test_what_is_in_a_store_is_not_computed_again(tmp_path):
    store, asked = Store(tmp_path / "maps"), []

    def compute(rows):
        asked.append(rows)
        return {"square": np.asarray(rows) ** 2}

    store.fill("abc", compute, 2, "record")
    assert asked == [[0, 1], [2, 2]]
    store.fill("abcd", compute, 2, "record")
    assert asked[2:] == [[3, 3]]
    np.testing.assert_array_equal(store.stacked("abcd")["square"], [0, 1, 4, 9])


def test_classes_come_from_file_names_or_a_list(tmp_path):
    for name in ("0281_tabby.jpg", "7-cock.png"):
        (tmp_path / name).touch()
    found = photographs(tmp_path)
    assert {(p.path.name, p.label) for p in found} == {("0281_tabby.jpg", 281), ("7-cock.png", 7)}
    rows = tmp_path / "rows.csv"
    rows.write_text("a.jpg,3\nmore/b.jpg,5\n")
    assert {(p.path.relative_to(tmp_path).as_posix(), p.label) for p in photographs(rows)} == {
        ("a.jpg", 3),
        ("more/b.jpg", 5),
    }


@pytest.mark.parametrize(
    ("content", "words"), [("a.jpg,cat\n", "'a.jpg,cat'"), ("a.jpg\n", "file,label"), ("", "no photographs")]
)
def test_lists_that_name_no_classes_are_refused(tmp_path, content, words):
    rows = tmp_path / "rows.csv"
    rows.write_text(content)
    with pytest.raises(InputError, match=words):
        photographs(rows)


def test_file_names_without_a_class_are_refused(tmp_path):
    (tmp_path / "cat.jpg").touch()
    with pytest.raises(InputError, match=r"cat\.jpg"):
        photographs(tmp_path)
