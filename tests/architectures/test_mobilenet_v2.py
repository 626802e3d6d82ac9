"""The real MobileNetV2, bundled, against torchvision's on the real photograph: logits, gradients, walks."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fame_jax import attribution, class_logit, perturb
from fame_jax.data import images
from fame_jax.models import load

torch = pytest.importorskip("torch")

from tests.reference import twins  # noqa: E402

EGYPTIAN_CAT = 285


@pytest.fixture(scope="module")
def cat():
    return images.load(images.sample_path("cat"), 256, 224)


class Normalised(torch.nn.Module):
    """torchvision's network with its normalisation inside, as ours has it."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, x):
        # Made anew in the image's precision: float32 constants would not be those of a float64 network.
        mean, std = (x.new_tensor(v)[:, None, None] for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
        return self.network((x - mean) / std)


@pytest.fixture(scope="module")
def module(torchvision, shared_data):
    network = torchvision.models.mobilenet_v2()
    network.load_state_dict(torch.load(shared_data / "weights" / "mobilenet_v2-b0353104.pth"))
    return Normalised(network).eval()


def walked_in_torch(module, image, steps, dtype):
    """The perturbed image after some steps, in the precision asked for."""
    module = module.to(dtype)
    batch = np.asarray(image, str(dtype).removeprefix("torch."))[None]
    found = twins.lots_in_torch(module, batch, EGYPTIAN_CAT, steps)[0]
    module.to(torch.float32)
    return found


# Walks of a hundred steps: worth the passes that the other tests do without.
WALK = jax.jit(
    functools.partial(perturb, class_logit),
    compiler_options={"xla_backend_optimization_level": 3, "xla_llvm_disable_expensive_passes": False},
)


def walked(image, steps, precision):
    network = load("mobilenet_v2", precision=precision)
    image = jnp.asarray(image, jnp.float64 if precision == "float64" else jnp.float32)
    return WALK(image, network, EGYPTIAN_CAT, iterations=steps).perturbed


def map_of(image, perturbed):
    dtype = np.asarray(perturbed).dtype
    return np.asarray(attribution(jnp.asarray(image, dtype), jnp.asarray(perturbed)))


def root_mean_square(difference):
    return float(np.sqrt(np.mean(np.square(difference))))


def correlation(a, b):
    return float(np.corrcoef(np.ravel(a), np.ravel(b))[0, 1])


def test_the_cat_is_an_egyptian_cat(cat):
    logits = jax.jit(lambda network, image: network(image))(load("mobilenet_v2"), jnp.asarray(cat))
    assert int(jnp.argmax(logits)) == EGYPTIAN_CAT


def test_bundled_weights_are_the_publishers_bits(shared_data):
    from weight_conversion import convert_file

    converted = convert_file("mobilenet_v2", shared_data / "weights" / "mobilenet_v2-b0353104.pth")
    for a, b in zip(jax.tree.leaves(load("mobilenet_v2")), jax.tree.leaves(converted.network), strict=True):
        np.testing.assert_array_equal(a, b)


def test_logits_and_input_gradient_are_torchs(cat, module):
    x = torch.from_numpy(cat).permute(2, 0, 1)[None].requires_grad_()
    logits = module(x)
    logits[0, EGYPTIAN_CAT].backward()
    network = load("mobilenet_v2")
    found, gradient = jax.jit(lambda n, x: (n(x), jax.grad(class_logit)(x, n, EGYPTIAN_CAT)))(network, jnp.asarray(cat))
    assert twins.relative_difference(found, logits[0].detach()) < 1e-4
    assert twins.relative_difference(gradient, x.grad[0].permute(1, 2, 0)) < 1e-4


def test_the_first_step_in_float32_is_torchs_elementwise(cat, module):
    difference = walked(cat, 1, "float32") - walked_in_torch(module, cat, 1, torch.float32)
    assert np.abs(difference).max() * 255 < 0.01


def test_five_steps_in_float32_are_as_near_torchs_as_that_is_to_its_float64_steps(cat, module):
    """Single pixels are not compared with a fixed bound: one ReLU on the other side moves a patch of them at once."""
    torch32 = walked_in_torch(module, cat, 5, torch.float32)
    noise = root_mean_square(torch32 - walked_in_torch(module, cat, 5, torch.float64))
    # Two float32 programs are farther apart than either from float64, by a factor of sqrt(2) on average.
    assert root_mean_square(walked(cat, 5, "float32") - torch32) < 2 * noise
    assert noise * 255 < 0.01


@pytest.fixture(scope="module")
def hundred_steps_of_torch64(cat, module):
    return walked_in_torch(module, cat, 100, torch.float64)


def assert_float64_walks_agree(cat, expected, steps):
    with jax.enable_x64(True):
        found = walked(cat, steps, "float64")
        np.testing.assert_allclose(found, expected, atol=1e-6)
        np.testing.assert_allclose(map_of(cat, found), map_of(cat, expected), atol=1e-6)


@pytest.mark.thorough
def test_hundred_steps_in_float64_are_torchs_elementwise(cat, hundred_steps_of_torch64):
    assert_float64_walks_agree(cat, hundred_steps_of_torch64, 100)


@pytest.mark.slow
def test_five_hundred_steps_in_float64_are_torchs_elementwise(cat, module):
    assert_float64_walks_agree(cat, walked_in_torch(module, cat, 500, torch.float64), 500)


@pytest.mark.thorough
def test_float32_map_is_no_farther_from_torchs_than_that_is_from_its_float64_map(cat, module, hundred_steps_of_torch64):
    """The noise floor: iterated ReLU gradients amplify rounding, for PyTorch as for us."""
    ours = map_of(cat, walked(cat, 100, "float32"))
    torch32 = map_of(cat, walked_in_torch(module, cat, 100, torch.float32))
    with jax.enable_x64(True):
        torch64 = map_of(cat, hundred_steps_of_torch64)
    assert correlation(ours, torch32) >= correlation(torch32, torch64) - 0.02
