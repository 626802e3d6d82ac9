"""InsightFace's IResNet of `arcface_torch` in PyTorch, written for these tests, and its export as the packs have it."""

import contextlib
import io
import warnings

import torch
from torch import nn


class Block(nn.Module):
    """Batch norm, convolution, batch norm, PReLU, convolution, batch norm, beside a shortcut."""

    def __init__(self, inputs: int, width: int, stride: int):
        super().__init__()
        self.bn1, self.conv1 = nn.BatchNorm2d(inputs, eps=1e-5), nn.Conv2d(inputs, width, 3, 1, 1, bias=False)
        self.bn2, self.prelu = nn.BatchNorm2d(width, eps=1e-5), nn.PReLU(width)
        self.conv2, self.bn3 = nn.Conv2d(width, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width, eps=1e-5)
        self.downsample = nn.Identity()
        if stride != 1 or inputs != width:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, width, 1, stride, bias=False), nn.BatchNorm2d(width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        inner = self.bn3(self.conv2(self.prelu(self.bn2(self.conv1(self.bn1(x))))))
        return inner + self.downsample(x)


class ArcFace(nn.Module):
    """The embedding of an aligned face, before L2 normalisation."""

    def __init__(self, depths=(3, 4, 14, 3), widths=(64, 128, 256, 512), embedding: int = 512):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, widths[0], 3, 1, 1, bias=False), nn.BatchNorm2d(widths[0])
        self.prelu, blocks, inputs = nn.PReLU(widths[0]), [], widths[0]
        for depth, width in zip(depths, widths, strict=True):
            blocks += [Block(inputs if i == 0 else width, width, 2 if i == 0 else 1) for i in range(depth)]
            inputs = width
        self.layers, self.bn2 = nn.Sequential(*blocks), nn.BatchNorm2d(inputs)
        self.dropout, self.fc = nn.Dropout(0.4), nn.Linear(inputs * 49, embedding)
        self.features = nn.BatchNorm1d(embedding)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.bn2(self.layers(self.prelu(self.bn1(self.conv1(x)))))
        return self.features(self.fc(self.dropout(torch.flatten(x, 1))))


def exported(module: nn.Module) -> bytes:
    """By the exporter, opset and names of InsightFace's `torch2onnx.py`, with a batch of any size."""
    written = io.BytesIO()
    kind = next(module.parameters()).dtype
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        example = torch.zeros(1, 3, 112, 112, dtype=kind)
        torch.onnx.export(
            module.eval(),
            (example,),
            written,
            dynamo=False,
            opset_version=11,
            input_names=["input.1"],
            dynamic_axes={"input.1": {0: "batch"}},
        )
    return written.getvalue()
