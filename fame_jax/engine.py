"""A method over records: the one way from images to results, for every command, bridge and script.

    engine = Engine(network, "class")
    method = engine.method("fame", {"iterations": 100})
    for seen, (result,) in explained(engine, [method], (Question((image,)) for image in images)):
        attribution, status = result[0].attribution, result[0].status

What a record draws at random depends on the seed and its own pixels (`image_key`), never on its place in a list, so the
same photograph, network, method and seed give the same map wherever they meet.
"""

import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fame_jax.batching import map_many, perturb_many
from fame_jax.batching.devices import usual_batch
from fame_jax.core import Explanation, after_walk, split_options
from fame_jax.detection.detected import of_box
from fame_jax.explainers.explainer import MAPS, Explainer, MethodError, Task, Told, kind_of, pixel_digest
from fame_jax.explainers.table import explainer
from fame_jax.explaining import Explaining, Results, arrays_of, hashable
from fame_jax.network import vector
from fame_jax.options import check_dtype, check_options, check_pixels, target_index
from fame_jax.questions import Boxed, Question, Seen
from fame_jax.walk import Loss, Perturbation, rules_from

Progress = Callable[[int], object]

_BLOCK = 2
"""Batches whose images are on the host together."""

_COPIES = 16
"""Methods that look at many copies of an image at once take so many times fewer images."""


class Engine:
    """A network at work on questions of one task.

    Args:
        network: image `[H, W, C]` to logits or embedding, or a detector; methods may need its `features` and `head`.
        task: `class`, `location`, `pair` or `detect`.
        dtype: of the images on the device.
        batch_size: images, or walks, on all devices at once; None for one a device on CPU and as many as fit elsewhere.
        seed: of methods that draw random numbers.

    Raises:
        OptionError: for a batch size or seed that cannot be meant, or a dtype that JAX does not compute in.
    """

    def __init__(
        self,
        network: Any,
        task: Task = "class",
        *,
        dtype: Any = "float32",
        batch_size: int | None = None,
        seed: int = 0,
    ):
        check_options(batch_size=batch_size, seed=seed)
        check_dtype(dtype)
        self.network, self.seed = network, seed
        self.task: Task = task
        self.dtype, self.batch_size = jnp.dtype(dtype), batch_size
        self._outputs: dict[Any, int] = {}

    def method(
        self,
        method: str | Explainer | Callable[..., Any],
        options: Mapping[str, Any] | None = None,
        preset: str = "paper",
        card: Told | None = None,
    ) -> "Method":
        """A method, ready for any number of questions; nothing is compiled twice. See `Explainer.chosen`.

        Raises:
            MethodError: for an unknown method or option, or a method that does not explain what is asked.
        """
        row = explainer(method, self.task)
        return Method(self, row, row.chosen(self.task, options or {}, preset, card))

    def refusal(self, question: Question) -> str:
        """Why a question makes no sense to the network; empty if nothing is wrong with it."""
        if self.task not in ("class", "detect") or question.target is None:
            return ""
        label = question.target.label if self.task == "detect" else question.target
        outputs = self.outputs(*question.images[0].shape)
        if 0 <= label < outputs:
            return ""
        return f"class {label} is outside the network's {outputs} outputs; expected 0 to {outputs - 1}"

    def outputs(self, height: int, width: int, channels: int = 3) -> int:
        """How many outputs, or classes of boxes, the network has for an image of this shape."""
        image = jax.ShapeDtypeStruct((height, width, channels), self.dtype)
        boxes, found = self.task == "detect", self.network
        # Traced once for a shape, and once more if layers of the network are replaced by others.
        asked = image.shape, tuple(map(np.shape, jax.tree.leaves(found)))
        if asked not in self._outputs:
            outputs = jax.eval_shape(lambda x: found(x).scores[0] if boxes else vector(found(x)), image)
            self._outputs = {asked: outputs.shape[0]}
        return self._outputs[asked]

    def look(self, questions: Sequence[Question]) -> list[Seen]:
        """What the network says of every question."""
        check_pixels(*(image for question in questions for image in question.images))
        images = [tuple(np.asarray(image).astype(self.dtype) for image in question.images) for question in questions]
        outputs: Iterator[np.ndarray] = iter(())
        if self.task in ("class", "pair"):
            flat = [(image, ()) for of_one in images for image in of_one]
            found = map_many(_output, flat, self.network, batch_size=self.batch_size, count=len(flat))
            outputs = (np.asarray(output) for _, output in found)
        return [
            self._seen(question, of_one, tuple(itertools.islice(outputs, len(of_one))))
            for question, of_one in zip(questions, images, strict=True)
        ]

    def _seen(self, question: Question, images: tuple[np.ndarray, ...], outputs: tuple[np.ndarray, ...]) -> Seen:
        target = question.target
        if self.task == "class":
            target = np.int32(np.argmax(outputs[0])) if target is None else target_index(target, ())
        elif self.task == "location":
            target = target_index(target, (2,))
        elif self.task == "detect":
            target = target.typed(self.dtype)
        return Seen(images, target, outputs, pixel_digest(*question.images), question.filled)


