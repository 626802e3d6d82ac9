"""Every method, loss and metric lowers for CPU, CUDA and TPU in every precision; no step is slow on one."""

import inspect
import re

import jax
import jax.numpy as jnp
import pytest
from flax import nnx

from fame_jax import losses, perturb
from fame_jax.architectures.layers import batch_norm, conv, gelu, layer_norm, max_pool
from fame_jax.architectures.probes import Probed
from fame_jax.explainers import EXPLAINERS
from fame_jax.metrics.table import METRICS, Subject
from tests.explainers.test_contract import QUICK
from tests.marks import thorough
from tests.test_hoist import equations

PLATFORMS = ("cpu", "cuda", "tpu")
PRECISIONS = ("float32", *thorough("bfloat16", "float64"))
SIDE, CLASSES = 32, 5
KINDS = ("class", "location", "pair")  # A detection is a class of the network of boxes.
TASKS = [(name, task) for name, row in EXPLAINERS.items() for task in KINDS if getattr(row, f"of_{task}") is not None]


class Layers(nnx.Module):
    """A layer of each kind with a form of its own: strided, depthwise, 1x1; pooling, layer norm and GELU."""

    def __init__(self, dtype):
        rngs = nnx.Rngs(0)
        self.conv1 = conv(3, 8, 3, stride=2, padding=1, bias=True, dtype=dtype, rngs=rngs)
        self.bn1 = batch_norm(8, dtype=dtype, rngs=rngs)
        self.depthwise = conv(8, 8, 3, padding=1, groups=8, dtype=dtype, rngs=rngs)
        self.pointwise = conv(8, 12, 1, bias=True, dtype=dtype, rngs=rngs)
        self.norm = layer_norm(12, dtype=dtype, rngs=rngs)
        self.fc = nnx.Linear(12, CLASSES, param_dtype=dtype, rngs=rngs)

    def features(self, image):
        x = max_pool(nnx.relu(self.bn1(self.conv1(image))), 3, 2, 1)
        return nnx.relu(self.pointwise(self.depthwise(x)))

    def head(self, features):
        return self.fc(gelu(self.norm(features.mean((0, 1)))))

    def __call__(self, image):
        return self.head(self.features(image))


@pytest.fixture(params=PRECISIONS)
def network(request):
    """One network a precision, and 64 bits where they are asked for."""
    with jax.enable_x64(request.param == "float64"):
        yield jax.jit(lambda: Layers(jnp.dtype(request.param)))()


def dtype_of(network):
    return jax.tree.leaves(nnx.state(network))[0].dtype


def images(network, number):
    return [jax.ShapeDtypeStruct((SIDE, SIDE, 3), dtype_of(network))] * number


def lowered(function, *arguments):
    """The program for all three platforms at once, as text; it fails where one of them has no rule."""
    return jax.export.export(jax.jit(function), platforms=PLATFORMS)(*arguments).mlir_module()


def check(program, network):
    assert "callback" not in program
    if dtype_of(network) != "float64":
        assert not re.search(r"tensor<(\d+x)*f64>", program)


@pytest.mark.parametrize(("name", "task"), TASKS)
def test_methods(name, task, network):
    row, target = EXPLAINERS[name], jnp.array([1, 1]) if task == "location" else 1

    def of(seed, network, *images):
        network = Probed(network) if "probes" in row.needs else network
        return row.results(task, network, images, target, key=jax.random.key(seed), **QUICK.get(name, {}))

    check(lowered(of, 0, network, *images(network, 2 if task == "pair" else 1)), network)


@pytest.mark.parametrize("name", [name for name, row in METRICS.items() if row.measure is not None])
def test_metrics(name, network):
    attribution = jax.ShapeDtypeStruct((SIDE, SIDE), dtype_of(network))
    masks = jax.ShapeDtypeStruct((2, SIDE, SIDE), bool)

    def of(network, image, gallery, attribution, masks, label):
        return METRICS[name].measure(network, Subject(image, attribution, label, 0, masks, gallery))

    check(lowered(of, network, *images(network, 2), attribution, masks, 1), network)


LOSSES = {
    "class_logit": lambda: (1,),
    "absolute_class_logit": lambda: (1,),
    "feature_activation": lambda: (jnp.array([1, 1]),),
    "similarity": lambda: (jnp.ones(CLASSES),),
    "similarity_free_norm": lambda: (jnp.ones(CLASSES),),
    "dissimilarity": lambda: (jnp.ones(CLASSES),),
    "class_evidence": lambda: (1,),
    "pair_evidence": lambda: (jnp.ones(CLASSES),),
    "class_rather_than": lambda: (1, 2),
    "class_over_region": lambda: (jnp.ones((SIDE // 4, SIDE // 4)), 1),
}


def test_every_loss_is_in_the_table():
    own = [f for f in vars(losses).values() if inspect.isfunction(f) and f.__module__ == losses.__name__]
    named = {f.__name__ for f in own if "image" in inspect.signature(f).parameters and f.__name__[0] != "_"}
    assert named == LOSSES.keys()


@pytest.mark.parametrize("name", LOSSES)
def test_a_step_gathers_no_more_than_its_target_sorts_nothing_and_asks_no_host(name, network):
    """Whatever the platform: what is chosen when a program is lowered is all there before."""
    rest = LOSSES[name]()

    def walk(network, image):
        # A network of segmentation returns a map.
        network = network.features if name == "class_over_region" else network
        return perturb(getattr(losses, name), image, network, *rest, iterations=3)

    program = jax.make_jaxpr(walk)(network, *images(network, 1)).jaxpr
    (loop,) = (e for e in equations(program) if e.primitive.name == "while")
    step = equations(loop.params["body_jaxpr"].jaxpr)
    assert "conv_general_dilated" in {e.primitive.name for e in step}
    assert not {e.primitive.name for e in step if re.search("sort|callback", e.primitive.name)}
    # One class, or the twelve channels of one location; of a segmentation one class of the map.
    most = (SIDE // 4) ** 2 if name == "class_over_region" else 12
    for equation in (e for e in step if re.search("gather|scatter", e.primitive.name)):
        moved = equation.invars[2] if "scatter" in equation.primitive.name else equation.outvars[0]
        assert moved.aval.size <= most, equation
