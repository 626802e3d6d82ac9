"""How good is a map? Metrics of finished maps, which see arrays and a callable, never a model class."""

from fame_jax.metrics.deletion import (
    Curve,
    Curves,
    class_curves,
    deletion,
    insertion,
    rise_deletion,
    rise_insertion,
)
from fame_jax.metrics.iou import box_iou, box_masks, cropped_boxes, energy_inside, iou
from fame_jax.metrics.masks import deletion_mask, insertion_mask, ranks, selected
from fame_jax.metrics.pointing_game import (
    SUNGLASSES,
    Concentration,
    composed_grid,
    concentration,
    grid_members,
    grid_pointing_game,
    occluded,
    pointing_game,
)
from fame_jax.metrics.verification import (
    OperatingPoint,
    PairScores,
    VerificationCurves,
    operating_point,
    pair_scores,
    verification_accuracy,
    verification_curves,
)

__all__ = [
    "SUNGLASSES",
    "Concentration",
    "Curve",
    "Curves",
    "OperatingPoint",
    "PairScores",
    "VerificationCurves",
    "box_iou",
    "box_masks",
    "class_curves",
    "composed_grid",
    "concentration",
    "cropped_boxes",
    "deletion",
    "deletion_mask",
    "energy_inside",
    "grid_members",
    "grid_pointing_game",
    "insertion",
    "insertion_mask",
    "iou",
    "occluded",
    "operating_point",
    "pair_scores",
    "pointing_game",
    "ranks",
    "rise_deletion",
    "rise_insertion",
    "selected",
    "verification_accuracy",
    "verification_curves",
]
