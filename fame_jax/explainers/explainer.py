"""What a method is: how it is called, what it needs and costs, and the one result that every method returns."""

import inspect
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import PRNGKeyArray

from fame_jax._types import Attribution, Image
from fame_jax.core import Explanation, without_walk
from fame_jax.explainers.fame import RUNS, PairExplanation
from fame_jax.explainers.pairs import PairMaps
from fame_jax.image import whole_blur
from fame_jax.losses import class_logit, cosine, feature_activation
from fame_jax.network import traceable, vector
from fame_jax.options import check_image, check_options
from fame_jax.presets import PRESETS
from fame_jax.walk import Loss, Status

Task = Literal["class", "location", "pair", "detect"]
"""What is explained: a class of a photograph, a location of its feature map, the similarity of two faces, a box."""

Need = Literal["features", "embedding", "probes", "key"]

MAPS: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("class", "location", "detect"), ("attribution",)),
    "pair": RUNS,
}
"""Names of the maps of each task, in their order."""

WHAT = {"class": "classes", "location": "locations", "pair": "pairs of faces", "detect": "detections"}
"""The tasks in words."""


def kind_of(task: str) -> Any:
    """As what a task is carried out: a box is a class of the network that `fame_jax.detection.asked` makes."""
    return "class" if task == "detect" else task


@runtime_checkable
class Told(Protocol):
    """What a network's card tells methods: a `fame_jax.models.Card`, or as much of one."""

    @property
    def score(self) -> str:
        """The kind of score that an output is."""
        ...

    @property
    def std(self) -> Sequence[float]:
        """Of the channels, by which the network divides."""
        ...


class MethodError(ValueError):
    """A method that does not exist, does not do what is asked, or has no such option."""


class Cost(NamedTuple):
    """Evaluations of the network for one map of a class or location, or for all maps of a pair."""

    forward: int
    backward: int


Costs = Callable[[Mapping[str, Any]], Cost]


