"""AdaFace's IResNet in PyTorch, written for these tests with the keys and the order of its checkpoints."""

from collections.abc import Sequence

import pytest

torch = pytest.importorskip("torch")
nn = torch.nn


DEPTHS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 14, 3), 101: (3, 13, 30, 3)}


class Block(nn.Module):
    def __init__(self, inputs: int, width: int, stride: int):
        super().__init__()
        if inputs == width:
            self.shortcut_layer = nn.MaxPool2d(1, stride)
        else:
            self.shortcut_layer = nn.Sequential(nn.Conv2d(inputs, width, 1, stride, bias=False), nn.BatchNorm2d(width))
        self.res_layer = nn.Sequential(
            nn.BatchNorm2d(inputs),
            nn.Conv2d(inputs, width, 3, 1, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.PReLU(width),
            nn.Conv2d(width, width, 3, stride, 1, bias=False),
            nn.BatchNorm2d(width),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.res_layer(x) + self.shortcut_layer(x)


class IResNet(nn.Module):
    """The embedding before L2 normalisation."""

    def __init__(
        self,
        depths: Sequence[int],
        widths: Sequence[int] = (64, 128, 256, 512),
        embedding: int = 512,
        image_size: int = 112,
    ):
        super().__init__()
        self.input_layer = nn.Sequential(
            nn.Conv2d(3, widths[0], 3, 1, 1, bias=False), nn.BatchNorm2d(widths[0]), nn.PReLU(widths[0])
        )
        self.output_layer = nn.Sequential(
            nn.BatchNorm2d(widths[-1]),
            nn.Dropout(0.4),
            nn.Flatten(),
            nn.Linear(widths[-1] * (image_size // 16) ** 2, embedding),
            nn.BatchNorm1d(embedding, affine=False),
        )
        blocks = []
        inputs = widths[0]
        for depth, width in zip(depths, widths, strict=True):
            for i in range(depth):
                blocks.append(Block(inputs, width, 2 if i == 0 else 1))
                inputs = width
        self.body = nn.Sequential(*blocks)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.output_layer(self.body(self.input_layer(x)))
