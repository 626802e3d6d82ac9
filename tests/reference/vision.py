"""torchvision, also beside a CPU-only torch."""

from types import ModuleType

import torch

_LIBRARY = torch.library.Library("torchvision", "FRAGMENT")


def torchvision() -> ModuleType:
    """torchvision; its wheel refuses to be imported where its own operators are not loaded, until two are declared.

    Not before it has refused: with a torch that it was built for, a second declaration ends the process.

    Raises:
        ImportError: where it is not installed.
    """
    try:
        import torchvision
    except RuntimeError:
        for name in ("nms", "qnms"):
            _LIBRARY.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        import torchvision
    return torchvision
