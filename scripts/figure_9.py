"""Figure 9: Grad-CAM, FullGrad, HiResCAM and FAME on photographs, with ResNet-34, VGG-19 and ConvNeXt-T.

Needs photographs of ImageNet's validation set, best as a CSV list with the columns image and label; without the
networks, MobileNetV2 stands in.
"""

from fame_jax.cli.reproduce.methods import MethodSheets
from fame_jax.cli.reproduce.program import start

if __name__ == "__main__":
    networks = ("resnet34", "vgg19", "convnext_tiny")
    start(MethodSheets(networks=networks, methods=("grad_cam", "fullgrad", "hires_cam", "fame")), __doc__)
