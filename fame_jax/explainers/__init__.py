"""Explainers: functions of one image, or of two faces, that return maps in [0, 1]. `EXPLAINERS` lists them by name."""

from fame_jax.explainers.cam import class_cam, grad_cam, grad_cam_ew, grad_cam_pp, hires_cam, layer_cam, pair_cam
from fame_jax.explainers.corrrise import corrrise
from fame_jax.explainers.evidence import (
    class_evidence_map,
    class_starts,
    evidence_cam,
    expected_gradients_cam,
    pair_evidence_maps,
    pair_starts,
    path_sums_map,
    refined_cam,
)
from fame_jax.explainers.explainer import MAPS, Cost, Explainer, MethodError, image_key
from fame_jax.explainers.fame import PairExplanation, class_map, location_map, location_maps, pair_maps
from fame_jax.explainers.fggb import fggb
from fame_jax.explainers.floors import blob_map, random_blurred_map, random_map
from fame_jax.explainers.fullgrad import full_gradients, fullgrad
from fame_jax.explainers.gradients import (
    expected_gradients,
    expected_path_integral,
    gradient,
    integrated_gradients,
    path_integral,
    pixel_map,
    smooth_grad,
    smooth_grad_squared,
    var_grad,
)
from fame_jax.explainers.pairs import PairMaps
from fame_jax.explainers.rise import rise
from fame_jax.explainers.table import BEST, EXPLAINERS, explainer
from fame_jax.explainers.xssab import xssab

__all__ = [
    "BEST",
    "EXPLAINERS",
    "MAPS",
    "Cost",
    "Explainer",
    "MethodError",
    "PairExplanation",
    "PairMaps",
    "blob_map",
    "class_cam",
    "class_evidence_map",
    "class_map",
    "class_starts",
    "corrrise",
    "evidence_cam",
    "expected_gradients",
    "expected_gradients_cam",
    "expected_path_integral",
    "explainer",
    "fggb",
    "full_gradients",
    "fullgrad",
    "grad_cam",
    "grad_cam_ew",
    "grad_cam_pp",
    "gradient",
    "hires_cam",
    "image_key",
    "integrated_gradients",
    "layer_cam",
    "location_map",
    "location_maps",
    "pair_cam",
    "pair_evidence_maps",
    "pair_maps",
    "pair_starts",
    "path_integral",
    "path_sums_map",
    "pixel_map",
    "random_blurred_map",
    "random_map",
    "refined_cam",
    "rise",
    "smooth_grad",
    "smooth_grad_squared",
    "var_grad",
    "xssab",
]
