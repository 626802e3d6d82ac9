"""The torch side of a comparison: a published network with a checkpoint's weights, or a module of one's own.

PyTorch is imported here alone, and only once it is called for.
"""

import copy
import functools
import os
import pathlib
import pickle
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from fame_jax.architectures import architecture
from weight_conversion.checkpoint_file import read_candidates
from weight_conversion.convert import convert_file
from weight_conversion.errors import ConversionError

Record = Callable[[str, Any], Any]
"""A layer's name and its output, which is handed back."""


class Answer(NamedTuple):
    """What torch computes for one image.

    Attributes:
        layers: outputs by the layers' names, in order of execution, as torch has them, without the batch axis.
        output: of the network, `[o]`.
        gradient: of the output times a direction with respect to the image, `[H, W, 3]`.
    """

    layers: dict[str, np.ndarray]
    output: np.ndarray
    gradient: np.ndarray


@dataclass(frozen=True)
class Twin:
    """A torch network.

    Attributes:
        description: what it is.
        state: its weights in float32, by its own keys.
        at: from `torch.float32` or `torch.float64` to the network in that precision: a function of images
            `[1, 3, H, W]` and of what records the output of each layer.
    """

    description: str
    state: Mapping[str, Any]
    at: Callable[[Any], Callable[[Any, Record], Any]]

    def numbers(self) -> dict[str, np.ndarray]:
        """The weights as NumPy has them."""
        return {key: value.numpy() for key, value in self.state.items()}

    def saved(self, path: pathlib.Path) -> pathlib.Path:
        """The path, where the weights are now a checkpoint."""
        import torch

        torch.save(dict(self.state), path)
        return path

    def answers(self, precision: str, photometry: Callable[[Any], Any]) -> Callable[[np.ndarray, np.ndarray], Answer]:
        """The network in a precision, as a function of image `[H, W, 3]` and direction `[o]`.

        Args:
            precision: `float32` or `float64`.
            photometry: from RGB in [0, 1] to what the network takes, both `[H, W, 3]`.
        """
        import torch

        network = self.at(getattr(torch, precision))

        def answer(image: np.ndarray, direction: np.ndarray) -> Answer:
            layers: dict[str, np.ndarray] = {}

            def record(name: str, value: Any) -> Any:
                first = value[0] if isinstance(value, tuple) else value
                if isinstance(first, torch.Tensor) and first.ndim > 1:
                    # Copied, since an activation may work in place.
                    layers.setdefault(name, first.detach()[0].clone().numpy())
                return value

            x = torch.from_numpy(image).requires_grad_()
            output = network(photometry(x).permute(2, 0, 1)[None], record)
            output = output[0] if isinstance(output, tuple) else output
            if not isinstance(output, torch.Tensor) or output.numel() != direction.size:
                found = getattr(output, "shape", type(output).__name__)
                raise ConversionError(f"{self.description}: returns {found}, expected {direction.size} values.")
            (gradient,) = torch.autograd.grad((output.flatten() * torch.from_numpy(direction)).sum(), x)
            return Answer(layers, output.detach().flatten().numpy(), gradient.numpy())

        return answer


def of_module(module: Any, description: str) -> Twin:
    """The twin that a torch module is, in evaluation; the module itself is left as it is.

    Raises:
        ConversionError: if it is no torch module.
        ImportError: if PyTorch is not installed.
    """
    torch = _torch()
    if not isinstance(module, torch.nn.Module):
        raise ConversionError(f"{description}: a {type(module).__name__}, expected a torch.nn.Module.")
    module = copy.deepcopy(module).float().eval()

    def at(dtype: Any) -> Callable[[Any, Record], Any]:
        return functools.partial(_run, copy.deepcopy(module).to(dtype))

    return Twin(f"{description}, torch {torch.__version__}", module.state_dict(), at)


def of_checkpoint(name: str, path: str | os.PathLike[str]) -> Twin:
    """The network of an architecture in torch, with the weights of a file: torchvision's, or the publisher's layers.

    torch reads the file itself wherever it can.

    Args:
        name: of the architecture.
        path: the publisher's or trainer's file.

    Raises:
        ConversionError: if torch's network has other weights.
        ImportError: if PyTorch, or torchvision for its networks, is not installed.
    """
    torch = _torch()
    row, weights = architecture(name), convert_file(name, path).rows
    state = _state(path, [weight.source for weight in weights])
    if row.argument == "classes":
        outputs = next(weight.shape[0] for weight in weights if weight.layer == f"{row.last}.kernel")
        return of_module(_torchvision(name, state, outputs, path), f"{os.fspath(path)} in torchvision's {name}")
    run = _sface if name == "sface" else _iresnet
    description = f"{os.fspath(path)} in the publisher's layers, torch {torch.__version__}"
    return Twin(
        description, state, lambda dtype: functools.partial(run, {key: value.to(dtype) for key, value in state.items()})
    )


def _torch() -> Any:
    try:
        import torch
    except ImportError as error:
        raise ImportError("PyTorch is not installed: pip install 'fame-jax[torch]'") from error
    return torch


