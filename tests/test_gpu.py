"""What an accelerator computes is what the CPU does, where there is one:

    XLA_PYTHON_CLIENT_PREALLOCATE=false pytest -m gpu -n 6 --dist load tests/test_gpu.py

The claims are of float64, since two correct walks in fewer bits part after a few steps.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fame_jax import class_logit, explain, metrics, models, perturb
from fame_jax.architectures.probes import Probed
from fame_jax.batching import perturb_many
from fame_jax.data import images
from fame_jax.explainers import EXPLAINERS
from fame_jax.metrics.table import METRICS, Subject
from tests.explainers.test_contract import QUICK
from tests.explainers.test_lowering import SIDE, TASKS, Layers

pytestmark = pytest.mark.gpu

CAT = 285


@pytest.fixture(autouse=True)
def wide():
    """64 bits, so that float64 is at hand."""
    if jax.default_backend() == "cpu":
        pytest.skip("needs an accelerator")
    with jax.enable_x64(True):
        yield


@pytest.fixture(scope="module")
def photograph():
    return images.load(images.sample_path("cat"), resize=256, crop=224)


def on_both(function, *arguments):
    """Of the CPU, and of the accelerator: what one program is there, as NumPy arrays."""
    devices = jax.devices("cpu")[0], jax.devices()[0]
    return [jax.device_get(jax.jit(function)(*jax.device_put(arguments, device))) for device in devices]


def assert_equal(found, atol):
    for one, other in zip(*map(jax.tree.leaves, found), strict=True):
        assert np.isfinite(other).all()
        np.testing.assert_allclose(other, one, atol=atol, rtol=0)


def test_a_hundred_steps_are_the_cpus(photograph):
    network = models.load("mobilenet_v2", precision="float64")

    def walk(network, image):
        return perturb(class_logit, image, network, CAT, iterations=100).perturbed

    assert_equal(on_both(walk, network, np.asarray(photograph, np.float64)), 1e-9)


@pytest.mark.parametrize(("precision", "least"), [("float32", 0.99), ("tf32", 0.95), ("bfloat16", 0.85)])
def test_maps_of_fewer_bits_are_near_float64s(precision, least, photograph):
    """As near as 25 steps allow; docs/measured.md has the figures of many photographs."""

    def of(precision):
        image = jnp.asarray(photograph, models.image_dtype(precision))
        return explain(class_logit, image, models.load("mobilenet_v2", precision=precision), CAT, iterations=25)

    found = float(metrics.pearson(of(precision).attribution, of("float64").attribution))
    assert least <= found


@pytest.mark.parametrize(("name", "task"), TASKS)
def test_a_method_is_the_cpus(name, task):
    """Noise is drawn in 32 bits, by a function that rounds otherwise there."""
    row = EXPLAINERS[name]

    def of(network, *pictures):
        target = jnp.array([1, 1]) if task == "location" else 1
        network = Probed(network) if "probes" in row.needs else network
        return row.results(task, network, pictures, target, key=jax.random.key(0), **QUICK.get(name, {}))

    pictures = np.random.default_rng(0).uniform(size=(2 if task == "pair" else 1, SIDE, SIDE, 3))
    assert_equal(on_both(of, Layers(jnp.float64), *pictures), 1e-5)


@pytest.mark.parametrize("name", [name for name, row in METRICS.items() if row.measure is not None])
def test_a_metric_is_the_cpus(name):
    random = np.random.default_rng(0)
    image, gallery = random.uniform(size=(2, SIDE, SIDE, 3))

    def of(network, image, gallery, attribution, masks):
        return METRICS[name].measure(network, Subject(image, attribution, 1, 0, masks, gallery))

    masks = random.uniform(size=(2, SIDE, SIDE)) < 0.5
    assert_equal(on_both(of, Layers(jnp.float64), image, gallery, random.uniform(size=(SIDE, SIDE)), masks), 1e-5)


def test_the_batch_that_fits_into_memory_gives_the_maps_of_one(photograph):
    network = models.load("mobilenet_v2", precision="float64")
    examples = [(np.roll(photograph, 8 * i, axis=1).astype(np.float64), (CAT,)) for i in range(6)]

    def walks(**options):
        found = perturb_many(class_logit, examples, network, iterations=10, in_order=True, **options)
        return [np.asarray(walk.perturbed) for _, walk in found]

    assert_equal([walks(batch_size=1), walks()], 1e-9)
