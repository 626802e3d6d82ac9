"""An ONNX graph as a network: one image in, its parameters a pytree that is passed and never baked in."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax.tree_util import register_dataclass
from jaxtyping import Array, PRNGKeyArray, Shaped

from fame_jax._types import Image
from fame_jax.network import Split
from fame_jax.onnx import probes
from fame_jax.onnx.errors import GraphError
from fame_jax.onnx.evaluation import Around, Value, as_written, evaluate, needed
from fame_jax.onnx.graph import Graph
from fame_jax.onnx.inspection import ImageInput, depending, fed, map_channels, shapes
from fame_jax.onnx.operators import ChannelsLast
from fame_jax.onnx.photometry import Photometry
from fame_jax.options import check_pixels
from fame_jax.words import did_you_mean, nearest

Values = Shaped[Array, "..."]

Outputs = Values | dict[str, Values]
"""Of one output its values, of several all by name."""


@dataclasses.dataclass(frozen=True)
class Form:
    """How a tensor is handed out for one image.

    Attributes:
        name: of the tensor.
        channels: where a map `[1, ., ., .]` has its channels; None for everything else.
        shape: in the graph, for the image that it was traced with.
        grid: rows and columns that tokens `[1, n, c]` are put on.
        class_tokens: those in front of the grid's.
    """

    name: str
    channels: Literal["first", "last"] | None
    shape: tuple[int, ...]
    grid: tuple[int, int] | None = None
    class_tokens: int = 0

    def out(self, value: Value) -> Values:
        """`[h, w, c]` of a map, `[n, c]` of tokens: without the batch axis."""
        if self.channels == "first":
            value = jnp.moveaxis(as_written(value), 1, -1)
        value = jnp.asarray(as_written(value))
        if value.ndim > 1 and value.shape[0] == 1:
            value = value[0]
        return value if self.grid is None else value[self.class_tokens :].reshape(*self.grid, -1)

    def back(self, values: Values, whole: Value = None) -> Value:
        """The tensor of the graph again; its class tokens are those of the whole tensor."""
        if self.grid is not None:
            values = values.reshape(-1, values.shape[-1])
        if self.class_tokens:
            values = jnp.concatenate([as_written(whole)[0, : self.class_tokens].astype(values.dtype), values])
        return ChannelsLast(values[None]) if self.channels == "first" else values[None]


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is static of a network."""

    graph: Graph
    image: ImageInput
    size: tuple[int | None, int | None]
    photometry: Photometry
    features: Form | None
    outputs: tuple[Form, ...]
    products: str = "highest"


