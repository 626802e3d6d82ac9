"""A ported network against its PyTorch twin: the same random weights, the same images, the same walk."""

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fame_jax.losses import class_logit
from fame_jax.walk import perturb
from weight_conversion import Names, convert

torch = pytest.importorskip("torch")


class Tolerance(NamedTuple):
    """Largest difference allowed, relative to the largest value; for the walk in grey levels."""

    relative: float
    walk: float


TOLERANCES = {torch.float32: Tolerance(1e-4, 0.3), torch.float64: Tolerance(1e-10, 1e-8 * 255)}
STEPS = 5

# The images are small: a thread more would only wait, for the other processes of the test run too.
torch.set_num_threads(1)


def randomise(module: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """Gives a module weights under which every part of it matters, and turns it to evaluation.

    Fresh modules have batch norms that do nothing, layer scales that switch their branch off and heads of zeros: a port
    could leave any of them out and still agree.
    """
    generator = torch.Generator().manual_seed(seed)

    def uniform(tensor: torch.Tensor, low: float, high: float) -> None:
        tensor.uniform_(low, high, generator=generator)

    with torch.no_grad():
        for layer in module.modules():
            for name, parameter in layer.named_parameters(recurse=False):
                if isinstance(layer, torch.nn.PReLU):
                    uniform(parameter, -0.1, 0.4)
                elif isinstance(layer, torch.nn.Conv2d | torch.nn.Linear) and name == "weight":
                    fan_in = parameter[0].numel()
                    parameter.normal_(0, fan_in**-0.5, generator=generator)
                elif name in ("weight", "layer_scale") and parameter.numel() == max(parameter.shape):
                    uniform(parameter, 0.5, 1.5)
                elif name == "in_proj_weight":
                    parameter.normal_(0, parameter.shape[1] ** -0.5, generator=generator)
                else:
                    parameter.normal_(0, 0.2, generator=generator)
            if isinstance(layer, torch.nn.modules.batchnorm._BatchNorm):
                layer.running_mean.normal_(0, 0.2, generator=generator)
                uniform(layer.running_var, 0.5, 1.5)
    return module.eval()


def converted(
    network: Any, module: torch.nn.Module, names: Names, state: Mapping[str, torch.Tensor] | None = None
) -> Any:
    """The network with the module's weights, in the module's dtype; `state` in place of its state dict if given."""
    arrays = {key: value.numpy() for key, value in (state or module.state_dict()).items()}
    return convert(network, arrays, names, dtype=_name(next(module.parameters()).dtype)).network


def images(size: int, dtype: torch.dtype, count: int = 3, seed: int = 1) -> np.ndarray:
    """`[count, size, size, 3]` in [0, 1]."""
    numbers = np.random.default_rng(seed).random((count, size, size, 3))
    return numbers.astype(_name(dtype))


def channels_last(maps: torch.Tensor) -> torch.Tensor:
    """`[B, C, h, w]` to `[B, h, w, C]`."""
    return maps.permute(0, 2, 3, 1)


def compare(
    network: Any,
    module: torch.nn.Module,
    layer: str | None,
    size: int,
    *,
    as_map: Callable[[torch.Tensor], torch.Tensor] = channels_last,
    label: int = 1,
) -> None:
    """Asserts that a network and its twin agree in value, in gradient, in a batch and along a walk.

    Args:
        network: has `features` and `head`; holds the module's weights in the module's dtype.
        module: the twin.
        layer: dotted path of the submodule whose output `features` is; None to leave the features out.
        size: side of the images.
        as_map: turns that submodule's output into `[B, h, w, C]`.
        label: the output that the walk descends.
    """
    dtype = next(module.parameters()).dtype
    tolerance = TOLERANCES[dtype]
    batch = images(size, dtype)
    expected = _of_torch(module, layer, batch, as_map)

    found = _compiled(jax.jit(jax.vmap(functools.partial(_of_network, network))), batch)(batch)
    for name, ours, reference in zip(("features", "output", "gradient"), found, expected, strict=True):
        if reference is not None:
            assert ours.dtype == reference.dtype, f"{name} is {ours.dtype}, the twin's is {reference.dtype}"
            assert relative_difference(ours, reference) <= tolerance.relative, f"{name} differs, batch of 3"

    image = jnp.asarray(batch[0])
    options = {"iterations": 1, "step_size": 1.0}
    walk = _compiled(jax.jit(functools.partial(perturb, class_logit)), image, network, label, **options)
    one_step = walk(image, network, label, **options)
    gradient = twin_gradient(module, batch[:1], label)[0]
    assert abs(one_step.first_loss - expected[1][0, label]) <= tolerance.relative * np.abs(expected[1]).max(), (
        "output, one image"
    )
    step = gradient / np.abs(gradient).max()
    assert relative_difference(image - one_step.perturbed, step) <= tolerance.relative, "gradient, one image"

    walked = walk(image, network, label, iterations=STEPS, step_size=1 / 255).perturbed
    difference = np.abs(np.asarray(walked) - lots_in_torch(module, batch[:1], label, STEPS)[0]).max() * 255
    assert difference <= tolerance.walk, f"{STEPS} steps end {difference:.3g} grey levels apart"


def _of_network(network: Any, image: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Feature map, output and input gradient of the output times `_cotangent`."""

    def output_and_features(image: jax.Array) -> tuple[jax.Array, jax.Array]:
        features = network.features(image)
        return network.head(features), features

    output, pullback, features = jax.vjp(output_and_features, image, has_aux=True)
    (gradient,) = pullback(jnp.asarray(_cotangent(output.shape[0]), output.dtype))
    return features, output, gradient


def _compiled(function: Any, *args: Any, **options: Any) -> Any:
    """Compiled in a hurry: the images are small and the programs run once."""
    return function.lower(*args, **options).compile({"xla_backend_optimization_level": 0})


def relative_difference(found: Any, reference: Any) -> float:
    """Largest difference over the largest reference value; a difference in shape is an error."""
    found, reference = np.asarray(found), np.asarray(reference)
    assert found.shape == reference.shape, f"shape {found.shape}, expected {reference.shape}"
    return float(np.abs(found - reference).max() / np.abs(reference).max())


def lots_in_torch(module: torch.nn.Module, batch: np.ndarray, label: int, steps: int) -> np.ndarray:
    """Eq. (3) on one logit, one grey level a step, written with autograd."""
    x = torch.from_numpy(batch).permute(0, 3, 1, 2).contiguous()
    for _ in range(steps):
        gradient = _logit_gradient(module, x, label)
        x = x - gradient / gradient.abs().amax((1, 2, 3), keepdim=True) / 255
    return channels_last(x).numpy()


def twin_gradient(module: torch.nn.Module, batch: np.ndarray, label: int) -> np.ndarray:
    """Gradient of one output with respect to the images, `[B, H, W, C]`."""
    x = torch.from_numpy(batch).permute(0, 3, 1, 2).contiguous()
    return channels_last(_logit_gradient(module, x, label)).numpy()


def _logit_gradient(module: torch.nn.Module, x: torch.Tensor, label: int) -> torch.Tensor:
    x = x.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(module(x)[:, label].sum(), x)
    return gradient


def _of_torch(
    module: torch.nn.Module, layer: str | None, batch: np.ndarray, as_map: Callable[[torch.Tensor], torch.Tensor]
) -> tuple[np.ndarray | None, np.ndarray, np.ndarray]:
    """Feature map, output and input gradient of the output times `_cotangent`."""
    seen: list[torch.Tensor] = []
    if layer is not None:
        hook = module.get_submodule(layer).register_forward_hook(lambda _, __, output: seen.append(output))
    x = torch.from_numpy(batch).permute(0, 3, 1, 2).contiguous().requires_grad_()
    output = module(x)
    if layer is not None:
        hook.remove()
    weights = torch.from_numpy(_cotangent(output.shape[1])).to(output.dtype)
    (gradient,) = torch.autograd.grad((output * weights).sum(), x)
    maps = as_map(seen[0]).detach().numpy() if seen else None
    return maps, output.detach().numpy(), channels_last(gradient).numpy()


def _cotangent(outputs: int) -> np.ndarray:
    return np.random.default_rng(2).standard_normal(outputs)


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
