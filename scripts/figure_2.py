"""Figure 2: Grad-CAM element-wise and FAME on photographs.

Needs photographs of ImageNet's validation set, best as a CSV list with the columns image and label; without the
networks, MobileNetV2 stands in.
"""

from fame_jax.cli.reproduce.methods import MethodSheets
from fame_jax.cli.reproduce.program import start

if __name__ == "__main__":
    start(MethodSheets(networks=("resnet50", "resnet101"), methods=("grad_cam_ew", "fame")), __doc__)
