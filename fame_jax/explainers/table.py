"""Every explainer by name, with what it needs, costs and comes from, for the command line, the docs and the tests.

All are called alike and return the same result: a classifier's with network, image and label, a face network's with
network, probe and gallery.

Example:
    >>> row = EXPLAINERS["grad_cam"]
    >>> result = row.explain(network, image, 285)
    >>> results = jax.vmap(lambda image, label: row.explain(network, image, label))(images, labels)
"""

import functools
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import jax
from jax.typing import ArrayLike
from jaxtyping import PRNGKeyArray

from fame_jax._types import Attribution, Image
from fame_jax.core import attribution, explain
from fame_jax.explainers import cam, fame
from fame_jax.explainers.corrrise import corrrise
from fame_jax.explainers.explainer import Cost, Costs, Explainer, MethodError, of_your_own
from fame_jax.explainers.fggb import fggb
from fame_jax.explainers.fullgrad import fullgrad
from fame_jax.explainers.gradients import gradient, integrated_gradients, random_map, smooth_grad
from fame_jax.explainers.pairs import PairMaps
from fame_jax.explainers.rise import rise
from fame_jax.explainers.xssab import xssab
from fame_jax.losses import class_logit, feature_activation, similarity, similarity_free_norm
from fame_jax.walk import Loss, Status, perturb
from fame_jax.words import did_you_mean


def explainer(method: str | Explainer | Callable[..., Any]) -> Explainer:
    """The method of a name, or one of your own: an `Explainer`, or a function, see `of_your_own`.

    Raises:
        MethodError: for a name that is not in the table, with the nearest ones.
    """
    if isinstance(method, Explainer):
        return method
    if not isinstance(method, str):
        return of_your_own(method)
    if method not in EXPLAINERS:
        raise MethodError(f"unknown method {method!r}; {did_you_mean(method, EXPLAINERS)}")
    return EXPLAINERS[method]


def _constant(forward: int, backward: int) -> Costs:
    return lambda options: Cost(forward, backward)


def _pair_loss(options: dict[str, Any]) -> Loss:
    return similarity_free_norm if options.pop("free_norm", False) else similarity


def _random_class(network: Any, image: Image, label: ArrayLike, *, key: PRNGKeyArray) -> Attribution:
    return random_map(image, key)


def _random_pair(network: Any, probe: Image, gallery: Image, *, key: PRNGKeyArray) -> PairMaps:
    keys = jax.random.split(key, 4)
    return PairMaps(*(random_map(face, k) for face, k in zip((probe, probe, gallery, gallery), keys, strict=True)))


def _cam(name: str, title: str, of_class: Callable[..., Attribution], weighting: cam.Weighting, source: str):
    return Explainer(
        name=name,
        title=title,
        source=source,
        of_class=of_class,
        of_pair=functools.partial(cam.pair_cam, weighting=weighting),
        costs={"class": _constant(1, 1), "pair": _constant(2, 2)},
        needs=frozenset({"features"}),
        presets={"pair": "face_cam"},
    )


_ROWS = (
    Explainer(
        name="fame",
        title="FAME",
        source="Zhang and Günther, CVPRW 2026",
        of_class=fame.class_map,
        of_location=fame.location_map,
        of_pair=fame.pair_maps,
        # The last evaluation of a walk only measures the loss, but it is the same program.
        costs={
            "class": lambda o: Cost(o["iterations"] + 1, o["iterations"] + 1),
            "location": lambda o: Cost(o["iterations"] + 1, o["iterations"] + 1),
            "pair": lambda o: Cost(4 * (o["iterations"] + 1) + 2, 4 * (o["iterations"] + 1)),
        },
        inner=(explain, perturb, attribution),
        losses={
            "class": lambda options: class_logit,
            "location": lambda options: feature_activation,
            "pair": _pair_loss,
        },
        presets={"class": "classification", "location": "feature_map", "pair": "faces"},
    ),
    _cam("grad_cam", "Grad-CAM", cam.grad_cam, cam.mean_gradient, "Selvaraju et al., ICCV 2017"),
    _cam(
        "grad_cam_ew",
        "Grad-CAM element-wise",
        cam.grad_cam_ew,
        cam.positive_products,
        "Gildenblat, grad-cam package, 2021",
    ),
    _cam("hires_cam", "HiResCAM", cam.hires_cam, cam.products, "Draelos and Carin, 2020"),
    _cam("grad_cam_pp", "Grad-CAM++", cam.grad_cam_pp, cam.second_order, "Chattopadhyay et al., WACV 2018"),
    Explainer(
        name="fullgrad",
        title="FullGrad",
        source="Srinivas and Fleuret, NeurIPS 2019, as in the grad-cam package",
        of_class=fullgrad,
        costs={"class": _constant(1, 1)},
        needs=frozenset({"probes"}),
    ),
    Explainer(
        name="fullgrad_complete",
        title="FullGrad, all biases",
        source="Srinivas and Fleuret, NeurIPS 2019, Sec. 3",
        of_class=functools.partial(fullgrad, form="complete"),
        # The second forward pass has two pull-backs, the derivative that runs along with the values.
        costs={"class": _constant(2, 3)},
        needs=frozenset({"probes"}),
    ),
    Explainer(
        name="gradient",
        title="Gradient",
        source="Simonyan et al., 2014",
        of_class=gradient,
        costs={"class": _constant(1, 1)},
    ),
    Explainer(
        name="smooth_grad",
        title="SmoothGrad",
        source="Smilkov et al., 2017",
        of_class=smooth_grad,
        costs={"class": lambda o: Cost(o["samples"], o["samples"])},
        needs=frozenset({"key"}),
    ),
    Explainer(
        name="integrated_gradients",
        title="Integrated gradients",
        source="Sundararajan et al., ICML 2017",
        of_class=integrated_gradients,
        costs={"class": lambda o: Cost(o["steps"], o["steps"])},
    ),
    Explainer(
        name="rise",
        title="RISE",
        source="Petsiuk et al., BMVC 2018",
        of_class=rise,
        costs={"class": lambda o: Cost(o["masks"], 0)},
        blank=Status.CONSTANT_SCORE,
        needs=frozenset({"key"}),
    ),
    Explainer(
        name="corrrise",
        title="CorrRISE",
        source="Lu et al., WACV 2024",
        of_pair=corrrise,
        presets={"pair": "corrrise"},
        costs={"pair": lambda o: Cost(2 * o["masks"] + 2, 0)},
        blank=Status.CONSTANT_SCORE,
        needs=frozenset({"embedding", "key"}),
    ),
    Explainer(
        name="fggb",
        title="FGGB",
        source="Lu et al., FG 2024",
        of_pair=fggb,
        presets={"pair": "fggb"},
        costs={"pair": lambda o: Cost(2, 2 * o["embedding"])},
        needs=frozenset({"embedding"}),
    ),
    Explainer(
        name="xssab",
        title="xSSAB",
        source="Huber et al., WACV 2024",
        of_pair=xssab,
        costs={"pair": _constant(2, 4)},
        needs=frozenset({"embedding"}),
    ),
    Explainer(
        name="random",
        title="Random",
        source="uniform noise",
        of_class=_random_class,
        of_pair=_random_pair,
        costs={"class": _constant(0, 0), "pair": _constant(0, 0)},
        needs=frozenset({"key"}),
    ),
)

EXPLAINERS: Mapping[str, Explainer] = MappingProxyType({row.name: row for row in _ROWS})
