"""Nothing mixes dtypes by accident: all of it traces under `jax_numpy_dtype_promotion="strict"`, in two precisions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.tree_util import Partial

from fame_jax import Split, explain, image, losses, metrics
from fame_jax.architectures import table
from fame_jax.architectures.probes import Probed
from fame_jax.batching import map_many, perturb_many
from fame_jax.explainers import EXPLAINERS
from fame_jax.metrics.table import METRICS, Subject
from fame_jax.presets import PRESETS
from tests.explainers.conftest import ConvNet
from tests.marks import thorough

SIZE, DTYPES = 64, (jnp.float32, jnp.bfloat16)
SHORT = {"iterations": 2, "masks": 4, "samples": 4, "steps": 4}


@pytest.fixture(autouse=True)
def strict():
    with jax.numpy_dtype_promotion("strict"):
        yield


def network(dtype=jnp.float32, channels=3):
    weights = jax.random.normal(jax.random.key(1), (channels, 10), dtype)

    def features(pixels):
        return jax.nn.relu(pixels.reshape(8, SIZE // 8, 8, SIZE // 8, channels).mean((1, 3)))

    return Split(features, Partial(lambda weights, features: features.mean((0, 1)) @ weights, weights))


def picture(dtype=jnp.float32, seed=0, channels=3):
    return jax.random.uniform(jax.random.key(seed), (SIZE, SIZE, channels), dtype)


def traced(function, *args):
    """Shapes and dtypes are all that promotion looks at."""
    return jax.eval_shape(function, *args)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("options", [{}, PRESETS["official"]["classification"], {"stop_change": 0.1, "clip": (0, 1)}])
def test_walks_and_maps(options, dtype):
    options = {"iterations": 2, **options}
    result = traced(lambda x: explain(losses.class_logit, x, network(dtype), 3, **options), picture(dtype))
    assert (result.attribution.dtype, result.perturbed.dtype, result.last_loss.dtype) == (dtype,) * 3
    traced(lambda x: explain(losses.class_logit, x, network(dtype), 3, average=True, iterations=2), picture(dtype))


@pytest.mark.parametrize("dtype", DTYPES)
def test_losses(dtype):
    net, one, reference = network(dtype), picture(dtype), jnp.ones(10, dtype)
    of_face = (losses.similarity, losses.similarity_free_norm, losses.dissimilarity)
    scalars = [traced(jax.grad(lambda x, loss=loss: loss(x, net, reference)), one) for loss in of_face]
    of_class = (losses.class_logit, losses.absolute_class_logit)
    scalars += [traced(jax.grad(lambda x, loss=loss: loss(x, net, 3)), one) for loss in of_class]
    scalars += [traced(jax.grad(lambda x: losses.feature_activation(x, net, (1, 2))), one)]
    assert {gradient.dtype for gradient in scalars} == {jnp.dtype(dtype)}


@pytest.mark.parametrize("dtype", DTYPES)
def test_images(dtype):
    map = picture(dtype)[..., 0]
    for function in (
        lambda m: image.gaussian_blur(m, 5),
        lambda m: image.resize(m, 9, 9),
        image.max_normalise,
        image.minmax_normalise,
        lambda m: image.grey(m[..., None] * jnp.ones((1, 1, 3), dtype)),
    ):
        assert traced(function, map).dtype == dtype


@pytest.mark.parametrize("dtype", [*DTYPES[:1], *thorough(*DTYPES[1:])])
@pytest.mark.parametrize("name", EXPLAINERS)
def test_explainers(name, dtype):
    row, net, key = EXPLAINERS[name], network(dtype), jax.random.key(0)
    if "probes" in row.needs:
        net, dtype = Probed(ConvNet(10, pooled=True, rngs=nnx.Rngs(0))), jnp.float32
    if row.of_class is not None:
        options = {k: v for k, v in SHORT.items() if k in row.options("class")}
        traced(lambda x: row.explain(net, x, 3, key=key, **options), picture(dtype))
    if row.of_pair is not None:
        options = {k: v for k, v in SHORT.items() if k in row.options("pair")}
        traced(lambda x, y: row.explain_pair(net, x, y, key=key, **options), picture(dtype), picture(dtype, 5))


@pytest.mark.parametrize("name", [name for name, row in METRICS.items() if row.measure])
def test_metrics(name):
    row = METRICS[name]
    masks = jnp.zeros((2, SIZE, SIZE), bool).at[:, :9, :9].set(True)
    subject = Subject(picture(), picture()[..., 0], label=3, masks=masks, gallery=picture(seed=5))
    traced(lambda e: row.measure(network(), e), subject)
    traced(lambda m: metrics.locality(m, jnp.array([0, 0]), (7, 7)), picture()[..., 0])


FAMILIES = ("resnet18", "resnet50", "mobilenet_v2", "vgg19", "convnext_tiny", "vit_b_16", "iresnet18", "sface")


@pytest.mark.parametrize(
    "name", [*FAMILIES, *thorough(*(name for name in table.ARCHITECTURES if name not in FAMILIES))]
)
def test_architectures(name):
    net, size = table.abstract(name), table.ARCHITECTURES[name].size
    pixels = jax.ShapeDtypeStruct((size, size, 3), jnp.float32)
    assert traced(jax.grad(lambda x, net: jnp.sum(net(x))), pixels, net).shape == pixels.shape


def test_streams():
    examples = [(np.asarray(picture(seed=seed)), (3,)) for seed in range(3)]
    assert len(list(perturb_many(losses.class_logit, examples, network(), iterations=2, batch_size=2))) == 3
    assert len(list(map_many(losses.class_logit, examples, network(), batch_size=2))) == 3
