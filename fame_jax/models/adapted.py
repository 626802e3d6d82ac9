"""A callable of any library as a network: a pytree whose arrays are traced, computing in a precision."""

from typing import Any

import jax
import jax.numpy as jnp

from fame_jax.architectures import Precision, precision_of
from fame_jax.held import is_array, with_code, without_code
from fame_jax.network import head_of


@jax.tree_util.register_pytree_node_class
class Keras:
    """A Keras 3 model, which takes and returns a batch, as a network of one image; its variables are traced."""

    def __init__(self, model: Any, trained: list[Any], others: list[Any]):
        self.model, self.trained, self.others = model, trained, others

    @classmethod
    def of(cls, model: Any) -> "Keras":
        """A model with its present variables."""
        return cls(model, *([v.value for v in vs] for vs in (model.trainable_variables, model.non_trainable_variables)))

    def __call__(self, image: jax.Array) -> Any:
        """The model's outputs for one image, outside training."""
        outputs, _ = self.model.stateless_call(self.trained, self.others, image[None], training=False)
        return jax.tree.map(lambda output: output[0], outputs)

    def identity_parts(self) -> list[Any]:
        """What tells this model from another: its layers' code and configuration, and its variables."""
        layers = list(self.model._flatten_layers())
        try:
            config = self.model.to_json()
        except NotImplementedError:
            return [self.model]
        # Keras counts its layers in their names.
        for number, layer in enumerate(layers):
            config = config.replace(f'"{layer.name}"', f'"layer {number}"')
        return [config, [type(layer) for layer in layers], self.trained, self.others]

    def tree_flatten(self) -> tuple[tuple[Any, ...], Any]:
        """Variables are children, the model is code."""
        return (self.trained, self.others), self.model

    @classmethod
    def tree_unflatten(cls, model: Any, children: tuple[Any, ...]) -> "Keras":
        """The inverse of `tree_flatten`."""
        return cls(model, *children)


@jax.tree_util.register_pytree_node_class
class Adapted:
    """A callable whose arrays are traced and whose other leaves are code, computing in a precision.

    Equinox keeps functions and switches among the leaves of a module; a plain function is a leaf itself.
    """

    def __init__(self, network: Any, precision: Precision):
        self.network = network
        self.precision: Precision = precision

    def __getattr__(self, name: str) -> Any:
        """What else detectors say of themselves: whether scores are square roots, and what a feature map is of."""
        if name not in ("root", "extent") or "network" not in self.__dict__:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(self.network, name)

    def _outputs(self, function: Any, value: jax.Array) -> Any:
        _, dtype, products = precision_of(self.precision)
        with jax.default_matmul_precision(products.name.lower()):
            outputs = function(value.astype(dtype))
        return jax.tree.map(lambda output: output.astype(value.dtype) if _is_floating(output) else output, outputs)

    def __call__(self, image: jax.Array) -> Any:
        """The callable's outputs, in the image's dtype."""
        return self._outputs(self.network, image)

    def tree_flatten(self) -> tuple[tuple[Any, ...], Any]:
        """Arrays are children, all else is code."""
        arrays, code = without_code(self.network)
        return (arrays,), (code, self.precision)

    @classmethod
    def tree_unflatten(cls, static: Any, children: tuple[list[Any]]) -> "Adapted":
        """The inverse of `tree_flatten`."""
        code, precision = static
        return cls(with_code(code, *children), precision)


@jax.tree_util.register_pytree_node_class
class AdaptedSplit(Adapted):
    """The same for a callable that has `features` and `head`."""

    def features(self, image: jax.Array) -> Any:
        """The feature map, in the image's dtype."""
        return self._outputs(self.network.features, image)

    def head(self, features: jax.Array) -> Any:
        """The outputs from the feature map."""
        return self._outputs(self.network.head, features)

    def head_of(self, image: jax.Array) -> Any:
        """The same for one image, see `fame_jax.network.head_of`."""
        _, dtype, _ = precision_of(self.precision)
        head = head_of(self.network, image.astype(dtype))
        return lambda features: self._outputs(head, features)


def adapted(network: Any, precision: Precision) -> Adapted:
    """A callable as a network in a precision; its floating point arrays are cast."""
    _, dtype, _ = precision_of(precision)

    def cast(leaf: Any) -> Any:
        if not is_array(leaf):
            return leaf
        return jnp.asarray(leaf, dtype) if _is_floating(leaf) else jnp.asarray(leaf)

    whole = all(callable(getattr(network, name, None)) for name in ("features", "head"))
    return (AdaptedSplit if whole else Adapted)(jax.tree.map(cast, network), precision)


def _is_floating(value: Any) -> bool:
    return hasattr(value, "dtype") and jnp.issubdtype(value.dtype, jnp.floating)
