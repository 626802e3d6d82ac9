"""Table 1: IoU with the boxes and ROAD-Delete of five methods on ImageNet's validation set.

    python scripts/table_1.py imagenet=ILSVRC --presets paper official

Needs ImageNet's validation set with its boxes; without the networks, MobileNetV2 stands in. Any data set of photographs
with classes will do; without boxes there is no IoU.
"""

from fame_jax.cli.reproduce.program import start
from fame_jax.cli.reproduce.tables import ScoredTable

if __name__ == "__main__":
    networks = ("resnet34", "resnet50", "resnet101", "vgg19", "convnext_tiny")
    methods = ("grad_cam", "grad_cam_ew", "hires_cam", "fullgrad", "fame")
    start(ScoredTable(data=(), number="1", networks=networks, methods=methods), __doc__)
