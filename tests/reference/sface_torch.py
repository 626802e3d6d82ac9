"""SFace in PyTorch, written for these tests with the names of the published graph."""

from collections.abc import Sequence

import torch
from torch import nn


class SFace(nn.Module):
    """The embedding before L2 normalisation."""

    def __init__(self, stages: Sequence[tuple[int, int]], stem: int, embedding: int, image_size: int):
        super().__init__()
        self.units = ["conv_1"]
        self._add("conv_1", nn.Conv2d(3, stem, 3, 1, 1, bias=False))
        inputs = stem
        for i, (width, stride) in enumerate(stages, start=2):
            self.units += [f"conv_{i}_dw", f"conv_{i}"]
            self._add(f"conv_{i}_dw", nn.Conv2d(inputs, inputs, 3, stride, 1, groups=inputs, bias=False))
            self._add(f"conv_{i}", nn.Conv2d(inputs, width, 1, bias=False))
            inputs = width
            image_size //= stride
        self.bn1 = nn.BatchNorm2d(inputs, eps=2e-5)
        self.pre_fc1 = nn.Linear(inputs * image_size**2, embedding)
        self.fc1 = nn.BatchNorm1d(embedding, eps=2e-5)

    def _add(self, unit: str, convolution: nn.Conv2d) -> None:
        width = convolution.out_channels
        self.add_module(f"{unit}_conv2d", convolution)
        self.add_module(f"{unit}_batchnorm", nn.BatchNorm2d(width, eps=1e-3))
        self.add_module(f"{unit}_relu", nn.PReLU(width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for unit in self.units:
            for layer in ("conv2d", "batchnorm", "relu"):
                x = getattr(self, f"{unit}_{layer}")(x)
        return self.fc1(self.pre_fc1(self.bn1(x).flatten(1)))

    def graph_initializers(self) -> dict[str, torch.Tensor]:
        """The state dict by the graph's keys and in its shapes."""
        state = {"scalar_op1": torch.tensor([127.5]), "scalar_op2": torch.tensor([1 / 128])}
        for key, value in self.state_dict().items():
            layer, leaf = key.rsplit(".", 1)
            if layer.endswith("_relu"):
                state[f"{layer}_gamma"] = value[:, None, None]
            elif isinstance(self.get_submodule(layer), nn.Conv2d | nn.Linear):
                state[f"{layer}_{leaf}"] = value
            elif leaf != "num_batches_tracked":
                name = {"weight": "gamma", "bias": "beta"}.get(leaf, leaf.replace("running", "moving"))
                state[f"{layer}_{name}"] = value
        return state
