"""Evidence that a conversion is right: where each weight came from, and how far the network is from its torch twin.

PyTorch is needed for the second part alone, and imported there.
"""

import os
import pickle
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from fame_jax.architectures import architecture, with_precision
from fame_jax.words import columns
from weight_conversion.checkpoint_file import read_checkpoint
from weight_conversion.convert import Row, convert_file

Twin = Callable[[Any], tuple[Any, Any]]
"""A torch network: normalised images `[B, C, H, W]` to feature map `[B, C, h, w]` (or None) and output."""


class Parity(NamedTuple):
    """Largest differences from the twin, each relative to the twin's largest value.

    Attributes:
        features: of the feature map; None if the twin has no layer whose output it is.
        output: of the logits or the embedding.
        gradient: of the input gradient of the output times a random vector.
        twin: what the network was compared with.
    """

    features: float | None
    output: float
    gradient: float
    twin: str


def table(rows: Iterable[Row]) -> str:
    """A line for each weight: our path, the checkpoint's key, its shape there, SHA-256 of its bytes."""
    cells = [("layer", "source", "shape", "sha256")]
    cells += [(row.layer, row.source, "x".join(map(str, row.shape)), row.sha256) for row in rows]
    return columns(cells)


def parity_lines(name: str, path: str | os.PathLike[str]) -> str:
    """`parity` in words in float32 and in float64, or why there is none."""
    try:
        found = {precision: parity(name, path, precision) for precision in ("float32", "float64")}
    except ImportError as error:
        return f"parity: not measured, {error}"
    lines = [
        f"parity with {found['float64'].twin}, largest difference relative to the largest value "
        "(in float32 with rounding, in float64 almost without):"
    ]
    for precision, (features, output, gradient, _) in found.items():
        of_features = "no such layer" if features is None else f"{features:.1e}"
        lines.append(f"{precision}: features {of_features}, output {output:.1e}, input gradient {gradient:.1e}")
    return "\n".join(lines)


def parity(
    name: str, path: str | os.PathLike[str], precision: Literal["float32", "float64"] = "float64", *, seed: int = 0
) -> Parity:
    """Compares a network with the torch twin of that name, which takes its weights from the publisher's file.

    In float32 a value that rounding moves across the kink of a ReLU changes the gradient by far more than rounding,
    in both libraries. float64 tells that from an error of the port.

    Args:
        name: of the architecture.
        path: the publisher's file.
        precision: of both.
        seed: of the normalised image, and of the vector that makes a scalar of the output.

    Raises:
        ImportError: if PyTorch, or torchvision for its networks, is not installed.
    """
    row = architecture(name)
    twin, description = _twin(name, path, precision)
    generator = np.random.default_rng(seed)
    image = generator.standard_normal((row.size, row.size, 3)).astype(precision)
    with jax.enable_x64(precision == "float64"):
        network = with_precision(convert_file(name, path).network, precision)
        outputs = jax.eval_shape(network, image).shape
        direction = generator.standard_normal(outputs).astype(precision)
        maps, output, gradient = _of_network(network, jnp.asarray(image), jnp.asarray(direction))
    expected = _of_twin(twin, image, direction)
    features = None if expected[0] is None else _difference(maps, expected[0])
    return Parity(features, _difference(output, expected[1]), _difference(gradient, expected[2]), description)


def _difference(found: Any, expected: np.ndarray) -> float:
    if found.shape != expected.shape:
        raise ValueError(f"the network gives the shape {found.shape}, its twin {expected.shape}.")
    largest = np.abs(expected).max()
    return float(np.abs(np.asarray(found) - expected).max() / (largest if largest > 0 else 1))


