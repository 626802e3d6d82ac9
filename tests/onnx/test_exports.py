"""Exports of torch: output, input gradient, batches and sizes against torch and ONNX Runtime."""

import contextlib
import io

import jax
import jax.numpy as jnp
import numpy as np
import onnx
import pytest

from fame_jax import onnx as reader
from tests.marks import slow, thorough
from tests.onnx.graphs import pixels, planes, relative, runtime

torch = pytest.importorskip("torch")
pytest.importorskip("onnxscript")
pytestmark = pytest.mark.filterwarnings("ignore")  # Of torch's exporter.

from tests.reference import arcface_torch  # noqa: E402 - after torch is known to be there.
from tests.reference.twins import randomise  # noqa: E402 - after torch is known to be there.


class Chosen(torch.nn.Module):
    """A segmentation network's map."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, x):
        return self.network(x)["out"]


class Detector(torch.nn.Module):
    """A head as YOLO's: a pyramid of two scales, boxes by a softmax over distances, scores by a sigmoid."""

    def __init__(self):
        super().__init__()
        self.one = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3, 2, 1), torch.nn.BatchNorm2d(8), torch.nn.SiLU())
        self.two = torch.nn.Sequential(torch.nn.Conv2d(8, 12, 3, 2, 1), torch.nn.SiLU(), torch.nn.MaxPool2d(5, 1, 2))
        self.merge = torch.nn.Conv2d(20, 8, 1)
        self.heads = torch.nn.ModuleList(torch.nn.Conv2d(n, 4 * 4 + 3, 1) for n in (8, 12))

    def forward(self, x):
        one = self.one(x)
        two = self.two(one)
        up = torch.nn.functional.interpolate(two, scale_factor=2.0)
        one = self.merge(torch.cat([one, up], 1))
        found = []
        for head, level, stride in zip(self.heads, (one, two), (2, 4), strict=True):
            y = head(level).flatten(2)
            distances = y[:, :16].view(y.shape[0], 4, 4, -1).softmax(2) * torch.arange(4.0, dtype=y.dtype)[:, None]
            rows, columns = torch.meshgrid(*(torch.arange(n) for n in level.shape[2:]), indexing="ij")
            centres = torch.stack([columns, rows]).flatten(1).to(y.dtype) + 0.5
            left, right = distances.sum(2).chunk(2, 1)
            boxes = torch.cat([centres - left, centres + right], 1) * stride
            found.append(torch.cat([boxes, y[:, 16:].sigmoid()], 1))
        return torch.cat(found, 2).transpose(1, 2)


class QueryDetector(torch.nn.Module):
    """A DETR of one layer each: convolution, positions, encoder, decoder with queries, classes and boxes."""

    def __init__(self):
        super().__init__()
        self.backbone = torch.nn.Conv2d(3, 16, 8, 8)
        self.position = torch.nn.Parameter(torch.rand(16, 16))
        self.queries = torch.nn.Parameter(torch.rand(5, 16))
        options = {"batch_first": True, "dropout": 0.0}
        self.encoder = torch.nn.TransformerEncoderLayer(16, 2, 32, **options)
        self.decoder = torch.nn.TransformerDecoderLayer(16, 2, 32, **options)
        self.classes, self.boxes = torch.nn.Linear(16, 4), torch.nn.Linear(16, 4)

    def forward(self, x):
        tokens = self.encoder(self.backbone(x).flatten(2).transpose(1, 2) + self.position)
        found = self.decoder(self.queries[None].expand(x.shape[0], -1, -1), tokens)
        return torch.cat([self.classes(found), self.boxes(found).sigmoid()], -1)


# Name: a maker from torchvision, the image's size. Small versions of the large families, for the default run.
SMALL = {
    "resnet": (lambda tv: tv.models.ResNet(tv.models.resnet.BasicBlock, [1, 1, 1, 1], num_classes=10), 32),
    "vit": (lambda tv: tv.models.VisionTransformer(32, 8, 2, 2, 16, 32, num_classes=10), 32),
    "swin": (lambda tv: tv.models.SwinTransformer([4, 4], 16, [2, 1], [2, 2], [4, 4], num_classes=10), 32),
    "yolo": (lambda tv: Detector(), 32),
    "detr": (lambda tv: QueryDetector(), 32),
}
LARGE = {
    **dict.fromkeys(
        (
            *("resnet18", "mobilenet_v2", "squeezenet1_1", "mnasnet0_5", "shufflenet_v2_x0_5", "convnext_tiny"),
            *("swin_t", "efficientnet_b0", "vgg11", "densenet121", "mobilenet_v3_small", "swin_v2_t"),
            *("regnet_y_400mf", "resnext50_32x4d", "efficientnet_v2_s", "wide_resnet50_2"),
        ),
        64,
    ),
    **dict.fromkeys(("alexnet", "googlenet", "inception_v3"), 96),
    **dict.fromkeys(("vit_b_16", "maxvit_t"), 224),
    **dict.fromkeys(("lraspp_mobilenet_v3_large", "deeplabv3_mobilenet_v3_large", "fcn_resnet50"), 64),
}
TIMM = {
    **dict.fromkeys(("resnet50", "efficientnet_b0", "convnext_atto", "mobilenetv3_small_050"), 64),
    **dict.fromkeys(("test_maxvit", "test_vit3"), 160),
    "swin_tiny_patch4_window7_224": 224,
}
# The exporter writes the scale of attention and the slope of hard sigmoids in single precision.
ROUNDED = ("swin", "swin_t", "swin_v2_t", "maxvit_t", "mobilenet_v3_small", "lraspp_mobilenet_v3_large")
ROUNDED += ("deeplabv3_mobilenet_v3_large", "vit", "detr", "swin_tiny_patch4_window7_224", "mobilenetv3_small_050")


