"""The same walk in PyTorch: what the bench scripts compare with. Random weights; nothing is downloaded."""

import copy
import pathlib
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tests"))
from reference.iresnet_torch import DEPTHS, IResNet
from reference.vision import torchvision

FORMS = ("eager", "channels_last", "compile")
DTYPES = {"float32": torch.float32, "tf32": torch.float32, "bfloat16": torch.bfloat16, "float64": torch.float64}
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"

Walk = Callable[[int], torch.Tensor]


def network(name: str, precision: str) -> torch.nn.Module:
    """Torchvision's network, or AdaFace's IResNet, with frozen random weights on the device."""
    if name.startswith("iresnet"):
        module = IResNet(DEPTHS[int(name.removeprefix("iresnet"))])
    else:
        module = torchvision().models.get_model(name, weights=None)
    with torch.no_grad():
        for parameter in module.parameters():
            if not parameter.any():  # A head of zeros, ViT's for one, has no gradient.
                parameter.normal_(std=0.02)
    return module.eval().requires_grad_(False).to(DEVICE, DTYPES[precision])


def walk(module: torch.nn.Module, images: np.ndarray, precision: str, form: str) -> Walk:
    """Number of gradient steps down output 1, one grey level each, to the images `[B, 3, H, W]`.

    Args:
        module: see `network`.
        images: `[B, H, W, 3]` in [0, 1].
        precision: one of `DTYPES`; the images stay float32 unless it is float64, as on our side.
        form: one of `FORMS`.

    Raises:
        Exception: from PyTorch, where it cannot compile.
    """
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision in ("tf32", "bfloat16")
    layout = torch.contiguous_format if form == "eager" else torch.channels_last
    module = copy.deepcopy(module).to(memory_format=layout)  # type: ignore[call-overload]
    dtype = torch.float64 if precision == "float64" else torch.float32
    start = torch.tensor(images, device=DEVICE, dtype=dtype).permute(0, 3, 1, 2).contiguous(memory_format=layout)
    call: Any = torch.compile(module) if form == "compile" else module

    def steps(count: int) -> torch.Tensor:
        x = start
        for _ in range(count):
            x = x.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(call(x.to(DTYPES[precision]))[:, 1].sum(), x)
            with torch.no_grad():
                x = x - gradient / gradient.abs().amax((1, 2, 3), keepdim=True) / 255
        if DEVICE == "cuda":
            torch.cuda.synchronize()
        return x

    steps(1)
    return steps
