"""A callable of any library as a network: a pytree whose arrays are traced, computing in a precision."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from fame_jax.architectures import Precision, precision_of


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

    def __init__(self, arrays: list[Any], code: tuple[Any, tuple[Any, ...]], precision: Precision):
        self.arrays, self.code = arrays, code
        self.precision: Precision = precision

    @property
    def inner(self) -> Any:
        """The callable that was adapted, in its precision."""
        tree, static = self.code
        leaves = [code if array is None else array for array, code in zip(self.arrays, static, strict=True)]
        return jax.tree.unflatten(tree, leaves)

    def _outputs(self, function: Any, value: jax.Array) -> Any:
        _, dtype, products = precision_of(self.precision)
        with jax.default_matmul_precision(products.name.lower()):
            outputs = function(value.astype(dtype))
        return jax.tree.map(lambda output: output.astype(value.dtype) if _is_floating(output) else output, outputs)

    def __call__(self, image: jax.Array) -> Any:
        """The callable's outputs, in the image's dtype."""
        return self._outputs(self.inner, image)

    def tree_flatten(self) -> tuple[tuple[Any, ...], Any]:
        """Arrays are children, all else is code."""
        return (self.arrays,), (self.code, self.precision)

    @classmethod
    def tree_unflatten(cls, static: Any, children: tuple[Any, ...]) -> Any:
        """The inverse of `tree_flatten`."""
        return cls(children[0], *static)


@jax.tree_util.register_pytree_node_class
class AdaptedSplit(Adapted):
    """The same for a callable that has `features` and `head`."""

    def features(self, image: jax.Array) -> Any:
        """The feature map, in the image's dtype."""
        return self._outputs(self.inner.features, image)

    def head(self, features: jax.Array) -> Any:
        """The outputs from the feature map."""
        return self._outputs(self.inner.head, features)


def adapted(network: Any, precision: Precision) -> Adapted:
    """A callable as a network in a precision; its floating point arrays are cast."""
    _, dtype, _ = precision_of(precision)
    leaves, tree = jax.tree.flatten(network)
    is_array = [isinstance(leaf, jax.Array) or hasattr(leaf, "__array__") for leaf in leaves]
    cast = partial(jnp.asarray, dtype=dtype)
    arrays = [
        None if not traced else cast(leaf) if _is_floating(leaf) else jnp.asarray(leaf)
        for leaf, traced in zip(leaves, is_array, strict=True)
    ]
    static = tuple(None if traced else leaf for leaf, traced in zip(leaves, is_array, strict=True))
    whole = all(callable(getattr(network, name, None)) for name in ("features", "head"))
    return (AdaptedSplit if whole else Adapted)(arrays, (tree, static), precision)


def _is_floating(value: Any) -> bool:
    return hasattr(value, "dtype") and jnp.issubdtype(value.dtype, jnp.floating)
