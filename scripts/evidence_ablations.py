"""Why does a walk on the evidence of a class make other maps than one on its logit? Walks that leave one thing out.

`study_faithfulness.py` takes them as methods beside `fame` and `fame_evidence`:

- `evidence_unrectified`: what speaks against the class counts as well. With a pooled linear head this is the logit
  without its bias, so the map has to be that of `fame`: what differs is the cut at zero, nothing else.
- `evidence_of_others`: the channels' weights are exchanged at random, so that the sum is as local and as rectified, but
  about no class.
- `evidence_frozen`: the weights are those of the unchanged photograph in every step.
- `evidence_earlier`: the evidence lies at a map of twice the resolution (MobileNetV2's 14x14 places).
- `earlier_cam`: that map times Grad-CAM's, which knows where the class is.
- `noise_cam`: blurred noise times Grad-CAM, for products: what any factor that is not constant would do.
- `refined_noise`: the same in place of the product in `refined_cam`.

With a linear head behind a pooling, as MobileNetV2's, the weights are constants, and `evidence_frozen` has to be
`fame_evidence`. What the starts and the product do without the evidence are `fame_starts:loss=logit` and
`evidence_cam:loss=logit`.
"""

import functools
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp

from fame_jax import explain
from fame_jax._types import Attribution, FeatureMap, Image, Scalar
from fame_jax.architectures.mobilenet_v2 import applied
from fame_jax.core import Explanation, attribution
from fame_jax.explainers.cam import grad_cam
from fame_jax.explainers.explainer import Cost, Explainer
from fame_jax.explainers.floors import random_blurred_map
from fame_jax.image import max_normalise
from fame_jax.losses import class_evidence
from fame_jax.network import Network, Split, feature_map, head_of
from fame_jax.scores import output_of
from fame_jax.walk import Loss, perturb

EARLIER = 14
"""Blocks of MobileNetV2 up to its last map of 14x14 places."""


def unrectified(image: Image, network: Network, label: Any) -> Scalar:
    """`sum_kc G[k, c] a[k, c]`."""
    features = feature_map(network, image)
    return jnp.sum(_gradient(network, image, features, label) * features)


def of_others(image: Image, network: Network, label: Any) -> Scalar:
    """The evidence with the weights of other channels, the same in every step and photograph."""
    features = feature_map(network, image)
    order = jax.random.permutation(jax.random.key(0), features.shape[-1])
    return _rectified(_gradient(network, image, features, label)[..., order], features)


def with_gradient(image: Image, network: Network, gradient: FeatureMap) -> Scalar:
    """The evidence by given weights `G`."""
    return _rectified(gradient, feature_map(network, image))


def earlier(image: Image, network: Any, label: Any) -> Scalar:
    """The evidence at an earlier map of MobileNetV2."""
    return class_evidence(image, cut(network), label)  # type: ignore[arg-type]


def cut(network: Any) -> Split:
    """MobileNetV2 in two other parts."""
    inner = network.network

    def features(image: Image) -> FeatureMap:
        mean, std = (jnp.asarray(value, image.dtype)[None, None] for value in (network.mean, network.std))
        return _through(inner.blocks[:EARLIER], (image - mean) / std)

    return Split(features, lambda features: inner.head(_through(inner.blocks[EARLIER:], features)))


def _through(blocks: Any, x: FeatureMap) -> FeatureMap:
    return functools.reduce(lambda x, block: applied(block, x), blocks, x)


def _gradient(network: Network, image: Image, features: FeatureMap, label: Any) -> FeatureMap:
    head = head_of(network, jax.lax.stop_gradient(image))
    return jax.grad(lambda x: output_of(head(x), label))(jax.lax.stop_gradient(features))


def _rectified(gradient: FeatureMap, features: FeatureMap) -> Scalar:
    return jnp.sum(jax.nn.relu(jnp.sum(gradient * features, axis=-1)))


def _frozen(network: Network, image: Image, label: Any, *, iterations: Any = 25, **options: Any) -> Explanation:
    gradient = _gradient(network, image, feature_map(network, image), label)
    return explain(with_gradient, image, network, gradient, iterations=iterations, **options)


def _walk(loss: Loss) -> Any:
    def of_class(network: Any, image: Image, label: Any, *, iterations: Any = 25, **options: Any) -> Explanation:
        return explain(loss, image, network, label, iterations=iterations, **options)

    return of_class


def earlier_cam(network: Network, image: Image, label: Any, *, iterations: Any = 25, **options: Any) -> Attribution:
    """The map of `earlier` times Grad-CAM's."""
    walked = explain(earlier, image, network, label, iterations=iterations, **options).attribution
    return max_normalise(walked * grad_cam(network, image, label))


def noise_cam(network: Network, image: Image, label: Any, *, key: Any) -> Attribution:
    """Blurred noise times Grad-CAM's map."""
    return max_normalise(random_blurred_map(image, key) * grad_cam(network, image, label))


def refined_noise(network: Network, image: Image, label: Any, *, key: Any) -> Attribution:
    """Grad-CAM's map plus `noise_cam`."""
    return max_normalise(grad_cam(network, image, label) + noise_cam(network, image, label, key=key))


def _row(name: str, of_class: Any) -> Explainer:
    return Explainer(
        name=name,
        title=name,
        source="an ablation",
        of_class=of_class,
        costs={"class": lambda options: Cost(options["iterations"] + 1, options["iterations"] + 1)},
        needs=frozenset({"features"}),
        inner=(explain, perturb, attribution),
    )


ABLATIONS = {
    row.name: row
    for row in (
        _row("evidence_unrectified", _walk(unrectified)),
        _row("evidence_of_others", _walk(of_others)),
        _row("evidence_frozen", _frozen),
        _row("evidence_earlier", _walk(earlier)),
        replace(
            _row("earlier_cam", earlier_cam),
            costs={"class": lambda options: Cost(options["iterations"] + 2, options["iterations"] + 2)},
        ),
        *(
            Explainer(
                name=of_noise.__name__,
                title=of_noise.__name__,
                source="an ablation",
                of_class=of_noise,
                costs={"class": lambda options: Cost(1, 1)},
                needs=frozenset({"features", "key"}),
            )
            for of_noise in (noise_cam, refined_noise)
        ),
    )
}
