"""A network at work on one kind of question, with its methods made once."""

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax

from fame_jax.app.asked import Asked, AskedError
from fame_jax.app.memory import Recent
from fame_jax.architectures import Precision, image_dtype
from fame_jax.engine import Engine, Method
from fame_jax.explainers.explainer import Explainer, Task
from fame_jax.explainers.table import EXPLAINERS, explainer
from fame_jax.models import Card
from fame_jax.network import feature_map


@dataclass(frozen=True)
class Threshold:
    """A similarity from which on two faces match, and where it comes from; NaN if none is known."""

    value: float = math.nan
    source: str = ""


class Again(NamedTuple):
    """How a network is found again.

    Attributes:
        source: as `fame ... --model` and `fame_jax.models.find` take it.
        words: what the commands are told of it beside --model.
        arguments: what `find` is told of it beside its source, as Python has it.
    """

    source: str
    words: tuple[str, ...] = ()
    arguments: str = ""


@dataclass
class Desk:
    """A network at work.

    Attributes:
        card: of the network.
        network: image to logits or embedding; of detections, see `fame_jax.detection.Detected`.
        task: what its engine is asked.
        again: how the network is found again.
        precision: of the network.
        threshold: of a face network.
    """

    card: Card
    network: Any
    task: Task
    again: Again
    precision: Precision = "float32"
    threshold: Threshold = field(default_factory=Threshold)

    def __post_init__(self) -> None:
        self.engine = Engine(self.network, self.task, dtype=image_dtype(self.precision), batch_size=1)
        self._methods = Recent[Method](64)

    @property
    def names(self) -> list[str]:
        """Of all outputs, in their order."""
        count = len(self.card.labels or ()) or self.engine.outputs(self.card.size, self.card.size)
        return [self.name(index) for index in range(count)]

    @functools.cached_property
    def grid(self) -> tuple[int, int] | None:
        """Rows and columns of the feature map of the card's image size; None if the network does not tell the map."""
        if not hasattr(self.network, "features"):
            return None
        image = jax.ShapeDtypeStruct((self.card.size, self.card.size, 3), self.engine.dtype)
        rows, columns, _ = jax.eval_shape(lambda image: feature_map(self.network, image), image).shape
        return rows, columns

    def name(self, index: int) -> str:
        """Of an output; `class 7` where the card has none."""
        labels = self.card.labels
        return labels[index] if labels and 0 <= index < len(labels) else f"class {index}"

    def options(self, row: Explainer, asked: Asked) -> dict[str, Any]:
        """The options of a question that its method has, as the commands give them to it."""
        given: dict[str, Any] = {"iterations": asked.iterations, "score": self.card.score}
        if asked.sigma is not None:
            given["sigma"] = asked.sigma
        if math.isfinite(self.threshold.value):
            given["threshold"] = self.threshold.value
        return {name: value for name, value in given.items() if name in row.options(self.task)}

    def method(self, asked: Asked) -> Method:
        """The method of a question, ready.

        Raises:
            MethodError: if there is none of that name, or it cannot do what is asked.
        """
        row = explainer(asked.method, self.task)
        row.function(self.task)
        options = self.options(row, asked)
        key = (row.name, *sorted(options.items()))
        return self._methods.find(key) or self._methods.put(key, self.engine.method(row, options))

    def methods(self) -> list[Mapping[str, Any]]:
        """What a page may offer: names and titles, whether a method walks, what it lowers, whether it blurs."""
        rows = [row for row in EXPLAINERS.values() if getattr(row, f"of_{self.task}") is not None]
        if not hasattr(self.network, "features"):
            rows = [row for row in rows if "features" not in row.needs]
        return [
            {
                "name": row.name,
                "title": row.title,
                "walks": self.task in row.losses,
                "lowers": row.lowers({}),
                "blurs": "sigma" in row.options(self.task),
                "passes": max(1, row.cost(self.task).forward),
            }
            for row in rows
        ]

    def check_target(self, target: Any) -> None:
        """Refuses a class that the network does not have."""
        if self.task == "class" and target is not None and not target < len(self.names):
            raise AskedError(f"target: there is no class {target}; expected 0 to {len(self.names) - 1}.")
