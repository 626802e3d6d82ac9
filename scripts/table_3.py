"""Table 3: seconds of FAME by number of steps (a, ResNet-50), and of five methods of pairs (b, IResNet-101).

Needs nothing; without the networks, MobileNetV2 and SFace stand in. Seconds of one image count as many times as the
paper has images.
"""

from fame_jax.cli.reproduce.program import start
from fame_jax.cli.reproduce.tables import Seconds

if __name__ == "__main__":
    start(Seconds(), __doc__)
