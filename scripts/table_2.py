"""Table 2: areas under deletion and insertion of face verification, five methods.

    python scripts/table_2.py arface:neutral=AR arface:glass=AR arface:scarf=AR scface:close=SC scface:medium=SC \
        scface:far=SC cfp:FF-01=CFP cfp:FP-01=CFP

Needs any of the sets; without the networks, SFace stands in.
"""

from fame_jax.cli.reproduce.program import start
from fame_jax.cli.reproduce.tables import ScoredTable

if __name__ == "__main__":
    networks = ("iresnet18", "iresnet50", "iresnet101")
    methods = ("grad_cam", "grad_cam_ew", "corrrise", "fggb", "fame")
    start(ScoredTable(data=(), number="2", networks=networks, methods=methods), __doc__)
