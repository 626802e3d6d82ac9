"""The CAMs and FullGrad against the `grad-cam` package, on random twins and on the real MobileNetV2."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from fame_jax.architectures import resnet
from fame_jax.architectures.probes import Probed, split_at
from fame_jax.data import images
from fame_jax.explainers import cam, fullgrad, grad_cam, grad_cam_ew, grad_cam_pp, hires_cam, layer_cam, pair_cam
from fame_jax.explainers.pairs import PairMaps
from fame_jax.models import load
from weight_conversion import NAMES

torch = pytest.importorskip("torch")

from tests.architectures.test_architectures import Twin, small_convnext, small_iresnet, small_vgg  # noqa: E402
from tests.marks import thorough  # noqa: E402
from tests.reference import twins  # noqa: E402


def small_resnet(torchvision: Any) -> Twin:
    network = resnet.resnet18(classes=5, rngs=nnx.Rngs(0))
    return Twin(network, torchvision.models.resnet18(num_classes=5), "layer4.1", 96, NAMES["resnet18"])


METHODS = {
    "GradCAM": grad_cam,
    "GradCAMElementWise": grad_cam_ew,
    "HiResCAM": hires_cam,
    "GradCAMPlusPlus": grad_cam_pp,
    "LayerCAM": layer_cam,
}
WEIGHTINGS = {
    "GradCAM": cam.mean_gradient,
    "GradCAMElementWise": cam.positive_products,
    "HiResCAM": cam.products,
    "GradCAMPlusPlus": cam.second_order,
    "LayerCAM": cam.positive_gradients,
}
TWINS = {"resnet": small_resnet, "vgg": small_vgg, "convnext": small_convnext, "iresnet": small_iresnet}
NETWORKS = ["resnet", *thorough("vgg", "convnext", "mobilenet")]


class Pair(NamedTuple):
    """A network, the same in PyTorch, the layer that `features` returns there, an image and a label."""

    network: Any
    module: Any
    layer: Any
    image: jax.Array
    label: int


class Normalised(torch.nn.Module):
    def __init__(self, network: torch.nn.Module):
        super().__init__()
        self.network = network

    def forward(self, x):
        mean, std = (x.new_tensor(v)[:, None, None] for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
        return self.network((x - mean) / std)


@pytest.fixture(scope="module")
def pairs(torchvision, request):
    made = {}

    def smooth_image(size: int) -> jax.Array:
        coarse = np.random.default_rng(size).random((size // 8, size // 8, 3), np.float32)
        return jnp.clip(jax.image.resize(jnp.asarray(coarse), (size, size, 3), "cubic"), 0, 1)

    def make(name: str) -> Pair:
        if name == "mobilenet":
            module = torchvision.models.mobilenet_v2()
            weights = request.getfixturevalue("shared_data") / "weights" / "mobilenet_v2-b0353104.pth"
            module.load_state_dict(torch.load(weights))
            image = jnp.asarray(images.load(images.sample_path("cat"), 256, 224))
            return Pair(load("mobilenet_v2"), Normalised(module).eval(), module.features[-1], image, 285)
        made = []

        def build() -> nnx.Module:
            made.append(TWINS[name](torchvision))
            return made[0].network

        shapes = nnx.eval_shape(build)
        module = twins.randomise(made[0].module)
        layer = {
            "resnet": lambda: module.layer4[-1],
            "vgg": lambda: module.features[35],
            "convnext": lambda: module.features[-1][-1],
            "iresnet": lambda: module.body[-1],
        }[name]()
        image = smooth_image(made[0].size if name == "iresnet" else 96)
        return Pair(twins.converted(shapes, module, made[0].names), module, layer, image, 0)

    def pair(name: str) -> Pair:
        if name not in made:
            made[name] = make(name)
        return made[name]

    return pair


def as_batch(image: jax.Array) -> torch.Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)[None]


@pytest.fixture(scope="module")
def of_package(torchvision):
    """Runs one of the package's methods; it imports torchvision, so it comes after that fixture."""
    package = pytest.importorskip("pytorch_grad_cam")

    def run(method: str, pair: Pair, layer: Any = None, target: Any = None) -> np.ndarray:
        layers = [] if method == "FullGrad" else [layer or pair.layer]
        target = target or package.utils.model_targets.ClassifierOutputTarget(pair.label)
        with getattr(package, method)(model=pair.module, target_layers=layers) as explain:
            return explain(input_tensor=as_batch(pair.image), targets=[target])[0]

    return run


@jax.jit
def all_maps(network: Any, image: jax.Array, label: int) -> dict[str, jax.Array]:
    """All maps from one program."""
    return {name: method(network, image, label) for name, method in METHODS.items()}


