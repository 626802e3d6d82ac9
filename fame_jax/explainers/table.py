"""Every explainer by name, with what it needs, costs and comes from, for the command line, the docs and the tests.

All are called alike: a classifier's with network, image and label, a face network's with network, probe and gallery.

Example:
    >>> row = EXPLAINERS["grad_cam"]
    >>> map = row.explain(network, image, 285)
    >>> maps = jax.vmap(lambda image, label: row.explain(network, image, label))(images, labels)
"""

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

import jax
from jax.typing import ArrayLike
from jaxtyping import PRNGKeyArray

from fame_jax._types import Attribution, Image
from fame_jax.core import attribution
from fame_jax.explainers import cam, fame
from fame_jax.explainers.corrrise import corrrise
from fame_jax.explainers.fggb import fggb
from fame_jax.explainers.fullgrad import fullgrad
from fame_jax.explainers.gradients import gradient, integrated_gradients, random_map, smooth_grad
from fame_jax.explainers.pairs import PairMaps
from fame_jax.explainers.rise import rise
from fame_jax.explainers.xssab import xssab
from fame_jax.walk import perturb
from fame_jax.words import did_you_mean

Need = Literal["features", "embedding", "probes", "key"]


class Cost(NamedTuple):
    """Evaluations of the network for one map of a class, or for all maps of a pair."""

    forward: int
    backward: int


@dataclass(frozen=True)
class Explainer:
    """A row of the table.

    Attributes:
        name: as in `EXPLAINERS` and on the command line.
        title: as in the paper.
        source: where the method comes from.
        of_class: network, image and label to a map; None if the method does not explain classes.
        of_pair: network, probe and gallery to `PairMaps`; None if it does not explain pairs.
        class_cost: `Cost` of `of_class` from its options.
        pair_cost: `Cost` of `of_pair` from its options and `embedding`, the number of dimensions.
        needs: what is asked for beyond a function of the image: `features` and `head` of the network; `probes`, a
            network that tells its biases (`fame_jax.architectures.probes.Probed`); a random `key`.
        inner: functions that take the options which `of_class` and `of_pair` only pass on.
    """

    name: str
    title: str
    source: str
    of_class: Callable[..., Attribution] | None = None
    of_pair: Callable[..., PairMaps] | None = None
    class_cost: Callable[[Mapping[str, Any]], Cost] | None = None
    pair_cost: Callable[[Mapping[str, Any]], Cost] | None = None
    needs: frozenset[Need] = frozenset()
    inner: tuple[Callable[..., Any], ...] = ()

    def explain(
        self, network: Any, image: Image, label: ArrayLike, *, key: PRNGKeyArray | None = None, **options: Any
    ) -> Attribution:
        """The map `[H, W]` in [0, 1] of one class; the key is ignored by methods without randomness.

        Raises:
            ValueError: if the method does not explain classes, or needs a key and gets none.
        """
        return _required(self, "of_class")(network, image, label, **self._key(key), **options)

    def explain_pair(
        self, network: Any, probe: Image, gallery: Image, *, key: PRNGKeyArray | None = None, **options: Any
    ) -> PairMaps:
        """The maps `[H, W]` in [0, 1] of two faces; the key is ignored by methods without randomness.

        Raises:
            ValueError: if the method does not explain pairs, or needs a key and gets none.
        """
        return _required(self, "of_pair")(network, probe, gallery, **self._key(key), **options)

    def options(self, task: Literal["class", "pair"]) -> dict[str, Any]:
        """Names and default values of the options, read from the signatures."""
        functions = (_required(self, f"of_{task}"), *self.inner)
        return {
            name: parameter.default
            for function in functions
            for name, parameter in inspect.signature(function).parameters.items()
            if parameter.kind is parameter.KEYWORD_ONLY and parameter.default is not parameter.empty
        }

    def cost(self, task: Literal["class", "pair"], *, embedding: int = 512, **options: Any) -> Cost:
        """Forward and backward passes of `explain` or `explain_pair` with these options.

        Args:
            task: `class` or `pair`.
            embedding: dimensions of the embedding.
            **options: those that differ from the defaults.
        """
        given = {"embedding": embedding, **self.options(task), **options}
        return _required(self, f"{task}_cost")(given)

    def _key(self, key: PRNGKeyArray | None) -> dict[str, PRNGKeyArray]:
        if "key" not in self.needs:
            return {}
        if key is None:
            raise ValueError(f"{self.name} is random and needs a key: key=jax.random.key(0).")
        return {"key": key}


