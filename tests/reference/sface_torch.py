"""SFace in PyTorch, written for these tests with the names of the published graph."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest

torch = pytest.importorskip("torch")
nn = torch.nn


STAGES = (
    (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *((512, 1),) * 5, (1024, 2), (1024, 1)
)  # fmt: skip
"""Output channels and stride of the pairs conv_2 to conv_14 of the published graph."""


class SFace(nn.Module):
    """The embedding before L2 normalisation."""

    def __init__(
        self, stages: Sequence[tuple[int, int]] = STAGES, stem: int = 32, embedding: int = 128, image_size: int = 112
    ):
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
        """The state dict by the graph's keys and in its shapes, and the graph's constants."""
        constants = {"scalar_op1": torch.tensor([127.5]), "scalar_op2": torch.tensor([1 / 128])}
        state = self.state_dict()
        return constants | {
            ours: state[key][:, None, None] if "_relu" in key else state[key] for key, ours in self._graph_names()
        }

    def load_graph_initializers(self, initializers: Mapping[str, Any]) -> "SFace":
        """Takes the weights of the published graph."""
        state = {key: torch.tensor(initializers[ours]) for key, ours in self._graph_names()}
        shapes = {key: value.shape for key, value in self.state_dict().items()}
        self.load_state_dict({key: value.reshape(shapes[key]) for key, value in state.items()}, strict=False)
        return self

    def _graph_names(self) -> Iterator[tuple[str, str]]:
        for key in self.state_dict():
            layer, leaf = key.rsplit(".", 1)
            if leaf == "num_batches_tracked":
                continue
            if not isinstance(self.get_submodule(layer), nn.Conv2d | nn.Linear):
                leaf = {"weight": "gamma", "bias": "beta"}.get(leaf, leaf.replace("running", "moving"))
            yield key, f"{layer}_{leaf}"