@pytest.mark.parametrize("name", NETWORKS)
def test_cams_are_the_packages(name, pairs, of_package):
    pair = pairs(name)
    for method, found in all_maps(pair.network, pair.image, pair.label).items():
        expected = of_package(method, pair)
        assert expected.max() > 0.9
        np.testing.assert_allclose(found, expected, atol=1e-4, err_msg=method)


@pytest.mark.thorough
@pytest.mark.parametrize("name", NETWORKS)
def test_fullgrad_is_the_packages(name, pairs, of_package):
    pair = pairs(name)
    found = jax.jit(lambda network, image: fullgrad(Probed(network), image, pair.label))(pair.network, pair.image)
    np.testing.assert_allclose(found, of_package("FullGrad", pair), atol=1e-3)


# Inside a residual network; a branch before its layer scale; a layer that is a plain function.
@pytest.mark.thorough
@pytest.mark.parametrize(
    ("name", "ours", "theirs"),
    [
        ("resnet", "layer3.0", "layer3.0"),
        ("convnext", "stages.7.1.block.5", "features.7.1.block.6"),
        ("vgg", "layers.36", "features.36"),
    ],
)
def test_cams_of_another_layer_are_the_packages(name, ours, theirs, pairs, of_package):
    pair = pairs(name)
    at_layer = jax.jit(lambda network, image: all_maps(split_at(network, ours, image), image, pair.label))
    maps = at_layer(pair.network, pair.image)
    for method, found in maps.items():
        expected = of_package(method, pair, layer=pair.module.get_submodule(theirs))
        np.testing.assert_allclose(found, expected, atol=1e-4, err_msg=method)
    at_the_last = all_maps(pair.network, pair.image, pair.label)
    assert np.abs(maps["HiResCAM"] - at_the_last["HiResCAM"]).max() > 0.1


@pytest.mark.parametrize("name", ["resnet", "convnext", "mobilenet"])
def test_hires_cam_is_grad_cam_under_a_pooled_head(name, pairs):
    pair = pairs(name)
    maps = all_maps(pair.network, pair.image, pair.label)
    np.testing.assert_allclose(maps["HiResCAM"], maps["GradCAM"], atol=1e-5)


def test_hires_cam_is_not_grad_cam_under_vggs_head(pairs):
    pair = pairs("vgg")
    maps = all_maps(pair.network, pair.image, pair.label)
    assert np.abs(maps["HiResCAM"] - maps["GradCAM"]).max() > 0.1


@jax.jit
def all_pair_maps(network: Any, probe: jax.Array, gallery: jax.Array) -> dict[tuple[str, str], PairMaps]:
    return {
        (method, target): pair_cam(network, probe, gallery, weighting=weighting, target=target)
        for method, weighting in WEIGHTINGS.items()
        for target in ("dot", "cosine")
    }


@pytest.mark.thorough
def test_pair_cams_are_the_packages_with_the_dot_product_as_target(pairs, of_package):
    pair = pairs("iresnet")
    probe, gallery = pair.image, pair.image[::-1, :, ::-1]
    with torch.no_grad():
        reference = pair.module(as_batch(gallery))[0]
    for (method, target), maps in all_pair_maps(pair.network, probe, gallery).items():
        if target == "dot":
            expected = of_package(method, pair, target=lambda embedding: embedding @ reference)
            np.testing.assert_allclose(maps.probe_similar, expected, atol=1e-4, err_msg=method)
        assert maps.probe_dissimilar is None
        assert maps.gallery_dissimilar is None


@pytest.mark.thorough
@pytest.mark.parametrize("method", ["GradCAM", "GradCAMElementWise", "HiResCAM"])
def test_cosine_with_constant_norms_gives_the_map_of_the_dot_product(method, pairs):
    pair = pairs("iresnet")
    maps = all_pair_maps(pair.network, pair.image, pair.image[::-1, :, ::-1])
    dot, cosine = maps[method, "dot"], maps[method, "cosine"]
    assert dot.probe_similar.max() > 0.9
    np.testing.assert_allclose(dot.probe_similar, cosine.probe_similar, atol=1e-5)
    np.testing.assert_allclose(dot.gallery_similar, cosine.gallery_similar, atol=1e-5)


def test_unknown_layer_names_the_nearest_and_an_ambiguous_one_all(pairs):
    pair = pairs("resnet")
    with pytest.raises(ValueError, match=r"'layer3.2' is unknown; did you mean .*layer3\.1"):
        split_at(pair.network, "layer3.2", pair.image)
    with pytest.raises(ValueError, match=r"'0.conv1' is ambiguous; did you mean .*layer2\.0\.conv1"):
        split_at(pair.network, "0.conv1", pair.image)