def _run(module: Any, x: Any, record: Record) -> Any:
    def seen(name: str, _: Any, __: Any, output: Any) -> None:
        record(name, output)

    hooks = [layer.register_forward_hook(functools.partial(seen, name)) for name, layer in module.named_modules()]
    try:
        return module(x)
    finally:
        for hook in hooks:
            hook.remove()


def _state(path: str | os.PathLike[str], sources: Collection[str]) -> dict[str, Any]:
    """The dictionary of a file that has these keys, without what is before all of them.

    As torch reads it; what torch does not read safely or at all, as `read_candidates` does.
    """
    import torch

    try:
        places = list(_dictionaries(torch.load(path, map_location="cpu", weights_only=True)))
    except pickle.UnpicklingError:
        read = read_candidates(path, lambda keys: set(sources) <= set(keys)).values()
        places = [{key: torch.tensor(value.astype(np.float32)) for key, value in place.items()} for place in read]
    state = next(place for place in places if set(sources) <= set(place))
    common = os.path.commonprefix([key.split(".") for key in sources])  # noqa: RUF071 - of lists of parts
    prefix = "".join(f"{part}." for part in common)
    return {key.removeprefix(prefix): value.float() for key, value in state.items() if key.startswith(prefix)}


def _dictionaries(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        for inside in value.values():
            yield from _dictionaries(inside)


def _torchvision(name: str, state: Mapping[str, Any], outputs: int, path: str | os.PathLike[str]) -> Any:
    try:
        import torchvision
    except (ImportError, RuntimeError) as error:
        # torchvision beside a torch of another build fails with a RuntimeError on operators it lacks.
        raise ImportError(f"torchvision cannot be imported ({error}): pip install 'fame-jax[torch]'") from error
    module = torchvision.models.get_model(name, weights=None, num_classes=outputs)
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        raise ConversionError(
            f"{os.fspath(path)}: torchvision's {name} does not load it; give the torch module itself, as "
            "file.py:attribute."
        ) from error
    return module


def _iresnet(state: Mapping[str, Any], x: Any, record: Record) -> Any:
    """AdaFace's IResNet as a function of its state dict."""
    import torch.nn.functional as F

    def norm(x: Any, key: str) -> Any:
        mean, var = state[f"{key}.running_mean"], state[f"{key}.running_var"]
        return record(key, F.batch_norm(x, mean, var, state.get(f"{key}.weight"), state.get(f"{key}.bias")))

    def conv(x: Any, key: str, stride: int = 1, padding: int = 0) -> Any:
        return record(key, F.conv2d(x, state[f"{key}.weight"], stride=stride, padding=padding))

    def prelu(x: Any, key: str) -> Any:
        return record(key, F.prelu(x, state[f"{key}.weight"]))

    def block(x: Any, key: str, first: bool) -> Any:
        projected = f"{key}.shortcut_layer.0.weight" in state
        stride = 2 if first or projected else 1
        skip = x[:, :, ::stride, ::stride]
        if projected:
            skip = norm(conv(skip, f"{key}.shortcut_layer.0"), f"{key}.shortcut_layer.1")
        x = conv(norm(x, f"{key}.res_layer.0"), f"{key}.res_layer.1", padding=1)
        x = prelu(norm(x, f"{key}.res_layer.2"), f"{key}.res_layer.3")
        x = conv(x, f"{key}.res_layer.4", stride=stride, padding=1)
        return norm(x, f"{key}.res_layer.5") + skip

    x = prelu(norm(conv(x, "input_layer.0", padding=1), "input_layer.1"), "input_layer.2")
    for i in range(sum(key.startswith("body.") and key.endswith(".res_layer.1.weight") for key in state)):
        x = block(x, f"body.{i}", first=i == 0)
    x = norm(x, "output_layer.0").flatten(1)
    output = F.linear(x, state["output_layer.3.weight"], state["output_layer.3.bias"])
    return norm(record("output_layer.3", output), "output_layer.4")


def _sface(state: Mapping[str, Any], x: Any, record: Record) -> Any:
    """The graph of OpenCV's SFace behind its scaling of the pixels, as a function of its constants."""
    import torch.nn.functional as F

    def norm(x: Any, key: str, epsilon: float) -> Any:
        mean, var = state[f"{key}_moving_mean"], state[f"{key}_moving_var"]
        return record(key, F.batch_norm(x, mean, var, state[f"{key}_gamma"], state[f"{key}_beta"], eps=epsilon))

    def unit(x: Any, key: str, stride: int = 1) -> Any:
        kernel = state[f"{key}_conv2d_weight"]
        groups = x.shape[1] // kernel.shape[1]
        x = F.conv2d(x, kernel, stride=stride, padding=kernel.shape[2] // 2, groups=groups)
        x = norm(record(f"{key}_conv2d", x), f"{key}_batchnorm", 1e-3)
        return record(f"{key}_relu", F.prelu(x, state[f"{key}_relu_gamma"].flatten()))

    x = unit(x, "conv_1")
    for i in range(2, 15):
        x = unit(unit(x, f"conv_{i}_dw", stride=2 if i in (3, 5, 7, 13) else 1), f"conv_{i}")
    x = norm(x, "bn1", 2e-5).flatten(1)
    return norm(record("pre_fc1", F.linear(x, state["pre_fc1_weight"], state["pre_fc1_bias"])), "fc1", 2e-5)
