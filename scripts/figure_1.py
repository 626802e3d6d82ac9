"""Figure 1: what locations of a feature map look at, white cells around their own places.

(a) ResNet-101 on a photograph of a bear, rows 1, 4 and 6, which count from 0. (b) Face networks on an aligned profile
face of CFP: --networks iresnet34 iresnet50 iresnet101 --rows 1. The paper finds that maps move to the centre with
depth. There are no public weights of iresnet34.

Needs a photograph; without the networks, MobileNetV2 or SFace stands in.
"""

from fame_jax.cli.reproduce.locations import LocationSheets
from fame_jax.cli.reproduce.program import start

if __name__ == "__main__":
    start(LocationSheets(networks=("resnet101",), rows="1,4,6"), __doc__)
