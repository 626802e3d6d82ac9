"""Figure 7: what every location of the feature map looks at, with ResNet-34, 50 and 101.

Needs a photograph; without the networks, MobileNetV2 stands in.
"""

from fame_jax.cli.reproduce.locations import LocationSheets
from fame_jax.cli.reproduce.program import start

if __name__ == "__main__":
    start(LocationSheets(networks=("resnet34", "resnet50", "resnet101")), __doc__)