@dataclass(frozen=True)
class Explainer:
    """A method. Those of `EXPLAINERS` and one of your own are called alike.

    Attributes:
        name: in `EXPLAINERS`, on the command line and in the names of files.
        title: as in the paper.
        source: where the method comes from.
        of_class: network, image and label to a map, or to an `Explanation`; None if the method explains no classes.
        of_location: network, image and location to a map or `Explanation`, or None.
        of_pair: network, probe and gallery to `PairMaps` or `PairExplanation`, or None.
        costs: `Cost` by task, from the options and `embedding`, the number of dimensions.
        needs: what is asked for beyond a function of the image: `features` and `head` of the network; `probes`, a
            network that tells its biases; a random `key`.
        inner: functions that take the options which the functions above only pass on.
        losses: of a method that walks, by task: from its options (which lose what only chooses the loss) to the loss.
        presets: the group of `fame_jax.presets` with the options, by task.
        lowers: what the losses of a class are, in a word, from the options.
        blank: the status of a blank map, or of two of one face: why there may be one.
    """

    name: str
    title: str
    source: str
    of_class: Callable[..., Any] | None = None
    of_location: Callable[..., Any] | None = None
    of_pair: Callable[..., Any] | None = None
    costs: Mapping[str, Costs] = field(default_factory=dict)
    needs: frozenset[Need] = frozenset()
    inner: tuple[Callable[..., Any], ...] = ()
    losses: Mapping[str, Callable[[dict[str, Any]], Loss]] = field(default_factory=dict)
    presets: Mapping[str, str] = field(default_factory=dict)
    lowers: Callable[[Mapping[str, Any]], str] = lambda options: "logit"
    blank: Status = Status.BLANK

    def explain(
        self, network: Any, image: Image, label: ArrayLike, *, key: PRNGKeyArray | None = None, **options: Any
    ) -> Explanation:
        """Explains one class of one image; the key is ignored by methods without randomness.

        Raises:
            MethodError: if the method does not explain classes, needs a key and gets none, or returns no map `[H, W]`.
            OptionError: for an image of whole numbers, or none of three axes.
        """
        (image,) = _pixels(image)
        found = self.function("class")(network, image, label, **self._given("class", key, options))
        self._check_map(found, image)
        if isinstance(found, Explanation):
            return found
        return without_walk(found, class_logit(image, traceable(network), label), self.blank)

    def explain_location(
        self, network: Any, image: Image, location: Any, *, key: PRNGKeyArray | None = None, **options: Any
    ) -> Explanation:
        """Explains one location of one image's feature map; see `explain`."""
        (image,) = _pixels(image)
        found = self.function("location")(network, image, location, **self._given("location", key, options))
        self._check_map(found, image)
        if isinstance(found, Explanation):
            return found
        return without_walk(found, feature_activation(image, traceable(network), location), self.blank)

    def explain_pair(
        self, network: Any, probe: Image, gallery: Image, *, key: PRNGKeyArray | None = None, **options: Any
    ) -> PairExplanation:
        """Explains the similarity of two faces; see `explain`."""
        probe, gallery = _pixels(probe, gallery)
        found = self.function("pair")(network, probe, gallery, **self._given("pair", key, options))
        self._check_map(found.probe_similar, probe)
        return found if isinstance(found, PairExplanation) else _completed(found, network, probe, gallery, self.blank)

    def results(
        self, task: Task, network: Any, images: tuple[Image, ...], target: Any, **options: Any
    ) -> tuple[Explanation | None, ...]:
        """The results for all maps of a task, in the order of `MAPS`; None for a map that the method does not have."""
        if task == "pair":
            probe, gallery = images
            pair = self.explain_pair(network, probe, gallery, **options)
            return tuple(getattr(pair, name) for name in RUNS)
        return ((self.explain if task == "class" else self.explain_location)(network, images[0], target, **options),)

    def function(self, task: Task) -> Callable[..., Any]:
        """What the method does for a task.

        Raises:
            MethodError: if it does nothing for that one.
        """
        found = getattr(self, f"of_{kind_of(task)}")
        if found is None:
            able = ", ".join(what for other, what in WHAT.items() if getattr(self, f"of_{kind_of(other)}") is not None)
            raise MethodError(f"{self.name} explains no {WHAT[task]}; it explains {able}.")
        return found

    def options(self, task: Task) -> dict[str, Any]:
        """Names and default values of the options, read from the signatures; those that are code are left out."""
        return {
            name: parameter.default
            # What the method itself says comes last, and holds.
            for function in (*self.inner, self.function(task))
            for name, parameter in inspect.signature(function).parameters.items()
            if parameter.kind is parameter.KEYWORD_ONLY
            and parameter.default is not parameter.empty
            and not callable(parameter.default)
        }

    def chosen(
        self, task: Task, options: Mapping[str, Any], preset: str = "paper", card: Told | None = None
    ) -> dict[str, Any]:
        """The options to call the method with: the preset's, then the card's, then those given.

        A `sigma` without a `kernel_size` takes as many taps as the map allows.

        Args:
            task: what is explained; the score of a box is its own output.
            options: those given.
            preset: `paper` or `official`.
            card: of the network, whose kind of score is taken, and whose standard deviation where the preset walks in
                the network's normalised space.

        Raises:
            MethodError: for an option that the method does not have, or an unknown preset.
        """
        known = self.options(task)
        if unknown := sorted(options.keys() - known.keys()):
            raise MethodError(
                f"{self.name} has no option {unknown[0]!r}; its options are: {', '.join(known) or 'none'}."
            )
        if preset not in PRESETS:
            raise MethodError(f"preset={preset!r}; expected {' or '.join(PRESETS)}.")
        of_preset = PRESETS[preset].get(self.presets.get(kind_of(task), ""), {})
        told: dict[str, Any] = {} if card is None else {"score": card.score}
        if card is not None and "scale" in of_preset:
            told["scale"] = card.std
        if task == "detect":
            told["score"] = "logit"
        told = {name: value for name, value in told.items() if name in known}
        return {**of_preset, **told, **self._whole_blur(task, options)}

    def cost(self, task: Task, *, embedding: int = 512, **options: Any) -> Cost:
        """Forward and backward passes for one image or pair with these options; `Cost(1, 0)` if nobody has said.

        Of a method without walks it takes one forward pass more, or two of a pair, to measure what is explained.

        Args:
            task: what is explained.
            embedding: dimensions of the embedding.
            **options: those that differ from the defaults.
        """
        given = {"embedding": embedding, **self.options(task), **options}
        return self.costs[kind_of(task)](given) if kind_of(task) in self.costs else Cost(1, 0)

    def _whole_blur(self, task: Task, options: Mapping[str, Any]) -> Mapping[str, Any]:
        """A sigma alone takes as many taps as the map allows, of any method that blurs."""
        return whole_blur(options) if "sigma" in options and "kernel_size" in self.options(task) else options

    def _check_map(self, found: Any, image: Image) -> None:
        shape = jnp.shape(found.attribution if isinstance(found, Explanation) else found)
        if shape != image.shape[:2]:
            raise MethodError(
                f"{self.name} returned {list(shape)}; expected a map {list(image.shape[:2])}, one number a pixel."
            )

    def _given(self, task: Task, key: PRNGKeyArray | None, options: Mapping[str, Any]) -> dict[str, Any]:
        """What the function of a task is called with beside network and images."""
        if "key" not in self.needs:
            return {**self._whole_blur(task, options)}
        if key is None:
            raise MethodError(f"{self.name} is random and needs a key: key=jax.random.key(0).")
        if not isinstance(key, jax.Array | np.ndarray):
            raise MethodError(f"{self.name}: key={key!r} is no random key; expected key=jax.random.key({key!r}), say.")
        return {"key": key, **self._whole_blur(task, options)}


