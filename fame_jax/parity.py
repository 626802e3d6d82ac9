"""A network beside its torch twin, layer by layer: where they part, and whether that is rounding or a fault.

float64 decides. Two programs that compute the same differ there by what rounding in float64 adds up to, 1e-15 to 1e-11
of the largest value in the networks here. A fault is far above: a weight that is another number in float32 differs by
6e-8, a wrong constant or a wrong layer by more. `LIMIT` lies between. Where float64 agrees, a difference in float32 is
rounding, at most what float32 moves the one side and the other from their own float64: the noise floor. A walk (Eq. 3)
crosses the kinks of ReLUs and makes the floor grow with every step.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from fame_jax.architectures import Standardized
from fame_jax.architectures.probes import layer_outputs
from fame_jax.losses import class_logit
from fame_jax.walk import perturb
from weight_conversion import NAMES
from weight_conversion.convert import Counterpart, counterparts
from weight_conversion.twins import Answer, Twin, of_checkpoint, of_module

__all__ = [
    "LIMIT",
    "PRECISIONS",
    "LayerErrors",
    "Twin",
    "compare",
    "of_checkpoint",
    "of_module",
    "parting",
    "table",
    "verdict",
]

LIMIT = 1e-9
"""Largest difference in float64, relative to the largest value, that is rounding."""

STEPS = (1, 2, 3, 4, 5)
"""Lengths of the walks that are compared beside the longest."""

PRECISIONS = ("float64", "float32")


class LayerErrors(NamedTuple):
    """Largest differences of one layer, over all images, each relative to the largest value.

    Attributes:
        layer: the twin's name of it, or what else is compared.
        weights: of its weights; None where it has none, or none that are known.
        float64: between the two in float64; infinite for another shape, NaN for values that are not finite.
        float32: between the two in float32.
        ours: the noise floor, between float32 and float64 of this library.
        torch: the same of torch.
    """

    layer: str
    weights: float | None
    float64: float
    float32: float
    ours: float
    torch: float

    @property
    def parts(self) -> bool:
        """Whether the two are further apart than rounding in float64 can bring them."""
        return not self.float64 <= LIMIT


def compare(
    networks: Mapping[str, Any], architecture: str, twin: Twin, images: Sequence[Any], *, raw: bool, iterations: int
) -> list[LayerErrors]:
    """Compares a network with its twin.

    Args:
        networks: of one RGB image `[H, W, 3]` in [0, 1]; the same network in `float32` and in `float64`.
        architecture: what it is; of any other network, layers are compared that both sides call the same.
        twin: the torch network.
        images: `[H, W, 3]`, RGB in [0, 1].
        raw: the twin takes RGB in [0, 1] as well, rather than what this network's photometry makes of it.
        iterations: steps of the longest walk, of one grey level each, down the twin's largest output.

    Returns:
        Layers in the twin's order of execution, then output, input gradient (of the output times a random vector), and
        the images after walks of 1 to 5 and of `iterations` steps.
    """
    inner = _inner(networks["float32"])
    known = counterparts(inner, architecture, twin.numbers()) if architecture in NAMES else {}
    photometry = _photometry(networks["float32"], raw)
    answers = {precision: twin.answers(precision, photometry) for precision in PRECISIONS}
    steps = sorted({*STEPS, iterations})
    worst: dict[str, np.ndarray] = {}
    for number, image in enumerate(images):
        direction = np.random.default_rng(number).standard_normal(jax.eval_shape(networks["float32"], image).shape)
        theirs = {
            precision: _theirs(answers[precision], np.asarray(image, precision), direction, steps)
            for precision in PRECISIONS
        }
        ours = {}
        for precision, network in networks.items():
            with jax.enable_x64(precision == "float64"):
                pixels, along = (jnp.asarray(values, precision) for values in (image, direction))
                ours[precision] = _ours(network, pixels, along, steps)
        named = {precision: _renamed(values, known) for precision, values in ours.items()}
        for name, row in _rows(named, theirs).items():
            worst[name] = np.maximum(worst.get(name, row), row)
    weights = {layer.name: layer.weights for layer in known.values()}
    return [LayerErrors(name, weights.get(name), *map(float, row)) for name, row in worst.items()]


def parting(rows: Sequence[LayerErrors]) -> LayerErrors | None:
    """The first row at which the two part; None if they agree."""
    return next((row for row in rows if row.parts), None)


def verdict(rows: Sequence[LayerErrors]) -> str:
    """In words, where the two part and what that tells."""
    first = parting(rows)
    if first is None:
        exact, rounded = (max(rows, key=lambda row: getattr(row, name)) for name in PRECISIONS)
        return (
            f"equal: in float64 the two agree to {exact.float64:.1e} (limit {LIMIT:.0e}). In float32 they differ by up "
            f"to {rounded.float32:.1e}, at {rounded.layer}, which is rounding: float32 alone moves torch there by "
            f"{rounded.torch:.1e} and this library by {rounded.ours:.1e}."
        )
    size = "other shapes" if np.isinf(first.float64) else f"a difference of {first.float64:.1e}"
    if first.weights is None:
        why = "Everything before it agrees."
    elif first.weights:
        why = f"Its weights differ by {first.weights:.1e}: they are another layer's, in another order, or rounded."
    else:
        why = "Its weights are the same, so it computes something else: an epsilon, a stride, what it is given."
    return f"a fault at {first.layer}: {size} in float64, where rounding is below {LIMIT:.0e}. {why}"


def table(rows: Sequence[LayerErrors]) -> list[tuple[str, ...]]:
    """The rows as cells below their head."""
    head = ("layer", "weights", "float64", "float32", "floor here", "floor of torch", "")
    return [
        head,
        *(
            (
                row.layer,
                "" if row.weights is None else f"{row.weights:.1e}",
                *(f"{value:.1e}" for value in (row.float64, row.float32, row.ours, row.torch)),
                "parts" if row.parts else "",
            )
            for row in rows
        ),
    ]


def _inner(network: Any) -> Any:
    return network.network if isinstance(network, Standardized) else network


def _photometry(network: Any, raw: bool) -> Callable[[Any], Any]:
    """What a network does to RGB in [0, 1] before its first layer, for tensors `[H, W, 3]`."""
    if raw or not isinstance(network, Standardized):
        return lambda image: image

    def standardized(image: Any) -> Any:
        x = (image - image.new_tensor(network.mean)) / image.new_tensor(network.std)
        return x.flip(-1) if network.reverse_channels else x

    return standardized


def _ours(network: Any, image: jax.Array, direction: jax.Array, steps: Sequence[int]) -> dict[str, np.ndarray]:
    output, gradient, layers = _answer(network, image, direction)
    label = jnp.argmax(output)
    walks, x, taken = {}, image, 0
    for n in steps:
        walks[_of_steps(n)] = x = _walked(x, network, label, n - taken)
        taken = n
    return jax.tree.map(np.asarray, layers | {"output": output, "input gradient": gradient} | walks)


@jax.jit
def _walked(image: jax.Array, network: Any, label: jax.Array, iterations: Any) -> jax.Array:
    return perturb(class_logit, image, network, label, iterations=iterations).perturbed


@jax.jit
def _answer(network: Any, image: jax.Array, direction: jax.Array) -> tuple[jax.Array, jax.Array, dict[str, jax.Array]]:
    """Output, input gradient, and outputs of layers by our paths."""

    def run(image: jax.Array) -> tuple[jax.Array, dict[str, jax.Array]]:
        return layer_outputs(network, image) if isinstance(network, nnx.Module) else (network(image), {})

    output, pullback, layers = jax.vjp(run, image, has_aux=True)
    if isinstance(network, Standardized):
        layers = {path.removeprefix("network."): value for path, value in layers.items()}
    return output, *pullback(direction), layers


def _theirs(
    answer: Callable[[np.ndarray, np.ndarray], Answer], image: np.ndarray, direction: np.ndarray, steps: Sequence[int]
) -> dict[str, np.ndarray]:
    first = answer(image, direction.astype(image.dtype))
    down = np.eye(first.output.size, dtype=image.dtype)[np.argmax(first.output)]
    walks, x = {}, image
    for n in range(1, steps[-1] + 1):
        gradient = answer(x, down).gradient
        x = x - gradient / (np.abs(gradient).max() or 1) / 255
        if n in steps:
            walks[_of_steps(n)] = x
    return first.layers | {"output": first.output, "input gradient": first.gradient} | walks


def _of_steps(steps: int) -> str:
    return f"walk of {steps} step{'s' if steps > 1 else ''}"


def _renamed(values: dict[str, np.ndarray], known: Mapping[str, Counterpart]) -> dict[str, np.ndarray]:
    return {known[path].name if path in known else path: value for path, value in values.items()}


def _rows(ours: dict[str, dict[str, np.ndarray]], theirs: dict[str, dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """By the twin's names in its order: float64, float32, our noise floor, torch's."""
    return {
        name: np.array(
            [
                *(_difference(ours[precision][name], theirs[precision][name]) for precision in PRECISIONS),
                *(_difference(side["float32"][name], side["float64"][name]) for side in (ours, theirs)),
            ]
        )
        for name in theirs["float64"]
        if name in ours["float64"]
    }


def _difference(found: np.ndarray, expected: np.ndarray) -> float:
    """Relative to the largest value; infinite for another shape.

    Of torch's layouts the one that fits better is taken: channels first or last, all tokens or the class token.
    """
    found, expected = found.squeeze(), expected.squeeze()
    layouts = [expected, np.moveaxis(expected, 0, -1), expected[0]] if expected.ndim > 1 else [expected]
    apart = [
        np.abs(found - layout).max() / (np.abs(layout).max() or 1) for layout in layouts if layout.shape == found.shape
    ]
    return float(min(apart, default=np.inf))
