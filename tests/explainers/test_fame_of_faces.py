"""FAME with the bundled SFace, on the packaged portrait and on photographs of known people."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fame_jax.data.faces import sample_face, sunglasses
from fame_jax.explainers.fame import RUNS, pair_maps
from fame_jax.models import load


@pytest.fixture(scope="module")
def explained():
    """Compiled once: network, probe, gallery and number of steps are arguments."""
    network = load("sface")
    run = jax.jit(lambda network, probe, gallery, steps: pair_maps(network, probe, gallery, iterations=steps))
    return lambda probe, gallery, steps: run(network, jnp.asarray(probe), jnp.asarray(gallery), steps)


@pytest.fixture(scope="module")
def photographs(shared_data):
    pytest.importorskip("cv2")
    from fame_jax.data.faces import load_face

    return {name: load_face(shared_data / "photos" / f"{name}.jpg").image for name in ("obama", "obama2", "biden")}


def share(map, mask):
    return float(np.asarray(map)[mask].sum() / np.asarray(map).sum())


@pytest.mark.thorough
@pytest.mark.parametrize(("probe", "gallery"), [("obama", "obama2"), ("obama", "biden")])
def test_similar_and_dissimilar_are_equal_after_one_step_and_differ_after_many(explained, photographs, probe, gallery):
    one, many = (explained(photographs[probe], photographs[gallery], steps) for steps in (1, 10))
    np.testing.assert_allclose(one.probe_similar.attribution, one.probe_dissimilar.attribution, atol=2e-3)
    assert np.abs(many.probe_similar.attribution - many.probe_dissimilar.attribution).max() > 0.05


@pytest.mark.thorough
def test_swapping_the_faces_swaps_the_maps(explained, photographs):
    straight = explained(photographs["obama"], photographs["obama2"], 4)
    swapped = explained(photographs["obama2"], photographs["obama"], 4)
    for kind in ("similar", "dissimilar"):
        a, b = getattr(straight, f"probe_{kind}"), getattr(swapped, f"gallery_{kind}")
        np.testing.assert_allclose(a.perturbed * 255, b.perturbed * 255, atol=0.3)


@pytest.mark.thorough
def test_covered_eyes_say_less_than_open_ones(explained):
    face = sample_face().image
    covered = sunglasses(face)
    steps = 10
    shares = [
        share(explained(probe, face, steps).probe_similar.attribution, covered.mask) for probe in (covered.image, face)
    ]
    assert shares[0] < shares[1]


def test_maps_of_real_faces_are_finite_and_in_range(explained, photographs):
    pair = explained(photographs["biden"], photographs["obama"], 4)
    for name in RUNS:
        map = np.asarray(getattr(pair, name).attribution)
        assert np.isfinite(map).all()
        assert 0 <= map.min() <= map.max() <= 1


@pytest.mark.slow
def test_a_pair_in_a_batch_of_sixteen_equals_it_alone(photographs):
    with jax.enable_x64(True):
        network = load("sface", precision="float64")
        faces = [jnp.asarray(image, jnp.float64) for image in photographs.values()]
        probes = jnp.stack([faces[i % 3] for i in range(16)])
        galleries = jnp.stack([faces[(i + 1 + i // 3) % 3] for i in range(16)])
        run = jax.jit(lambda p, g: pair_maps(network, p, g, iterations=10))
        together = jax.jit(jax.vmap(lambda p, g: pair_maps(network, p, g, iterations=10)))(probes, galleries)
        alone = run(probes[7], galleries[7])
        for name in RUNS:
            np.testing.assert_allclose(
                getattr(together, name).attribution[7], getattr(alone, name).attribution, atol=1e-9
            )
