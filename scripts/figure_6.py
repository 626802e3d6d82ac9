"""Figure 6: maps by number of steps at a step of one grey level, and by step size at 100 steps, with ResNet-50.

The paper finds them stable between 75 and 200 steps; it prints the steps, not the step sizes. Needs photographs;
without the network, MobileNetV2 stands in.
"""

from fame_jax.cli.reproduce.program import start
from fame_jax.cli.reproduce.sweeps import Sweep

if __name__ == "__main__":
    start(Sweep(options=("steps", "step_size"), networks=("resnet50",)), __doc__)
