"""Figure 8: what every location of the feature map looks at, with IResNet-18, 50 and 101.

Needs a face, in the paper a profile of CFP; without the networks, SFace stands in.
"""

from fame_jax.cli.reproduce.locations import LocationSheets
from fame_jax.cli.reproduce.program import start

if __name__ == "__main__":
    start(LocationSheets(networks=("iresnet18", "iresnet50", "iresnet101")), __doc__)
