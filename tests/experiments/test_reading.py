"""`fame_jax.read`: maps by name and number, of which only what is asked for is read."""

import numpy as np
import pytest

import fame_jax
from fame_jax.experiments.store import RunError
from tests.experiments.runs import FACE, SIDE, pairs, photographs, run_of

NUMBER = 7


@pytest.fixture
def maps():
    return np.random.default_rng(0).random((NUMBER, SIDE, SIDE), np.float32)


@pytest.fixture
def read(tmp_path, maps):
    """A run whose fourth record failed and whose last block is still to come."""
    records = photographs(tmp_path / "photos", NUMBER)
    run_of(tmp_path / "run", records, maps, blocks=[0, 1, 2], failures={3: "3.png: cut short"})
    return fame_jax.read(tmp_path / "run")


def test_a_record_is_found_by_its_name_and_by_its_number(read, maps):
    assert len(read) == NUMBER
    assert read.ids == tuple(f"photo-{i}" for i in range(NUMBER))
    assert read.labels.tolist() == [0, 1, 2, 0, 1, 2, -1]
    assert read.manifest["method"] == "fame"
    assert read.records[2].name == "photo-2"
    for which in (2, np.int64(2), "photo-2", 2 - NUMBER):
        assert read[which].dtype == np.float32
        np.testing.assert_array_equal(read[which], maps[2])


def test_a_record_without_a_map_says_why(read):
    with pytest.raises(RunError, match=r"photo-3 has no map: 3.png: cut short"):
        read["photo-3"]
    with pytest.raises(RunError, match="photo-6 has no map: it is not explained yet; fame run continues"):
        read[-1]
    with pytest.raises(KeyError, match="no record 'photo'; the first is 'photo-0'"):
        read["photo"]
    with pytest.raises(IndexError):
        read[NUMBER]


INDICES = [
    3, -2, slice(None), slice(1, 4), slice(5, 2), slice(6, None, -2), slice(0, 99), [4, 0, 4], [], ...,
    np.array([True, False, False, True, False, True, False]), (2, 5), (slice(1, 4), slice(3, 5), -1), ([1, 5], ..., 0),
    (..., 0), (..., 1, 2), (2, ...), (..., 3, slice(1, 4), 0), (), ([0, 1], [1, 2]), ([0, 1], slice(None), [1, 2]),
    (2, [0, 3]), (2, slice(None), [0, 3]), ([[0, 1], [2, 6]], 3), ((0, 1), 2), (slice(1, 3), [0, 1], [2, 3]), (4, 5, 6),
    (slice(None), 0, ..., [0, 1]), (..., 4, 5, 6),
    (None, 2), (2, None, 1), None, (..., None), True, (False, 2), (0, np.eye(SIDE, dtype=bool)),
]  # fmt: skip


@pytest.mark.parametrize("index", INDICES, ids=str)
def test_the_array_is_indexed_as_numpy_does(tmp_path, maps, index):
    run_of(tmp_path / "run", photographs(tmp_path / "photos", NUMBER), maps)
    lazy = fame_jax.read(tmp_path / "run").maps
    assert (lazy.shape, len(lazy), lazy.dtype) == (maps.shape, NUMBER, np.float32)
    if isinstance(index, list) and not index:
        index = np.array([], int)
    np.testing.assert_array_equal(lazy[index], maps[index])
    np.testing.assert_array_equal(np.asarray(lazy), maps)


@pytest.mark.parametrize(
    ("index", "words"),
    [
        ((..., 0, ...), "several ellipses"),
        (np.ones((NUMBER, SIDE), bool), "a mask has 2 axes, expected one, of all records"),
        (np.ones(NUMBER - 1, bool), "boolean"),
        ((0, 0, 0, 0), "too many indices"),
        ([0, NUMBER], "out of bounds"),
    ],
)
def test_an_index_that_means_nothing_is_refused(read, index, words):
    with pytest.raises(IndexError, match=words):
        read.maps[index]


def test_what_is_not_asked_for_is_not_read(tmp_path, maps):
    run = run_of(tmp_path / "run", photographs(tmp_path / "photos", NUMBER), maps)
    (run.folder / "arrays" / "attribution" / "c" / "1" / "0" / "0").write_bytes(b"damaged")
    found = fame_jax.read(str(tmp_path / "run"))
    np.testing.assert_array_equal(found.maps[[0, 1, 4]], maps[[0, 1, 4]])
    np.testing.assert_array_equal(found["photo-6"], maps[6])
    with pytest.raises(RunError, match="attribution/c/1"):
        found.maps[:3]
    with pytest.raises(RunError, match="attribution/c/1"):
        found["photo-2"]


def test_the_four_maps_of_a_pair(tmp_path):
    maps = np.random.default_rng(0).random((2, FACE, FACE), np.float32)
    run_of(tmp_path / "run", pairs(tmp_path / "faces", 2), maps, network="sface")
    found = fame_jax.read(tmp_path / "run")
    assert found.roles == ("probe_similar", "probe_dissimilar", "gallery_similar", "gallery_dissimilar")
    np.testing.assert_array_equal(found.maps[1], maps[1])
    np.testing.assert_array_equal(found.maps_of("probe_similar")[1], maps[1])
    assert not found.maps_of("gallery_similar")[:].any()
    with pytest.raises(KeyError, match="no maps 'attribution'; there are probe_similar"):
        found.maps_of("attribution")


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(RunError, match="no run is here"):
        fame_jax.read(tmp_path)