def large(torchvision, name):
    if name in dir(torchvision.models.segmentation):
        made = getattr(torchvision.models.segmentation, name)(weights=None, weights_backbone=None)
        return Chosen(made)
    options = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    return getattr(torchvision.models, name)(weights=None, **options)


def exported(module, size):
    kind = next(module.parameters()).dtype
    with contextlib.redirect_stdout(io.StringIO()), torch.no_grad():
        example = (torch.zeros(1, 3, size, size, dtype=kind),)
        return torch.onnx.export(module, example, dynamo=True, verbose=False).model_proto


def compare(module, size, rounded, export=exported):
    """Against torch in double precision, against ONNX Runtime in single precision."""
    module = randomise(module)
    single = export(module, size)
    image = pixels(size)
    network = reader.read(single, photometry="unit")
    name = single.graph.input[0].name
    expected = _last(network, runtime(single, **{name: planes(image)})[0][0])
    batch = np.stack([image, pixels(size, seed=1), pixels(size, seed=2)])
    found = jax.jit(jax.vmap(network))(batch)
    assert relative(found[0], expected) <= 1e-5, "output, ONNX Runtime"
    assert relative(jax.jit(jax.vmap(network))(batch[:1])[0], found[0]) <= 1e-5, "batch of one"

    double = module.double()
    with jax.enable_x64(True):
        exact = reader.read(export(double, size), photometry="unit")
        image = pixels(size, np.float64)
        x = torch.from_numpy(planes(image)).requires_grad_()
        output = double(x)
        weights = torch.from_numpy(np.random.default_rng(2).standard_normal(output.shape))
        (gradient,) = torch.autograd.grad((output * weights).sum(), x)

        @jax.jit
        def both(network, image, weights):
            out, pull = jax.vjp(network, image)
            return out, pull(weights)[0]

        ours, slope = both(exact, jnp.asarray(image), _last(exact, weights[0].numpy()))
        assert relative(ours, _last(exact, output.detach()[0].numpy())) <= (1e-7 if rounded else 1e-9), "output, torch"
        limit = 1e-6 if rounded else 1e-8
        assert relative(slope, gradient[0].numpy().transpose(1, 2, 0)) <= limit, "input gradient, torch"


def _last(network, output):
    return output.transpose(1, 2, 0) if network.plan.outputs[0].channels else output


@pytest.mark.parametrize(
    "name", ["yolo", *thorough("vit"), *slow(*(name for name in SMALL if name not in ("vit", "yolo")))]
)
def test_a_small_network_of_each_family(name, torchvision):
    make, size = SMALL[name]
    compare(make(torchvision), size, name in ROUNDED)


@pytest.mark.slow
@pytest.mark.parametrize("name", LARGE)
def test_a_network_of_torchvision(name, torchvision):
    compare(large(torchvision, name), LARGE[name], name in ROUNDED)


@pytest.mark.slow
@pytest.mark.parametrize("name", TIMM)
def test_a_network_of_timm(name, torchvision):
    timm = pytest.importorskip("timm")
    compare(timm.create_model(name, num_classes=10), TIMM[name], name in ROUNDED)


@pytest.mark.slow
def test_insightfaces_network_by_insightfaces_exporter():
    def export(module, size):
        return onnx.load_model_from_string(arcface_torch.exported(module))

    compare(arcface_torch.ArcFace(), 112, False, export)


def test_what_torch_cannot_export_is_said_in_one_line():
    class Branching(torch.nn.Module):
        def forward(self, x):
            return x if x.mean() > 0 else -x

    class Sorting(torch.nn.Module):
        def forward(self, x):
            return x.unique()

    with pytest.raises(reader.GraphError, match="Branching: torch cannot export it: ") as caught:
        reader.from_torch(Branching(), size=8, photometry="unit")
    assert "\n" not in str(caught.value)
    with pytest.raises(reader.MissingOperatorsError, match="Unique"):
        reader.from_torch(Sorting(), size=8, photometry="unit")


def test_the_modules_mode_is_left_as_it_was():
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Dropout(), torch.nn.BatchNorm2d(4)).train()
    module[2].eval()
    network = reader.from_torch(module, size=8, photometry="unit")
    assert [part.training for part in module.modules()] == [True, True, True, False]
    image = pixels(8)
    expected = module.eval()(torch.from_numpy(planes(image))).detach().numpy()[0].transpose(1, 2, 0)
    assert relative(network(jnp.asarray(image)), expected) <= 1e-6