def _required(row: Explainer, attribute: str) -> Callable[..., Any]:
    value = getattr(row, attribute)
    if value is None:
        able = [name for name, other in EXPLAINERS.items() if getattr(other, attribute) is not None]
        raise ValueError(
            f"{row.name} explains no {'pairs' if 'pair' in attribute else 'classes'}; {', '.join(able)} do."
        )
    return value


class UnknownMethodError(ValueError):
    """A name that is not in the table."""


def explainer(name: str) -> Explainer:
    """The row of a name.

    Raises:
        UnknownMethodError: with the nearest names.
    """
    if name not in EXPLAINERS:
        raise UnknownMethodError(f"unknown method {name!r}; {did_you_mean(name, EXPLAINERS)}")
    return EXPLAINERS[name]


def _constant(forward: int, backward: int) -> Callable[[Mapping[str, Any]], Cost]:
    return lambda options: Cost(forward, backward)


def _fame_class(network: Any, image: Image, label: ArrayLike, **options: Any) -> Attribution:
    return fame.class_map(network, image, label, **options).attribution


def _fame_pair(network: Any, probe: Image, gallery: Image, *, free_norm: bool = False, **options: Any) -> PairMaps:
    maps = fame.pair_maps(network, probe, gallery, free_norm=free_norm, **options)
    return PairMaps(
        maps.probe_similar.attribution,
        maps.probe_dissimilar.attribution,
        maps.gallery_similar.attribution,
        maps.gallery_dissimilar.attribution,
    )


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
        class_cost=_constant(1, 1),
        pair_cost=_constant(2, 2),
        needs=frozenset({"features"}),
    )


_ROWS = (
    Explainer(
        name="fame",
        title="FAME",
        source="Zhang and Günther, CVPRW 2026",
        of_class=_fame_class,
        of_pair=_fame_pair,
        # The last evaluation of a walk only measures the loss, but it is the same program.
        class_cost=lambda o: Cost(o["iterations"] + 1, o["iterations"] + 1),
        pair_cost=lambda o: Cost(4 * (o["iterations"] + 1) + 2, 4 * (o["iterations"] + 1)),
        inner=(perturb, attribution),
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
        class_cost=_constant(1, 1),
        needs=frozenset({"probes"}),
    ),
    Explainer(
        name="fullgrad_complete",
        title="FullGrad, all biases",
        source="Srinivas and Fleuret, NeurIPS 2019, Sec. 3",
        of_class=functools.partial(fullgrad, form="complete"),
        # The second forward pass has two pull-backs, the derivative that runs along with the values.
        class_cost=_constant(2, 3),
        needs=frozenset({"probes"}),
    ),
    Explainer(
        name="gradient",
        title="Gradient",
        source="Simonyan et al., 2014",
        of_class=gradient,
        class_cost=_constant(1, 1),
    ),
    Explainer(
        name="smooth_grad",
        title="SmoothGrad",
        source="Smilkov et al., 2017",
        of_class=smooth_grad,
        class_cost=lambda o: Cost(o["samples"], o["samples"]),
        needs=frozenset({"key"}),
    ),
    Explainer(
        name="integrated_gradients",
        title="Integrated gradients",
        source="Sundararajan et al., ICML 2017",
        of_class=integrated_gradients,
        class_cost=lambda o: Cost(o["steps"], o["steps"]),
    ),
    Explainer(
        name="rise",
        title="RISE",
        source="Petsiuk et al., BMVC 2018",
        of_class=rise,
        class_cost=lambda o: Cost(o["masks"], 0),
        needs=frozenset({"key"}),
    ),
    Explainer(
        name="corrrise",
        title="CorrRISE",
        source="Lu et al., WACV 2024",
        of_pair=corrrise,
        pair_cost=lambda o: Cost(2 * o["masks"] + 2, 0),
        needs=frozenset({"embedding", "key"}),
    ),
    Explainer(
        name="fggb",
        title="FGGB",
        source="Lu et al., FG 2024",
        of_pair=fggb,
        pair_cost=lambda o: Cost(2, 2 * o["embedding"]),
        needs=frozenset({"embedding"}),
    ),
    Explainer(
        name="xssab",
        title="xSSAB",
        source="Huber et al., WACV 2024",
        of_pair=xssab,
        pair_cost=_constant(2, 4),
        needs=frozenset({"embedding"}),
    ),
    Explainer(
        name="random",
        title="Random",
        source="uniform noise",
        of_class=_random_class,
        of_pair=_random_pair,
        class_cost=_constant(0, 0),
        pair_cost=_constant(0, 0),
        needs=frozenset({"key"}),
    ),
)

EXPLAINERS: Mapping[str, Explainer] = MappingProxyType({row.name: row for row in _ROWS})
