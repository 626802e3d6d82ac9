"""Figure 5: e+ of one pair of faces as the size of the blur's kernel is swept; the standard deviation follows it.

Needs PROBE GALLERY, in the paper of ARface, and IResNet-101; SFace stands in. The paper prints no kernel sizes but
that (e) has 49.
"""

from fame_jax.cli.reproduce.program import start
from fame_jax.cli.reproduce.sweeps import Sweep

if __name__ == "__main__":
    start(Sweep(options=("blur",), networks=("iresnet101",)), __doc__)
