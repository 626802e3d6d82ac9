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

from fame_jax._types import Attribution
from fame_jax.core import attribution, explain
from fame_jax.explainers import cam, evidence, fame, floors, gradients
from fame_jax.explainers.corrrise import corrrise
from fame_jax.explainers.explainer import Cost, Costs, Explainer, MethodError, Task, of_your_own
from fame_jax.explainers.fggb import fggb
from fame_jax.explainers.fullgrad import fullgrad
from fame_jax.explainers.rise import rise
from fame_jax.explainers.xssab import xssab
from fame_jax.losses import (
    class_evidence,
    class_logit,
    feature_activation,
    pair_evidence,
    similarity,
    similarity_free_norm,
)
from fame_jax.walk import Loss, Status, perturb
from fame_jax.words import did_you_mean

BEST: Mapping[Task, str] = MappingProxyType(
    {"class": "refined_cam", "location": "fame", "pair": "fame_evidence", "detect": "fame"}
)
"""What `--method best` stands for, by task."""


def explainer(method: str | Explainer | Callable[..., Any], task: Task = "class") -> Explainer:
    """The method of a name, or one of your own: an `Explainer`, or a function, see `of_your_own`.

    Args:
        method: `best` is that of `BEST`.
        task: which best one.

    Raises:
        MethodError: for a name that is not in the table, with the nearest ones.
    """
    if isinstance(method, Explainer):
        return method
    if not isinstance(method, str):
        if not callable(method):
            raise MethodError(
                f"method={str(method)[:40]}: expected a name such as {EXPLAINERS['fame'].name!r}, or a function."
            )
        return of_your_own(method)
    method = BEST[task] if method == "best" else method
    if method not in EXPLAINERS:
        raise MethodError(f"unknown method {method!r}; {did_you_mean(method, EXPLAINERS)}")
    return EXPLAINERS[method]


def _constant(forward: int, backward: int) -> Costs:
    return lambda options: Cost(forward, backward)


def _pair_loss(options: dict[str, Any]) -> Loss:
    return similarity_free_norm if options.pop("free_norm", False) else similarity


def _walks(more: int = 0) -> Costs:
    """Of one walk for each start; the last evaluation of a walk only measures the loss, but it is the same program."""
    return lambda o: Cost(*(o.get("starts", 1) * (o["iterations"] + 1) + more,) * 2)


def _four_walks(options: Mapping[str, Any]) -> Cost:
    each = 4 * options.get("starts", 1) * (options["iterations"] + 1)
    return Cost(each + 2, each)


def _expected(name: str, title: str, of_class: Callable[..., Any]) -> Explainer:
    """A map of expected gradients and Grad-CAM."""
    return Explainer(
        name=name,
        title=title,
        source="this project",
        of_class=of_class,
        costs={"class": lambda o: Cost(o["samples"] + 1, o["samples"] + 1)},
        needs=frozenset({"features", "key"}),
        inner=(gradients.expected_gradients,),
    )


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


def _sampling(name: str, title: str, of_class: Callable[..., Attribution], source: str, *, more: int = 0) -> Explainer:
    return Explainer(
        name=name,
        title=title,
        source=source,
        of_class=of_class,
        costs={"class": lambda o: Cost(o["samples"] + more, o["samples"] + more)},
        needs=frozenset({"key"}),
        inner=(gradients.pixel_map,),
    )


def _floor(
    name: str, title: str, function: Callable[..., Attribution], source: str, *, random: bool = False
) -> Explainer:
    return Explainer(
        name=name,
        title=title,
        source=source,
        of_class=floors.of_class(function),
        of_pair=floors.of_pair(function),
        costs={"class": _constant(0, 0), "pair": _constant(0, 0)},
        needs=frozenset({"key"} if random else ()),
    )


_WALK = (perturb, attribution)

_ROWS = (
    Explainer(
        name="fame",
        title="FAME",
        source="Zhang and Günther, CVPRW 2026",
        of_class=fame.class_map,
        of_location=fame.location_map,
        of_pair=fame.pair_maps,
        costs={"class": _walks(), "location": _walks(), "pair": _four_walks},
        inner=(explain, *_WALK),
        losses={
            "class": lambda options: class_logit,
            "location": lambda options: feature_activation,
            "pair": _pair_loss,
        },
        presets={"class": "classification", "location": "feature_map", "pair": "faces"},
    ),
    Explainer(
        name="fame_evidence",
        title="FAME on the evidence",
        source="this project",
        of_class=evidence.class_evidence_map,
        of_pair=evidence.pair_evidence_maps,
        costs={"class": _walks(), "pair": _four_walks},
        needs=frozenset({"features"}),
        inner=(explain, *_WALK),
        losses={"class": lambda options: class_evidence, "pair": lambda options: pair_evidence},
        lowers=lambda options: "evidence",
    ),
    Explainer(
        name="fame_starts",
        title="FAME from several starts",
        source="this project",
        of_class=evidence.class_starts,
        of_pair=evidence.pair_starts,
        costs={"class": _walks(), "pair": _four_walks},
        needs=frozenset({"features", "key"}),
        inner=_WALK,
        lowers=lambda options: options.get("loss", "evidence"),
    ),
    Explainer(
        name="evidence_cam",
        title="FAME from several starts x Grad-CAM",
        source="this project",
        of_class=evidence.evidence_cam,
        costs={"class": _walks(1)},
        needs=frozenset({"features", "key"}),
        inner=(*_WALK, evidence.class_starts),
    ),
    _expected("expected_gradients_cam", "Expected gradients x Grad-CAM", evidence.expected_gradients_cam),
    _expected("refined_cam", "Refined Grad-CAM", evidence.refined_cam),
    Explainer(
        name="path_sums",
        title="Path sums of FAME's walk",
        source="Zhu et al., MFABA, AAAI 2024",
        of_class=evidence.path_sums_map,
        costs={"class": _walks()},
        inner=(attribution,),
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
    _cam("layer_cam", "LayerCAM", cam.layer_cam, cam.positive_gradients, "Jiang et al., TIP 2021"),
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
        of_class=gradients.gradient,
        costs={"class": _constant(1, 1)},
        inner=(gradients.pixel_map,),
    ),
    _sampling("smooth_grad", "SmoothGrad", gradients.smooth_grad, "Smilkov et al., 2017"),
    _sampling(
        "smooth_grad_squared", "SmoothGrad squared", gradients.smooth_grad_squared, "Hooker et al., NeurIPS 2019"
    ),
    _sampling("var_grad", "VarGrad", gradients.var_grad, "Adebayo et al., 2018", more=1),
    Explainer(
        name="integrated_gradients",
        title="Integrated gradients",
        source="Sundararajan et al., ICML 2017",
        of_class=gradients.integrated_gradients,
        costs={"class": lambda o: Cost(o["steps"], o["steps"])},
        inner=(gradients.pixel_map,),
    ),
    _sampling(
        "expected_gradients",
        "Expected gradients",
        gradients.expected_gradients,
        "Erion et al., Nature Machine Intelligence 2021",
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
    _floor("random", "Random", floors.random_map, "uniform noise", random=True),
    _floor("random_blurred", "Random, blurred", floors.random_blurred_map, "uniform noise", random=True),
    _floor("blob", "Blob in the centre", floors.blob_map, "a Gaussian"),
)

EXPLAINERS: Mapping[str, Explainer] = MappingProxyType({row.name: row for row in _ROWS})
