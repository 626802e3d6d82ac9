"""Figure 4: deletion and insertion of face verification on CFP FP-01, by method.

Needs runs of the five methods, which scripts/table_2.py makes as well:

    fame run cfp CFP --protocol FP-01 --model iresnet101 --method grad_cam,grad_cam_ew,corrrise,fggb,fame --out RUNS
    python scripts/figure_4.py RUNS/*

Any other protocol and network of faces will do, SFace for one.
"""

from fame_jax.cli.reproduce.curves import VerificationCurves
from fame_jax.cli.reproduce.program import start

if __name__ == "__main__":
    start(VerificationCurves(), __doc__)
