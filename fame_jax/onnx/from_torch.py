"""A PyTorch module as a network in JAX, by way of an ONNX graph in memory."""

from typing import Any

from fame_jax.onnx.errors import GraphError
from fame_jax.onnx.network import OnnxNetwork
from fame_jax.onnx.reading import read


def from_torch(module: Any, *, size: int | tuple[int, int], channels: int = 3, **options: Any) -> OnnxNetwork:
    """A PyTorch module in evaluation mode as a network in JAX; torch is needed once, here.

    Args:
        module: takes `[N, channels, H, W]`. Its mode is not changed.
        size: rows and columns of the image, or one number for both.
        channels: 3 for RGB.
        **options: those of `fame_jax.onnx.read`: `photometry` is required.

    Returns:
        The network, in the module's precision.

    Raises:
        ImportError: without torch or onnxscript.
        GraphError: for a module that torch cannot export, with what stopped it.

    Example:
        >>> network = from_torch(torchvision.models.resnet50(), size=224, photometry="torchvision")
    """
    try:
        import onnxscript  # noqa: F401 - torch needs it.
        import torch
    except ImportError as error:
        raise ImportError(f"from_torch needs torch and onnxscript: pip install torch onnxscript ({error})") from error
    rows, columns = (size, size) if isinstance(size, int) else size
    kind = next((p.dtype for p in module.parameters()), torch.float32)
    modes = {part: part.training for part in module.modules()}
    try:
        with torch.no_grad():
            example = (torch.zeros(1, channels, rows, columns, dtype=kind),)
            program = torch.onnx.export(module.eval(), example, dynamo=True, verbose=False)
    except torch.onnx.OnnxExporterError as error:
        cause = error.__cause__ or error
        found = " ".join(str(cause).split())[:400]
        raise GraphError(f"{type(module).__name__}: torch cannot export it: {found}.") from error
    finally:
        for part, training in modes.items():
            part.training = training
    assert program is not None
    return read(program.model_proto, **options)