@register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class OnnxNetwork:
    """An ONNX graph for one RGB image `[H, W, 3]` in [0, 1]; made by `read`.

    Attributes:
        parameters: the floating-point constants of the graph by name, those of 16 bits as float32. Another dtype,
            `jax.tree.map(lambda x: x.astype(jnp.float64), network)`, is another precision; outputs keep the image's.
        plan: all else.
    """

    # JAX rebuilds pytrees around things that are no arrays, so nothing more is declared.
    parameters: dict[str, Any]
    plan: Plan = dataclasses.field(metadata={"static": True})

    def features(self, image: Image) -> Values:
        """The tensor named `features`: a map `[h, w, c]`, tokens `[n, c]`.

        Raises:
            GraphError: if none was named and none is the last map on the way.
        """
        form = self._form()
        return form.out(self._run(self._given(image), [form])[0]).astype(image.dtype)

    def head(self, features: Values) -> Outputs:
        """The outputs from that tensor.

        Raises:
            GraphError: if something of the image reaches the outputs by another way; see `head_of` and `split_at`.
        """
        form = self._form()
        if self._is_passed():
            raise GraphError(
                f"{self.plan.graph.source}: the outputs depend on the image by other ways than {form.name!r}; "
                "split the network for one image: network.split_at(tensor, image)."
            )
        given = {form.name: form.back(features.astype(self._dtype(features)))}
        return self._outputs(self._run(given, self.plan.outputs), features.dtype)

    def head_of(self, image: Image) -> Callable[[Values], Outputs]:
        """`head` for one image: what passes the features by, class tokens included, stays as it is for the image."""
        return _Rest(self, image) if self._is_passed() else self.head

    def _is_passed(self) -> bool:
        """Whether something of the image reaches the outputs by another way than the features."""
        form = self._form()
        _, beside = needed(self.plan.graph, [output.name for output in self.plan.outputs], [form.name])
        return bool(beside or form.class_tokens)

    def __call__(self, image: Image) -> Outputs:
        """The outputs: logits or an embedding `[o]`, a map `[h, w, c]`, or several by name."""
        return self._outputs(self._run(self._given(image), self.plan.outputs), image.dtype)

    def split_at(self, tensor: str, image: Image) -> Split:
        """The network split at any tensor, for one image: what bypasses the tensor stays as it is for the image.

        Args:
            tensor: its name.
            image: `[H, W, 3]` in [0, 1].

        Returns:
            `features`, the tensor for any image, and `head`, the outputs if the tensor had other values.
        """
        (form,) = forms(self.plan.graph, self.parameters, self.plan.image, (image.shape[0], image.shape[1]), [tensor])
        plan = dataclasses.replace(self.plan, features=form)
        network = OnnxNetwork(self.parameters, plan)
        return Split(_Features(network), _Rest(network, image))

    def shuffled(self, key: PRNGKeyArray) -> "OnnxNetwork":
        """The network without what it learned, for sanity checks: each parameter's values in random order."""
        names = sorted(self.parameters)
        keys = jax.random.split(key, len(names))
        shuffle = {
            name: jax.random.permutation(k, self.parameters[name].ravel()).reshape(self.parameters[name].shape)
            for name, k in zip(names, keys, strict=True)
        }
        return OnnxNetwork(shuffle, self.plan)

    def in_precision(self, dtype: Any, products: str) -> "OnnxNetwork":
        """The network with parameters of another dtype and products of a precision; outputs keep the image's dtype.

        Args:
            dtype: of the parameters, and of what is computed.
            products: see `jax.default_matmul_precision`.
        """
        cast = {name: jnp.asarray(value, dtype) for name, value in self.parameters.items()}
        return OnnxNetwork(cast, dataclasses.replace(self.plan, products=products))

    def identity_parts(self) -> list[Any]:
        """What tells this network from another, wherever its file lies."""
        plan = self.plan
        forms = plan.features, plan.outputs
        return [plan.graph.digest, self.parameters, plan.size, plan.photometry, *forms, plan.products]

    def biases(self, image: Image, *, complete: bool = False) -> list[Values]:
        """The bias of each layer, of the shape of its output: `fame_jax.explainers.fullgrad.Probing`.

        Args:
            image: `[H, W, 3]` in [0, 1].
            complete: of every node on the way from the image; otherwise those of convolutions and batch norms that have
                one and return a map.
        """
        if complete:
            return probes.complete_biases(self._around, image, depending(self.plan.graph))
        return probes.stated_biases(self._around, image)

    def with_probes(self, image: Image, probes_: list[Values], *, complete: bool = False) -> Values:
        """The output if `probes_[i]` is added to the output of the layer of `biases(image)[i]`."""
        names = depending(self.plan.graph) if complete else None
        return probes.with_probes(self._around, image, probes_, names)

    def _around(self, image: Image, around: Around) -> Values:
        outputs = self._outputs(self._run(self._given(image), self.plan.outputs, around), image.dtype)
        if isinstance(outputs, dict):
            raise GraphError(f"{self.plan.graph.source}: {len(outputs)} outputs; expected one: output=...")
        return outputs

    def _form(self) -> Form:
        if self.plan.features is None:
            raise GraphError(
                f"{self.plan.graph.source}: no tensor is known as the feature map; name one: features=... "
                "(fame_jax.onnx.inspect lists candidates)."
            )
        return self.plan.features

    def _dtype(self, like: jax.Array) -> Any:
        return next((p.dtype for p in self.parameters.values()), like.dtype)

    def _given(self, image: Image) -> dict[str, Value]:
        check_pixels(image)
        expected = (*self.plan.size, self.plan.image.channels)
        if any(n is not None and n != found for n, found in zip(expected, image.shape, strict=True)):
            sides = ["any" if n is None else n for n in expected]
            raise GraphError(f"{self.plan.graph.source}: the image is {list(image.shape)}, the graph takes {sides}.")
        x = self.plan.photometry(image).astype(self._dtype(image))
        return {self.plan.image.name: fed(self.plan.image, x)}

    def _run(self, given: dict[str, Value], wanted: Sequence[Form], around: Around | None = None) -> list[Value]:
        names = [form.name for form in wanted]
        with jax.default_matmul_precision(self.plan.products):
            return evaluate(self.plan.graph, self.parameters, given, names, around)

    def _outputs(self, values: list[Value], dtype: Any) -> Outputs:
        out = [form.out(value) for form, value in zip(self.plan.outputs, values, strict=True)]
        out = [x.astype(dtype) if jnp.issubdtype(x.dtype, jnp.floating) else x for x in out]
        if len(out) == 1:
            return out[0]
        return {form.name: x for form, x in zip(self.plan.outputs, out, strict=True)}


@register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class _Features:
    network: Any

    def __call__(self, image: Image) -> Values:
        return self.network.features(image)


@register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class _Rest:
    network: Any
    image: Any

    def __call__(self, features: Values) -> Any:
        network = self.network
        form, given = network._form(), network._given(self.image)
        whole = network._run(given, [form])[0] if form.class_tokens else None
        given |= {form.name: form.back(features.astype(network._dtype(features)), whole)}
        return network._outputs(network._run(given, network.plan.outputs), features.dtype)


def forms(
    graph: Graph, parameters: Mapping[str, Any], image: ImageInput, size: tuple[int, int], names: Sequence[str]
) -> list[Form]:
    """How tensors are handed out, by tracing the graph up to them; constants as they are.

    Raises:
        GraphError: for a name that no tensor has, with the nearest.
    """
    constants = {**graph.constants, **parameters}
    known = [*constants, *(name for node in graph.nodes for name in node.outputs if name)]
    for name in names:
        if name not in known:
            near = did_you_mean(name, nearest(name, known) or known[-3:])
            raise GraphError(f"{graph.source}: no node makes a tensor {name!r}; {near}")
    seen = {name: (value.shape, False) for name, value in constants.items()}
    seen |= shapes(graph, parameters, image, size, names)
    return [Form(name, map_channels(seen[name]) or _channels_of(seen[name][0], size), seen[name][0]) for name in names]


def _channels_of(shape: tuple[int, ...], size: tuple[int, int]) -> Literal["first"] | None:
    """`first` for what has the image's proportions in its last two axes alone: a product that ends a mask head, say.

    Operators on maps tell where channels are, products and the like do not.
    """

    def is_map(height: int, width: int) -> bool:
        return abs(height / size[0] - width / size[1]) <= 1 / min(size)

    return "first" if len(shape) == 4 and is_map(*shape[2:]) and not is_map(*shape[1:3]) else None
