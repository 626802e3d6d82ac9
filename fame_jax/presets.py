"""The two presets: `paper` follows the paper's text, `official` the authors' later published code.

A preset is a dictionary of ordinary keyword arguments, by the function they belong to. The defaults of every function
are the paper's, so `paper` holds nothing; each value of `official` is a fact about the authors' repository
(AIML-IfI/fame, commit 13fd675), whose README says that it is a rewrite of lost scripts.

Example:
    >>> explain(class_logit, image, network, 285, **PRESETS["official"]["classification"])
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from fame_jax.image import IMAGENET_STD, LUMA

Options = Mapping[str, Any]

_OFFICIAL_MAP = {"grey_of": "images", "normalise": "minmax"}

OFFICIAL: Mapping[str, Options] = MappingProxyType(
    {
        # Steps are taken in the mean/std-normalised tensor; no early stop.
        "classification": {"scale": IMAGENET_STD, **_OFFICIAL_MAP},
        # Figures 1 and 7 of the paper are driven in pixel space by the same code.
        "feature_map": _OFFICIAL_MAP,
        # Face tensors are BGR there and the luma weights are applied in tensor order; the walk stops at a loss of 0.01,
        # here for every face by itself; the gradient runs through the norm of the embedding.
        "faces": {"stop_loss": 0.01, "free_norm": True, "grey_weights": LUMA[::-1], **_OFFICIAL_MAP},
        "corrrise": {"patches": 3, "statistic": "rank"},
        # Both subtract theta / D from the weights.
        "fggb": {},
        # The cosine with norms held constant is the dot product times a constant, hence the same map.
        "face_cam": {"target": "cosine"},
        # Of several boxes of the class, the first in the list.
        "iou": {"choose": "first"},
        # Deletion and insertion: a comparison with a percentile in place of exact ranks.
        "masks": {"method": "percentile"},
        "road": {"method": "percentile", "fill": "zero"},
    }
)

PRESETS: Mapping[str, Mapping[str, Options]] = MappingProxyType(
    {"paper": MappingProxyType({name: {} for name in OFFICIAL}), "official": OFFICIAL}
)

AUTO_STOP: Options = MappingProxyType({"stop_change": 0.02, "window": 10})
"""A stopping rule in place of the paper's 500 steps, `fame explain --stop auto`; off unless asked for.

A walk ends once less than 2 % of its map's mass has moved in 10 steps: after 38 steps in the mean with MobileNetV2, and
with ROAD-Delete and deletion AUC no worse than after 500 steps (`docs/measured.md`).

Example:
    >>> explain(class_logit, image, network, 285, **AUTO_STOP)
"""
