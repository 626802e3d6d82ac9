"""FGGB and xSSAB against a loop of backward passes in PyTorch."""

import cv2
import jax
import numpy as np
import pytest
from flax import nnx

from fame_jax.architectures import iresnet
from fame_jax.explainers import fggb, xssab
from fame_jax.losses import cosine

torch = pytest.importorskip("torch")

from tests.architectures.test_architectures import flattening  # noqa: E402
from tests.marks import thorough  # noqa: E402
from tests.reference import iresnet_torch, twins  # noqa: E402

SIZES = {"depths": (1, 1, 1, 1), "widths": (4, 6, 8, 10), "embedding": 512, "image_size": 32}
THRESHOLD = 0.3


@pytest.fixture(scope="module")
def twin():
    module = twins.randomise(iresnet_torch.IResNet(**SIZES))
    shapes = nnx.eval_shape(lambda: iresnet.IResNet(**SIZES, rngs=nnx.Rngs(0)))
    return twins.converted(shapes, module, flattening("iresnet18", 2)), module


def unit(embedding):
    return embedding / (embedding.norm() + 1e-8)


def traced(module, face, other):
    """The face as a leaf, its normalised embedding with a graph, and the other's without."""
    x, y = (torch.from_numpy(np.array(image)).permute(2, 0, 1)[None] for image in (face, other))
    x.requires_grad_()
    with torch.no_grad():
        reference = unit(module(y)[0])
    return x, unit(module(x)[0]), reference


def channel_mean(scalar, x):
    (gradient,) = torch.autograd.grad(scalar, x, retain_graph=True)
    return gradient[0].abs().mean(0).double().numpy()


def fggb_in_torch(module, face, other, share):
    x, embedding, reference = traced(module, face, other)
    total = np.zeros(face.shape[:2])
    for i in range(len(embedding)):
        map = channel_mean(embedding[i], x)
        weight = float(embedding[i].detach() * reference[i]) - share
        total += weight * map / (np.linalg.norm(map) + 1e-8)
    for part in (np.maximum(total, 0), np.maximum(-total, 0)):
        blurred = cv2.GaussianBlur(part, (25, 25), 5)
        yield blurred / (blurred.max() or 1)


@pytest.mark.parametrize("chunk", [*thorough(32), 100])
def test_fggb_is_a_loop_of_backward_passes(chunk, twin, images):
    network, module = twin
    probe, gallery = images[:2]
    # The weights then add up to zero, so that neither e+ nor e- is blank.
    threshold = float(cosine(network(probe), network(gallery)))
    share = threshold / 512
    expected = (*fggb_in_torch(module, probe, gallery, share), *fggb_in_torch(module, gallery, probe, share))
    assert min(map.max() for map in expected) > 0.9
    found = fggb(network, probe, gallery, threshold=threshold, chunk=chunk)
    np.testing.assert_allclose(found, np.stack(expected), atol=1e-4)


def test_fggb_with_the_whole_threshold_for_every_dimension(twin, images):
    network, module = twin
    expected = np.stack(list(fggb_in_torch(module, images[0], images[1], THRESHOLD)))
    found = fggb(network, images[0], images[1], threshold=THRESHOLD, per_dimension=True)[:2]
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert not found[0].any()


@pytest.mark.parametrize("combined", [False, True])
def test_xssab_is_two_backward_passes(combined, twin, images):
    network, module = twin
    x, embedding, reference = traced(module, images[0], images[1])
    products = embedding * reference
    match = (products >= THRESHOLD / 512).detach()
    similar, dissimilar = channel_mean(products[match].sum(), x), channel_mean(products[~match].sum(), x)
    if combined:
        difference = similar - dissimilar
        similar, dissimilar = np.maximum(difference, 0), np.maximum(-difference, 0)
    found = xssab(network, images[0], images[1], threshold=THRESHOLD, combined=combined)
    np.testing.assert_allclose(found[0], similar / similar.max(), atol=1e-4)
    np.testing.assert_allclose(found[1], dissimilar / dissimilar.max(), atol=1e-4)


def test_dead_embedding_gives_finite_blank_maps(images):
    dead = jax.tree_util.Partial(lambda weight, image: weight * image.mean((0, 1)), np.zeros(3, np.float32))
    for method in (fggb, xssab):
        assert not np.any(method(dead, images[0], images[1]))
