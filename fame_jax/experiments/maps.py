"""From the images of one block to its rows in the store: maps, labels, similarities, and how the walks went."""

import functools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from fame_jax.architectures.probes import Probed
from fame_jax.batching import map_many, perturb_many
from fame_jax.core import attribution, split_options
from fame_jax.data.images import Pixels
from fame_jax.data.records import Task
from fame_jax.experiments.store import BLANK, MAPS, NO_MAP, RunError
from fame_jax.explainers.table import explainer
from fame_jax.losses import class_logit, cosine, similarity, similarity_free_norm
from fame_jax.walk import Status

Rows = dict[str, np.ndarray]
"""Arrays of the store by name, with a leading axis of records."""

Progress = Callable[[int], object]


class Input(NamedTuple):
    """What is explained: number of the record in its data set, its one or two images, and the label if it has one."""

    number: int
    images: tuple[Pixels, ...]
    label: int | None = None


@dataclass(frozen=True)
class Method:
    """A method and a network, ready for any number of blocks; nothing is compiled twice.

    Attributes:
        name: in `fame_jax.explainers.EXPLAINERS`.
        task: `class` or `pair`.
        network: image to logits or embedding.
        options: of the method.
        image_dtype: of the images on the device.
        batch_size: images, or walks, on the device at once.
        seed: of the random methods.
    """

    name: str
    task: Task
    network: Any
    options: dict[str, Any]
    image_dtype: Any
    batch_size: int
    seed: int = 0

    def check(self, size: int) -> None:
        """Traces the method on images of this size: a value that no option can have is known before any work.

        Raises:
            RunError: naming the method and its options.
        """
        image, number = jax.ShapeDtypeStruct((size, size, 3), self.image_dtype), jax.ShapeDtypeStruct((), np.int32)
        try:
            if self.options.get("window", 1) < 1:
                raise ValueError("window has to be 1 or more")
            if not 0 <= self.options.get("iterations", 0) < 2**31 - 1:
                raise ValueError(f"iterations has to be a number from 0 to {2**31 - 2}")
            if self.task == "class":
                jax.eval_shape(_explain_class(self), image, self._probed, number, number)
            else:
                jax.eval_shape(_explain_pair(self), (image, image), self._probed, number)
        except Exception as error:  # Methods and JAX raise nearly anything for a value they cannot use.
            given = ", ".join(f"{name}={str(value)[:20]}" for name, value in self.options.items())
            reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
            raise RunError(f"{self.name} cannot work with {given}: {reason}") from error

    def rows(self, inputs: Sequence[Input], progress: Progress = lambda count: None) -> Rows:
        """Explains the inputs of one block.

        Args:
            inputs: at least one.
            progress: called with the number of steps taken (of walks) or inputs explained (otherwise).

        Returns:
            The maps of `MAPS` `[n, H, W]`; `label` and `predicted`, or `similarity`, `[n]`; `steps`, `first_loss`,
            `last_loss` and `status` `[n, maps]`.
        """
        return self._class_rows(inputs, progress) if self.task == "class" else self._pair_rows(inputs, progress)

    def _class_rows(self, inputs: Sequence[Input], progress: Progress) -> Rows:
        images = [jnp.asarray(given.images[0], self.image_dtype) for given in inputs]
        logits = np.stack(self._outputs(images))
        predicted = logits.argmax(axis=1).astype(np.int32)
        labels = np.array([p if i.label is None else i.label for i, p in zip(inputs, predicted, strict=True)], np.int32)
        known = {"label": labels, "predicted": predicted}
        examples = [(image, (label,)) for image, label in zip(images, labels, strict=True)]
        if self.name == "fame":
            return known | self._walked(class_logit, examples, self.options, progress)
        logit = np.array(
            [row[label] if label < len(row) else np.nan for row, label in zip(logits, labels, strict=True)]
        )
        return known | {"first_loss": logit[:, None].astype(np.float64)} | self._mapped(inputs, examples, progress)

    def _pair_rows(self, inputs: Sequence[Input], progress: Progress) -> Rows:
        faces = [jnp.asarray(face, self.image_dtype) for given in inputs for face in given.images]
        embeddings = self._outputs(faces)
        pairs = range(0, len(faces), 2)
        known = {
            "similarity": np.array(
                [float(cosine(jnp.asarray(embeddings[i]), jnp.asarray(embeddings[i + 1]))) for i in pairs]
            )
        }
        if self.name != "fame":
            examples = [((faces[i], faces[i + 1]), ()) for i in pairs]
            return known | self._mapped(inputs, examples, progress)
        options = dict(self.options)
        loss = similarity_free_norm if options.pop("free_norm", False) else similarity
        signs = np.asarray([1, -1], self.image_dtype)
        # In the order of `MAPS`: e+ and e- of the probe, then of the gallery; the reference is the other face's.
        walks = [(faces[i + a], (embeddings[i + 1 - a], sign)) for i in pairs for a in (0, 1) for sign in signs]
        return known | self._walked(loss, walks, options, progress)

    def _walked(
        self, loss: Callable[..., Any], examples: list[Any], options: dict[str, Any], progress: Progress
    ) -> Rows:
        """FAME: a walk for every example, a map for every walk."""
        rules, of_map = split_options(options)
        names = MAPS[self.task]
        maps, facts = [], []
        walks = perturb_many(
            loss,
            examples,
            self.network,
            batch_size=self.batch_size,
            in_order=True,
            progress=progress,
            **rules,
        )
        for (image, _), (_, walk) in zip(examples, walks, strict=True):
            maps.append(np.asarray(attribution(image, walk.perturbed, **of_map)))
            facts.append((walk.steps, walk.first_loss, walk.last_loss, walk.status))
        shaped = np.stack(maps).reshape(-1, len(names), *maps[0].shape)
        columns = np.array(facts, np.float64).reshape(-1, len(names), 4)
        return {name: shaped[:, i] for i, name in enumerate(names)} | {
            name: columns[..., i] for i, name in enumerate(("steps", "first_loss", "last_loss", "status"))
        }

    @property
    def _probed(self) -> Any:
        """The network, telling its biases to a method that asks for them."""
        return Probed(self.network) if "probes" in explainer(self.name).needs else self.network

    def _mapped(self, inputs: Sequence[Input], examples: list[Any], progress: Progress) -> Rows:
        """A method without a walk."""
        keyed = [(given, (*args, np.int32(i.number))) for i, (given, args) in zip(inputs, examples, strict=True)]
        found = [maps for _, maps in self._over(self._explain, keyed, self._probed, progress=progress)]
        names = MAPS[self.task]
        rows: Rows = {}
        status = np.full((len(found), len(names)), NO_MAP, np.int8)
        for i, name in enumerate(names):
            maps = [one[i] for one in found if one[i] is not None]
            if maps:
                rows[name] = np.stack(maps)
                status[:, i] = [_status(map) for map in maps]
        return rows | {"status": status}

    @functools.cached_property
    def _explain(self) -> Callable[..., Any]:
        """One function for all blocks, since code created anew would be compiled anew."""
        return _explain_class(self) if self.task == "class" else _explain_pair(self)

    def _outputs(self, images: list[jax.Array]) -> list[np.ndarray]:
        """Logits or embedding of every image."""
        return [np.asarray(row) for _, row in self._over(_output, [(image, ()) for image in images], self.network)]

    def _over(self, function: Any, examples: list[Any], network: Any, **options: Any) -> Iterable[tuple[int, Any]]:
        return map_many(function, examples, network, batch_size=self.batch_size, **options)


def _output(image: Any, network: Any) -> Any:
    return network(image)


def _explain_class(method: Method) -> Callable[..., Any]:
    row = explainer(method.name)

    def explain(image: Any, network: Any, label: Any, index: Any) -> tuple[Any, ...]:
        return (row.explain(network, image, label, key=_key(method.seed, index), **method.options),)

    return explain


def _explain_pair(method: Method) -> Callable[..., Any]:
    row = explainer(method.name)

    def explain(faces: Any, network: Any, index: Any) -> tuple[Any, ...]:
        return tuple(row.explain_pair(network, *faces, key=_key(method.seed, index), **method.options))

    return explain


def _key(seed: int, index: Any) -> Any:
    """Every record has a random key of its own, whichever block or process it falls to."""
    return jax.random.fold_in(jax.random.key(seed), index)


def _status(map: np.ndarray) -> int:
    return Status.NOT_FINITE if not np.isfinite(map).all() else Status.OK if map.any() else BLANK
