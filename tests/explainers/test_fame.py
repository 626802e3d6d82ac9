"""FAME of classes, locations and pairs: identities, and the hard cases of faces."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fame_jax import Split, Status
from fame_jax.explainers.fame import RUNS, class_map, location_map, location_maps, pair_maps
from fame_jax.losses import cosine

SIZE = 28
WEIGHTS = jax.random.normal(jax.random.key(0), (4 * 4 * 6, 5), jnp.float32)
KERNEL = jax.random.normal(jax.random.key(1), (7 * 7 * 3, 6), jnp.float32) / 7
PROBE, GALLERY = jax.random.uniform(jax.random.key(2), (2, SIZE, SIZE, 3))
OPTIONS = {"kernel_size": 11}


def features(image):
    cells = image.reshape(4, 7, 4, 7, 3).transpose(0, 2, 1, 3, 4).reshape(4, 4, -1)
    return jax.nn.relu(cells @ KERNEL.astype(image.dtype))


def embed(features):
    return jnp.tanh(features).reshape(-1) @ WEIGHTS.astype(features.dtype)


NETWORK = Split(features, embed)


def statuses(pair):
    return {name: Status(int(getattr(pair, name).status)) for name in RUNS}


def maps(pair):
    return {name: np.asarray(getattr(pair, name).attribution) for name in RUNS}


def test_after_one_step_similar_and_dissimilar_maps_are_equal():
    one, many = (pair_maps(NETWORK, PROBE, GALLERY, iterations=n, **OPTIONS) for n in (1, 40))
    for face in ("probe", "gallery"):
        similar, dissimilar = maps(one)[f"{face}_similar"], maps(one)[f"{face}_dissimilar"]
        np.testing.assert_allclose(similar, dissimilar, atol=1e-3)
        assert np.abs(maps(many)[f"{face}_similar"] - maps(many)[f"{face}_dissimilar"]).max() > 0.1


def test_similar_lowers_the_similarity_and_dissimilar_raises_it():
    pair = pair_maps(NETWORK, PROBE, GALLERY, iterations=40, **OPTIONS)
    others = dict(zip(RUNS, (GALLERY, GALLERY, PROBE, PROBE), strict=True))
    reached = {name: cosine(NETWORK(getattr(pair, name).perturbed), NETWORK(others[name])) for name in RUNS}
    assert float(reached["probe_similar"]) < float(pair.similarity) < float(reached["probe_dissimilar"])
    assert float(reached["gallery_similar"]) < float(pair.similarity) < float(reached["gallery_dissimilar"])


def test_swapping_the_faces_swaps_the_maps():
    with jax.enable_x64(True):
        a, b = (jnp.asarray(face, jnp.float64) for face in (PROBE, GALLERY))
        straight, swapped = (pair_maps(NETWORK, *faces, iterations=60, **OPTIONS) for faces in ((a, b), (b, a)))
        assert float(straight.similarity) == pytest.approx(float(swapped.similarity), abs=1e-12)
        for kind in ("similar", "dissimilar"):
            np.testing.assert_allclose(maps(straight)[f"probe_{kind}"], maps(swapped)[f"gallery_{kind}"], atol=1e-9)


def test_a_pair_in_a_batch_of_sixteen_equals_it_alone():
    with jax.enable_x64(True):
        faces = jax.random.uniform(jax.random.key(9), (2, 16, SIZE, SIZE, 3), jnp.float64)
        run = jax.jit(lambda p, g: pair_maps(NETWORK, p, g, iterations=60, **OPTIONS))
        together = jax.vmap(run)(*faces)
        alone = run(faces[0, 5], faces[1, 5])
        for name in RUNS:
            np.testing.assert_allclose(getattr(together, name).attribution[5], maps(alone)[name], atol=1e-9)


def test_an_identical_pair_can_only_become_less_similar():
    pair = pair_maps(NETWORK, PROBE, PROBE, iterations=20, **OPTIONS)
    assert float(pair.similarity) == pytest.approx(1, abs=1e-5)
    assert statuses(pair)["probe_similar"] is Status.OK
    assert float(pair.probe_similar.last_loss) < 0.999 * float(pair.probe_similar.first_loss)
    assert all(np.isfinite(map).all() for map in maps(pair).values())


def test_an_impostor_below_the_stop_value_says_so():
    pair = pair_maps(NETWORK, PROBE, GALLERY, stop_loss=0.999, iterations=20, **OPTIONS)
    assert statuses(pair)["probe_similar"] is Status.STOPPED_BEFORE_FIRST_STEP
    np.testing.assert_array_equal(maps(pair)["probe_similar"], 0)


def test_an_embedding_of_zeros_says_so():
    silent = jnp.zeros_like(GALLERY)
    network = Split(features, lambda f: embed(f) - embed(jnp.zeros_like(f)))
    pair = pair_maps(network, PROBE, silent, iterations=20, **OPTIONS)
    assert float(pair.similarity) == 0
    found = statuses(pair)
    assert found["probe_similar"] is found["probe_dissimilar"] is Status.ZERO_GRADIENT
    assert all(np.isfinite(map).all() for map in maps(pair).values())


def test_all_locations_in_one_run_equal_each_alone():
    together = location_maps(NETWORK, PROBE, iterations=5, **OPTIONS)
    assert together.attribution.shape == (4, 4, SIZE, SIZE)
    for place in ((0, 0), (2, 3)):
        alone = location_map(NETWORK, PROBE, place, iterations=5, **OPTIONS)
        np.testing.assert_allclose(together.attribution[place], alone.attribution, atol=1e-3)


def test_locations_in_micro_batches_and_by_rows_are_the_same():
    whole = location_maps(NETWORK, PROBE, iterations=5, **OPTIONS)
    part = location_maps(NETWORK, PROBE, rows=(1, 3), batch_size=3, iterations=5, **OPTIONS)
    np.testing.assert_allclose(part.attribution, whole.attribution[jnp.array([1, 3])], atol=1e-3)


def test_a_location_of_its_own_cell_only_changes_that_cell():
    found = location_map(NETWORK, PROBE, (1, 2), iterations=3, kernel_size=None).attribution
    assert float(found[7:14, 14:21].sum()) == pytest.approx(float(found.sum()))


def test_a_row_that_does_not_exist_is_named():
    with pytest.raises(ValueError, match="row 4 is outside the feature map, whose rows are 0 to 3"):
        location_maps(NETWORK, PROBE, rows=(0, 4), iterations=1, **OPTIONS)


def test_class_map_takes_any_function_to_logits():
    found = class_map(lambda image: embed(features(image)), PROBE, 2, iterations=3, **OPTIONS)
    assert found.attribution.shape == (SIZE, SIZE)
    assert int(found.steps) == 3