class Method:
    """A method of an engine.

    Attributes:
        engine: the network at work.
        row: the explainer.
        options: it is called with.
    """

    def __init__(self, engine: Engine, row: Explainer, options: dict[str, Any]):
        self.engine, self.row, self.options = engine, row, hashable(options)

    @property
    def passes(self) -> int:
        """Steps of walks, or forward passes as the table has them, for one question; `progress` counts these."""
        return passes_of(self.row, self.engine.task, self.options)

    @property
    def walks(self) -> bool:
        """Whether its walks can share slots that are refilled; the mean of a path is taken image by image."""
        return _walks(self.row, self.engine.task, self.options)

    def check(self, *shape: int) -> None:
        """Traces the method on images of this shape: a value that no option can have is known before any work.

        Raises:
            MethodError: naming the method and its options.
        """
        engine = self.engine
        images = (jax.ShapeDtypeStruct(shape, engine.dtype),) * (2 if engine.task == "pair" else 1)
        target: Any = None if engine.task == "pair" else np.zeros(2 if engine.task == "location" else (), np.int32)
        if engine.task == "detect":
            target = Boxed(np.zeros(4), 0, shape[:2]).typed(engine.dtype)
        try:
            if self.walks:
                jax.eval_shape(lambda image: self._walk_without_steps(image, target), images[0])
            else:
                shared, digest = (self._network, *self._traced), np.uint32(0)
                jax.eval_shape(lambda *images: self._explain(images, *shared, target, digest), *images)
        except MethodError:
            raise
        except Exception as error:  # Methods and JAX raise nearly anything for a value they cannot use.
            given = ", ".join(f"{name}={str(value)[:20]}" for name, value in self.options.items())
            reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
            raise MethodError(f"{self.row.name} cannot work{f' with {given}' if given else ''}: {reason}") from error

    def results(self, seen: Sequence[Seen], progress: Progress = lambda count: None) -> Iterator[Results]:
        """Explains what was looked at, in order.

        Args:
            seen: of `Engine.look`.
            progress: called with the number of passes since the last call.
        """
        found = self._walked(seen, progress) if self.walks else self._mapped(seen, progress)
        return (without_filling(*both) for both in zip(seen, found, strict=True))

    def _walk_without_steps(self, image: Any, target: Any) -> Explanation:
        """All that can be wrong with a walk but its gradient, whose tracing takes as long as all else before it."""
        network = self.engine.network
        loss, rules, of_map = self.walk()
        rules_from(**{name: value for name, value in rules.items() if name != "optimizer"})
        value = loss(image, network, *((network(image), 1) if target is None else (target,)))
        nothing = jnp.int32(0)
        return after_walk(image, Perturbation(image, nothing, value, value, nothing), **of_map)

    def walk(self) -> tuple[Loss, dict[str, Any], dict[str, Any]]:
        """Of a method that walks: loss, options of the walk, and options of the map."""
        usual = {"iterations": self.row.options(self.engine.task)["iterations"]}
        options = {name: value for name, value in (usual | self.options).items() if name != "average"}
        loss = self.row.losses[kind_of(self.engine.task)](options)
        return (of_box(loss) if self.engine.task == "detect" else loss), *split_options(options)

    def _walked(self, seen: Sequence[Seen], progress: Progress) -> Iterator[Results]:
        engine = self.engine
        loss, rules, of_map = self.walk()
        examples = [start for one in seen for start in starts(engine.task, one)]
        walks = perturb_many(
            loss,
            examples,
            engine.network,
            batch_size=engine.batch_size,
            count=len(examples),
            progress=progress,
            **rules,
        )
        found = (
            jax.device_get(after_walk(jnp.asarray(image), walk, **of_map))
            for (image, _), (_, walk) in zip(examples, walks, strict=True)
        )
        for _ in seen:
            yield tuple(itertools.islice(found, len(MAPS[engine.task])))

    def _mapped(self, seen: Sequence[Seen], progress: Progress) -> Iterator[Results]:
        check_options(**self.options)
        size = self.engine.batch_size
        if size is None and "chunk" in self.row.options(self.engine.task):
            size = min(batch_of(self.row, self.engine.task), len(seen))
        examples = [(one.images, (one.target, one.digest)) for one in seen]
        found = map_many(
            self._explain,
            examples,
            self._network,
            *self._traced,
            batch_size=size,
            count=len(examples),
            progress=lambda count: progress(count * self.passes),
        )
        return (result for _, result in found)

    @functools.cached_property
    def _explain(self) -> Explaining:
        arrays = arrays_of(self.options)
        return Explaining(self.row, self.engine.task, {k: v for k, v in self.options.items() if k not in arrays})

    @property
    def _traced(self) -> tuple[Any, dict[str, Any]]:
        return np.uint32(self.engine.seed), arrays_of(self.options)

    @functools.cached_property
    def _network(self) -> Any:
        """The network, telling its biases to a method that asks for them."""
        if "probes" not in self.row.needs:
            return self.engine.network
        from fame_jax.architectures.probes import probed

        return probed(self.engine.network)