@jax.jit
def _of_network(network: Any, image: jax.Array, direction: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Feature map, output and input gradient."""

    def output_and_maps(image: jax.Array) -> tuple[jax.Array, jax.Array]:
        maps = network.features(image)
        return network.head(maps), maps

    output, pullback, maps = jax.vjp(output_and_maps, image, has_aux=True)
    return maps, output, *pullback(direction)


def _of_twin(twin: Twin, image: np.ndarray, direction: np.ndarray) -> tuple[np.ndarray | None, np.ndarray, np.ndarray]:
    """Feature map `[h, w, c]`, output and input gradient `[H, W, 3]` of the twin."""
    import torch

    x = torch.from_numpy(image).requires_grad_()
    features, output = twin(x.permute(2, 0, 1)[None])
    (gradient,) = torch.autograd.grad((output[0] * torch.from_numpy(direction)).sum(), x)
    maps = None if features is None else features[0].permute(1, 2, 0).detach().numpy()
    return maps, output[0].detach().numpy(), gradient.numpy()


def _twin(name: str, path: str | os.PathLike[str], precision: str) -> tuple[Twin, str]:
    """The torch network of an architecture in a precision, and what it is."""
    try:
        import torch
    except ImportError as error:
        raise ImportError("PyTorch is not installed: pip install fame-jax[torch]") from error
    state = {key: value.to(getattr(torch, precision)) for key, value in _state(path).items()}
    if architecture(name).argument == "classes":
        twin, version = _torchvision(name, state)
        return twin, f"torchvision {version}, torch {torch.__version__}"
    state = {key.removeprefix("model."): value for key, value in state.items()}
    twin = _sface(state) if name == "sface" else _iresnet(state)
    return twin, f"the publisher's layers in torch {torch.__version__}"


def _state(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The state dict as torch reads it; what torch does not read safely or at all, as `read_checkpoint` does."""
    import torch

    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        return {key: torch.tensor(value.astype(np.float32)) for key, value in read_checkpoint(path).items()}
    for place in ("state_dict", "model", "state_dict"):
        state = state.get(place, state)
    return {key: value for key, value in state.items() if isinstance(value, torch.Tensor)}


def _torchvision(name: str, state: Mapping[str, Any]) -> tuple[Twin, str]:
    import torch

    try:
        import torchvision
    except (ImportError, RuntimeError) as error:
        # torchvision beside a torch of another build fails with a RuntimeError on operators it lacks.
        raise ImportError(f"torchvision cannot be imported ({error}): pip install fame-jax[torch]") from error
    module = torchvision.models.get_model(name, weights=None)
    module.to(next(iter(state.values())).dtype).load_state_dict(state)
    module.eval()

    def twin(x: Any) -> tuple[Any, Any]:
        seen = []
        layer = _submodule(module, architecture(name).layer)
        handle = layer.register_forward_hook(lambda _, __, output: seen.append(output))
        output = module(x)
        handle.remove()
        # A transformer's layer gives no map of features but a row of tokens, in a tuple.
        return seen[0] if isinstance(seen[0], torch.Tensor) else None, output

    return twin, torchvision.__version__


def _submodule(module: Any, layer: str) -> Any:
    """`layer4[-1]` of a module."""
    for part in re.findall(r"-?\w+", layer):
        module = module[int(part)] if part.lstrip("-").isdigit() else getattr(module, part)
    return module


def _iresnet(state: Mapping[str, Any]) -> Twin:
    """AdaFace's IResNet as a function of its state dict."""
    import torch.nn.functional as F

    def norm(x: Any, key: str) -> Any:
        mean, var = state[f"{key}.running_mean"], state[f"{key}.running_var"]
        return F.batch_norm(x, mean, var, state.get(f"{key}.weight"), state.get(f"{key}.bias"))

    def block(x: Any, key: str, first: bool) -> Any:
        projected = f"{key}.shortcut_layer.0.weight" in state
        stride = 2 if first or projected else 1
        skip = x[:, :, ::stride, ::stride]
        if projected:
            skip = norm(F.conv2d(skip, state[f"{key}.shortcut_layer.0.weight"]), f"{key}.shortcut_layer.1")
        x = F.conv2d(norm(x, f"{key}.res_layer.0"), state[f"{key}.res_layer.1.weight"], padding=1)
        x = F.prelu(norm(x, f"{key}.res_layer.2"), state[f"{key}.res_layer.3.weight"])
        x = F.conv2d(x, state[f"{key}.res_layer.4.weight"], stride=stride, padding=1)
        return norm(x, f"{key}.res_layer.5") + skip

    def twin(x: Any) -> tuple[Any, Any]:
        x = F.conv2d(x, state["input_layer.0.weight"], padding=1)
        x = F.prelu(norm(x, "input_layer.1"), state["input_layer.2.weight"])
        for i in range(sum(key.startswith("body.") and key.endswith(".res_layer.1.weight") for key in state)):
            x = block(x, f"body.{i}", first=i == 0)
        output = F.linear(
            norm(x, "output_layer.0").flatten(1), state["output_layer.3.weight"], state["output_layer.3.bias"]
        )
        return x, norm(output, "output_layer.4")

    return twin


def _sface(state: Mapping[str, Any]) -> Twin:
    """The graph of OpenCV's SFace behind its scaling of the pixels, as a function of its constants."""
    import torch.nn.functional as F

    def norm(x: Any, key: str, epsilon: float) -> Any:
        mean, var = state[f"{key}_moving_mean"], state[f"{key}_moving_var"]
        return F.batch_norm(x, mean, var, state[f"{key}_gamma"], state[f"{key}_beta"], eps=epsilon)

    def unit(x: Any, key: str, stride: int = 1) -> Any:
        kernel = state[f"{key}_conv2d_weight"]
        groups = x.shape[1] // kernel.shape[1]
        x = F.conv2d(x, kernel, stride=stride, padding=kernel.shape[2] // 2, groups=groups)
        return F.prelu(norm(x, f"{key}_batchnorm", 1e-3), state[f"{key}_relu_gamma"].flatten())

    def twin(x: Any) -> tuple[Any, Any]:
        x = unit(x, "conv_1")
        for i in range(2, 15):
            x = unit(unit(x, f"conv_{i}_dw", stride=2 if i in (3, 5, 7, 13) else 1), f"conv_{i}")
        output = F.linear(norm(x, "bn1", 2e-5).flatten(1), state["pre_fc1_weight"], state["pre_fc1_bias"])
        return x, norm(output, "fc1", 2e-5)

    return twin
