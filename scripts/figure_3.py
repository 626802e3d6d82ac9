"""Figure 3: genuine pairs of faces explained by five methods, with IResNet-101.

Needs pairs of faces, two by two or as a CSV list with the columns G, P and T; without the network, SFace stands in.
"""

from fame_jax.cli.reproduce.pairs import PairSheets
from fame_jax.cli.reproduce.program import start

if __name__ == "__main__":
    start(PairSheets(networks=("iresnet101",)), __doc__)