def passes_of(row: Explainer, task: Task, options: Mapping[str, Any]) -> int:
    """What a method's progress counts for one question: steps of its walks, or forward passes as the table has them."""
    if _walks(row, task, options):
        return {**row.options(task), **options}["iterations"] * len(MAPS[task])
    return max(1, row.cost(task, **options).forward)


def _walks(row: Explainer, task: Task, options: Mapping[str, Any]) -> bool:
    return kind_of(task) in row.losses and not options.get("average")


def batch_of(row: Explainer, task: Task, usual: int | None = None) -> int:
    """The batch size of a method for which nobody has asked: less where it looks at many copies of an image at once."""
    usual = usual_batch() if usual is None else usual
    return max(1, usual // _COPIES) if "chunk" in row.options(task) else usual


def explained(
    engine: Engine,
    methods: Sequence[Method],
    questions: Iterable[Question],
    progress: Progress = lambda count: None,
) -> Iterator[tuple[Seen, list[Results]]]:
    """Every question through every method, in order and in bounded memory: an image is read once for all methods.

    Args:
        engine: the network at work.
        methods: of the engine.
        questions: a few batches of them are read at a time.
        progress: called with the number of passes since the last call.

    Returns:
        Iterator over a question as the network sees it, and the results of each method.
    """
    check_dtype(engine.dtype)
    size, stream, problem = _BLOCK * (engine.batch_size or usual_batch()), iter(questions), None
    while problem is None:
        block, problem = _taken(stream, size)
        if block:
            seen = engine.look(block)
            results = [list(method.results(seen, progress)) for method in methods]
            yield from ((one, [of_method[i] for of_method in results]) for i, one in enumerate(seen))
        elif problem is None:
            return
    raise problem


def _taken(stream: Iterator[Question], size: int) -> tuple[list[Question], Exception | None]:
    """The next questions, and what kept the stream from giving all of them: those before it are still answered."""
    block: list[Question] = []
    try:
        for question in itertools.islice(stream, size):
            block.append(question)
    except Exception as error:  # Whatever is wrong with somebody's images.
        return block, error
    return block, None


def without_filling(seen: Seen, results: Results) -> Results:
    """The results with maps that are zero where an image is filled up, and 1 at the largest elsewhere."""

    def one(place: int, result: Explanation | None) -> Explanation | None:
        filled = seen.filled[place * len(seen.images) // len(results)]
        if result is None or filled is None:
            return result
        kept = np.where(filled, 0, result.attribution)
        return result._replace(attribution=kept / (kept.max() or 1))

    return tuple(one(place, result) for place, result in enumerate(results))


def _output(image: Any, network: Any) -> Any:
    return vector(network(image))


def starts(task: Task, seen: Seen) -> list[tuple[np.ndarray, tuple[Any, ...]]]:
    """Where the walks of a question begin and what their loss needs: one a map, in the order of `MAPS`."""
    if task != "pair":
        return [(seen.images[0], (seen.target,))]
    signs = np.asarray([1, -1], seen.images[0].dtype)
    others = seen.outputs[::-1]
    return [(image, (other, sign)) for image, other in zip(seen.images, others, strict=True) for sign in signs]