def _pixels(*images: Any) -> list[Any]:
    """The images on the device: a network of one's own need not take NumPy's."""
    check_image(*images)
    return [jnp.asarray(image) for image in images]


def _completed(
    maps: PairMaps, network: Callable[[Image], Any], probe: Image, gallery: Image, blank: Status
) -> PairExplanation:
    """The four maps of a method without walks as results: the loss of e+ is the similarity s, that of e- is 1 - s."""
    network = traceable(network)
    score = cosine(vector(network(probe)), vector(network(gallery)))

    def of_face(similar: Attribution, dissimilar: Attribution | None) -> tuple[Explanation, Explanation | None]:
        found = [part for part in (similar, dissimilar) if part is not None]
        both = jnp.all(jnp.stack([jnp.all(part == 0) for part in found]))
        why = jnp.where(both, blank, Status.BLANK)
        against = None if dissimilar is None else without_walk(dissimilar, 1 - score, why)
        return without_walk(similar, score, why), against

    return PairExplanation(score, *of_face(*maps[:2]), *of_face(*maps[2:]))


def of_your_own(function: Callable[..., Any]) -> Explainer:
    """A function as a method: `(network, image, label)` or `(network, probe, gallery)`, options by name, to maps.

    It may return a map `[H, W]`, an `Explanation`, `PairMaps` or a `PairExplanation`, and is given a random key if it
    takes `key`.
    """
    name = getattr(function, "__name__", type(function).__name__)
    needs: frozenset[Need] = frozenset({"key"} if "key" in inspect.signature(function).parameters else ())
    title = name.replace("_", " ").strip()
    return Explainer(name, title, f"{function.__module__}", function, function, function, needs=needs)


def image_key(seed: int, *images: Any) -> PRNGKeyArray:
    """The random key of an image, or of a pair, that every way of explaining it draws with.

    It depends on seed and pixels alone, so that the same photograph gets the same random numbers in whatever list,
    order or program it is explained. All is drawn in 32 bits, so that it is the same in 64.

    Args:
        seed: chosen by the user.
        *images: `[H, W, C]` in [0, 1], on the host; they count as `float32`.

    Raises:
        OptionError: for a seed of more than 32 bits.
    """
    check_options(seed=seed)
    return jax.random.fold_in(jax.random.key(seed), pixel_digest(*images))


def pixel_digest(*images: Any) -> np.uint32:
    """32 bits that stand for the pixels of an image, or of a pair."""
    digest = 0
    for image in images:
        digest = zlib.crc32(np.ascontiguousarray(image, np.float32).tobytes(), digest)
    return np.uint32(digest)
