"""How good is a map? Metrics of finished maps, which see arrays and a callable, never a model class.

Sanity checks and statistics, which need SciPy and scikit-image, are imported when first used.
"""

import importlib
from typing import TYPE_CHECKING, Any

from fame_jax.metrics.causal import rise_deletion, rise_insertion
from fame_jax.metrics.decisions import OperatingPoint, operating_point, verification_accuracy
from fame_jax.metrics.deletion import (
    Curve,
    Curves,
    class_curves,
    deletion,
    insertion,
)
from fame_jax.metrics.evenness import Remark, remark, strongest_tenth
from fame_jax.metrics.imputation import Imputation, ImputationStatus, impute
from fame_jax.metrics.iou import box_iou, box_masks, cropped_boxes, energy_inside, iou
from fame_jax.metrics.locality import Locality, locality
from fame_jax.metrics.masks import deletion_mask, insertion_mask, ranks, selected
from fame_jax.metrics.pointing_game import (
    Concentration,
    composed_grid,
    concentration,
    grid_members,
    grid_pointing_game,
    occluded,
    pointing_game,
)
from fame_jax.metrics.road import Road, road_combined, road_delete, road_insert
from fame_jax.metrics.verification import PairScores, VerificationCurves, pair_scores, verification_curves

if TYPE_CHECKING:
    from fame_jax.metrics.sanity import MapSimilarity, cascading, independent, map_similarity, randomised
    from fame_jax.metrics.statistics import Comparison, Estimate, compare, estimate, holm, pearson, spearman

__all__ = [
    "Comparison",
    "Concentration",
    "Curve",
    "Curves",
    "Estimate",
    "Imputation",
    "ImputationStatus",
    "Locality",
    "MapSimilarity",
    "OperatingPoint",
    "PairScores",
    "Remark",
    "Road",
    "VerificationCurves",
    "box_iou",
    "box_masks",
    "cascading",
    "class_curves",
    "compare",
    "composed_grid",
    "concentration",
    "cropped_boxes",
    "deletion",
    "deletion_mask",
    "energy_inside",
    "estimate",
    "grid_members",
    "grid_pointing_game",
    "holm",
    "impute",
    "independent",
    "insertion",
    "insertion_mask",
    "iou",
    "locality",
    "map_similarity",
    "occluded",
    "operating_point",
    "pair_scores",
    "pearson",
    "pointing_game",
    "randomised",
    "ranks",
    "remark",
    "rise_deletion",
    "rise_insertion",
    "road_combined",
    "road_delete",
    "road_insert",
    "selected",
    "spearman",
    "strongest_tenth",
    "verification_accuracy",
    "verification_curves",
]

_LAZY_MODULES: dict[str, tuple[str, ...]] = {
    "sanity": ("MapSimilarity", "cascading", "independent", "randomised", "map_similarity"),
    "statistics": ("Comparison", "Estimate", "compare", "estimate", "holm", "pearson", "spearman"),
}
_LAZY = {name: module for module, names in _LAZY_MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Names of modules with requirements of their own are imported on first use."""
    if name in _LAZY:
        return getattr(importlib.import_module(f"{__name__}.{_LAZY[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
